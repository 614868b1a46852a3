"""The committed gRPC code is what the contract's file generates."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedrepay.shared import proto

HERE = Path(proto.__file__).parent
CONTRACT = "fedrepay/shared/proto/v1/consortium.proto"


def generated(source: Path, out: Path) -> dict[str, bytes]:
    """What the compiler writes, by name."""
    out.mkdir()
    kinds = ("python", "grpc_python", "mypy", "mypy_grpc")
    command = [
        sys.executable,
        "-m",
        "grpc_tools.protoc",
        "-I",
        str(source),
        *(f"--{k}_out={out}" for k in kinds),
        CONTRACT,
    ]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"PATH": path})
    return {each.name: each.read_bytes() for each in out.rglob("*_pb2*")}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    place = tmp_path / "src" / CONTRACT
    place.parent.mkdir(parents=True)
    place.write_bytes((HERE / "v1" / "consortium.proto").read_bytes())
    return tmp_path / "src"


def test_it_is_committed_as_generated(source: Path, tmp_path: Path) -> None:
    found = generated(source, tmp_path / "out")
    assert found == {each.name: each.read_bytes() for each in (HERE / "v1").glob("*_pb2*")}
    assert len(found) == 4


def test_a_changed_contract_generates_other_code(source: Path, tmp_path: Path) -> None:
    place = source / CONTRACT
    place.write_text(place.read_text().replace("rpc Heads", "rpc Tails"))
    found = generated(source, tmp_path / "out")
    assert found["consortium_pb2_grpc.py"] != (HERE / "v1" / "consortium_pb2_grpc.py").read_bytes()

"""A node whose clock Flower refuses says so; and the one proxy that is set is the one that is used."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest

from fedrepay.client.node import clock, proxy, setup
from fedrepay.shared.schema import codebook
from support import shop as shops
from support.coordinator_stub import Stub, coordinator, proxied


@pytest.fixture
def stub(tmp_path: Path) -> Iterator[Stub]:
    with coordinator(tmp_path / "c", codebook.load(shops.make(tmp_path).schema)) as made:
        yield made


@pytest.mark.parametrize("ahead", [-1000.0, 0.0, 20.0])
def test_the_offset_is_told_to_some_seconds(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    ours = SimpleNamespace(time=lambda: time.time() + ahead)  # not the coordinator's, in this same process
    monkeypatch.setattr(clock, "time", ours)
    seconds = clock.off(stub.address, stub.folder / "ca.pem")
    assert seconds is not None
    assert abs(seconds - ahead) < 4
    assert bool(clock.told(seconds)) == bool(ahead)


def test_through_the_proxy_and_where_nobody_answers(stub: Stub) -> None:
    with proxied() as way:
        assert (
            clock.off(stub.address, stub.folder / "ca.pem", f"http://user:pass@127.0.0.1:{way.port}")
            is not None
        )
        assert way.passed == [stub.address]
    assert clock.off("127.0.0.1:9", stub.folder / "ca.pem") is None
    assert clock.off(stub.address, stub.folder / "none.pem") is None
    assert clock.told(None) == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.9, ""), (5.0, "5 s ahead of"), (-299.0, ""), (-300.0, "300 s behind"), (3600.0, "3600 s ahead of")],
)
def test_what_flower_refuses_is_what_is_told(seconds: float, words: str) -> None:
    said = clock.told(seconds)
    assert words in said
    assert bool(said) == bool(words)


NODE = """
import sys, time
from pathlib import Path
off, real = float(sys.argv[1]), time.time
time.time = lambda: real() + off
from fedrepay.client.node.supernode import MemberNode
from fedrepay.shared.errors import NetworkError
folder = Path(sys.argv[2])
try:
    MemberNode(folder, sys.argv[3], Path(sys.argv[4]), folder / "s", int(sys.argv[5])).run()
except NetworkError as error:
    print("said:", error)
"""


@pytest.mark.parametrize(("off", "words"), [(20, r"clock is (1\d|2\d) s ahead"), (0, "key not registered")])
def test_a_node_that_ends_names_the_clock_if_that_is_why(
    stub: Stub, tmp_path: Path, off: int, words: str
) -> None:
    """The coordinator here lets no node in; whether the clock is at fault only the clock tells, to some seconds."""
    setup.create("bank-a", tmp_path / "m")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", NODE, str(off), str(tmp_path / "m"), stub.address]
    done = subprocess.run(
        [*command, str(stub.folder / "ca.pem"), str(port)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    (said,) = [line for line in done.stdout.splitlines() if line.startswith("said:")]
    assert re.search(words, said), said


def test_the_environment_s_proxies_are_never_used() -> None:
    others = dict.fromkeys(("HTTP_PROXY", "https_proxy", "ALL_PROXY", "NO_PROXY"), "http://elsewhere:1")
    with mock.patch.dict(os.environ, others):
        proxy.only(None)
        assert not [name for name in os.environ if name.lower().endswith("_proxy")]
        proxy.only("http://user:pass@proxy:3128")
        left = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    assert left == {"https_proxy": "http://user:pass@proxy:3128", "no_proxy": "127.0.0.1,localhost"}

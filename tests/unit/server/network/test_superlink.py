"""Where Flower's programs are found: beside this Python, or on PATH."""

import sys
from pathlib import Path

import pytest

from fedrepay.server.network import superlink
from fedrepay.shared.errors import ArgumentError


def program(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    made = folder / name
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    return made


def test_programs_are_found_beside_python_first_and_then_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("flower-superlink", "flower-superexec")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "local"))
    with pytest.raises(ArgumentError, match=r"neither beside .* nor on PATH") as told:
        superlink.commands(tmp_path, 9093)
    assert "PATH" in told.value.remedy
    installed = [str(program(tmp_path / "local", name)) for name in names]
    assert [words[0] for words in superlink.commands(tmp_path, 9093).values()] == installed
    beside = [str(program(tmp_path / "venv", name)) for name in names]
    assert [words[0] for words in superlink.commands(tmp_path, 9093).values()] == beside

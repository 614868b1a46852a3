"""A terminal of few letters gets words, and no command ends for want of an ε."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedrepay.client.commands import options
from fedrepay.shared import terminal

ROOT = Path(__file__).resolve().parents[3]


def written(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str, *, legible: bool = True) -> bytes:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    if legible:
        terminal.legible()
    print(text, end="")
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "ε ≤ 1 → König 英 ".encode()),
        ("latin-1", "epsilon <= 1 -> König ? ".encode("latin-1")),
        ("ascii", b"epsilon <= 1 -> Konig ? "),
    ],
)
def test_what_cannot_be_encoded_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, encoding: str, expected: bytes
) -> None:
    assert written(monkeypatch, encoding, "ε ≤ 1 → König 英 ") == expected


def test_control_without_it_the_command_would_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnicodeEncodeError):
        written(monkeypatch, "latin-1", "ε", legible=False)
    assert written(monkeypatch, "latin-1", "\udce4 of a file's name") == b"? of a file's name"


def test_a_command_s_own_words_come_out() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fedrepay", "simulate", "--help"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "epsilon of one customer" in done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_what_is_for_machines_stays_what_it_is(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """In words a name's quotation marks would end its string, and another name would come out."""
    facts = {"name": "the “Bank” of 英, ε"}
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.legible()
    options.show(True, facts)  # noqa: FBT003 - as the commands say it
    assert isinstance(stream.buffer, io.BytesIO)
    assert json.loads(stream.buffer.getvalue()) == facts


def test_control_unescaped_it_is_no_json_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"name": "the “Bank”"}, ensure_ascii=False)
    with pytest.raises(json.JSONDecodeError):
        json.loads(written(monkeypatch, "latin-1", text))


def test_no_command_writes_json_unescaped() -> None:
    for side in ("client", "server", "simulations"):
        for path in (ROOT / side).rglob("commands*/*.py"):
            assert "ensure_ascii=False" not in path.read_text(encoding="utf-8"), path

"""The transcript goes on after a full disk or a kill in the middle of a line."""

import json
from pathlib import Path

import pytest

from fedrepay.simulations.run.grid import Exchange
from fedrepay.simulations.run.transcript import Transcript, wire_bytes

EXCHANGE = Exchange(
    node=2, kind="round", shared=b"all", own=b"", body=b"four", error="", sent=3, received=4, seconds=0.0
)


@pytest.mark.parametrize("cut", [1, 40])
def test_a_line_that_was_cut_short_is_written_over(tmp_path: Path, cut: int) -> None:
    Transcript(tmp_path, {2: "m0"}).record(EXCHANGE)
    lines = tmp_path / "messages.jsonl"
    whole = lines.read_bytes()
    lines.write_bytes(whole + whole[:-cut])
    Transcript(tmp_path, {2: "m0"}).record(EXCHANGE)
    assert lines.read_bytes() == 2 * whole
    assert wire_bytes(tmp_path, 1)["bytes_up_per_member"] == 8
    first = json.loads(whole)
    assert (tmp_path / "blobs" / first["shared"]).read_bytes() == b"all"
    assert sorted(each.suffix for each in (tmp_path / "blobs").iterdir()) == ["", ""]

"""A status in lines: names are few on a line, lengths of time are read at a glance, nothing commands a terminal."""

from dataclasses import replace

import pytest

from fedrepay.server.operating import words
from fedrepay.server.operating.progress import CoordinatorStatus, RunProgress

RUN = RunProgress(
    run=3,
    mode="distributed",
    epsilon=1.0,
    stage="members are asked for the terms",
    over=False,
    stopped="",
    sums=0,
    rounds=5,
    attempts=0,
    begun=None,
    since=None,
    waiting=("a", "b"),
    away=(("c", "limits: \x1b[2J"),),
    refusals={"limits": 1},
    received=1234567,
    seconds_left=None,
)


def status(run: RunProgress) -> CoordinatorStatus:
    return CoordinatorStatus(
        at=1000.0,
        members=(("a", "admitted"), ("b", "away")),
        missing=("b",),
        roster=2,
        roster_members=("a", "b", "c"),
        quorum=3,
        making=None,
        run=run,
    )


def test_who_is_waited_for_is_named_also_before_anything_is_stored() -> None:
    said = words.lines(status(RUN))
    assert "  waited for: a, b" in said
    assert "Members: 1 connected; b (away)" in said
    assert "  missing: b" in said
    assert r"  away: c: limits: \x1b[2J" in said
    assert "  received 1,234,567 bytes" in said
    later = replace(RUN, since=700.0, seconds_left=7200.0)
    assert "  waited for, 5 min: a, b" in words.lines(status(later))
    assert "  received 1,234,567 bytes; about 2 h left for sums" in words.lines(status(later))


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (119, "119 s"), (121, "2 min"), (7300, "2 h"), (200000, "2 d")]
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert words.lasted(seconds) == text


def test_many_names_are_cut() -> None:
    many = tuple(f"m{i}" for i in range(11))
    assert words.names(many) == "m0, m1, m2, m3, m4, m5, m6, m7 and 3 more"
    assert words.names(many[:8]).endswith("m7")

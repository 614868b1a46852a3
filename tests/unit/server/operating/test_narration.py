"""What `train` shows: plain words for every event, none of the protocol's; and at the end which release came of it."""

from collections.abc import Iterator

import pytest

from fedrepay.server.operating.narration import QUIET, SAID, Narrator, ending
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ROSTERS, WRITES
from support.consortium import Consortium, unencrypted
from support.operated import operated, released


def told(events: list[Event], rounds: int) -> list[str]:
    said: list[str] = []
    narrator = Narrator(rounds, said.append)
    for event in events:
        narrator.tell(event)
    return said


def test_every_kind_of_event_is_told_or_left_out_on_purpose() -> None:
    kinds = {point.removeprefix("append ") for point in WRITES if point.startswith("append ")} | {"resealed"}
    assert kinds == SAID.keys() | QUIET | {"attempt", "sum", "void"}
    assert not SAID.keys() & QUIET


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consortium]:
    with unencrypted():
        made = operated(tmp_path_factory.mktemp("n"))
        released(made)
        yield made


def test_a_run_is_told_in_plain_words(home: Consortium) -> None:
    rosters = told(home.database.events(ROSTERS), 2)
    assert rosters[0] == "A roster is being made."
    assert rosters[-1] == "The roster is complete."
    said = told(home.database.events(1), 2)
    assert said[:5] == [f"m{number} says yes to the run." for number in range(5)]
    assert [line for line in said if line.startswith("Sum")] == [
        "Sum 1 of 2: members send their parts.",
        "Sum 1 of 2 is done.",
        "Sum 2 of 2: members send their parts.",
        "Sum 2 of 2 is done.",
    ]
    assert said[-1].endswith("has signed the release.")


def test_what_goes_wrong_is_told_with_the_reason(home: Consortium) -> None:
    (attempt, *_) = [each for each in home.database.events(1) if each.kind == "attempt"]
    said = told(
        [
            Event("declined", "m1", b"limits: epsilon = 2 passes this member's limit of 1.\x1b[2J"),
            attempt,
            Event("void", "", b"m2 m3"),
            Event("void", "", b""),
        ],
        5,
    )
    assert said == [
        r"m1 says no to the run: limits: epsilon = 2 passes this member's limit of 1.\x1b[2J",
        "Sum 1 of 5: members send their parts.",
        "Sum 1 of 5 did not come about: m2, m3 sent nothing. It is tried again.",
        "Nobody wants the proposed roster any more, or it failed; another is made.",
    ]


def test_the_end_names_the_release_and_what_members_do_next(home: Consortium) -> None:
    number, digest, lines = ending(home.database, home.operator)
    text = " ".join(lines)
    assert (number, digest) == (1, home.database.released()[1].hex())
    assert f"release 1 is out, SHA-256 {digest}" in text
    assert f"fedrepay coordinator releases --folder {home.operator}" in text
    assert "fedrepay member use 1" in text

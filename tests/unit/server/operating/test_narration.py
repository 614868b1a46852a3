"""What `train` shows: plain words for every event, none of the protocol's."""

from fedrepay.server.operating.narration import QUIET, SAID, Narrator
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import WRITES
from support.guard_view import CONFIG, changed, signed


def told(events: list[Event]) -> list[str]:
    said: list[str] = []
    narrator = Narrator(5, said.append)
    for event in events:
        narrator.tell(event)
    return said


def test_every_kind_of_event_is_told_or_left_out_on_purpose() -> None:
    kinds = {point.removeprefix("append ") for point in WRITES if point.startswith("append ")} | {
        "resealed",
        "stopped",
    }
    assert kinds == SAID.keys() | QUIET | {"attempt", "sum", "void"}
    assert not SAID.keys() & QUIET


def test_what_goes_wrong_is_told_with_the_reason() -> None:
    attempt = Event("attempt", "", signed(changed(CONFIG, round=1)).encode())
    said = told(
        [
            Event("answer:terms", "m0", b""),
            Event("declined", "m1", b"limits: epsilon = 2 passes this member's limit of 1.\x1b[2J"),
            attempt,
            Event("header", "m1", b"anything"),
            Event("void", "", b"m2 m3"),
            attempt,
            Event("sum", "", b"anything"),
            Event("void", "", b""),
        ]
    )
    assert said == [
        "m0 says yes to the run.",
        r"m1 says no to the run: limits: epsilon = 2 passes this member's limit of 1.\x1b[2J",
        "Sum 2 of 5: members send their parts.",
        "Sum 2 of 5 did not come about: m2, m3 sent nothing. It is tried again.",
        "Sum 2 of 5: members send their parts.",
        "Sum 2 of 5 is done.",
        "Nobody wants the proposed roster any more, or it failed; another is made.",
    ]

"""What each event of a run changes in the coordinator's state, and that it changes nothing else."""

from typing import Any

import pytest

from fedrepay.server.protocol.state import AttemptRecord, Event, State
from fedrepay.shared.trust.wire import ReleaseVote, Sum, Verdict, Written
from support.parties import ALL, CONFIG, FOUR, SEED, SIGNED, by, changed, header, introduction, told

LATER = changed(CONFIG, attempt=4, cohort=ALL)
VOTE = by("m0", ReleaseVote(run=7, name="m0", release=SEED))
WRITTEN = Written(sealed=b"sealed", vote=VOTE)
VERDICT = by("m0", Verdict(config=SIGNED.digest(), name="m0", suspects=()))
HEADER = by("m0", header("m0"))
SUM = Sum(round=2, attempt=3, config=SIGNED, headers=(), payload=b"", tags=())


def state(*events: Event) -> State:
    made = State()
    for event in events:
        made.apply(event)
    return made


def event(kind: str, name: str = "m0", body: bytes = b"") -> Event:
    return Event(kind, name, body)


OPEN = event("attempt", "", SIGNED.encode())


def differs(made: State, than: State | None = None) -> dict[str, Any]:
    """The fields in which a state is another than before."""
    before = vars(than or State())
    return {name: value for name, value in vars(made).items() if value != before[name]}


@pytest.mark.parametrize(
    ("told_of", "changes"),
    [
        (event("answer:hello", body=b"a"), {"answers": {"hello": {"m0": b"a"}}}),
        (OPEN, {"attempts": [AttemptRecord(SIGNED, CONFIG, "open")]}),
        (event("declined", body=b"limits"), {"declined": {"m0": "limits"}}),
        (event("floor", body=b"5"), {"floor": 5}),
        (event("introduction", body=introduction().encode()), {"introduction": introduction()}),
        (event("failed", body=b"3 1"), {"failed": (3, 1), "disputes": {"m0"}}),
        (event("complaint", body=b"canary"), {"complaints": {"m0": "canary"}}),
        (event("verdict", body=VERDICT.encode()), {"verdicts": {"m0": VERDICT}}),
        (event("ended", "", b"why"), {"ended": "why"}),
        (event("abandoned", ""), {"abandoned": True}),
        (event("away", body=b"gone"), {"away": {"m0": "gone"}}),
        (event("retry", body=b"slow"), {}),
        (event("need", body=b"2"), {"known": {"m0": 2}}),
        (event("closing", "", SIGNED.encode()), {"closing": SIGNED}),
        (event("written", body=WRITTEN.encode()), {"written": WRITTEN, "votes": {"m0": VOTE}}),
        (event("vote", body=VOTE.encode()), {"votes": {"m0": VOTE}}),
        (event("stored"), {"stored": {"m0"}}),
        (event("done", ""), {"done": True}),
    ],
    ids=lambda value: value.kind if isinstance(value, Event) else "",
)
def test_an_event_changes_what_it_says_and_nothing_else(told_of: Event, changes: dict[str, Any]) -> None:
    assert differs(state(told_of)) == changes


def test_an_event_of_no_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="never heard of"):
        state(event("never heard of"))


def test_answers_add_up() -> None:
    made = state(event("answer:seed", "m0", b"a"), event("answer:seed", "m1", b"b"), event("answer:hello"))
    assert made.answers == {"seed": {"m0": b"a", "m1": b"b"}, "hello": {"m0": b""}}


def test_the_floor_only_rises() -> None:
    assert state(event("floor", body=b"5"), event("floor", body=b"4")).floor == 5
    assert state(event("floor", body=b"5"), event("floor", body=b"6")).floor == 6


def test_an_attempt_ends_void_or_completed_and_the_one_before_stays() -> None:
    second = event("attempt", "", told(LATER).encode())
    void = state(OPEN, event("void", ""), second)
    assert [each.status for each in void.attempts] == ["void", "open"]
    void.apply(event("sum", "", changed(SUM, attempt=4).encode()))
    assert [each.status for each in void.attempts] == ["void", "completed"]
    assert [each.config for each in void.attempts] == [CONFIG, LATER]
    assert [each.signed for each in void.attempts] == [SIGNED, told(LATER)]
    assert void.sums == {2: changed(SUM, attempt=4)}
    assert void.last_cohort() == ALL
    more = state(OPEN, event("sum", "", SUM.encode()), second, event("void", ""))
    assert more.last_cohort() == FOUR


def test_who_lost_an_attempt_is_counted_over_the_run() -> None:
    second = event("attempt", "", told(LATER).encode())
    events = [OPEN, event("void", "", b"m1 m3"), second, event("void", "", b"m3"), second, event("void", "")]
    assert state(*events).losses == {"m1": 1, "m3": 2}
    assert State.replayed(events) == state(*events)


def test_the_cohort_is_of_the_newest_completed_attempt() -> None:
    done = event("sum", "", SUM.encode())
    made = state(OPEN, done, event("attempt", "", told(LATER).encode()), done)
    assert made.last_cohort() == ALL


def test_a_member_s_own_header_is_its_newest() -> None:
    made = state(OPEN, event("header", body=HEADER.encode()))
    assert made.headers == {"m0": HEADER}
    assert made.own_header("m0") == HEADER.encode()
    assert made.own_header("m1") == b""


def test_a_new_failure_forgets_the_verdicts_on_the_last() -> None:
    made = state(event("failed", body=b"3 1"), event("verdict", body=VERDICT.encode()))
    assert made.verdicts
    made.apply(event("dismissed", ""))
    assert differs(made) == {"verdicts": {"m0": VERDICT}, "disputes": {"m0"}}
    made.apply(event("failed", "m1", b"4 2"))
    assert differs(made) == {"failed": (4, 2), "disputes": {"m0", "m1"}}


def test_who_is_ready_is_not_away_and_has_opened_what_came_before() -> None:
    gone = event("away", body=b"gone"), event("away", "m1", b"gone")
    made = state(*gone, event("ready", body=b"2"), event("ready", "m2", b"3"))
    assert made.away == {"m1": "gone"}
    assert (made.ready, made.known) == ({"m0", "m2"}, {"m0": 2, "m2": 3})
    made.apply(OPEN)
    assert made.ready == set(), "the next attempt is prepared anew"
    assert made.known == {"m0": 2, "m2": 3}


def test_what_nobody_followed_is_forgotten_and_its_writer_writes_no_more() -> None:
    made = state(event("written", body=WRITTEN.encode()), event("vote", "m1", VOTE.encode()))
    assert set(made.votes) == {"m0", "m1"}
    made.apply(event("unwritten"))
    assert (made.written, made.votes, made.bad_writers) == (None, {}, {"m0"})


@pytest.mark.parametrize(
    ("told_of", "over"),
    [
        (event("done", ""), True),
        (event("abandoned", ""), True),
        (event("declined", body=b"no"), True),
        (event("ended", "", b"why"), False),
    ],
    ids=lambda value: value.kind if isinstance(value, Event) else "",
)
def test_a_run_is_over_when_it_is_done_abandoned_or_declined(told_of: Event, *, over: bool) -> None:
    assert not State().over
    assert State().floor == 0
    assert state(told_of).over == over


def test_sums_are_given_from_the_first_that_is_lacking() -> None:
    made = State(sums={i: changed(SUM, round=i) for i in range(3)})
    assert [each.round for each in made.sums_from(0)] == [0, 1, 2]
    assert [each.round for each in made.sums_from(2)] == [2]
    assert made.sums_from(3) == ()

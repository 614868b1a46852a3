"""The run's last stage at the coordinator: who writes, who is asked to sign, whose votes count, when it is over."""

from dataclasses import replace
from typing import Any

import pytest

from fedrepay.server.protocol import release as stage
from fedrepay.server.protocol.state import Ask, AttemptRecord, Event, State
from fedrepay.shared.errors import CohortError, ProtocolError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Closing, Kind, ReleaseVote, Reply, Sum, Votes, Written
from support.parties import (
    ALL,
    CONFIG,
    FOUR,
    ORDER,
    OTHER,
    PLAN,
    ROSTER,
    SEED,
    by,
    changed,
    header,
    introduction,
    told,
)

CLOSING = told(changed(CONFIG, round=4, attempt=4))
WRITTEN = Written(sealed=b"sealed", vote=by("m0", ReleaseVote(run=7, name="m0", release=SEED)))
SUMS = {
    i: Sum(round=i, attempt=i, config=CLOSING, headers=(), payload=bytes([i]), tags=(i,)) for i in range(2)
}
HEADERS = {name: by(name, header(name)) for name in ALL}
COHORT = ORDER[1:]  # the member of lowest key hash was not in the last sum, so it does not write
VOTES = {name: by(name, ReleaseVote(run=7, name=name, release=SEED)) for name in ALL}


def state(**fields: Any) -> State:
    """After the last sum, of a run whose second attempt was void."""
    records = [
        AttemptRecord(CLOSING, changed(CONFIG, cohort=cohort), status)
        for cohort, status in ((ALL, "completed"), (COHORT, "completed"), (ORDER[::-1], "void"))
    ]
    made = State(introduction=introduction(), attempts=records, sums=SUMS, headers=HEADERS, closing=CLOSING)
    return replace(made, **fields)


def asked(said: State, seats: tuple[str, ...] = ALL, failed: tuple[str, ...] = ()) -> Ask:
    return stage.ask(said, PLAN, ROSTER, seats, set(failed))


def closing(first: int = 0, sealed: bytes | None = None) -> bytes:
    return Closing(config=CLOSING, sums=tuple(SUMS[i] for i in range(first, 2)), sealed=sealed).encode()


def voted(*names: str) -> dict[str, Signed]:
    return {name: VOTES[name] for name in names}


# --- what is asked ---


def test_the_closing_is_signed_first() -> None:
    assert asked(state(closing=None)) == Ask(Kind.SIGN, {})


def test_the_lowest_key_hash_of_the_last_cohort_writes() -> None:
    first = COHORT[0]
    assert asked(state()) == Ask(Kind.WRITE, {first: (closing(), HEADERS[first].encode())})


@pytest.mark.parametrize("because", ["no seat", "failed", "wrote badly"])
def test_another_writes_where_the_first_cannot(because: str) -> None:
    first, second = COHORT[:2]
    made = asked(
        state(bad_writers={first} if because == "wrote badly" else set()),
        tuple(name for name in ALL if name != first or because != "no seat"),
        (first,) if because == "failed" else (),
    )
    assert (made.kind, list(made.parts)) == ("write", [second])


def test_a_release_that_nobody_can_write_stops_the_run() -> None:
    with pytest.raises(CohortError):
        asked(state(bad_writers=set(COHORT[:2])), failed=COHORT[2:])


def test_a_writer_gets_the_sums_it_lacks() -> None:
    first = COHORT[0]
    assert asked(state(known={first: 1})).parts[first][0] == closing(1)


def test_the_others_are_asked_to_sign_what_was_written() -> None:
    made = asked(state(written=WRITTEN, votes=voted("m0"), known={"m1": 1, "m2": 1, "m3": 2}))
    assert made.kind == "close"
    wanted = {"m1": 1, "m2": 1, "m3": 2, "m4": 0}
    assert made.parts == {
        name: (closing(first, b"sealed"), HEADERS[name].encode()) for name, first in wanted.items()
    }
    assert made.parts["m1"][0] is made.parts["m2"][0], "equal messages are one object"


def test_only_those_present_who_have_a_seat_are_asked() -> None:
    made = asked(
        state(introduction=introduction(FOUR), written=WRITTEN, votes=voted("m0")), ("m0", "m1", "m4")
    )
    assert list(made.parts) == ["m1"]


def test_a_quorum_of_votes_goes_to_everybody_who_has_not_stored_it() -> None:
    made = asked(
        state(written=WRITTEN, votes=voted("m3", "m0", "m2", "m1"), away={"m4": "gone"}, stored={"m1"})
    )
    votes = Votes(run=7, signed=tuple(VOTES[name] for name in FOUR)).encode()
    assert made == Ask(Kind.VOTES, dict.fromkeys(("m0", "m2", "m3", "m4"), (votes, b"")))


def test_a_quorum_waits_for_those_who_may_still_sign() -> None:
    made = asked(state(written=WRITTEN, votes=voted(*FOUR)))
    assert (made.kind, list(made.parts)) == ("close", ["m4"])
    assert asked(state(written=WRITTEN, votes=voted(*FOUR)), FOUR).kind == "votes"


def test_fewer_than_a_quorum_are_no_votes() -> None:
    made = asked(state(written=WRITTEN, votes=voted("m0", "m1", "m2"), away={"m3": "", "m4": ""}))
    assert made.kind == "close"
    assert set(made.parts) == {"m3", "m4"}


# --- what is taken ---


def received(body: bytes, name: str = "m1", *, written: Written | None = WRITTEN) -> list[Event]:
    reply = Reply(kind="ok", name=name, asked=OTHER, body=body)
    return stage.receive(state(written=written), 7, ROSTER, name, reply)


def test_a_member_s_own_vote_is_taken() -> None:
    body = VOTES["m1"].encode()
    assert received(body) == [Event("vote", "m1", body)]


def test_what_the_writer_wrote_is_taken_with_its_vote() -> None:
    assert received(WRITTEN.encode(), "m0", written=None) == [Event("written", "m0", WRITTEN.encode())]


@pytest.mark.parametrize(
    "vote",
    [
        by("m1", ReleaseVote(run=8, name="m1", release=SEED)),
        by("m1", ReleaseVote(run=7, name="m2", release=SEED)),
        by("m2", ReleaseVote(run=7, name="m1", release=SEED)),
        by("m2", ReleaseVote(run=7, name="m2", release=SEED)),
    ],
    ids=["another run", "another's name", "another's key", "another's vote"],
)
@pytest.mark.parametrize("writing", [True, False], ids=["written", "vote"])
def test_a_vote_of_another_run_or_member_does_not_count(vote: Signed, *, writing: bool) -> None:
    body = Written(sealed=b"sealed", vote=vote).encode() if writing else vote.encode()
    with pytest.raises(ProtocolError):
        received(body, written=None if writing else WRITTEN)


# --- when it is over ---

ASKED = Ask(Kind.CLOSE, dict.fromkeys(("m1", "m2", "m3", "m4"), (b"", b"")))


def finished(votes: tuple[str, ...], away: dict[str, str]) -> list[Event]:
    return stage.finish(state(written=WRITTEN, votes=voted(*votes), away=away), ASKED, PLAN, ROSTER)


def test_what_only_its_writer_signed_is_thrown_away() -> None:
    """By more than may lie; a refusal for whatever reason is one, silence is none."""
    away = dict.fromkeys(ALL[1 : 2 + PLAN.colluders], "release: it differs")
    away |= dict.fromkeys(ALL[2 + PLAN.colluders :], "no answer")
    assert finished(("m0",), away) == [Event("unwritten", "m0", b"")]
    away["m1"] = "size: too long"
    assert finished(("m0",), away) == [Event("unwritten", "m0", b"")]
    away["m1"] = "no answer"
    with pytest.raises(CohortError):
        finished(("m0",), away)


def test_a_writer_whose_release_some_cannot_open_is_named() -> None:
    away = dict.fromkeys(ALL[-1 - PLAN.colluders :], "release: it is not sealed to this member")
    votes = tuple(name for name in ALL if name not in away)
    with pytest.raises(CohortError, match="refuse the release that m0 wrote") as stopped:
        finished(votes, away)
    assert "--without m0" in stopped.value.remedy


def test_nothing_is_thrown_away_while_a_member_may_still_sign() -> None:
    """It needs older sums first."""
    assert finished(("m0",), {"m1": "release: it differs"}) == []
    assert finished(("m0",), dict.fromkeys(("m1", "m2"), "release: it differs")) == []
    assert finished(("m0", "m1"), dict.fromkeys(("m2", "m3"), "release: it differs")) == []
    assert finished(("m0", "m1"), {"m2": "release: it differs"}) == []


@pytest.mark.parametrize(
    ("votes", "away"),
    [
        (("m0",), dict.fromkeys(ALL[1:], "no answer")),
        (("m0", "m1"), {"m2": "release: it differs", "m3": "no answer", "m4": "no answer"}),
        (("m0", "m1", "m2"), {"m3": "release: it differs", "m4": "no answer"}),
    ],
    ids=["nobody answered", "two signed", "one too few"],
)
def test_fewer_than_a_quorum_stop_the_run(votes: tuple[str, ...], away: dict[str, str]) -> None:
    with pytest.raises(CohortError, match=f"Only {len(votes)} of 5 members signed"):
        finished(votes, away)


def test_who_has_signed_refuses_nothing_whatever_it_refused_before() -> None:
    """A member that was away for a round is asked to sign all the same."""
    away = dict.fromkeys(("m1", "m2"), "budget: not that round") | dict.fromkeys(("m3", "m4"), "no answer")
    with pytest.raises(CohortError, match="Only 3 of 5 members signed"):
        finished(("m0", "m1", "m2"), away)


def test_a_quorum_is_enough_whoever_refuses() -> None:
    """In a larger consortium, more than may lie can refuse beside it."""
    seven = tuple(f"m{i}" for i in range(7))
    roster = changed(ROSTER, members=tuple(changed(ROSTER.members[0], name=name) for name in seven))
    votes, away = dict.fromkeys(seven[:5], VOTES["m0"]), dict.fromkeys(seven[5:], "release: it differs")
    closed = Ask(Kind.CLOSE, dict.fromkeys(seven[1:], (b"", b"")))
    assert stage.finish(state(written=WRITTEN, votes=votes, away=away), closed, PLAN, roster) == []


def test_a_quorum_is_enough() -> None:
    assert finished(FOUR, {"m4": "release: it differs"}) == []
    assert finished(ALL, {}) == []

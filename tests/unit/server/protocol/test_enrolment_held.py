"""A roster that is there: whom it is given to, and what members give back of one that was lost."""

from typing import Any

import pytest

from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Certificate
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Kind
from support.enrolling import NODE, NODES, answer, called, close, give, given, honest, machine, refusal, until
from support.joining import ROSTER, certificate
from support.parties import ALL, FOUR, OTHER, PEOPLE, STRANGER, changed


def test_a_roster_that_is_there_is_only_given_out_unless_another_is_wanted() -> None:
    made = machine(held=False)
    given(made, ROSTER)
    ask = made.ask()
    assert ask is not None
    assert (ask.kind, set(ask.parts)) == ("certify", set(NODES))
    for node in ask.parts:
        give(made, ask, node, honest(ask, node))
    assert close(made, ask) == []
    assert made.ask() is None
    wanted = machine(wanted=True, held=False)
    given(wanted, ROSTER)
    ask = wanted.ask()
    assert ask is not None
    assert ask.kind == "held", "a later one may have been lost"
    for node in ask.parts:
        give(wanted, ask, node, honest(ask, node))
    assert close(wanted, ask) == []
    ask = wanted.ask()
    assert ask is not None
    assert ask.kind == "certify", "whoever lacks the one before could not sign the next"
    until(wanted, "propose")
    assert (called(wanted).number, called(wanted).predecessor) == (4, ROSTER.hash())
    ask = until(wanted, "certify")
    assert wanted.state.roster is not None
    assert wanted.state.roster.number == 4
    for node in ask.parts:
        give(wanted, ask, node, honest(ask, node))
    assert close(wanted, ask) == []
    assert wanted.ask() is None, "one was made: it is not begun again"


def test_a_roster_is_given_to_who_is_there_and_again_after_a_void() -> None:
    """Whose answer was not its own has not taken it."""
    made = machine([Node(NODE[name], name) for name in ALL[1:]], wanted=True)
    assert made.seats() == {}
    given(made, ROSTER)
    ask = made.ask()
    assert ask is not None
    assert (ask.kind, set(ask.parts)) == ("certify", {"nm1", "nm2", "nm3", "nm4"})
    give(made, ask, "nm1", honest(ask, "nm1"))
    give(made, ask, "nm2", answer(ask, "nm2", who=PEOPLE["m3"]))
    give(made, ask, "nm3", answer(ask, "nm3", who=STRANGER))
    give(made, ask, "nm4", None)
    close(made, ask)
    ask = until(made, "propose")
    give(made, ask, "nm1", refusal(ask, "nm1", "void"))
    close(made, ask)
    ask = made.ask()
    assert ask is not None
    assert (ask.kind, set(ask.parts)) == ("certify", {"nm2", "nm3", "nm4"})


def test_everybody_of_the_roster_before_joins_the_next() -> None:
    made = machine([Node(NODE[name], name) for name in ALL[1:]], wanted=True)
    given(made, ROSTER)
    ask = until(made, "propose")
    for node in ask.parts:
        give(made, ask, node, honest(ask, node))
    with pytest.raises(CohortError, match="m0 of the roster before did not join"):
        made.finish(ask)


LATER = changed(ROSTER, number=9)


def gave_back(*bodies: bytes, registered: bool = True) -> Enrolment:
    """A machine that lost its database, after members said what they hold, and were told of what is later."""
    made = machine([Node(node, name if registered else "") for node, name in NODES.items()], held=False)
    ask = made.ask()
    assert ask == Ask(Kind.HELD, dict.fromkeys(NODES, (b"", b"")))
    assert ask is not None
    said(made, ask, *bodies)
    if (told := made.ask()) is not None and told.kind == Kind.CERTIFY and made.state.roster is None:
        close(made, told)
        again = made.ask()
        assert again == ask, "once more: who took it counts"
        said(made, again, *bodies)
    return made


def said(made: Enrolment, ask: Ask, *bodies: bytes) -> None:
    for node, body in zip(NODES, bodies, strict=False):
        assert give(made, ask, node, answer(ask, node, body)) == []
    close(made, ask)


def test_the_latest_roster_of_ours_that_a_member_holds_comes_back() -> None:
    made = gave_back(certificate().encode(), certificate(LATER).encode(), b"", certificate(LATER).encode())
    assert made.state.roster == LATER
    assert made.state.seats == {"m4": "nm4", "m3": "nm3", "m2": "nm2", "m1": "nm1"}
    ask = made.ask()
    assert ask is not None
    assert (ask.kind, set(ask.parts)) == (
        "certify",
        {f"n{name}" for name in ALL},
    )  # m0's by its registered name


def another_s(roster: Roster, **fields: Any) -> Certificate:
    """Of a coordinator that is not ours: all that it must be."""
    theirs = changed(roster, coordinator=keys.public_bytes(STRANGER.signing))
    ours = Signed.make(STRANGER.signing, Approval(roster=theirs.hash(), name="coordinator"))
    return certificate(theirs, **{"coordinator": ours, **fields})


def test_the_first_roster_comes_back_and_the_one_that_is_there_does_not() -> None:
    first = changed(ROSTER, number=1)
    assert gave_back(*[certificate(first).encode()] * 2).state.roster == first
    assert gave_back(certificate(first).encode()).state.roster is None, (
        "one may lie, or all others have withdrawn"
    )
    made = machine(wanted=True, held=False)
    kept = given(made, LATER)
    ask = made.ask()
    assert ask is not None
    for node, body in zip(NODES, (kept, certificate(), certificate(first)), strict=False):
        give(made, ask, node, answer(ask, node, body.encode()))
    assert close(made, ask) == []
    assert made.state.certificate == kept


@pytest.mark.parametrize(
    "body",
    [
        b"",
        certificate(approvals=certificate().approvals[:-1]).encode(),
        certificate(
            coordinator=Signed.make(STRANGER.signing, Approval(roster=ROSTER.hash(), name="c"))
        ).encode(),
        certificate(changed(ROSTER, coordinator=keys.public_bytes(STRANGER.signing))).encode(),
        another_s(ROSTER).encode(),
        b"rubbish",
        changed(certificate(), roster=b"rubbish").encode(),
    ],
    ids=[
        *("none", "an approval less", "not signed by us", "signed by us in another's name"),
        *("another coordinator's", "no certificate", "of no roster"),
    ],
)
def test_no_other_comes_back(body: bytes) -> None:
    made = gave_back(body, body)
    assert made.state.roster is None
    assert made.ask() == Ask(Kind.CALL, {})


def test_only_who_answers_for_itself_gets_a_seat() -> None:
    made = machine(held=False)
    ask = made.ask()
    assert ask is not None
    body = certificate().encode()
    give(made, ask, "nm0", answer(ask, "nm0", body))
    give(made, ask, "nm1", answer(ask, "nm1", body, asked=OTHER))
    give(made, ask, "nm2", answer(ask, "nm2", body, PEOPLE["m3"]))
    give(made, ask, "nm3", answer(ask, "nm3", body, STRANGER))
    give(made, ask, "nm4", refusal(ask, "nm4", "message", body))
    close(made, ask)
    assert made.state.seats == {}, "and one who holds it is not more than may lie"


def test_an_event_of_no_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="never heard of"):
        machine().state.apply(Event("never heard of", "", b""))


# --- of a coordinator that is gone ---


def told_later(*bodies: bytes) -> Ask | None:
    """What follows, after nodes said what they hold."""
    made = machine([Node(node, name) for node, name in NODES.items()], held=False)
    ask = made.ask()
    assert ask is not None
    said(made, ask, *bodies)
    return made.ask()


def test_who_holds_an_older_roster_is_told_of_the_latest_that_another_proves() -> None:
    older, later, latest = another_s(ROSTER), another_s(LATER), another_s(changed(ROSTER, number=10))
    bodies = [each.encode() for each in (older, later, latest)]
    made = machine([Node(node, name) for node, name in NODES.items()], held=False)
    asks = made.ask()
    assert asks is not None
    said(made, asks, *bodies, b"", bodies[0])  # of nm4, nm3, nm2, nm1, nm0
    ask = made.ask()
    assert ask == Ask(Kind.CERTIFY, dict.fromkeys(("nm4", "nm3", "nm0"), (bodies[2], b"")))
    assert ask is not None
    assert give(made, ask, "nm4", honest(ask, "nm4")) == []
    assert give(made, ask, "nm3", None) == []
    assert close(made, ask) == []
    assert made.ask() == asks, "who took it says so"
    said(made, asks, *bodies)
    assert made.ask() == Ask(Kind.CALL, {}), "nobody is told twice"
    assert told_later(*bodies[::-1]) == Ask(Kind.CERTIFY, dict.fromkeys(("nm3", "nm2"), (bodies[2], b"")))


def test_a_later_roster_that_one_of_the_older_did_not_sign_proves_nothing() -> None:
    fewer = changed(LATER, members=ROSTER.members[:4], nonces=ROSTER.nonces[:4])
    forged = another_s(fewer, names=FOUR).encode()
    ask = told_later(forged, another_s(ROSTER).encode())
    assert ask == Ask(Kind.CALL, {})


def test_who_holds_ours_is_given_what_all_of_it_signed_later() -> None:
    ask = told_later(certificate().encode(), another_s(LATER).encode())
    assert ask == Ask(Kind.CERTIFY, {"nm4": (another_s(LATER).encode(), b"")})


def test_what_all_hold_is_proven_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five hundred members with the same certificate took an hour when each was proven to each."""
    asked, certified = [0], enrolment.certified

    def counting(made: Certificate, before: Roster | None) -> Roster:
        asked[0] += 1
        return certified(made, before)

    monkeypatch.setattr(enrolment, "certified", counting)
    gave_back(*[certificate().encode()] * 5)
    assert asked[0] == 1


def test_a_roster_that_is_kept_is_not_replaced_by_another_consortiums() -> None:
    """Newcomers who were members of an earlier one under the same key, with a higher number."""
    made = machine(wanted=True, held=False)
    kept = given(made, ROSTER)
    ask = made.ask()
    assert ask is not None
    fewer = changed(LATER, members=ROSTER.members[2:], nonces=ROSTER.nonces[2:])  # those who answer first
    body = certificate(fewer, names=fewer.names).encode()
    said(made, ask, *[body] * 3)
    assert made.state.certificate == kept


def test_one_member_at_two_nodes_is_one() -> None:
    made = machine([Node("a"), Node("b"), Node("c")], held=False)
    ask = made.ask()
    assert ask is not None
    body = certificate().encode()
    for node in ("a", "b"):
        give(made, ask, node, answer(ask, node, body, PEOPLE["m0"]))
    close(made, ask)
    assert made.state.roster is None


def test_what_one_holds_alone_is_not_taken_for_what_two_hold() -> None:
    older, later = certificate().encode(), certificate(LATER).encode()
    assert gave_back(older, later, older).state.roster == ROSTER


@pytest.mark.parametrize("turned", [False, True])
def test_of_two_rosters_that_enough_hold_the_later_comes_back(*, turned: bool) -> None:
    older, later = certificate().encode(), certificate(LATER).encode()
    bodies = (later, later, older, older) if turned else (older, older, later, later)
    assert gave_back(*bodies).state.roster == LATER

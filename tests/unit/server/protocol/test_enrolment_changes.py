"""A roster that changes, at the coordinator: who is called, who goes, whose node is whose, who is led where."""

from collections.abc import Sequence
from typing import Any

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.server.protocol.calls import Calls, said
from fedrepay.server.protocol.enrolled import Enrolled, Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Call, Certificate, Joining
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Revoked
from fedrepay.shared.trust.succession import Leaving, Rotation
from fedrepay.shared.trust.wire import Kind
from support.enrolling import NODE, NODES, RELEASED, answer, close, give, given, honest, joins, refusal, until
from support.joining import NONCES, ROSTER, certificate
from support.parties import KEY, OTHER, PEOPLE, SEED, STRANGER, by, changed

OUT = Revoked(name="m4", reason="why")
EVERYBODY = tuple(Node(node, name) for node, name in NODES.items())


def left(of: str, /, signer: str = "", **fields: Any) -> Signed:
    return by(signer or of, changed(Leaving(roster=ROSTER.hash(), name=of), **fields))


def changing(
    leaving: Sequence[Signed] = (),
    revoked: Sequence[Revoked] = (),
    nodes: Sequence[Node] = EVERYBODY,
    *,
    wanted: bool = True,
) -> Enrolment:
    """The machine that has the first roster, and the certificate given to all."""
    made = Enrolment(KEY, nodes, wanted=wanted, released=RELEASED, leaving=leaving, revoked=revoked)
    made._asked_held = True
    given(made, ROSTER)
    return made


def state() -> Enrolled:
    made = Enrolled()
    made.apply(Event("roster", "", certificate().encode()))
    return made


# --- the call ---


@pytest.mark.parametrize(
    ("leaving", "revoked", "wanted"),
    [
        ([left("m4"), left("m0")], [], (("m0", "m4"), ())),
        ([left("m4")], [OUT], ((), ("m4",))),
        ([left("m4"), left("m4")], [], (("m4",), ())),
        ([left("m4", roster=OTHER), left("m3", "m2"), left("m9", "m1"), by("m1", OUT)], [], ((), ())),
        ([], [Revoked(name="m3"), OUT, Revoked(name="m1")], ((), ("m1", "m3", "m4"))),
        ([], [Revoked(name="m9")], ((), ())),
    ],
    ids=[
        "both, in order",
        "revoked goes first",
        "once",
        "other rosters', forged, no leaving",
        "in order",
        "gone",
    ],
)
def test_a_call_says_who_goes_of_the_roster_before(
    leaving: list[Signed], revoked: list[Revoked], wanted: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    signed = Calls(KEY, RELEASED, leaving, revoked).make(state(), 5)
    call = signed.verified(ROSTER.coordinator, Call)
    names = tuple(Leaving.decode(each.body).name for each in call.leaving)
    assert (names, tuple(each.name for each in call.revoked)) == wanted
    assert said(signed) == (call.leaving, call.revoked)
    assert (call.number, call.predecessor, call.released, call.release) == (4, ROSTER.hash(), *RELEASED)


def test_where_members_hold_another_roster_they_can_tell_who_is_in_it() -> None:
    lost = state()
    lost.apply(Event("before", "nm0", OTHER))
    calls = Calls(KEY, RELEASED, [left("m4"), left("m9", "m1", roster=OTHER)], [Revoked(name="m8")])
    leaving, revoked = calls.going(lost)
    assert (leaving, revoked) == ((left("m9", "m1", roster=OTHER),), (Revoked(name="m8"),))


# --- who is asked ---


def test_who_goes_is_not_asked_and_stops_nothing() -> None:
    made = changing([left("m3")], [OUT])
    ask = until(made, "propose")
    assert set(ask.parts) == {"nm0", "nm1", "nm2"}
    until(made, "certify")
    assert made.state.roster is not None
    assert (made.state.roster.names, made.state.roster.revoked) == (("m0", "m1", "m2"), (OUT,))
    kept = made.state.certificate
    assert kept is not None
    assert (kept.leaving, kept.rotations) == ((left("m3"),), ())
    assert made.seats() == {name: NODE[name] for name in ("m0", "m1", "m2")}


def test_two_are_no_consortium_whoever_goes() -> None:
    made = changing([left("m2"), left("m3")], [OUT])
    ask = until(made, "propose")
    for node in ask.parts:
        give(made, ask, node, honest(ask, node))
    with pytest.raises(CohortError, match="2 nodes are online"):
        made.finish(ask)


def test_other_wishes_void_what_waits_also_where_somebody_has_signed_it() -> None:
    first = changing()
    ask = until(first, "approve")
    for node in ("nm0", "nm1"):
        give(first, ask, node, honest(ask, node))
    for leaving, revoked in (([], [OUT]), ([left("m4")], [])):
        other = changing(leaving, revoked)
        other.state = first.state
        assert other.ask() == Ask(Kind.VOID, {})
    same = changing()
    same.state = first.state
    again = same.ask()
    assert again is not None
    assert again.kind == "approve", "control"
    idle = changing([], [OUT], wanted=False)
    idle.state = first.state
    again = idle.ask()
    assert again is not None
    assert again.kind == "approve", "nobody wants another: it is brought to its end"


def test_a_member_that_was_revoked_is_asked_to_join_none_as_long_as_it_is_barred() -> None:
    nodes = (*EVERYBODY, Node("nm9", "m9"))
    made = changing([], [Revoked(name="m9")], nodes)
    assert set(until(made, "propose").parts) == set(NODES)
    free = changing([], [], nodes)
    ask = until(free, "propose")
    assert set(ask.parts) == {*NODES, "nm9"}, "control"
    give(free, ask, "nm9", joins(ask, "nm9", STRANGER))
    barred = changing([], [Revoked(name="m9")], nodes)
    barred.state = free.state
    assert barred.ask() == Ask(Kind.VOID, {})


def test_a_newcomer_that_has_left_is_left_out_and_a_member_of_the_roster_is_not() -> None:
    made = changing(nodes=(*EVERYBODY, Node("nm9", "m9")))
    ask = until(made, "propose")
    for node in NODES:
        give(made, ask, node, honest(ask, node))
    give(made, ask, "nm9", refusal(ask, "nm0", "roster"))
    assert [event.kind for event in close(made, ask)] == ["proposal"]
    made = changing()
    ask = until(made, "propose")
    for node in ask.parts:
        give(made, ask, node, refusal(ask, node, "roster") if node == "nm4" else honest(ask, node))
    with pytest.raises(CohortError, match="m4: roster: because"):
        made.finish(ask)


# --- keys ---

RENEWED = Identity("m1", STRANGER.signing, STRANGER.sealing, b"")


def renewing(ask: Ask, signer: str, **fields: Any) -> Signed:
    rotation = Rotation(roster=ROSTER.hash(), name="m1", signing=keys.public_bytes(STRANGER.signing))
    joining = Joining(
        call=Signed.decode(ask.parts["nm1"][0]).digest(),
        entry=RENEWED.entry(),
        commitment=enrolment.commitment(NONCES["m1"], "m1"),
        rotation=by(signer, changed(rotation, **fields)) if signer else None,
    )
    return answer(ask, "nm1", Signed.make(RENEWED.signing, joining).encode(), RENEWED)


def test_a_key_that_changes_is_taken_with_the_old_ones_word_and_not_without() -> None:
    made = changing()
    ask = until(made, "propose")
    for wrong in (renewing(ask, ""), renewing(ask, "m2"), renewing(ask, "m1", roster=OTHER)):
        assert give(made, ask, "nm1", wrong) == []
    assert [event.kind for event in give(made, ask, "nm1", renewing(ask, "m1"))] == ["joining"]
    lost = changing()
    lost.state.apply(Event("before", "nm0", SEED))
    ask = until(lost, "propose")
    assert give(lost, ask, "nm1", renewing(ask, "m1", roster=SEED)), "members hold another: they can tell"


def test_who_changes_its_key_in_a_first_roster_is_named_when_it_joins() -> None:
    made = Enrolment(KEY, EVERYBODY, wanted=False, released=RELEASED)
    made._asked_held = True
    ask = until(made, "propose")
    assert give(made, ask, "nm1", renewing(ask, "m1")) == []
    assert "m1 changes its key in a first roster" in made._away["nm1"]
    assert give(made, ask, "nm1", honest(ask, "nm1")), "control"


# --- whose node is whose ---


def test_a_registered_node_that_is_there_goes_before_a_remembered_one() -> None:
    """The roster was made where a node's id is its member's name; it is used where ids are others."""
    made = changing(wanted=False)
    assert made.seats() == NODE
    other = Enrolment(KEY, [Node("7", "m0"), Node("nm1", "m3"), Node("nm2")], wanted=False, released=RELEASED)
    other.state = made.state
    assert other.seats() == {"m0": "7", "m3": "nm1", "m2": "nm2", "m4": "nm4"}
    nobody = Enrolment(KEY, [], wanted=False, released=RELEASED)
    assert nobody.seats() == {}


# --- certificates one after the other ---


def rosters(count: int) -> list[Certificate]:
    made, before = [], ROSTER
    for number in range(4, 4 + count):
        before = changed(before, number=number, predecessor=before.hash())
        made.append(certificate(before))
    return made


def test_who_refuses_the_newest_certificate_is_given_all_from_the_oldest_on() -> None:
    made = changing(wanted=False)
    later = rosters(2)
    for each in later:
        made.state.apply(Event("roster", "", each.encode()))
    ask = made.ask()
    assert ask is not None
    assert {body for body, _ in ask.parts.values()} == {later[-1].encode()}
    for node in ask.parts:
        give(made, ask, node, refusal(ask, node, "message") if node == "nm0" else honest(ask, node))
    close(made, ask)
    shown = []
    for taken in (False, True, True):
        ask = made.ask()
        assert ask is not None
        assert set(ask.parts) == {"nm0"}
        shown.append(ask.parts["nm0"][0])
        give(made, ask, "nm0", honest(ask, "nm0") if taken else refusal(ask, "nm0", "roster"))
        close(made, ask)
    assert shown == [each.encode() for each in (certificate(), *later)]
    assert made.ask() is None


def test_who_refuses_them_all_is_let_be_and_where_there_is_one_it_is_given_once() -> None:
    for count in (0, 2):
        made = changing(wanted=False)
        for each in rosters(count):
            made.state.apply(Event("roster", "", each.encode()))
        asked = 0
        while (ask := made.ask()) is not None:
            asked += "nm0" in ask.parts
            for node in ask.parts:
                give(made, ask, node, refusal(ask, node, "roster") if node == "nm0" else honest(ask, node))
            close(made, ask)
        assert asked == (1 if count == 0 else 1 + 3)
        assert "nm0" in made._away


def test_a_certificate_is_answered_under_any_key_its_member_has_had() -> None:
    made = changing(wanted=False)
    entry = changed(PEOPLE["m1"].entry(), signing=RENEWED.entry().signing)
    members = tuple(entry if each.name == "m1" else each for each in ROSTER.members)
    later = changed(ROSTER, number=4, predecessor=ROSTER.hash(), members=members)
    made.state.apply(Event("roster", "", certificate(later).encode()))
    ask = made.ask()
    assert ask is not None
    give(made, ask, "nm1", answer(ask, "nm1", who=PEOPLE["m2"]))
    assert "not its member's own" in made._away.pop("nm1")
    for who in (PEOPLE["m1"], RENEWED):
        made._away.clear()
        give(made, ask, "nm1", answer(ask, "nm1", who=who))
        assert made._away == {}

"""A roster's making at the coordinator: what is asked of which node, and whose answer counts."""

from typing import Any

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.state import Ask
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, WordsError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Joining, Proposal, Revealed
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, Reply
from support.enrolling import (
    MIRRORED,
    NODE,
    NODES,
    RELEASED,
    answer,
    called,
    close,
    give,
    given,
    honest,
    joins,
    machine,
    machine_ask,
    until,
)
from support.joining import NONCES, ROSTER
from support.parties import ALL, OTHER, PEOPLE, STRANGER, changed

# --- the honest road ---


def test_a_roster_is_called_for_proposed_revealed_approved_and_given_to_all() -> None:
    made = machine()
    assert made.ask() == Ask(Kind.CALL, {})
    ask = until(made, "propose")
    call = called(made)
    assert (call.number, call.predecessor) == (1, enrolment.FIRST)
    assert (call.released, call.release) == RELEASED
    assert made.state.call is not None
    assert made.state.call.verified(ROSTER.coordinator, Call) == call
    assert dict(ask.parts) == dict.fromkeys(NODES, (made.state.call.encode(), b""))
    ask = until(made, "reveal")
    names = [Joining.decode(each.body).entry.name for each in Proposal.decode(ask.parts["nm0"][0]).joinings]
    assert (names, list(ask.parts)) == (list(ALL), list(NODES))
    ask = until(made, "approve")
    until(made, "certify")
    assert made.state.certificate is not None
    roster = enrolment.certified(made.state.certificate, None)
    assert (roster.names, roster.nonces, roster.number) == (ALL, tuple(NONCES.values()), 1)
    assert made.state.roster == roster
    assert made.state.seats == NODE
    ask = until(made, "certify")
    assert dict(ask.parts) == dict.fromkeys(NODE.values(), (made.state.certificate.encode(), b""))
    for node in ("nm0", "nm1"):
        assert give(made, ask, node, honest(ask, node)) == []
    give(made, ask, "nm2", None)
    assert close(made, ask) == []
    again = made.ask()
    assert again is not None
    assert (again.kind, set(again.parts)) == ("certify", {"nm3", "nm4"}), "nobody again who has it or is away"
    for node in again.parts:
        give(made, again, node, honest(again, node))
    assert made.ask() is None


@pytest.mark.parametrize("kind", ["propose", "reveal", "approve"])
def test_who_has_answered_is_not_asked_again(kind: str) -> None:
    made = machine()
    ask = until(made, kind)
    for node in ("nm0", "nm3"):
        assert len(give(made, ask, node, honest(ask, node))) == 1
    again = made.ask()
    assert again is not None
    assert (again.kind, set(again.parts)) == (kind, {"nm1", "nm2", "nm4"})


def test_the_order_is_the_members_whatever_their_nodes_are_called() -> None:
    made = machine([Node(node, name) for node, name in MIRRORED.items()])
    until(made, "certify")
    assert made.state.roster is not None
    assert made.state.roster.names == ("m0", "m1", "m2")
    assert made.state.seats == {name: node for node, name in MIRRORED.items()}
    assert [made.node(node) for node in MIRRORED] == list(MIRRORED)


def reopened(kind: str, answered: int, *, wanted: bool) -> Ask | None:
    """What a process asks that finds another roster half made, beside the one that is there."""
    first = machine(wanted=True)
    given(first, ROSTER)
    ask = until(first, kind)
    for node in [*ask.parts][:answered]:
        give(first, ask, node, honest(ask, node))
    made = machine(wanted=wanted)
    made.state = first.state
    return made.ask()


@pytest.mark.parametrize("kind", ["propose", "reveal", "approve"])
def test_a_roster_half_made_that_nobody_wants_any_more_is_void(kind: str) -> None:
    assert reopened(kind, 0, wanted=False) == Ask(Kind.VOID, {})
    again = reopened(kind, 0, wanted=True)
    assert again is not None
    assert again.kind == kind


def test_one_that_a_member_has_signed_is_brought_to_its_end() -> None:
    """That member takes no part under the roster before."""
    again = reopened("approve", 1, wanted=False)
    assert again is not None
    assert (again.kind, len(again.parts)) == ("approve", 5), (
        "also who had approved: people may have withdrawn"
    )


def test_no_consortium_is_of_two() -> None:
    two = machine([Node("nm0", "m0"), Node("nm1", "m1")])
    with pytest.raises(CohortError, match="2 nodes are online"):
        two.finish(Ask(Kind.CALL, {}))
    assert machine([Node(f"nm{i}", f"m{i}") for i in range(3)]).finish(Ask(Kind.CALL, {}))


# --- whose answer counts ---


@pytest.mark.parametrize("kind", ["propose", "reveal", "approve"])
def test_an_answer_is_its_member_s_own_and_to_this_message(kind: str) -> None:
    made = machine()
    ask = until(made, kind)
    right = Reply.decode(honest(ask, "nm1").body)
    m1, m2 = PEOPLE["m1"].signing, PEOPLE["m2"].signing
    wrong = [
        Signed.make(m1, changed(right, asked=OTHER)),
        Signed.make(m1, changed(right, name="m2")),
        Signed.make(m2, right),
        Signed(body=b"rubbish", signature=bytes(64)),
        Signed.make(m1, changed(right, body=b"rubbish")),
        Signed.make(m1, changed(right, body=bytes(4 << 20))),
    ]
    for each in wrong:
        assert give(made, ask, "nm1", each) == []
    for node in ask.parts:
        if node != "nm1":
            assert give(made, ask, node, honest(ask, node))
    with pytest.raises(CohortError, match="1 of 5") as stopped:
        made.finish(ask)
    assert isinstance(stopped.value, WordsError) == (kind == "approve")


def test_an_answer_longer_than_any_can_be_is_not_read() -> None:
    made = machine(held=False)
    ask = made.ask()
    assert ask is not None
    most = (4 << 20) - len(answer(ask, "nm0", bytes(1 << 16)).body) + (1 << 16)
    for size, cause in ((most, "not a Certificate"), (most + 1, "An answer of 4194305 bytes")):
        give(made, ask, "nm0", answer(ask, "nm0", bytes(size)))
        assert cause in made._away["nm0"]


@pytest.mark.parametrize(
    ("who", "fields"),
    [
        (PEOPLE["m2"], {}),
        (PEOPLE["m1"], {"sealing": bytes(32)}),
        (PEOPLE["m1"], {"name": "m2"}),
        (PEOPLE["m1"], {"signing": keys.public_bytes(PEOPLE["m2"].signing)}),
        (STRANGER, {}),
    ],
    ids=["another member", "a key of no use", "another's name", "another's key", "a stranger"],
)
def test_a_node_joins_as_the_member_it_is_registered_for(who: Identity, fields: dict[str, Any]) -> None:
    made = machine()
    ask = until(made, "propose")
    assert give(made, ask, "nm1", joins(ask, "nm1", who, **fields)) == []
    assert give(made, ask, "nm1", joins(ask, "nm1"))


def test_a_registered_node_key_is_the_member_s() -> None:
    for key, taken in ((b"key", False), (b"", True)):
        made = machine([Node("nm0", "m0", key), *(Node(NODE[name], name) for name in ALL[1:])])
        ask = until(made, "propose") if taken else machine_ask(made)
        assert bool(give(made, ask, "nm0", joins(ask, "nm0"))) == taken
        if not taken:
            assert give(made, ask, "nm0", joins(ask, "nm0", node=b"key"))


def test_a_node_of_no_registered_key_may_say_its_own() -> None:
    made = machine()
    ask = until(made, "propose")
    assert give(made, ask, "nm0", joins(ask, "nm0", node=b"key"))


def test_nobody_joins_as_the_coordinator() -> None:
    made = machine([Node(node) for node in NODES])
    ask = until(made, "propose")
    assert give(made, ask, "nm1", joins(ask, "nm1", name="coordinator")) == []


def test_without_a_register_nobody_takes_another_s_name_or_key() -> None:
    made = machine([Node(node) for node in NODES])
    ask = until(made, "propose")
    assert give(made, ask, "nm0", joins(ask, "nm0"))
    assert give(made, ask, "nm0", joins(ask, "nm0")), "the same node again"
    assert give(made, ask, "nm1", joins(ask, "nm1", PEOPLE["m0"])) == []
    namesake = Identity("m0", STRANGER.signing, STRANGER.sealing, b"")
    assert give(made, ask, "nm1", joins(ask, "nm1", namesake)) == []
    assert give(made, ask, "nm1", joins(ask, "nm1", PEOPLE["m0"], name="m1")) == []
    assert give(made, ask, "nm1", joins(ask, "nm1"))


def test_a_nonce_is_the_committed_one_for_this_proposal() -> None:
    made = machine()
    ask = until(made, "reveal")
    proposal = keys.digest(ask.parts["nm1"][0])
    for fields in ({"proposal": OTHER}, {"nonce": OTHER}):
        said = changed(Revealed(proposal=proposal, name="m1", nonce=NONCES["m1"]), **fields)
        body = Signed.make(PEOPLE["m1"].signing, said).encode()
        assert give(made, ask, "nm1", answer(ask, "nm1", body)) == []


def test_an_approval_is_of_the_proposed_roster() -> None:
    made = machine()
    ask = until(made, "approve")
    body = Signed.make(PEOPLE["m1"].signing, Approval(roster=OTHER, name="m1")).encode()
    assert give(made, ask, "nm1", answer(ask, "nm1", body)) == []

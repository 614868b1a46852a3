"""A roster's making at the coordinator: what is asked of which node, whose answer counts, and when it stops."""

from collections.abc import Sequence
from typing import Any

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import AGAIN, Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, WordsError
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Certificate, Joining, Proposal, Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Kind, Reply, asked
from support.joining import NONCES, ROSTER, certificate
from support.parties import ALL, KEY, OTHER, PEOPLE, SEED, STRANGER, changed, told

NODES = {f"n{name}": name for name in reversed(ALL)}  # in another order than their members
NODE = {name: node for node, name in NODES.items()}
MIRRORED = {"z": "m0", "y": "m1", "x": "m2"}  # nodes whose order is not their members'
WHO = NODES | MIRRORED
RELEASED = (5, SEED)


def machine(nodes: Sequence[Node] | None = None, *, wanted: bool = False, held: bool = True) -> Enrolment:
    """After everybody has said that it holds no roster, unless told otherwise."""
    each = [Node(node, name) for node, name in NODES.items()] if nodes is None else nodes
    made = Enrolment(KEY, each, wanted=wanted, released=RELEASED)
    if held:
        made._asked_held = True
    return made


def answer(ask: Ask, node: str, body: bytes = b"", who: Identity | None = None, **fields: Any) -> Signed:
    """Of the member at a node, signed by it."""
    identity = who or PEOPLE[WHO[node]]
    said = {"kind": "ok", "name": identity.name, "asked": asked(ask.kind, *ask.parts[node]), "body": body}
    return Signed.make(identity.signing, Reply.model_validate(said | fields))


def refusal(ask: Ask, node: str, code: str, body: bytes = b"") -> Signed:
    return answer(ask, node, body, kind="refused", code=code, cause="because")


def joins(ask: Ask, at: str, who: Identity | None = None, /, **fields: Any) -> Signed:
    identity = who or PEOPLE[WHO[at]]
    call = Signed.decode(ask.parts[at][0]).digest()
    entry = changed(identity.entry(), **fields)
    commitment = enrolment.commitment(NONCES.get(identity.name, OTHER), identity.name)
    joining = Joining(call=call, entry=entry, commitment=commitment)
    signed = Signed.make(identity.signing, joining)
    return answer(ask, at, signed.encode(), identity, name=entry.name)


def honest(ask: Ask, node: str) -> Signed:
    """What an honest member answers, its people's approval included."""
    name, shared = WHO[node], ask.parts[node][0]
    if ask.kind == "propose":
        return joins(ask, node)
    if ask.kind == "reveal":
        said = Revealed(proposal=keys.digest(shared), name=name, nonce=NONCES[name])
        return answer(ask, node, Signed.make(PEOPLE[name].signing, said).encode())
    if ask.kind == "approve":
        message = Reveals.decode(shared)
        roster = enrolment.roster_of(message.proposal, message.revealed)
        approval = Approval(roster=roster.hash(), name=name)
        return answer(ask, node, Signed.make(PEOPLE[name].signing, approval).encode())
    return answer(ask, node)


def give(made: Enrolment, ask: Ask, node: str, signed: Signed | None) -> list[Event]:
    events = made.receive(ask, node, signed)
    for event in events:
        made.state.apply(event)
    return events


def close(made: Enrolment, ask: Ask) -> list[Event]:
    events = made.finish(ask)
    for event in events:
        made.state.apply(event)
    return events


def until(made: Enrolment, kind: str) -> Ask:
    """Go on honestly until this is asked."""
    for _ in range(20):  # more than any road takes
        ask = made.ask()
        if ask is None:
            break
        if ask.kind == kind:
            return ask
        for node in ask.parts:
            give(made, ask, node, honest(ask, node))
        close(made, ask)
    raise AssertionError(kind)


def called(made: Enrolment) -> Call:
    assert made.state.call is not None
    return Call.decode(made.state.call.body)


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


def machine_ask(made: Enrolment) -> Ask:
    close(made, Ask(Kind.CALL, {}))
    ask = made.ask()
    assert ask is not None
    return ask


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


# --- what voids a proposal ---


@pytest.mark.parametrize("kind", ["propose", "reveal"])
def test_a_void_nonce_begins_another_proposal_a_few_times(kind: str) -> None:
    made = machine()
    for _ in range(AGAIN - 1):
        ask = until(made, kind)
        for node in ask.parts:
            give(made, ask, node, refusal(ask, node, "void") if node == "nm1" else honest(ask, node))
        assert close(made, ask) == [Event("void", "", b"")]
        assert made.ask() == Ask(Kind.CALL, {})
    ask = until(made, kind)
    give(made, ask, "nm1", refusal(ask, "nm1", "void"))
    with pytest.raises(CohortError, match="void: because"):
        made.finish(ask)


def test_another_refusal_stops_it_and_says_why() -> None:
    made = machine()
    ask = until(made, "reveal")
    for node in ask.parts:
        give(made, ask, node, refusal(ask, node, "roster") if node == "nm1" else honest(ask, node))
    with pytest.raises(CohortError, match=r"\(reveal\) lacks 1 of 5 nodes: m1: roster: because"):
        made.finish(ask)


def test_the_predecessor_is_the_one_that_most_hold() -> None:
    made = machine()
    ask = until(made, "reveal")
    for node, known in zip(ask.parts, (SEED, OTHER, SEED, b"short", SEED), strict=True):
        events = give(made, ask, node, refusal(ask, node, "roster", known))
        assert events == ([] if known == b"short" else [Event("before", node, known)])
    assert close(made, ask) == [Event("void", "", b"")]
    until(made, "propose")
    assert called(made).predecessor == SEED


def numbered(*numbers: bytes) -> int:
    """The next number called for, after members said that they have signed these."""
    made = machine()
    ask = until(made, "propose")
    for node, number in zip(ask.parts, numbers, strict=False):
        give(made, ask, node, refusal(ask, node, "number", number))
    close(made, ask)
    until(made, "propose")
    return called(made).number


def test_a_number_is_believed_if_more_say_it_than_may_lie_or_our_signature_proves_it() -> None:
    far, near = (2**31 - 2).to_bytes(4, "big"), (8).to_bytes(4, "big")
    assert numbered(far) == 2  # another one than the last, whose nonces are void
    assert numbered(far, near) == 9
    proof = told(changed(Call.model_validate(dict(CALLED)), number=40)).encode()
    assert numbered(far + proof) == 41
    forged = Signed.make(STRANGER.signing, changed(CALLED, number=40)).encode()
    assert numbered(near + forged) == 2


CALLED = Call(number=3, coordinator=ROSTER.coordinator, predecessor=OTHER, released=0, release=OTHER)


def test_a_proposal_of_nodes_that_are_gone_is_void() -> None:
    made = machine()
    until(made, "reveal")
    fewer = machine([Node(NODE[name], name) for name in ALL[1:]])
    fewer.state = made.state
    assert fewer.ask() == Ask(Kind.VOID, {})
    assert close(fewer, Ask(Kind.VOID, {})) == [Event("void", "", b"")]


def test_a_node_that_is_gone_before_all_have_joined_voids_nothing() -> None:
    made = machine()
    ask = until(made, "propose")
    give(made, ask, "nm0", honest(ask, "nm0"))
    fewer = machine([Node(NODE[name], name) for name in ALL[1:]])
    fewer.state = made.state
    again = fewer.ask()
    assert again is not None
    assert (again.kind, len(again.parts)) == ("propose", 4)


# --- a roster that is there ---


def given(made: Enrolment, roster: Roster, names: tuple[str, ...] = ALL) -> Certificate:
    """The machine's database holds a roster of members at their nodes."""
    kept = certificate(roster, names)
    for name in names:
        made.state.apply(Event("seat", NODE[name], name.encode()))
    made.state.apply(Event("roster", "", kept.encode()))
    return kept


def test_a_roster_that_is_there_is_only_given_out_unless_another_is_wanted() -> None:
    made = machine(held=False)
    given(made, ROSTER)
    ask = made.ask()
    assert ask is not None
    assert ask.kind == "certify"
    wanted = machine(wanted=True, held=False)
    given(wanted, ROSTER)
    ask = wanted.ask()
    assert ask is not None
    assert ask.kind == "held", "a later one may have been lost"
    for node in ask.parts:
        give(wanted, ask, node, honest(ask, node))
    assert close(wanted, ask) == []
    until(wanted, "propose")
    assert (called(wanted).number, called(wanted).predecessor) == (4, ROSTER.hash())
    until(wanted, "certify")
    assert wanted.state.roster is not None
    assert wanted.state.roster.number == 4


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
    """A machine that lost its database, after members said what they hold."""
    made = machine([Node(node, name if registered else "") for node, name in NODES.items()], held=False)
    ask = made.ask()
    assert ask == Ask(Kind.HELD, dict.fromkeys(NODES, (b"", b"")))
    assert ask is not None
    for node, body in zip(NODES, bodies, strict=False):
        assert give(made, ask, node, answer(ask, node, body)) == []
    close(made, ask)
    return made


def test_the_latest_roster_of_ours_that_a_member_holds_comes_back() -> None:
    made = gave_back(certificate().encode(), certificate(LATER).encode(), b"", certificate().encode())
    assert made.state.roster == LATER
    assert made.state.seats == {"m4": "nm4", "m3": "nm3", "m2": "nm2", "m1": "nm1"}
    ask = made.ask()
    assert ask is not None
    assert (ask.kind, set(ask.parts)) == (
        "certify",
        {f"n{name}" for name in ALL},
    )  # m0's by its registered name


@pytest.mark.parametrize(
    "body",
    [
        b"",
        certificate(approvals=certificate().approvals[:-1]).encode(),
        certificate(
            coordinator=Signed.make(STRANGER.signing, Approval(roster=ROSTER.hash(), name="c"))
        ).encode(),
        certificate(changed(ROSTER, coordinator=keys.public_bytes(STRANGER.signing))).encode(),
    ],
    ids=["none", "an approval less", "not signed by us", "another coordinator's"],
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
    assert made.state.seats == {"m0": "nm0"}


def test_an_event_of_no_kind_is_an_error() -> None:
    with pytest.raises(ValueError, match="never heard of"):
        machine().state.apply(Event("never heard of", "", b""))

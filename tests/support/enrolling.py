"""The coordinator's machine that makes a roster, and five members who answer it: honestly, or otherwise."""

from collections.abc import Sequence
from typing import Any

from fedrepay.client.crypto.identity import Identity
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Call, Certificate, Joining, Revealed, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Kind, Reply, asked
from support.joining import NONCES, certificate
from support.parties import ALL, KEY, OTHER, PEOPLE, SEED, changed

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
    call = Signed.decode(ask.parts[at][0])
    entry = changed(identity.entry(), **fields)
    commitment = enrolment.commitment(NONCES.get(identity.name, OTHER), identity.name)
    said = Call.decode(call.body)
    joining = Joining(
        call=call.digest(),
        entry=entry,
        commitment=commitment,
        released=said.released,
        release=said.release,
    )
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


def machine_ask(made: Enrolment) -> Ask:
    close(made, Ask(Kind.CALL, {}))
    ask = made.ask()
    assert ask is not None
    return ask


def given(made: Enrolment, roster: Roster, names: tuple[str, ...] = ALL) -> Certificate:
    """The machine's database holds a roster of members at their nodes."""
    kept = certificate(roster, names)
    for name in names:
        made.state.apply(Event("seat", NODE[name], name.encode()))
    made.state.apply(Event("roster", "", kept.encode()))
    return kept

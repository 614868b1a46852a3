"""Releases handed over after their run: pulled by who was away at its end, re-sealed to who has joined since. Pure."""

from fedrepay.server.protocol.state import Ask, State
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Kind, Pulled, Reply, Resealed, Votes, asked


def pulled(state: State, run: int) -> Pulled | None:
    """What a member of that run's roster needs to keep its release; None before it is done."""
    if not state.done or state.introduction is None or state.written is None:
        return None
    return Pulled(
        number=run,
        introduction=state.introduction.encode(),
        sealed=state.written.sealed,
        votes=Votes(run=run, signed=tuple(state.votes[name] for name in sorted(state.votes))),
    )


def reseal(node: str, recipient: str) -> Ask:
    """Ask the member at a node to seal the last release to another member of the roster."""
    return Ask(Kind.RESEAL, {node: (recipient.encode(), b"")})


def resealed(ask: Ask, node: str, sender: str, roster: Roster, answer: Signed) -> bytes:
    """A signed :class:`Resealed`, as its recipient takes it; its bytes are sealed to that one.

    Args:
        ask: of :func:`reseal`.
        node: whose answer it is.
        sender: the member there.
        roster: in force.
        answer: as it came.

    Raises:
        ProtocolError: it is not this member's own, or it refuses; the cause says why.
    """
    key, (recipient, _) = roster.entry(sender).signing, ask.parts[node]
    reply = answer.verified(key, Reply)
    if (reply.name, reply.asked) != (sender, asked(ask.kind, *ask.parts[node])):
        raise ProtocolError(f"An answer at node {node} is not its member's own.", "It does not count.")
    if reply.kind != "ok":
        raise ProtocolError(f"{sender}: {reply.code}: {reply.cause}", "Ask another member of the roster.")
    said = Signed.decode(reply.body).verified(key, Resealed)
    wanted = (roster.hash(), roster.released, sender, recipient.decode())
    if (said.roster, said.number, said.sender, said.recipient) != wanted:
        raise ProtocolError(f"{sender} re-sealed something else.", "Ask another member of the roster.")
    return reply.body

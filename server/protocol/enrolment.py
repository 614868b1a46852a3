"""How a roster comes about, at the coordinator: a state machine over events, as a run's (``coordinator``). Pure.

Call → joinings → a frozen proposal → revealed nonces → approvals → the certificate, for everybody to keep. A nonce that
is void (its member was restarted) makes the proposal void: another begins, with a higher number. Asks go to Flower
nodes here: who answers there is checked against the name and key under which the operator registered the node.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.protocol.calls import Calls, said
from fedrepay.server.protocol.enrolled import Enrolled, Node, check_members
from fedrepay.server.protocol.handing import Handing, check_own
from fedrepay.server.protocol.held import Held
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared import keys
from fedrepay.shared.errors import Code, CohortError, ProtocolError
from fedrepay.shared.text import printable
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import Approval, Joining, Proposal, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Revoked
from fedrepay.shared.trust.wire import Kind, Reply, asked

LONGEST = 4 << 20
"""Bytes of an answer: a certificate of 1,500 members."""
TWICE = 2
"""So often a node's word voids a proposal that is to be approved; after that it is named."""
AGAIN = 8
"""Proposals begun in one process before it gives up."""


class Enrolment:
    """Makes a roster of the nodes that are there, and sees that its members hold it.

    Args:
        key: the coordinator's, in force.
        nodes: who is there.
        wanted: whether a roster of these nodes is to be made although there is one.
        released: number and hash of the last release.
        leaving: leavings that members have signed, of whatever roster.
        revoked: whom the operator asks the others to revoke; both count for a roster that is wanted.
        following: the coordinator's key of the next roster, where that is to be another.
    """

    def __init__(
        self,
        key: Ed25519PrivateKey,
        nodes: Sequence[Node],
        *,
        wanted: bool,
        released: tuple[int, bytes],
        leaving: Sequence[Signed] = (),
        revoked: Collection[Revoked] = (),
        following: Ed25519PrivateKey | None = None,
    ) -> None:
        self.state = Enrolled()
        self._nodes = {node.id: node for node in nodes}
        self._wanted = wanted
        self._calls = Calls(key, released, leaving, revoked, following)
        # nodes of members who leave or are revoked, and others who join nothing
        self._outside: set[str] = set()
        self._away: dict[str, str] = {}
        self._void = False  # whether an answer to the open ask voids the proposal
        self._begun = 0
        self._made = False
        self._asked_held = False
        self._held = Held(self._calls.ours, self._nodes)
        self._later: dict[str, bytes] = {}  # node → a certificate that it lacks
        self._relayed = False
        self._handing = Handing()
        self._voided = Counter[str]()  # node → proposals that it voided in this process when asked to approve
        # nodes that have approved in this process: an approval of before may have been withdrawn
        self._approved: set[str] = set()

    def node(self, target: str) -> str:
        """The node of a target of an ask: asks are to nodes."""
        return target

    def ask(self) -> Ask | None:
        """What to send next; None when there is a roster, and everybody of it who is there was given it.

        It is given anew by every process: a member whose store was set back has forgotten it.
        """
        state = self.state
        if self._later:
            return Ask(Kind.CERTIFY, {node: (body, b"") for node, body in self._later.items()})
        if not self._asked_held and (state.roster is None or self._wanted):
            return Ask(Kind.HELD, dict.fromkeys(self._nodes, (b"", b"")))
        if state.call is None:
            there = set(self._nodes) - set(self._away)
            given = None if state.roster is None else self._handing.ask(state, self.seats(), there)
            if given is None and (state.roster is None or (self._wanted and not self._made)):
                return Ask(Kind.CALL, {})
            return given
        if not self._calls.current(state.call) or not set(state.joinings if state.proposal else ()) <= set(
            self._nodes
        ):
            return Ask(
                Kind.VOID, {}
            )  # by another key than ours, or of nodes that are not there: another proposal
        if state.roster is not None and not self._wanted and not state.approvals:
            return Ask(Kind.VOID, {})  # nobody has signed it, and nobody wants it any more
        others = self._calls.going(state) != said(state.call) or self._calls.barred & set(state.joined())
        if self._wanted and others:
            return Ask(Kind.VOID, {})  # others are to go now; who has signed this one signs the next too
        if not state.proposal:
            return self._to(Kind.PROPOSE, state.joinings, state.call.encode())
        if len(state.revealed) < len(state.joinings):
            return self._to(Kind.REVEAL, state.revealed, state.proposal)
        ordered = sorted(state.joinings, key=state.member)
        reveals = Reveals(
            proposal=state.proposal, revealed=tuple(state.revealed[node] for node in ordered)
        ).encode()
        return Ask(
            Kind.APPROVE, {node: (reveals, b"") for node in state.joinings if node not in self._approved}
        )

    def seats(self) -> dict[str, str]:
        """Member → node, of the roster, as far as one knows."""
        return self.state.seated_at(self._nodes)

    def given(self) -> frozenset[str]:
        """Members that have taken the roster's certificate from this process."""
        return frozenset(self._handing.certified)

    def _to(self, kind: Kind, answered: Mapping[str, Signed], shared: bytes) -> Ask:
        nodes = self.state.joinings if kind != Kind.PROPOSE else self._joining()
        return Ask(kind, {node: (shared, b"") for node in nodes if node not in answered})

    def _going(self) -> frozenset[str]:
        """Who is to be in no roster that follows."""
        return self.state.going() | self._calls.barred

    def _joining(self) -> list[str]:
        """Nodes that are to be in the new roster."""
        going, seats = self._going(), {node: name for name, node in self.seats().items()}
        return [
            node.id
            for node in self._nodes.values()
            if (node.name or seats.get(node.id, "")) not in going and node.id not in self._outside
        ]

    def receive(self, ask: Ask, node: str, signed: Signed | None, reason: str = "no answer") -> list[Event]:
        """One node's answer; what is not its member's own counts as none."""
        if signed is None:
            self._away[node] = printable(reason)
            return []
        try:
            if len(signed.body) > LONGEST:
                raise ProtocolError(f"An answer of {len(signed.body)} bytes.", "It is not read.")
            reply = Reply.decode(signed.body)
            if ask.kind == Kind.HELD:
                if reply.kind == "ok":
                    self._held.take(node, signed, reply.body)
                return []
            if self._later:
                return []  # whether it took the later roster shows in what it signs next
            if ask.kind == Kind.PROPOSE and reply.kind == "refused":
                return self._refused(ask, node, reply)  # nobody knows its key yet
            name = self._check_sender(ask, node, signed, reply)
            if ask.kind == Kind.CERTIFY:
                last = self._handing.answered(self.state, node, name, taken=reply.kind != "refused")
                return self._refused(ask, node, reply) if last and reply.kind == "refused" else []
            if reply.kind == "refused":
                return self._refused(ask, node, reply)
            return self._take(ask, node, name, reply.body)
        except ProtocolError as error:
            self._away[node] = error.cause
            return []

    def _check_sender(self, ask: Ask, node: str, signed: Signed, reply: Reply) -> str:
        """The member's name, if the answer is its own and to this very message."""
        state = self.state
        if ask.kind == Kind.CERTIFY:
            assert state.roster is not None  # noqa: S101
            name = next(name for name, seat in self.seats().items() if seat == node)
            check_own(state, ask, node, name, signed)
            return name
        if ask.kind == Kind.PROPOSE:
            entry = Joining.decode(Signed.decode(reply.body).body).entry
            name, key = entry.name, entry.signing
        else:
            entry = Joining.decode(state.joinings[node].body).entry
            name, key = entry.name, entry.signing
        answer = signed.verified(key, Reply)
        if (answer.name, answer.asked) != (name, asked(ask.kind, *ask.parts[node])):
            raise ProtocolError(f"An answer at node {node} is not its member's own.", "It does not count.")
        return name

    def _refused(self, ask: Ask, node: str, reply: Reply) -> list[Event]:
        self._away[node] = printable(f"{reply.code}: {reply.cause}")
        newcomer = self.state.roster is not None and node not in self.seats().values()
        if ask.kind == Kind.PROPOSE and reply.code == Code.ROSTER and newcomer:
            self._outside.add(node)  # it has left an earlier roster, and has not joined anew
        if reply.code == Code.VOID:
            # restarted, it has revealed anew: it does not void twice
            self._voided[node] += ask.kind == Kind.APPROVE
            self._void = self._void or self._voided[node] < TWICE
        if reply.code == Code.NUMBER:
            self._void = True
            self._calls.numbered(node, reply.body)
        if ask.kind == Kind.REVEAL and reply.code == Code.ROSTER:
            if len(reply.body) == len(enrolment.FIRST):
                self._void = True
                return [Event("before", node, reply.body)]
            self._void = self._calls.released(node, reply.body) or self._void
        return []

    def _take(self, ask: Ask, node: str, name: str, body: bytes) -> list[Event]:
        state = self.state
        signed = Signed.decode(body)
        assert state.call is not None  # noqa: S101 - it was asked for
        if ask.kind == Kind.PROPOSE:
            joining = enrolment.joined(signed, state.call.digest())
            if not self._nodes[node].name and joining.entry.name in self._going():
                self._outside.add(node)
                return []
            state.check_joining(self._nodes[node], joining)
            return [Event("joining", node, body)]
        entry = Joining.decode(state.joinings[node].body).entry
        if ask.kind == Kind.REVEAL:
            _, joinings = enrolment.checked(state.proposal)
            joining = next(each for each in joinings if each.entry.name == name)
            enrolment.said(joining, signed, keys.digest(state.proposal), enrolment.starting(joinings))
            return [Event("revealed", node, body)]
        if signed.verified(entry.signing, Approval).roster != self.state.proposed().hash():
            raise ProtocolError(f"{name} approved another roster.", "Ask it again.")
        self._approved.add(node)
        return [] if node in state.approvals else [Event("approval", node, body)]

    def finish(self, ask: Ask, _seconds: float = 0.0, /) -> list[Event]:
        """Close an ask after all its answers were received or given up.

        Raises:
            WordsError: people have not approved the words yet.
            CohortError: a node is missing, or refuses.
        """
        state = self.state
        void, self._void = self._void, False
        if ask.kind == Kind.CALL:
            return self._call()
        if ask.kind == Kind.CERTIFY:
            self._later = {}
            return []
        if ask.kind == Kind.VOID:
            return [Event("void", "", b"")]
        if ask.kind == Kind.HELD:
            if not self._relayed:
                self._relayed, self._later = True, self._held.unknown_to()
            if self._later:
                return []  # it is given to them; then all are asked again what they hold
            self._asked_held = True
            return self._held.given_back(ask, state)
        answered: Collection[str] = {
            Kind.PROPOSE: state.joinings,
            Kind.REVEAL: state.revealed,
            Kind.APPROVE: self._approved,
        }[ask.kind]
        missing = [node for node in ask.parts if node not in answered and node not in self._outside]
        if void and self._begun < AGAIN:
            self._away = {}  # who refused, or was away, may be there for the next
            return [Event("void", "", b"")]
        if missing:
            raise self._stopped(ask, missing)
        if ask.kind == Kind.PROPOSE:
            ordered = tuple(state.joinings[node] for node in sorted(state.joinings, key=state.member))
            assert state.call is not None  # noqa: S101 - it was asked for
            check_members(len(ordered))
            proposal = Proposal(call=state.call, joinings=ordered).encode()
            return [state.frozen(proposal, ours=self._begun > 0)]
        if ask.kind == Kind.APPROVE:
            self._made, self._away = True, {}
            self._handing.anew()
            return [Event("roster", "", state.certified(self._calls.signing).encode())]
        return []

    def _call(self) -> list[Event]:
        """A new call, to whoever is there."""
        self._begun += 1
        self._approved, self._outside = set(), set()
        check_members(len(self._nodes))
        return [Event("call", "", self._calls.make(self.state, len(self._nodes)).encode())]

    def _stopped(self, ask: Ask, missing: list[str]) -> CohortError:
        return self.state.stopped(ask, [(self._called(n), self._away.get(n, "no answer")) for n in missing])

    def _called(self, node: str) -> str:
        if node in self.state.joinings:
            return self.state.member(node)
        return self._nodes[node].name or f"node {node}"

"""What the events of rosters have said, at the coordinator, and how each changes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import Code, CohortError, ProtocolError, WordsError
from fedrepay.shared.trust import enrolment, succession
from fedrepay.shared.trust.enrolment import Approval, Call, Certificate, Joining
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import COORDINATOR, Roster
from fedrepay.shared.trust.succession import Leaving
from fedrepay.shared.trust.wire import Kind


@dataclass(frozen=True)
class Node:
    """A Flower node, as the SuperLink knows it.

    Attributes:
        id: its number, as text.
        name: under which the operator registered it; empty where nobody did (a simulation).
        key: its public key (DER); empty likewise.
    """

    id: str
    name: str = ""
    key: bytes = b""


@dataclass
class Enrolled:
    """What the events of rosters have said."""

    roster: Roster | None = None
    certificate: Certificate | None = None
    certificates: list[Certificate] = field(default_factory=list)  # of all rosters, the newest last
    seats: dict[str, str] = field(default_factory=dict)  # member → node, of ``roster``
    call: Signed | None = None
    joinings: dict[str, Signed] = field(default_factory=dict)  # by node
    proposal: bytes = b""
    revealed: dict[str, Signed] = field(default_factory=dict)  # by node
    approvals: dict[str, Signed] = field(default_factory=dict)  # by node
    called: int = 0  # number of the newest call
    before: dict[str, bytes] = field(default_factory=dict)  # node → hash of the roster it says it holds
    seated: dict[str, str] = field(default_factory=dict)  # member → node, of a roster that members gave back
    resealed: dict[str, bytes] = field(
        default_factory=dict
    )  # member → the last release, sealed to it under ``roster``

    def apply(self, event: Event) -> None:
        """Take in one event.

        Raises:
            ValueError: an event of a kind this version does not know.
        """
        kind, name, body = event.kind, event.name, event.body
        if kind == "call":
            self.call, self.proposal = Signed.decode(body), b""
            self.joinings, self.revealed, self.approvals = {}, {}, {}
            self.called = Call.decode(self.call.body).number
        elif kind == "joining":
            self.joinings[name] = Signed.decode(body)
        elif kind == "proposal":
            self.proposal = body
        elif kind == "revealed":
            self.revealed[name] = Signed.decode(body)
        elif kind == "approval":
            self.approvals[name] = Signed.decode(body)
        elif kind == "before":
            self.before[name] = body
        elif kind == "void":
            self.call = None
        elif kind == "roster":
            self.certificate = Certificate.decode(body)
            self.certificates.append(self.certificate)
            self.roster, self.call = Roster.decode(self.certificate.roster), None
            self.seats = self.seated or {self.member(node): node for node in self.joinings}
            self.before, self.seated, self.resealed = {}, {}, {}
        elif kind == "resealed":
            self.resealed[name] = body
        elif kind == "seat":
            self.seated[body.decode()] = name
        else:
            raise ValueError(kind)

    def member(self, node: str) -> str:
        """The name that joined at a node."""
        return Joining.decode(self.joinings[node].body).entry.name

    def seated_at(self, nodes: Mapping[str, Node]) -> dict[str, str]:
        """Member → node, of the roster: whoever is there under its registered name, else as it was when it was made.

        A roster may be made over one transport and used over another, where a node of the same id is somebody else.
        """
        if self.roster is None:
            return {}
        registered = {node.name: node.id for node in nodes.values() if node.name in self.roster.names}
        remembered = {
            name: node
            for name, node in self.seats.items()
            if node not in nodes or nodes[node].name in ("", name)
        }
        return remembered | registered

    def joined(self) -> list[str]:
        """Who has joined."""
        return [self.member(node) for node in self.joinings]

    def proposed(self) -> Roster:
        """The roster that waits for approvals."""
        ordered = sorted(self.joinings, key=self.member)
        return enrolment.roster_of(self.proposal, [self.revealed[node] for node in ordered])

    def certified(self, key: Ed25519PrivateKey) -> Certificate:
        """The proposed roster's certificate, once everybody has approved it; the coordinator signs with the key it names."""
        roster = self.proposed()
        call, joinings = enrolment.checked(self.proposal)
        return Certificate(
            roster=roster.encode(),
            approvals=tuple(self.approvals.values()),
            coordinator=Signed.make(key, Approval(roster=roster.hash(), name=COORDINATOR)),
            leaving=call.leaving,
            rotations=enrolment.rotations(joinings),
        )

    def stopped(self, ask: Ask, missing: Sequence[tuple[str, str]]) -> CohortError:
        """Why a roster's making stops at this ask, and what to do.

        Args:
            ask: which was not answered by all.
            missing: who did not, and what it said.
        """
        plain = [each for each in missing if each[1].startswith(Code.ROSTER)]
        first = [
            *(each for each in missing if each not in plain),
            *plain,
        ]  # who says something else is not hidden
        reasons = "; ".join(f"{name}: {reason}" for name, reason in first[:5])
        if ask.kind == Kind.APPROVE:
            return WordsError(
                f"{len(missing)} of {len(self.joinings)} members have not approved the roster's words: "
                f"{self.proposed().code()}. {reasons}",
                "People at the members compare the words among themselves, by telephone, not with you; each runs "
                "`fedrepay member approve-roster`. Then the same command goes on.",
            )
        return CohortError(
            f"The roster ({ask.kind}) lacks {len(missing)} of {len(ask.parts)} nodes: {reasons}.",
            "Bring them back, or stop the node of whoever is at fault; then the same command goes on.",
        )

    def going(self) -> frozenset[str]:
        """Who leaves or is revoked by the open call."""
        if self.call is None:
            return frozenset()
        call = Call.decode_once(self.call.body)
        left = (Leaving.decode_once(each.body).name for each in call.leaving)
        return frozenset((*left, *(each.name for each in call.revoked)))

    def check_joining(self, node: Node, joining: Joining) -> None:
        """Name and node are the registered ones, nobody else has taken them, and a key of before is there or renewed.

        Raises:
            ProtocolError: otherwise; whoever takes another's name, key or place is named.
        """
        entry = joining.entry
        if entry.name == COORDINATOR:
            raise ProtocolError(f"Node {node.id} says it is the coordinator.", "Give it a name of its own.")
        if (node.name and entry.name != node.name) or (node.key and entry.node != node.key):
            raise ProtocolError(
                f"Node {node.id}, registered as {node.name!r}, says it is {entry.name!r} with another node's key.",
                "It takes another's name or place: leave it out.",
            )
        for other, signed in self.joinings.items():
            taken = Joining.decode(signed.body).entry
            if other != node.id and (taken.name == entry.name or taken.signing == entry.signing):
                raise ProtocolError(
                    f"Nodes {other} and {node.id} both say they are {entry.name!r}.",
                    "Register each node under its member's name, so that the one at fault is known.",
                )
        before = self.known_before()
        if before is not None:
            succession.check_key(entry, before, joining.rotation)
        elif self.first() and joining.rotation is not None:
            raise ProtocolError(f"{entry.name} changes its key in a first roster.", "Leave it out.")

    def first(self) -> bool:
        """Whether the open call follows no roster."""
        assert self.call is not None  # noqa: S101 - it was answered
        return Call.decode_once(self.call.body).predecessor == enrolment.FIRST

    def known_before(self) -> Roster | None:
        """The roster that the open call follows, where it is the one we know: members may hold another."""
        assert self.call is not None  # noqa: S101 - it was answered
        predecessor = Call.decode_once(self.call.body).predecessor
        return self.roster if self.roster is not None and self.roster.hash() == predecessor else None

    def frozen(self, proposal: bytes, *, ours: bool) -> Event:
        """The proposal that all have joined, or, of a process before, its end: they may say another thing now.

        Args:
            proposal: of the open call.
            ours: whether this process made the call.

        Raises:
            CohortError: as :meth:`check_old_members`.
        """
        try:
            self.check_old_members(proposal)
        except CohortError:
            if ours:
                raise
            return Event("void", "", b"")
        return Event("proposal", "", proposal)

    def check_old_members(self, proposal: bytes) -> None:
        """Everybody of the roster before must sign the next, leave or be revoked: nobody is left out by us alone.

        And enough of them hold the release that it names.

        Raises:
            CohortError: otherwise, naming them.
        """
        before = self.known_before()
        if before is None:
            if self.first():
                _stops(enrolment.check_release, proposal, None)
            return
        if lacking := sorted(set(before.names) - set(self.joined()) - self.going()):
            raise CohortError(
                f"{', '.join(lacking)} of the roster before did not join: every member of it signs the next one.",
                "Bring them back, or let them leave or be revoked; a run needs a quorum of the roster only, so train "
                "without --new-roster meanwhile.",
            )
        _stops(enrolment.check_follows, proposal, before)
        _stops(enrolment.check_release, proposal, before)


def _stops(check: Callable[[bytes, Any], None], proposal: bytes, before: Roster | None) -> None:
    try:
        check(proposal, before)
    except ProtocolError as error:
        raise CohortError(error.cause, "Then start another roster: train --new-roster.") from error


def check_members(number: int) -> None:
    """A consortium has three members or more.

    Raises:
        CohortError: these are fewer.
    """
    if number < 3:
        raise CohortError(
            f"{number} nodes are online; a consortium has 3 members or more.",
            "Start the members' nodes; the same command goes on.",
        )

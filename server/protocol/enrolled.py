"""What the events of rosters have said, at the coordinator, and how each changes it."""

from dataclasses import dataclass, field

from fedrepay.server.protocol.state import Event
from fedrepay.shared.trust.enrolment import Call, Certificate, Joining
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster


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
    seats: dict[str, str] = field(default_factory=dict)  # member → node, of ``roster``
    call: Signed | None = None
    joinings: dict[str, Signed] = field(default_factory=dict)  # by node
    proposal: bytes = b""
    revealed: dict[str, Signed] = field(default_factory=dict)  # by node
    approvals: dict[str, Signed] = field(default_factory=dict)  # by node
    called: int = 0  # number of the newest call
    before: dict[str, bytes] = field(default_factory=dict)  # node → hash of the roster it says it holds
    seated: dict[str, str] = field(default_factory=dict)  # member → node, of a roster that members gave back

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
            self.roster, self.call = Roster.decode(self.certificate.roster), None
            self.seats = self.seated or {self.member(node): node for node in self.joinings}
            self.before, self.seated = {}, {}
        elif kind == "seat":
            self.seated[body.decode()] = name
        else:
            raise ValueError(kind)

    def member(self, node: str) -> str:
        """The name that joined at a node."""
        return Joining.decode(self.joinings[node].body).entry.name

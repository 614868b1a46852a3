"""Members that are in no roster yet, and a coordinator played by hand: a roster's making, one message at a time."""

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.identity import Identity, Keyring
from fedrepay.client.learning.contribution import Rows
from fedrepay.client.protocol.member import Member
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask
from fedrepay.shared import keys
from fedrepay.shared.errors import WordsError
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust import enrolment
from fedrepay.shared.trust.enrolment import FIRST, Approval, Call, Certificate, Joining, Proposal, Reveals
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Revoked, Roster
from fedrepay.shared.trust.wire import Reply
from fedrepay.simulations.attacks.tools.adversary import answer
from support.world import SCHEMA

NAMES = ("m0", "m1", "m2", "m3")
NO_RELEASE = (0, bytes(32))


def no_rows() -> tuple[Rows, bytes]:
    """Nobody reads data to make a roster."""
    raise AssertionError("rows were read")


class Company:
    """Who would be in a roster; ``nodes`` lie where a test puts something in their place."""

    def __init__(self, folder: Path, names: Sequence[str] = NAMES) -> None:
        self.folder, self.names = folder, tuple(names)
        self.stopped: set[str] = set()
        self.key = Ed25519PrivateKey.generate()
        self.identities = {name: Identity.create(name) for name in self.names}
        self.book = codebook.build(SCHEMA)
        self.members = {name: self.member(name) for name in self.names}

    def store(self, name: str) -> MemberStore:
        return MemberStore(self.folder / name, lambda: 1.8e9, durable=False)

    def member(self, name: str) -> Member:
        """As it comes up from its store."""
        limits = Limits(minimum_cohort=3, epsilon_per_release=4.0, epsilon_per_year=5.0)
        keyring = Keyring(name, self.folder / name)
        return Member(
            self.identities[name],
            self.store(name),
            self.book,
            no_rows,
            limits,
            lambda: 1.8e9,
            keyring=keyring,
        )

    def add(self, name: str) -> None:
        """One more is there."""
        self.names = (*self.names, name)
        self.identities[name] = Identity.create(name)
        self.restart(name)

    def restart(self, name: str) -> None:
        self.members[name] = self.member(name)

    def roster(self, name: str) -> Roster | None:
        """The one a member takes part in."""
        stored = self.store(name).fact("roster")
        return Roster.decode(stored) if stored else None

    # --- by hand ---

    def say(self, name: str, kind: str, shared: bytes) -> Reply:
        return answer(self.members[name].handle(kind, shared, b""))

    def told(self, name: str, kind: str, shared: bytes) -> bytes:
        """What a member answers to what it takes."""
        reply = self.say(name, kind, shared)
        assert reply.kind == "ok", (name, kind, reply.code, reply.cause)
        return reply.body

    def call(
        self,
        number: int,
        predecessor: bytes = FIRST,
        released: tuple[int, bytes] = NO_RELEASE,
        leaving: Sequence[Signed] = (),
        revoked: Sequence[str] = (),
        handover: Signed | None = None,
    ) -> Signed:
        message = Call(
            number=number,
            coordinator=keys.public_bytes(self.key),
            predecessor=predecessor,
            released=released[0],
            release=released[1],
            leaving=tuple(leaving),
            revoked=tuple(Revoked(name=name) for name in revoked),
            handover=handover,
        )
        return Signed.make(self.key, message)

    def joinings(self, call: Signed, names: Sequence[str] = ()) -> list[Signed]:
        return [Signed.decode(self.told(name, "propose", call.encode())) for name in names or self.names]

    def proposal(self, call: Signed, names: Sequence[str] = ()) -> bytes:
        return Proposal(call=call, joinings=tuple(self.joinings(call, names))).encode()

    def reveals(self, proposal: bytes, names: Sequence[str] = ()) -> bytes:
        said = [Signed.decode(self.told(name, "reveal", proposal)) for name in names or self.names]
        return Reveals(proposal=proposal, revealed=tuple(said)).encode()

    def approvals(self, reveals: bytes, names: Sequence[str] = ()) -> list[Signed]:
        """People compare the words that their own member shows, and approve them."""
        chosen = names or self.names
        for name in chosen:
            self.say(name, "approve", reveals)
        (words,) = {self.members[name].shown_words() for name in chosen}
        for name in chosen:
            self.members[name].approve_roster(words)
        return [Signed.decode(self.told(name, "approve", reveals)) for name in chosen]

    def certificate(self, call: Signed, names: Sequence[str] = ()) -> Certificate:
        """Of a roster that these make, not given to anybody yet."""
        reveals = self.reveals(self.proposal(call, names), names)
        return certificate(reveals, self.approvals(reveals, names), self.key)

    def enrolled(self, number: int = 1) -> Roster:
        """The first roster, held by all."""
        made = self.certificate(self.call(number))
        for name in self.names:
            self.told(name, "certify", made.encode())
        return Roster.decode(made.roster)

    # --- by the coordinator ---

    def enrolment(
        self,
        before: Enrolment | None = None,
        *,
        wanted: bool = False,
        registered: bool = True,
        leaving: Sequence[Signed] = (),
        revoked: Sequence[Revoked] = (),
        following: Ed25519PrivateKey | None = None,
    ) -> Enrolment:
        """A process of the coordinator; ``before`` gives the database."""
        nodes = [Node(name, name if registered else "") for name in self.names]
        made = Enrolment(
            self.key,
            nodes,
            wanted=wanted,
            released=NO_RELEASE,
            leaving=leaving,
            revoked=revoked,
            following=following,
        )
        if before is not None:
            made.state = before.state
        return made

    def complete(self, machine: Enrolment) -> Roster:
        """To the end; people compare the words that they are shown, and approve them."""
        while (ask := machine.ask()) is not None:
            try:
                self.deliver(machine, ask)
            except WordsError:
                asked = [node for node in ask.parts if node not in self.stopped]
                (words,) = {self.members[node].shown_words() for node in asked}
                for node in asked:
                    self.members[node].approve_roster(words)
        assert machine.state.roster is not None
        return machine.state.roster

    def deliver(self, machine: Enrolment, ask: Ask) -> None:
        """One ask, answered and closed; nobody approves words here."""
        for node, parts in ask.parts.items():
            if node in self.stopped:
                machine.receive(ask, node, None)
                continue
            signed = Signed.decode(self.members[node].handle(ask.kind, *parts))
            for event in machine.receive(ask, node, signed):
                machine.state.apply(event)
        for event in machine.finish(ask):
            machine.state.apply(event)

    def until(self, machine: Enrolment, kind: str) -> Ask:
        """Go on until this is asked, and give it undelivered."""
        while (ask := machine.ask()) is not None:
            if ask.kind == kind:
                return ask
            self.deliver(machine, ask)
        raise AssertionError(f"{kind} is not asked")


def certificate(reveals: bytes, approvals: Sequence[Signed], key: Ed25519PrivateKey) -> Certificate:
    """What the coordinator makes of everybody's approval."""
    message = Reveals.decode(reveals)
    roster = enrolment.roster_of(message.proposal, message.revealed)
    ours = Signed.make(key, Approval(roster=roster.hash(), name="coordinator"))
    call, joinings = enrolment.checked(message.proposal)
    return Certificate(
        roster=roster.encode(),
        approvals=tuple(approvals),
        coordinator=ours,
        leaving=call.leaving,
        rotations=enrolment.rotations(joinings),
    )


def joining_of(signed: Signed) -> Joining:
    """What a joining says."""
    return Joining.decode(signed.body)

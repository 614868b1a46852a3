"""A consortium with its operator's commands: members, coordinator's disk, and a wire on which members may lie.

What the operator and people at the members can do, each as one method: ``train``, ``abandon``, ``approve``, ``restart``
of a member. Encryption is the fault worlds' stand-in, unless asked for: the remedies are of the state machines.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import session as client_session
from fedrepay.client.protocol.member import Member
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.server.keyring import load_key
from fedrepay.server.network import runs
from fedrepay.server.network.app import Answer, Machine, carry
from fedrepay.server.network.runs import RunWishes
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.state import Ask, State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, FedrepayError, ProtocolError
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply, asked
from fedrepay.simulations.run.world import SCHEMA, rows
from support.faultworld import standin
from support.faultworld.disk import Disk, FaultStore

ASKS = 400  # of one command: more, and it never comes to an end
RUN_EPSILON = 4.0


class Endless(AssertionError):
    """A command goes on asking for ever."""


@contextmanager
def unencrypted() -> Iterator[None]:
    """The stand-in cipher in the place of the real one: it adds alike, and hides nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client_session, "GroupKey", standin.Additive)
        yield


class Mind:
    """How a member answers; an honest one as its node does.

    Attributes:
        home: whose it is, once it has joined.
    """

    home: "Consortium"
    name: str

    def answer(self, kind: str, shared: bytes, own: bytes) -> bytes | None:
        """The signed reply, or None: silence."""
        return self.honest(kind, shared, own)

    def honest(self, kind: str, shared: bytes, own: bytes) -> bytes:
        """What its node says."""
        return self.home.members[self.name].handle(kind, shared, own)

    @property
    def key(self) -> Ed25519PrivateKey:
        """With which it signs."""
        return self.home.identities[self.name].signing

    def said(self, reply: bytes) -> Reply:
        """What a signed reply says."""
        return Reply.decode(Signed.decode(reply).body)

    def reply(self, to: str, shared: bytes, own: bytes, **says: object) -> bytes:
        """A signed reply of its own making to this message."""
        message = Reply.model_validate(
            {"kind": "ok", "name": self.name, "asked": asked(to, shared, own)} | says
        )
        return Signed.make(self.key, message).encode()

    def refuse(self, kind: str, shared: bytes, own: bytes, code: str, body: bytes = b"") -> bytes:
        """A refusal of its own making."""
        return self.reply(kind, shared, own, kind="refused", code=code, cause="so says a liar", body=body)


@dataclass
class Consortium:
    """K members, and an operator's command line.

    Args:
        folder: the stores'.
        size: K.
        minds: members that may lie; the others are honest.
    """

    folder: Path
    size: int = 5
    minds: dict[str, Mind] = field(default_factory=dict)
    rounds: int = 2
    year: float = 1000.0
    registered: bool = True
    first: tuple[str, ...] = ()  # whose keys have the lowest hashes, in order
    quick: bool = False  # stores in memory, one consortium at a time
    asks: list[Ask] = field(default_factory=list)
    refusals: Counter[tuple[str, str]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.names = tuple(f"m{i}" for i in range(self.size))
        self.book = codebook.build(SCHEMA)
        made = sorted(
            (Identity.create("x") for _ in self.names),
            key=lambda each: keys.key_hash(keys.public_bytes(each.signing)),
        )
        order = (*self.first, *(name for name in self.names if name not in self.first))
        self.identities = {
            name: Identity(name, each.signing, each.sealing, each.local)
            for name, each in zip(order, made, strict=True)
        }
        self.stopped: set[str] = set()
        self.operator = self.folder / "coordinator"
        self.operator.mkdir(parents=True)
        self.members: dict[str, Member] = {}
        self._memory: dict[str, MemberStore] = {}
        self._disks: dict[str, Disk] = {}
        if self.quick:
            for name in self.names:
                self.lose(name)
        for name in self.names:
            self.restart(name)
        for name in self.names:
            mind = self.minds.setdefault(name, Mind())
            mind.home, mind.name = self, name

    # --- at the members ---

    def store(self, name: str) -> MemberStore:
        """A member's state."""
        if name in self._memory:
            return self._memory[name]
        return MemberStore(self.folder / name, lambda: 1.8e9, durable=False)

    def restart(self, name: str) -> None:
        """A member comes up from its store."""
        data = (rows(self.book, int(name[1:])), bytes([int(name[1:])]) * 32)
        limits = Limits(minimum_cohort=3, epsilon_per_release=RUN_EPSILON, epsilon_per_year=self.year)
        self.members[name] = Member(
            self.identities[name], self.store(name), self.book, lambda: data, limits, lambda: 1.8e9
        )

    def lose(self, name: str) -> None:
        """A member's state is gone, its keys are not (``quick`` only)."""
        self._disks[name] = Disk(name)
        self._memory[name] = FaultStore(self._disks[name], lambda: 1.8e9, lambda _point, _moment: None)
        if name in self.members:
            self.restart(name)

    def backup(self, name: str) -> bytes:
        """A copy of a member's disk."""
        return self._disks[name].connection.serialize()

    def restore(self, name: str, copy: bytes) -> None:
        """A member comes up from such a copy."""
        disk = self._disks[name]
        disk.copies = [copy]
        disk.restore(0)
        self._memory[name] = FaultStore(disk, lambda: 1.8e9, lambda _point, _moment: None)
        self.restart(name)

    def honest(self) -> list[str]:
        """Whose node is as it was made."""
        return [name for name in self.names if type(self.minds[name]) is Mind]

    def approve(self) -> bool:
        """People at the honest members hear each other's words; False where they differ or there are none."""
        words = {self.members[name].shown_words() for name in self.honest() if name not in self.stopped}
        if len(words) != 1 or "" in words:
            return False
        (shown,) = words
        for name in self.names:
            self.members[name].approve_roster(shown)
        return True

    # --- the operator's commands ---

    @property
    def database(self) -> CoordinatorStore:
        """The coordinator's."""
        return CoordinatorStore.in_folder(self.operator, durable=False)

    def nodes(self) -> tuple[Node, ...]:
        """Who is online."""
        here = [name for name in self.names if name not in self.stopped]
        return tuple(Node(str(int(n[1:]) + 1), n if self.registered else "") for n in here)

    def train(self, *, new_run: bool = False, without: tuple[str, ...] = (), new_roster: bool = False) -> int:
        """``fedrepay coordinator train``: the number of the run that is done.

        Raises:
            FedrepayError: as the command.
        """
        wishes = RunWishes(epsilon=RUN_EPSILON, rounds=self.rounds, timeout=1.0, again=new_run)
        runs.next_run(self.operator, self.book, self.size, wishes)
        left = ASKS

        def exchange(machine: Machine, ask: Ask, _timeout: float) -> Iterator[Answer]:
            nonlocal left
            left -= 1
            if left < 0:
                raise Endless(f"{ask.kind} is asked for ever")
            self.asks.append(ask)
            for target, (shared, own) in ask.parts.items():
                name = f"m{int(machine.node(target)) - 1}"
                body = None if name in self.stopped else self.minds[name].answer(ask.kind, shared, own)
                yield target, *self._arrived(name, body)

        carry(
            self.database, load_key(self.operator), self.nodes(), exchange, without=without, again=new_roster
        )
        terms = self.database.terms()
        assert terms is not None
        return terms.run

    def _arrived(self, name: str, body: bytes | None) -> tuple[Signed | None, str]:
        if body is None:
            return None, "no answer within 1 s"
        try:
            signed = Signed.decode(body)
            reply = Reply.decode(signed.body)
        except ProtocolError as error:
            return None, error.cause
        if reply.kind == "refused":
            self.refusals[name, reply.code] += 1
        return signed, ""

    def abandon(self) -> None:
        """``fedrepay coordinator abandon``."""
        runs.abandon(self.database)

    def state(self) -> State:
        """What the events of the newest run say."""
        terms = self.database.terms()
        assert terms is not None
        return State.replayed(self.database.events(terms.run))

    # --- what must hold ---

    def check_paid(self) -> None:
        """Every upload that an honest member ever stored is charged."""
        for name in self.honest():
            store = self.store(name)
            charged = {(e.run, e.round, e.attempt) for e in store.ledger()}
            terms = self.database.terms()
            for run in range(1, 1 if terms is None else terms.run + 1):
                sent = {(run, r, a) for r, a, _, _ in store.uploads(run)}
                assert sent <= charged, f"{name} sent more than it was charged for"

    def holders(self, run: int) -> set[str]:
        """Members that hold the release of a run."""
        return {n for n in self.names if (self.store(n).release() or (0,))[0] == run}


@dataclass
class Policy:
    """An operator that knows nothing but what errors print: cause, remedy, and the names in them.

    Args:
        consortium: whose.
        steps: commands it has patience for.
    """

    consortium: Consortium
    steps: int = 16
    said: list[str] = field(default_factory=list)
    without: tuple[str, ...] = ()
    tried: set[str] = field(default_factory=set)

    def release(self, *, new_run: bool = False, new_roster: bool = False) -> int:
        """Do what the errors say until a run is done; its number.

        Raises:
            AssertionError: no remedy leads anywhere.
        """
        home = self.consortium
        for _ in range(self.steps):
            try:
                return home.train(new_run=new_run, without=self.without, new_roster=new_roster)
            except ArgumentError as error:
                if "--new-run" not in error.remedy:
                    raise
                new_run = True
                continue
            except FedrepayError as error:
                cause, remedy = error.cause, error.remedy
            again = cause in self.said[-1:]
            self.said.append(cause)
            new_run, approved = False, "approve-roster" in remedy and home.approve()
            new_roster = "--new-roster" in cause or (approved and new_roster)
            if approved:
                continue
            if "abandon" in remedy and (again or "has ended" in cause or "same command" not in remedy):
                home.abandon()
                self._leave_out(cause, remedy)
            elif "stop the node" in remedy and again:
                home.stopped |= set(accused(cause)[:1])
            elif again and self.said[-3:] == [cause] * 3:
                break  # the remedy has been followed, and followed again
        raise AssertionError("no remedy led to a release:\n" + "\n".join(self.said[-4:]))

    def _leave_out(self, cause: str, remedy: str) -> None:
        """--without whom the remedy or the error names; where it says that nobody can tell, one after the other."""
        told = re.search(r"--without (m\d+)", remedy)
        if told is not None:
            self.without = tuple(sorted({*self.without, told[1]}))
        elif "nobody can tell whose" in cause:
            self.tried |= set(self.without)
            left = [name for name in self.consortium.names if name not in self.tried]
            assert left, "everybody was left out in turn"
            self.without = (left[0],)
        elif named := accused(cause):
            self.without = tuple(sorted({*self.without, named[0]}))


def accused(cause: str) -> list[str]:
    """Members that an error accuses: whom verdicts find at fault, whom more than one name (c = 1), else who is silent."""
    found = re.search(r"its tag \(([^:]*):", cause)
    if found is not None:
        return re.findall(r"m\d+", found[1])
    votes: Counter[str] = Counter()
    said = re.findall(r"(m\d+)(?:: | says )([^;]*)", cause)
    for speaker, text in said:
        votes.update(set(re.findall(r"m\d+", text)) - {speaker})
    return [name for name, count in votes.most_common() if count > 1] or [speaker for speaker, _ in said]

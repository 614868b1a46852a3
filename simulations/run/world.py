"""A small consortium without Flower: real members, the real coordinator, and a wire one can tamper with.

The attacks on a live consortium and the tests of the protocol run on it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.learning.contribution import Rows, prepare
from fedrepay.client.protocol.member import Member
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import FedrepayError, WordsError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.pairs import gram_pairs
from fedrepay.shared.trust.roster import Roster, default_colluders
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Kind, Reply

SCHEMA = b"""
name = "tiny"
version = 1
title = "Two features"
[public]
n_max = 500
members_max = 16
prior = 0.3
one_row_per_customer = true
[[columns]]
name = "x"
role = "account"
type = "number"
bounds = [0, 10]
edges = [2, 4, 6, 8]
outside = "clip"
missing = "refuse"
[[columns]]
name = "z"
role = "account"
type = "category"
categories = ["a", "b"]
missing = "refuse"
[[columns]]
name = "id"
role = "customer"
type = "text"
[[columns]]
name = "y"
role = "outcome"
type = "integer"
good = 0
"""

Tamper = Callable[[str, str, bytes, bytes], tuple[bytes, bytes] | None]
"""(kind, name, shared, own) → what is delivered instead; None loses the message."""


def rows(book: CodeBook, seed: int, n: int = 60) -> Rows:
    """``n`` customers of one member, drawn from ``seed``; the first head's outcome depends on both columns."""
    rng = np.random.default_rng(seed)
    x, z = rng.integers(0, 5, n), rng.integers(0, 2, n)
    chance = 1 / (1 + np.exp(2.0 - 0.7 * x - 0.5 * z))
    outcomes = (rng.random(n) < chance).astype(np.int8)[:, None]
    others = rng.integers(-1, 2, (n, book.heads - 1)).astype(np.int8)
    customers = np.array([f"{seed}-{i}" for i in range(n)], dtype=object)
    return prepare(
        book, np.column_stack([x, z]).astype(np.uint16), np.hstack([outcomes, others]), customers, None
    )


@dataclass
class World:
    """K members and a coordinator; every answer the coordinator gets is kept."""

    folder: Path
    size: int = 4
    mode: str = "distributed"
    epsilon: float = 4.0
    rounds: int = 3
    schema: bytes = SCHEMA
    limits: Limits | None = None
    pairs: bool = False
    names: list[str] = field(init=False)
    members: dict[str, Member] = field(init=False)
    book: CodeBook = field(init=False)
    events: list[Event] = field(default_factory=list)
    replies: list[tuple[str, str, Reply]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.names = [f"m{i}" for i in range(self.size)]
        self.book = codebook.build(self.schema)
        self.key = Ed25519PrivateKey.generate()
        self.identities = {name: Identity.create(name) for name in self.names}
        self.members = {name: self.member(name) for name in self.names}
        self.enrolment = self.new_enrolment()
        self.begin()

    def begin(self) -> None:
        """The roster, and a coordinator for the run."""
        self.enrol()
        self.coordinator = self.new_coordinator()

    @property
    def roster(self) -> Roster:
        """The roster that everybody has signed."""
        roster = self.enrolment.state.roster
        if roster is None:
            raise AssertionError("there is no roster")
        return roster

    def new_enrolment(self) -> Enrolment:
        """A roster's making, by a coordinator that keeps what it had."""
        nodes = [Node(name, name) for name in self.names]
        return Enrolment(self.key, nodes, wanted=False, released=(0, bytes(32)))

    def enrol(self, tamper: Tamper | None = None) -> None:
        """Make the roster; people at the members compare words when they are shown, and approve them."""
        while (ask := self.enrolment.ask()) is not None:
            for target in ask.parts:
                self._take_enrolment(self.enrolment.receive(*self._answer(ask, target, tamper)))
            try:
                self._take_enrolment(self.enrolment.finish(ask))
            except WordsError:
                self.compare()

    def _take_enrolment(self, events: list[Event]) -> None:
        for event in events:
            self.enrolment.state.apply(event)

    def compare(self) -> None:
        """People hear each other's words, and approve them only if all are the same.

        Raises:
            WordsError: they differ: somebody else is in somebody's roster.
        """
        shown = {name: member.shown_words() for name, member in self.members.items()}
        if len({*shown.values()}) != 1:
            raise WordsError("The words differ.", "Somebody else is in the roster.")
        for name, member in self.members.items():
            member.approve_roster(shown[name])

    def _answer(self, ask: Ask, name: str, tamper: Tamper | None) -> tuple[Ask, str, Signed | None, str]:
        """What was asked in the end (whoever tampers knows what it sent), of whom, the answer, or why there is none."""
        sent = ask.parts[name] if tamper is None else tamper(ask.kind, name, *ask.parts[name])
        if sent is None:
            return ask, name, None, "lost"
        signed = Signed.decode(self.members[name].handle(ask.kind, *sent))
        self.replies.append((ask.kind, name, Reply.decode(signed.body)))
        return Ask(ask.kind, {**ask.parts, name: sent}), name, signed, ""

    def store(self, name: str) -> MemberStore:
        """A member's state: it outlives the process, not the machine."""
        return MemberStore(self.folder / name, lambda: 1.8e9, durable=False)

    def member(self, name: str) -> Member:
        """A member as it comes up from its store."""
        number = int(name[1:])
        snapshot = rows(self.book, number)
        limits = self.limits or Limits(
            minimum_cohort=3,
            epsilon_per_release=self.epsilon,
            epsilon_per_year=self.epsilon * 1.001,
            allow_unprotected=True,
        )
        return Member(
            self.identities[name],
            self.store(name),
            self.book,
            lambda: (snapshot, bytes([number]) * 32),
            limits,
            lambda: 1.8e9,
        )

    def terms(self, run: int = 1) -> NumberedTerms:
        """What the operator starts."""
        terms = NumberedTerms.model_validate(
            {
                "run": run,
                "schema_hash": self.book.schema_hash,
                "mode": self.mode,
                "learner": "dp-newton",
                "dimension": self.book.dimension,
                "heads": self.book.heads,
                "epsilon": self.epsilon,
                "delta": 1e-5,
                "colluders": default_colluders(self.size),
                "rounds": self.rounds,
            }
        )
        found = gram_pairs(terms, self.book, self.size) if self.pairs else None
        return terms.model_copy(update={"pairs": found})

    def new_coordinator(self, run: int = 1) -> Coordinator:
        """A coordinator that has heard nothing yet."""
        return Coordinator(self.terms(run), self.key, self.roster, {name: name for name in self.names})

    def restart_coordinator(self) -> None:
        """As after a crash: a new process replays the stored events."""
        self.coordinator = self.new_coordinator(self.coordinator.terms.run)
        for event in self.events:
            self.coordinator.state.apply(event)

    def take(self, events: list[Event]) -> None:
        """Store and apply events, as the coordinator's shell does."""
        for event in events:
            self.events.append(event)
            self.coordinator.state.apply(event)

    def deliver(self, ask: Ask, tamper: Tamper | None = None) -> None:
        """Send an ask to its members and take in their answers."""
        for name in ask.parts:
            self.take(self.coordinator.receive(*self._answer(ask, name, tamper)))

    def steps(self, tamper: Tamper | None = None) -> Iterator[Ask]:
        """One ask at a time, yielded before it is delivered."""
        while (ask := self.coordinator.ask()) is not None:
            yield ask
            self.deliver(ask, tamper)
            self.take(self.coordinator.finish(ask))

    def run(self, tamper: Tamper | None = None) -> None:
        """Carry the run to its end."""
        for _ in self.steps(tamper):
            pass

    def until(self, kind: str, round_: int = 0) -> Ask:
        """Go on until an ask of this kind (and round) is due, and give it undelivered."""
        for ask in self.steps():
            state = self.coordinator.state
            if ask.kind == kind and (kind not in (Kind.PREPARE, Kind.ROUND) or len(state.sums) == round_):
                return ask
        raise AssertionError(f"no ask of kind {kind}")

    def refusals(self) -> list[tuple[str, str]]:
        """(name, code) of every refusal so far."""
        return [(name, reply.code) for _, name, reply in self.replies if reply.kind == "refused"]

    def openings(self) -> int:
        """Sums opened by all members of the run."""
        run = self.coordinator.terms.run
        return sum(
            opening.values is not None for name in self.names for opening in self.store(name).openings(run)
        )

    def expect_stop(self, kind: type[FedrepayError], tamper: Tamper | None = None) -> FedrepayError:
        """Run, and give the error that stopped it."""
        try:
            self.run(tamper)
        except kind as error:
            return error
        raise AssertionError(f"the run was not stopped by {kind.__name__}")

"""A whole consortium from one seed: members, coordinator, clock, network, disks, and who starts them again."""

import logging
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol.member import Member
from fedrepay.client.store.member_store import WRITES as MEMBER_WRITES
from fedrepay.client.veto.limits import Limits
from fedrepay.server.network.app import carry
from fedrepay.server.network.runs import abandon
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.state import Event, State
from fedrepay.server.store import WRITES as COORDINATOR_WRITES
from fedrepay.shared import keys
from fedrepay.shared.errors import (
    CohortError,
    FedrepayError,
    ProtocolError,
    StorageError,
    TermsError,
    WordsError,
)
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import Kind, Prepare, PrepareRequest
from support.faultworld import standin
from support.faultworld.disk import Disk, FaultCoordinatorStore, FaultStore, full
from support.faultworld.faults import COMMIT, LAST, LATE, OF_ROUNDS, Faults, Killed
from support.faultworld.invariants import Violation, Watch
from support.faultworld.lies import OF_SUMS, lie
from support.faultworld.network import Network
from support.faultworld.standin import installed, place
from support.recorder import Recorder, recording

DAY = 86400.0
EPSILON, DELTA = 4.0, 1e-5
TIMEOUT = 60.0  # virtual seconds
LIVES = 9  # of the coordinator before the faults stop, if they have not been used up
RESUMES, RUNS = 1, 4  # what an operator does: run again so often, then start a new run; so many in calm


@dataclass
class Outcome:
    """How a world went."""

    seed: int
    faults: Counter[str]
    killed: Counter[tuple[str, str, str]]
    reached: set[tuple[str, str, str]]
    stops: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    releases: int = 0
    runs: int = 0
    lives: int = 0
    messages: int = 0
    twice: int = 0
    trace: str = ""  # SHA-256 of all that happened


class FaultWorld:
    """One seed's consortium.

    Args:
        seed: decides everything: size, mode, learner, what fails and when.
        limit: no more faults than that.
        rates: fault rates instead of the seed's own.
        encrypted: real encryption; by default one world in 25.
        mode: ``none`` or ``distributed``; by default noise in one world in 25.
    """

    def __init__(
        self,
        seed: int,
        limit: int | None = None,
        rates: dict[str, float] | None = None,
        *,
        encrypted: bool | None = None,
        mode: str | None = None,
    ) -> None:
        dice = random.Random(f"world {seed}")
        self.seed, self.dice = seed, dice
        self.encrypted = seed % 25 == 7 if encrypted is None else encrypted
        self.mode = ("distributed" if seed % 25 == 19 else "none") if mode is None else mode
        noisy = self.mode != "none"
        size = 3 if noisy else dice.choice((3, 3, 3, 4, 4, 5))
        self.names = tuple(f"m{i}" for i in range(size))
        self.rounds = 2 if noisy else dice.choice((2, 3))
        self.learner = "dp-newton" if noisy else dice.choice(("dp-newton", "dp-gd"))
        self.wanted = 1 if noisy else dice.choice((1, 1, 1, 2))  # releases before the world may end
        self.faults = Faults(seed, limit, rates)
        self.enrolled = 14 * size  # deliveries before the roster stands, if nothing fails
        self.release_stage = (22 + 4 * self.rounds) * size + 6
        if self.faults.target[1] in OF_ROUNDS:
            self.faults.begin = self.release_stage - 4 * self.rounds * size
        if self.faults.target[1] in {*LAST, *LATE}:
            self.faults.begin = self.release_stage
        self.book = standin.book()
        self.key = Ed25519PrivateKey.from_private_bytes(self._bytes("coordinator"))
        self.identities = {
            name: Identity(
                name,
                Ed25519PrivateKey.from_private_bytes(self._bytes(f"{name} signing")),
                X25519PrivateKey.from_private_bytes(self._bytes(f"{name} sealing")),
                self._bytes(f"{name} local"),
            )
            for name in self.names
        }
        public = keys.public_bytes(self.key)
        self.nodes = [Node(name, name) for name in self.names]
        self.network = Network(self.faults, self.handle, self.step)
        self.trace = self.network.trace
        self.disks = {name: Disk(name) for name in (*self.names, "coordinator")}
        self.skew = dict.fromkeys(self.names, 0.0)
        self.down = dict.fromkeys(self.names, 0.0)
        self.births = Counter[str]()
        self.stores: dict[str, FaultStore] = {}
        self.members: dict[str, Member] = {}
        self.watch = Watch(self.names, self.stores.__getitem__, public, place)
        self.outcome = Outcome(seed, Counter(), self.faults.killed, self.faults.reached)
        self.recorder: Recorder | None = None
        self.run_number = 0
        # the words that people saw last; a store set back has forgotten them
        self.heard: dict[str, bytes] = {}
        self._coordinator_lost = False
        self.backups = 0.02  # of the coordinator, beside the others', a step
        self._worst: Callable[[], None] | None = None  # what befalls the coordinator when it is dead

    def _bytes(self, label: str) -> bytes:
        return sha256(f"{self.seed} {label}".encode()).digest()

    # --- members ---

    def bring_up(self, name: str) -> None:
        """A member comes up from its disk, however often it dies on the way."""
        data = (standin.rows(), self._bytes(f"{name} data"))
        while name not in self.members:
            self.births[name] += 1
            entropy = SeededEntropy(self._bytes(f"{name} {self.births[name]}"))
            try:
                store = FaultStore(self.disks[name], lambda: self.clock(name), self._hook("member", name))
                self.stores[name] = store
                member = Member(
                    self.identities[name],
                    store,
                    self.book,
                    lambda: data,
                    Limits(
                        minimum_cohort=3,
                        epsilon_per_release=EPSILON,
                        epsilon_per_year=60.0,
                        allow_unprotected=True,
                    ),
                    lambda: self.clock(name),
                    entropy,
                )
                self.members[name] = member
            except (Killed, StorageError) as error:
                self.trace.append(("died at the start", name, type(error).__name__))

    def compare(self) -> None:
        """People are shown words, hear that all are the same, and approve them; a member may die of it."""
        shown = {name: self.stores[name].fact("shown") for name in self.names}
        self.heard |= {name: words for name, words in shown.items() if words is not None}
        if len({self.heard.get(name) for name in self.names}) != 1:
            return  # somebody was not asked yet, or an older proposal is on somebody's screen
        for name in (name for name in self.names if shown[name] is not None):
            try:
                self.members[name].approve_roster((shown[name] or b"").decode())
            except Killed:
                self._die(name)
            except StorageError as error:
                self.trace.append(("not approved", name, type(error).__name__))

    def clock(self, name: str) -> float:
        """A member's own clock."""
        return 1.8e9 + self.network.now + self.skew[name]

    def handle(self, name: str, kind: str, shared: bytes, own: bytes) -> bytes | None:
        """Give a member one message, and check everything that must hold after it."""
        if self.network.now < self.down[name] or self._away(name, kind, shared):
            return None
        faults = self.faults
        if (not faults.habit or kind in OF_SUMS) and faults.happens("member lies"):
            said, body = lie(faults.dice, faults.habit, self.identities[name], self.names, kind, shared, own)
            self.trace.append(("lies", name, kind, said))
            return body
        watch = self.watch
        watch.before(name, kind, shared, own)
        try:
            body = self.members[name].handle(kind, shared, own)
        except Killed:
            self._die(name)
            watch.after(name)
            return None
        except Exception as error:
            raise Violation(f"{name} raised {type(error).__name__} on {kind!r}: {error}") from error
        reply = watch.answered(name, kind, body)
        watch.after(name)
        self.outcome.messages += 1
        if reply.kind == "refused":
            self.outcome.refusals[reply.code] += 1
        self.trace.append((name, kind, reply.kind, reply.code, reply.need, len(body)))
        return body

    def _away(self, name: str, kind: str, shared: bytes) -> bool:
        """Whether this member is away because the last sum's cohort is asked for, in the worlds about that."""
        if self.faults.target[1] not in LAST or (name, kind) != (self.names[-1], Kind.PREPARE):
            return False
        try:
            asked = PrepareRequest.decode(shared).asked.verified(keys.public_bytes(self.key), Prepare)
        except ProtocolError:
            return False
        if asked.round < self.rounds - 1 or not self.faults.note("request lost"):
            return False
        self.trace.append(("request lost", name, kind))
        return True

    def _die(self, name: str) -> None:
        self.trace.append(("dies", name))
        self.down[name] = self.network.now + self.faults.dice.choice((0.0, 0.0, 5.0, 1.5 * TIMEOUT))
        del self.members[name]
        self.bring_up(name)

    # --- what goes wrong beside messages ---

    def _hook(self, who: str, name: str) -> Callable[[str, str], None]:
        known = MEMBER_WRITES if who == "member" else COORDINATOR_WRITES
        disk = self.disks[name]

        def writes(point: str, moment: str) -> None:
            if point not in known:
                raise Violation(f"{point!r} is not in the list of writes")
            if moment == COMMIT:
                if disk.full == 0 and self.faults.happens(f"{who} disk full"):
                    disk.full = self.faults.dice.randrange(1, 4)
                    self.trace.append(("disk full", name, point))
                if disk.full > 0:
                    disk.full -= 1
                    raise full(who)
            if self.faults.dies(who, point, moment):
                self.trace.append(("killed", name, point, moment))
                raise Killed
            self.trace.append((name, point, moment))

        return writes

    def step(self) -> None:
        """Before each delivery: backups are made, and now and then the worst happens."""
        faults, dice = self.faults, self.faults.dice
        faults.steps += 1
        if dice.random() < 0.2:
            self.disks[dice.choice((*self.names, "coordinator"))].copy()
        if dice.random() < self.backups:
            self.disks["coordinator"].copy()
        if faults.happens("clock jumped"):
            name = dice.choice(self.names)
            self.skew[name] += dice.choice((-400 * DAY, -DAY, 3600.0, 30 * DAY, 400 * DAY))
            self.trace.append(("clock", name, self.skew[name]))
        if any(self.disks[n].copies for n in self.names) and faults.happens("member restored"):
            name = dice.choice([n for n in self.names if self.disks[n].copies])
            self._restore(name)
            del self.members[name]
            self.bring_up(name)
            self.watch.restored(name)
            self.watch.after(name)
        if self.disks["coordinator"].copies and faults.happens("coordinator restored"):
            self._worst = partial(self._restore, "coordinator")
            raise Killed
        if faults.happens("coordinator lost"):
            self._worst = self._lose_coordinator
            raise Killed

    def _restore(self, name: str) -> None:
        disk = self.disks[name]
        which = max(self.faults.dice.randrange(len(disk.copies)) for _ in range(2))  # the newer, more often
        disk.restore(which)
        self.trace.append(("restored", name, which))

    def _lose_coordinator(self) -> None:
        """Its database is gone; or its key as well, and another coordinator takes its place."""
        self.disks["coordinator"].lose()
        self._coordinator_lost = True
        with_key = self.faults.dice.random() < 0.5
        self.trace.append(("lost", "coordinator", "key" if with_key else "database"))
        if with_key:
            self.key = Ed25519PrivateKey.from_private_bytes(self._bytes(f"coordinator {len(self.trace)}"))
            self.watch.coordinators.append(keys.public_bytes(self.key))

    # --- the operator ---

    def play(self) -> Outcome:
        """Run until the faults have stopped and a release is made.

        Raises:
            Violation: something that must never be.
        """
        logging.disable(logging.CRITICAL)
        try:
            with (
                installed(self.watch, encrypted=self.encrypted),
                recording(self.watch.again) as self.recorder,
            ):
                for name in self.names:
                    self.bring_up(name)
                self._operate()
            if self.mode != "none":
                self.watch.within(EPSILON, DELTA)
        finally:
            logging.disable(logging.NOTSET)
            self.outcome.faults.update(self.faults.happened)
            self.outcome.twice = self.watch.twice
            self.outcome.trace = sha256(repr(self.trace).encode()).hexdigest()
        return self.outcome

    def _operate(self) -> None:
        resumes, calm_runs, fresh, again = 0, 0, True, False
        while True:
            out = self.outcome
            out.lives += 1
            self.faults.calm = self.faults.calm or out.lives > LIVES
            if out.lives > 4 * LIVES:
                raise Violation(f"the world does not come to an end: {dict(out.stops)}")
            try:
                store = FaultCoordinatorStore(
                    self.disks["coordinator"], self._hook("coordinator", "coordinator")
                )
                terms = store.terms()
                self.run_number = max(self.run_number, 0 if terms is None else terms.run)
                if terms is not None and fresh and not State.replayed(store.events(terms.run)).over:
                    abandon(store)
                if fresh or terms is None:
                    terms = self.terms(1 if terms is None else terms.run + 1)
                    store.begin(terms)
                    fresh, resumes = False, 0
                    calm_runs += self.faults.calm
                    out.runs += 1
                carry(
                    store,
                    self.key,
                    self.nodes,
                    self.network.exchange,
                    again=again,
                    clock=lambda: self.network.now,
                )
                again = False
            except Killed:
                self.trace.append(("coordinator dies",))
                if self._worst is not None:
                    self._worst()
                    self._worst = None
                    self.watch.forked |= set(range(1, self.run_number + 1))
            except WordsError as error:
                self._stopped(error)
                self.compare()  # then the same command once more
            except (CohortError, ProtocolError, StorageError, TermsError) as error:
                self._stopped(error)
                again = "roster:" in error.cause or "--new-roster" in error.cause
                resumes += 1
                fresh = resumes > RESUMES
                if calm_runs > RUNS:
                    if self._release_is_gone():
                        self.outcome.stops["release gone"] += 1
                        return  # people must decide: its holder leaves
                    raise Violation(f"stuck: {error}") from error
            except Exception as error:
                raise Violation(f"the coordinator raised {type(error).__name__}: {error}") from error
            else:
                self._released(store.events(terms.run))
                fresh, resumes = True, 0
                if out.releases >= self.wanted:
                    return

    def _release_is_gone(self) -> bool:
        """Whether the newest release is at so few members that they alone cannot prove it, and the coordinator's copy is lost."""
        held = {name: self.stores[name].release() for name in self.names}
        numbers = [0 if each is None else each[0] for each in held.values()]
        return self._coordinator_lost and 0 < numbers.count(max(numbers)) <= default_colluders(
            len(self.names)
        )

    def _stopped(self, error: FedrepayError) -> None:
        kind = type(error).__name__
        self.outcome.stops[kind] += 1
        self.trace.append(("stopped", kind))

    def _released(self, events: list[Event]) -> None:
        self.outcome.releases += 1
        stored = {event.name for event in events if event.kind == "stored"}
        self.trace.append(("released", tuple(sorted(stored))))
        for name in self.names:
            self.watch.after(name)

    def terms(self, run: int) -> NumberedTerms:
        """What the operator starts."""
        self.run_number = max(run, self.run_number)
        return NumberedTerms.model_validate(
            {
                "run": run,
                "schema_hash": self.book.schema_hash,
                "mode": self.mode,
                "learner": self.learner,
                "dimension": self.book.dimension,
                "heads": self.book.heads,
                "epsilon": EPSILON,
                "delta": DELTA,
                "colluders": default_colluders(len(self.names)),
                "rounds": self.rounds,
                "timeout": TIMEOUT,
            }
        )

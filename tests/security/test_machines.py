"""Both state machines against whoever holds the other side's keys: anything, in any order, in every state.

A member meets a coordinator that signs what it likes, with one member's keys and the group seed beside its own: every
kind of message, garbage, repetition, wrong order, and honest messages changed in one place and signed again. The
coordinator meets one member that answers what it likes. What an honest member has said is checked from outside
(``support.honest``), what its secrets hide by the recorder. Controls: single defences off, and the machines find out.
"""

import logging
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fedrepay.client.protocol.ceremony import Answer, Ceremony
from fedrepay.server.keyring import load_key
from fedrepay.server.network.runs import RunWishes, next_run
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.server.protocol.enrolled import Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.state import Ask, Event
from fedrepay.shared.errors import FedrepayError, WordsError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply
from support.consortium import Consortium, unencrypted
from support.faultworld.invariants import Violation
from support.honest import Honest
from support.recorder import recording
from support.rewriting import Rewriter

KINDS = (
    *("propose", "reveal", "approve", "certify", "held", "terms", "hello", "introduce", "seed"),
    *("confirm", "prepare", "round", "resend", "blame", "write", "close", "votes", "nobody knows"),
)
EVIL, SIZE, ENOUGH = "m3", 4, 60
Patch = pytest.MonkeyPatch
Message = tuple[str, bytes, bytes]


@dataclass
class Table:
    """A consortium whose coordinator is played step by step, from before there is a roster."""

    home: Consortium
    run: int = 0
    coordinator: Coordinator | None = None
    pool: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.key = load_key(self.home.operator)
        self.honest = frozenset(self.home.names) - {EVIL}
        self.watch = {
            n: Honest(n, self.home.identities[n], self.home.store(n), self.honest) for n in self.honest
        }
        self.new_roster()

    def new_roster(self) -> None:
        nodes = [Node(name, name) for name in self.home.names]
        before = getattr(self, "enrolment", None)
        self.enrolment = Enrolment(self.key, nodes, wanted=before is not None, released=(0, bytes(32)))
        if before is not None:
            self.enrolment.state = before.state
        self.coordinator = None

    def new_run(self) -> None:
        """Another run of the roster, above the one before."""
        assert self.enrolment.state.roster is not None
        self.run += 1
        wishes = RunWishes(epsilon=4.0, rounds=2, again=True)
        if self.run == 1:
            self.terms, _ = next_run(self.home.operator, self.home.book, SIZE, wishes)
        terms = self.terms.model_copy(update={"run": self.run})
        seats = {name: name for name in self.home.names}
        self.coordinator = Coordinator(terms, self.key, self.enrolment.state.roster, seats)

    def tell(self, name: str, kind: str, shared: bytes, own: bytes) -> bytes:
        """Give a member a message; an honest one is watched."""
        if name in self.watch:
            return self.watch[name].handle(self.home.members[name], kind, shared, own)[0]
        return self.home.members[name].handle(kind, shared, own)

    def step(self, lie: Callable[[str, Message, bytes], bytes | None]) -> None:
        """One ask of the coordinator, answered; EVIL's answer is what ``lie`` makes of it."""
        machine: Any = self.coordinator or self.enrolment
        ask: Ask | None = machine.ask()
        if ask is None:
            if self.coordinator is None or self.coordinator.state.over:
                self.new_run()
            return
        for name, (shared, own) in ask.parts.items():
            message = (ask.kind, shared, own)
            if name in self.honest:
                self.pool.append(message)
            answer: bytes | None = self.tell(name, *message)
            if name == EVIL and answer is not None:
                answer = lie(name, message, answer)
            self._take(machine, *self._received(machine, ask, name, answer))
        try:
            self._take(machine, *machine.finish(ask))
        except WordsError:
            self.home.approve()

    def _received(self, machine: Any, ask: Ask, name: str, answer: bytes | None) -> list[Event]:
        if answer is None:
            return machine.receive(ask, name, None, "silent")  # type: ignore[no-any-return]
        try:
            signed = Signed.decode(answer)
        except FedrepayError as error:
            return machine.receive(ask, name, None, error.cause)  # type: ignore[no-any-return]
        return machine.receive(ask, name, signed)  # type: ignore[no-any-return]

    def _take(self, machine: Any, *events: Event) -> None:
        for event in events:
            machine.state.apply(event)


class Attacked(RuleBasedStateMachine):
    """The side both machines share: a table, and the stand-ins; ``stage``: how far things are when an attack begins."""

    stage = (0, 28)

    def __init__(self) -> None:
        super().__init__()
        logging.disable(logging.CRITICAL)
        self._folder = tempfile.TemporaryDirectory()
        self._patches = [unencrypted(), recording()]
        for each in self._patches:
            each.__enter__()
        self.table = Table(Consortium(Path(self._folder.name) / "c", SIZE, quick=True))

    def teardown(self) -> None:
        for each in reversed(self._patches):
            each.__exit__(None, None, None)
        self._folder.cleanup()
        logging.disable(logging.NOTSET)

    def honest_steps(self, number: int) -> None:
        """The coordinator's own asks; where it stops, the operator begins again."""
        for _ in range(number):
            try:
                self.table.step(lambda _name, _message, answer: answer)
            except FedrepayError:
                if self.table.enrolment.state.roster is not None:
                    self.table.new_run()
                else:
                    self.table.new_roster()


class Members(Attacked):
    """Honest members against the coordinator and EVIL."""

    @initialize(share=st.integers(0, 28))
    def so_far(self, share: int) -> None:
        first, last = self.stage
        self.honest_steps(first + share * (last - first) // 28)

    @rule(steps=st.integers(1, 4))
    def go_on(self, steps: int) -> None:
        self.honest_steps(steps)

    @rule(name=st.sampled_from(["m0", "m1"]), dice=st.randoms(use_true_random=False))
    def again(self, name: str, dice: random.Random) -> None:
        """Anything that was ever sent, once more, as it was or as another kind."""
        for _ in range(6):
            if self.table.pool:
                kind, shared, own = dice.choice(self.table.pool[-ENOUGH:])
                self.table.tell(name, dice.choice((kind, kind, kind, dice.choice(KINDS))), shared, own)

    @rule(
        name=st.sampled_from(["m0", "m1"]),
        kind=st.sampled_from(KINDS),
        shared=st.binary(max_size=80),
        own=st.binary(max_size=80),
    )
    def garbage(self, name: str, kind: str, shared: bytes, own: bytes) -> None:
        self.table.tell(name, kind, shared, own)

    @rule(name=st.sampled_from(["m0", "m1"]), dice=st.randoms(use_true_random=False))
    def changed(self, name: str, dice: random.Random) -> None:
        """What is due next, or was sent, changed in one place and signed by whoever is at it."""
        table = self.table
        signers = [table.key, table.home.identities[EVIL].signing]
        rewriter = Rewriter(dice, signers, table.home.names)
        for _ in range(8):
            message = self._due(name, dice)
            if message is not None:
                kind, shared, own = message
                table.tell(name, kind, *rewriter.message(kind, shared, own))

    def _due(self, name: str, dice: random.Random) -> Message | None:
        machine: Any = self.table.coordinator or self.table.enrolment
        try:
            ask = machine.ask()
        except FedrepayError:
            ask = None
        if ask is not None and name in ask.parts and dice.random() < 0.7:
            shared, own = ask.parts[name]
            return ask.kind, shared, own
        return dice.choice(self.table.pool[-ENOUGH:]) if self.table.pool else None

    @rule(name=st.sampled_from(["m0", "m1"]))
    def restarted(self, name: str) -> None:
        self.table.home.restart(name)


class Coordinators(Attacked):
    """The coordinator against EVIL: it names nobody else, and never breaks."""

    @initialize(share=st.integers(0, 28))
    def so_far(self, share: int) -> None:
        first, last = self.stage
        self.honest_steps(first + share * (last - first) // 28)

    @rule(dice=st.randoms(use_true_random=False), steps=st.integers(1, 6), often=st.sampled_from([0.3, 1.0]))
    def lied_to(self, dice: random.Random, steps: int, often: float) -> None:
        for _ in range(steps):
            try:
                self.table.step(lambda *said: self._lie(dice, *said) if dice.random() < often else said[2])
            except FedrepayError as error:
                self._named(error)
                self._begin_again()

    def _begin_again(self) -> None:
        if self.table.enrolment.state.roster is None:
            self.table.new_roster()
        else:
            self.table.new_run()

    def _named(self, error: FedrepayError) -> None:
        _, _, verdict = error.cause.partition("does not fit its tag (")
        accused = verdict.partition(":")[0]
        if framed := [name for name in self.table.honest if name in accused]:
            raise Violation(f"{framed} found at fault: {error.cause}")

    def _lie(self, dice: random.Random, name: str, message: Message, answer: bytes) -> bytes | None:
        key = self.table.home.identities[name].signing
        how = dice.choice(("silent", "changed", "changed", "changed", "refused", "garbage"))
        if message[0] == "blame":
            how = "changed"
        if how == "silent":
            return None
        if how == "garbage":
            return dice.randbytes(dice.choice((0, 40, 200)))
        said = Reply.decode(Signed.decode(answer).body)
        if how == "refused":
            codes: tuple[str, ...] = (
                "tag",
                "headers",
                "canary",
                "lost-attempt",
                "run",
                "number",
                "roster",
                "void",
                "release",
            )
            bodies = (b"", bytes(4), bytes(32), dice.randbytes(4), *(m[1] for m in self.table.pool[:ENOUGH]))
            if message[0] in ("prepare", "write", "close"):
                codes, bodies = (*codes, "tag", "tag", "tag"), (*bodies[:3], bytes(4))
            changes: dict[str, Any] = {
                "code": dice.choice(codes),
                "cause": "a lie",
                "body": dice.choice(bodies),
            }
            said = Reply(kind="refused", name=name, asked=said.asked, **changes)
            return Signed.make(key, said).encode()
        rewriter = Rewriter(dice, [key], self.table.home.names)
        return rewriter.bytes_of(Signed, answer)


def search(machine: type[Attacked], examples: int, steps: int, *, shrink: bool = True) -> None:
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            phases=phases,
            database=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


def test_an_honest_member_holds_against_the_coordinator_and_one_member() -> None:
    search(Members, 10, 8)


def test_the_coordinator_holds_against_one_member() -> None:
    search(Coordinators, 10, 5)


# --- controls: with one defence off, the machines find out ---


def with_steps_answered_twice(patch: Patch) -> None:
    def answer(self: Ceremony, kind: str, shared: bytes, own: bytes) -> Answer:
        if kind == "confirm":
            return self._confirm(shared, own)
        return self._introduce(shared) if kind == "introduce" else self._seed(shared)

    patch.setattr(Ceremony, "answer", answer)


@pytest.mark.parametrize(
    ("broken", "machine", "stage", "found"),
    [
        (with_steps_answered_twice, Members, (8, 16), "in two ways"),
    ],
    ids=lambda each: getattr(each, "__name__", ""),
)
def test_control_with_a_defence_off_the_machines_find_out(
    monkeypatch: Patch,
    broken: Callable[[Patch], None],
    machine: type[Attacked],
    stage: tuple[int, int],
    found: str,
) -> None:
    broken(monkeypatch)
    monkeypatch.setattr(machine, "stage", stage)
    with pytest.raises(Violation, match=found):
        search(machine, 1000, 8, shrink=False)

"""Whole consortia from a seed, with faults of every kind: what must hold, holds after every step.

Each world is ``support.faultworld``: real members, coordinator, stores and messages; the wire, the disks, the clocks
and the processes fail as the seed says. A seed that fails prints how to play it again.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.protocol import guard, session
from fedrepay.client.protocol.rounds import Rounds
from fedrepay.client.store import member_store as client_store
from fedrepay.server.network.app import Answer
from fedrepay.server.protocol.coordinator import Coordinator
from fedrepay.server.protocol.state import Ask
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.secure_sum.ciphertext import summed
from fedrepay.shared.secure_sum.packing import Packing
from fedrepay.shared.secure_sum.tag import AttemptTags
from support.faultworld.disk import FaultStore
from support.faultworld.invariants import Violation
from support.faultworld.replay import Failure, play, shrunk
from support.faultworld.world import FaultWorld

CHUNKS, WORLDS = 10, 120
Patch = pytest.MonkeyPatch


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_in_every_world_what_must_hold_holds_after_every_step(chunk: int) -> None:
    faults: Counter[str] = Counter()
    for seed in range(chunk, WORLDS, CHUNKS):
        result = play(seed)
        if isinstance(result, Failure):
            pytest.fail(str(shrunk(result)), pytrace=False)
        faults += result.faults
        assert result.releases >= 1
    assert sum(faults.values()) > 5 * WORLDS / CHUNKS
    assert len(faults) > 15


# --- the same seed, the same world ---


@pytest.mark.parametrize("seed", [4, 7, 19])
def test_a_seed_gives_the_same_world_twice_and_in_another_process(seed: int) -> None:
    """Seeds 7 and 19: real BFV, whose own randomness must steer nothing, and noise."""
    first, second = FaultWorld(seed).play(), FaultWorld(seed).play()
    assert first.trace == second.trace
    tests = Path(__file__).parents[1]
    other = subprocess.run(
        [sys.executable, "-m", "faults.run", "--seed", str(seed)],
        cwd=tests,
        env={**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(tests)},
        check=True,
        capture_output=True,
        text=True,
    )
    assert f"trace {first.trace}" in other.stdout


def test_other_seeds_and_fewer_faults_give_other_worlds() -> None:
    traces = {FaultWorld(seed).play().trace for seed in (4, 5, 6)} | {FaultWorld(4, limit=3).play().trace}
    assert len(traces) == 4
    assert sum(FaultWorld(4, limit=3).play().faults.values()) == 3


# --- what writing the worlds has found ---


def test_an_answer_that_comes_twice_counts_once(monkeypatch: Patch) -> None:
    """Added twice, an upload made members refuse the sum: one repeated answer ended the epoch."""
    world = FaultWorld(0, rates={}, encrypted=False, mode="none")
    once = world.network.exchange

    def twice(coordinator: Coordinator, ask: Ask, timeout: float) -> Iterator[Answer]:
        for answer in once(coordinator, ask, timeout):
            yield answer
            yield answer

    monkeypatch.setattr(world.network, "exchange", twice)
    world.faults.most = 0
    outcome = world.play()
    assert (outcome.stops, outcome.runs) == ({"WordsError": 1}, outcome.releases)
    assert outcome.refusals == {"roster": len(world.names)}  # before the words were approved


@pytest.mark.parametrize("seed", [1667, 1814])
def test_worlds_that_once_broke_a_rule_hold(seed: int) -> None:
    """1667: test_rollback has its cause. 1814: the watch took the same bytes, sent again, for another answer."""
    result = play(seed)
    if isinstance(result, Failure):
        pytest.fail(str(shrunk(result)), pytrace=False)


# --- controls: with one defence off, the worlds find out ---


def without_the_write_ahead_charge(patch: Patch) -> None:
    def charge(store: FaultStore, *_charge: object, seen: object = (), **facts: bytes) -> None:
        store._guarded(lambda c: client_store._put(c, facts))
        store.forget()

    patch.setattr(FaultStore, "charge", charge)


def without_the_monotone_counter(patch: Patch) -> None:
    patch.setattr(guard, "check_monotone", lambda *_: None)


def without_headers_and_tag(patch: Patch) -> None:
    """Nor the canary, which would find the crudest changes."""

    def opened(group: GroupKey, tags: AttemptTags, chunks: U64, n_values: int, packing: Packing) -> I64:
        return packing.unpack(group.decrypt(chunks, packing.t_bits), len(tags.members), n_values)

    patch.setattr(session, "open_verified", opened)
    patch.setattr(
        session, "verify_sum", lambda _tags, payload, summed_tags: summed(payload, len(summed_tags))
    )
    patch.setattr(guard, "_check_headers", lambda *_: None)


def without_the_check_for_a_rollback(patch: Patch) -> None:
    patch.setattr(guard, "rolled_back", lambda *_: None)


def without_the_charge_for_what_was_lost(patch: Patch) -> None:
    charge = FaultStore.charge

    def reserving(store: FaultStore, *rest: object, **facts: bytes) -> None:
        if "rolled-back" not in rest:
            charge(store, *rest, **facts)  # type: ignore[arg-type]

    patch.setattr(FaultStore, "charge", reserving)


def without_the_end_of_an_epoch(patch: Patch) -> None:
    patch.setattr(Rounds, "end_epoch", lambda _self, refusal, _message: refusal)


@dataclass(frozen=True)
class Control:
    """A defence switched off, the faults that need it, and how soon the worlds must notice."""

    broken: Callable[[Patch], None]
    rates: dict[str, float]
    found: str
    worlds: int
    first: int = 0  # where the search begins: a world that shows it is not far
    most: int = 200
    # nothing happens before the release stage, and the coordinator is copied at every step
    late: bool = False
    dies: tuple[str, str] | None = None  # where a member dies, once, beside what the rates bring

    def world(self, seed: int) -> FaultWorld:
        world = FaultWorld(seed, rates=self.rates, encrypted=False, mode="none")
        world.faults.begin, world.faults.most = world.enrolled, self.most
        if self.late:
            world.faults.begin = world.release_stage
            world.backups = 1.0
        if self.dies is not None:
            world.faults.target = ("member", *self.dies)
            world.faults.wait = (world.rounds - 1) * len(
                world.names
            )  # the writer of the release, at the last sum
        return world

    def search(self) -> None:
        for seed in range(self.first, self.first + self.worlds):
            self.world(seed).play()


CONTROLS = (
    Control(without_the_write_ahead_charge, {}, "has no charge", 1),
    Control(
        without_the_monotone_counter,
        {"request repeated": 0.3},
        "drew noise for attempt|in two ways",
        30,
        dies=("submit", "commit"),
    ),
    Control(without_headers_and_tag, {"request flipped": 0.1}, "opened", 30),
    Control(
        without_the_end_of_an_epoch,
        {"request flipped": 0.1, "request repeated": 0.1},
        "in an epoch it had ended",
        30,
    ),
    Control(
        without_the_check_for_a_rollback,
        {"member restored": 0.05},
        "older than what it has sent",
        30,
        first=85,
    ),
    Control(without_the_charge_for_what_was_lost, {"member restored": 0.05}, "did not charge", 30, first=35),
)


@pytest.mark.parametrize("control", CONTROLS, ids=[each.broken.__name__ for each in CONTROLS])
def test_control_with_a_defence_off_the_worlds_find_out(monkeypatch: Patch, control: Control) -> None:
    control.broken(monkeypatch)
    with pytest.raises(Violation, match=control.found):
        control.search()

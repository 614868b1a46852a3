"""Kill a member or the coordinator at every write; what was spent, sent and opened must stay sound.

A kill is an exception that nothing in the product catches, inside the commit (the transaction is lost) or
right after it (the answer is lost). Whoever was killed comes up again from its store alone.
"""

import inspect
import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import sqlalchemy as sa

from fedrepay.client.node import relay
from fedrepay.client.node.app import app as client_app
from fedrepay.client.store.member_store import BY_PEOPLE, MemberStore
from fedrepay.server.network.app import serve
from fedrepay.server.protocol.state import Ask, Event, State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply
from fedrepay.simulations.run.grid import InProcessGrid
from support.adversary import answer
from support.invariants import check, decryptions, opened_sums, plain_sums
from support.world import Tamper, World

METHODS = ("remember", "charge", "submit", "record_opening", "store_opened", "store_release")
ROUND = ("charge", "submit", "record_opening", "store_opened")
CEREMONY = ("terms", "hello", "introduce", "seed", "confirm", "confirmed")
WRITES = (
    *(f"remember {fact}" for fact in CEREMONY),
    *(f"{method} {round_}" for round_ in range(3) for method in ROUND),
    *("remember write", "store_release 0", "remember votes"),
)
"""Every write of one run, in order, at the member that has all the roles."""
ALONE = ("charge 1", "submit 1", "charge 2", "remember write")
INSIDE, AFTER = MOMENTS = ("inside the commit", "after the commit")


class Killed(BaseException):
    """The process is gone."""


def die(*_: object) -> NoReturn:
    raise Killed


@dataclass
class Writes:
    """Sees every write of one member's store; at ``target`` the process dies, once."""

    member: str
    target: str = ""
    moment: str = ""
    die: Callable[..., NoReturn] = die
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        for method in METHODS:
            patch.setattr(MemberStore, method, self.watched(method))

    def watched(self, method: str) -> Callable[..., None]:
        original = getattr(MemberStore, method)

        def write(store: MemberStore, *args: Any, **facts: Any) -> None:
            if store.folder.name == self.member:
                detail = [*facts][-1].removeprefix("reply:") if method == "remember" else self.counts[method]
                self.counts[method] += 1
                self.log.append(f"{method} {detail}")
                if self.log[-1] == self.target:
                    self.target = ""
                    if self.moment == INSIDE:
                        store._writes = self.die
                    original(store, *args, **facts)
                    self.die()
            original(store, *args, **facts)

        return write


class LonelyDeaths(World):
    """A member dies alone: it comes up again from its store, and the coordinator got no answer."""

    def deliver(self, ask: Ask, tamper: Tamper | None = None) -> None:
        for target, sent in ask.parts.items():
            try:
                super().deliver(Ask(ask.kind, {target: sent}), tamper)
            except Killed:
                self.members[target] = self.member(target)
                self.take(self.coordinator.receive(ask, target, None, "killed"))


def busiest(world: World) -> str:
    """The member of lowest key hash: seeder, writer of the release."""
    return min(world.names, key=lambda n: keys.key_hash(world.identities[n].entry().signing))


def restart(world: World) -> None:
    world.members = {name: world.member(name) for name in world.names}
    world.restart_coordinator()


def assert_released(world: World, state: State) -> None:
    check(world, state)
    assert state.done
    assert state.stored == set(world.names)
    assert len({world.store(name).release() for name in world.names}) == 1
    assert world.store(world.names[0]).release() is not None


def assert_exact(world: World, state: State) -> None:
    opened = opened_sums(world, world.names[0])
    assert len(opened) == len(state.sums) == 3
    for total, plain in zip(opened, plain_sums(world, state, opened), strict=True):
        assert np.array_equal(total, plain)


# --- members ---


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("write", [write for write in WRITES if write not in ("charge 1", "submit 1")])
def test_a_run_killed_at_any_write_of_a_member_resumes_to_exact_sums_and_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str, moment: str
) -> None:
    world = World(tmp_path, size=3, mode="none")
    Writes(busiest(world), write, moment).install(monkeypatch)
    with decryptions() as decrypted:
        with pytest.raises(Killed):
            world.run()
        restart(world)
        world.run()
    assert_released(world, world.coordinator.state)
    assert_exact(world, world.coordinator.state)
    assert len(decrypted) == 3
    lost = sum(record.status == "void" for record in world.coordinator.state.attempts)
    charged_not_stored = write.startswith("charge") and moment == AFTER
    stored_too_late = write.startswith("submit") and moment == INSIDE
    assert lost == (charged_not_stored or stored_too_late)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("write", ALONE)
def test_a_member_killed_alone_is_charged_for_all_it_sent_and_the_run_ends_with_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str, moment: str
) -> None:
    world = LonelyDeaths(tmp_path, size=3)
    writes = Writes(busiest(world), write, moment)
    writes.install(monkeypatch)
    with decryptions() as decrypted:
        world.run()
    assert not writes.target  # it did die
    state = world.coordinator.state
    assert_released(world, state)
    assert len(decrypted) == len(state.sums) == (2 if write == "charge 2" else 3)  # no second last attempt


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("write", ["charge 0", "submit 0", "record_opening 0"])
def test_a_process_that_the_system_ends_leaves_a_store_that_carries_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str, moment: str
) -> None:
    world = World(tmp_path, size=3, mode="none")
    victim = busiest(world)
    ask = world.until("prepare", 1) if "open" in write else world.until("round")
    child = os.fork()
    if child == 0:  # nothing is cleaned up: no rollback, no handler, no destructor
        Writes(victim, write, moment, lambda *_: os._exit(9)).install(monkeypatch)
        world.members[victim].handle(ask.kind, *ask.parts[victim])
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    restart(world)
    world.run()
    assert_released(world, world.coordinator.state)
    assert_exact(world, world.coordinator.state)


def test_the_list_of_writes_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = re.compile(r"INSERT|REPLACE|UPDATE|DELETE|_put\(|_append\(")
    public = {name: body for name, body in vars(MemberStore).items() if inspect.isfunction(body)}
    found = {name for name, body in public.items() if writing.search(inspect.getsource(body))}
    assert found == {*METHODS, *(point.partition(" ")[0] for point in BY_PEOPLE)}
    world = World(tmp_path, size=3, mode="none")
    writes = Writes(busiest(world))
    writes.install(monkeypatch)
    world.run()
    assert tuple(writes.log) == WRITES


def test_control_without_the_write_ahead_charge_an_upload_leaves_uncharged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemberStore, "charge", lambda *_, **__: None)
    world = World(tmp_path, size=3, mode="none")
    Writes(busiest(world), "submit 0", AFTER).install(monkeypatch)
    with pytest.raises(Killed):
        world.run()
    restart(world)
    world.run()
    with pytest.raises(AssertionError, match="has no charge"):
        check(world, world.coordinator.state)


def test_control_a_store_that_keeps_neither_counter_nor_upload_answers_in_two_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charge = MemberStore.charge
    monkeypatch.setattr(MemberStore, "charge", lambda store, *args, **_facts: charge(store, *args))
    monkeypatch.setattr(MemberStore, "submit", lambda *_, **__: None)
    world = World(tmp_path, size=3, mode="none")
    prepare = world.until("prepare").parts
    ask = world.until("round")
    for _ in range(2):
        for name, sent in ask.parts.items():
            world.members[name].handle("prepare", *prepare[name])
            world.replies.append((ask.kind, name, answer(world.members[name].handle(ask.kind, *sent))))
        restart(world)  # the coordinator too: no header comes back that would give the store away
    with pytest.raises(AssertionError, match="in two ways"):
        check(world, world.coordinator.state)


# --- the coordinator ---

EVENTS = {
    *(
        "seat",
        "roster",
        "answer:terms",
        "answer:hello",
        "introduction",
        "answer:introduce",
        "answer:seed",
        "answer:confirm",
    ),
    *("ready", "attempt", "header", "sum", "closing", "written", "vote", "stored", "done"),
}


def test_the_coordinator_killed_at_every_event_carries_the_run_to_exact_sums_and_a_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real app and its real store, in one life after the other; each event is killed at twice."""
    world = World(tmp_path / "members", size=3, mode="none")
    folder = tmp_path / "coordinator"
    folder.mkdir()
    (folder / "coordinator.key").write_bytes(world.key.private_bytes_raw())
    store = CoordinatorStore.in_folder(folder)
    store.begin(world.terms())
    append = CoordinatorStore.append
    killed: set[tuple[str, int, tuple[tuple[str, str], ...]]] = set()

    def dying(own: CoordinatorStore, run: int, events: list[Event]) -> None:
        attempts = sum(event.kind == "attempt" for event in store.events(run))
        for moment in MOMENTS:
            point = (moment, attempts, tuple((event.kind, event.name) for event in events))
            if events and point not in killed:
                killed.add(point)
                if moment == INSIDE:
                    sa.event.listen(own._database.engine, "commit", die)
                append(own, run, events)
                die()
        append(own, run, events)

    monkeypatch.setattr(CoordinatorStore, "append", dying)
    lives = _serve_until_done(world, folder)
    state = State()
    for event in store.events(1):
        state.apply(event)
    assert {kind for _, _, events in killed for kind, _ in events} == EVENTS
    assert lives == len(killed) + 1
    assert [record.status for record in state.attempts] == ["completed"] * 3  # a crash costs no attempt
    assert_released(world, state)
    assert_exact(world, state)


def _serve_until_done(world: World, folder: Path) -> int:
    """Start the coordinator's app until it ends by itself; how often it was started."""

    def door(name: str) -> relay.Handler:
        def handle(kind: str, shared: bytes, own: bytes) -> bytes:
            answer = world.members[name].handle(kind, shared, own)
            world.replies.append((kind, name, Reply.decode(Signed.decode(answer).body)))
            return answer

        return handle

    for name in world.names:
        relay.register(f"local:{name}", door(name))
    addresses = [f"local:{name}" for name in world.names]
    grid = InProcessGrid(client_app, world.names, addresses, lambda _exchange: None)
    lives = 0
    try:
        while True:
            lives += 1
            try:
                serve(grid, folder)
            except Killed:
                continue
            return lives
    finally:
        for name in world.names:
            relay.unregister(f"local:{name}")

"""One release a run: no member signs two, and a bad writer does not keep the others from theirs."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.limits import Limits
from fedrepay.client.member import Member
from fedrepay.server.state import Ask
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.handshake import EpochStart
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Attempt, Closing, Reply, Sum, Written
from support.adversary import say
from support.world import World


def collect(world: World, last: Sum, *, completed: bool) -> list[Reply]:
    """Ask all for the release of a run whose last attempt is called completed, or void."""
    state = world.coordinator.state
    config = state.attempts[-1].config
    attempt = Attempt(round=2, attempt=config.attempt, cohort=config.cohort, completed=completed)
    history = (*config.history, attempt)
    told = {"round": 3 if completed else 2, "attempt": len(history), "history": history}
    closing = Signed.make(world.key, config.model_copy(update=told))
    sums = (*(state.sums[round_] for round_ in sorted(state.sums)), *([last] if completed else []))
    writer, *others = world.coordinator.epoch.roster.by_key_hash()
    own = {name: state.headers[name].encode() for name in world.names}
    first = say(world, writer, "write", Closing(config=closing, sums=sums, sealed=None).encode(), own[writer])
    if first.kind != "ok":
        return [first]
    sealed = Written.decode(first.body).sealed
    body = Closing(config=closing, sums=sums, sealed=sealed).encode()
    return [first, *(say(world, name, "close", body, own[name]) for name in others)]


def two_releases(folder: Path) -> tuple[list[Reply], list[Reply], int]:
    world = World(folder, size=4)
    ask = world.until("round", 2)
    world.deliver(ask)
    last = Sum.decode(world.coordinator.finish(ask)[0].body)
    first, second = (collect(world, last, completed=completed) for completed in (False, True))
    return first, second, world.openings()


def test_a_member_signs_one_release_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, opened = two_releases(tmp_path / "guarded")
    assert [reply.kind for reply in first] == ["ok"] * 4
    assert {reply.code for reply in second} == {"release"}
    assert opened == 2 * 4, "no further sum is opened after a vote"
    monkeypatch.setattr(Member, "_voted", lambda _self, _run, release: {"candidate": release})
    _, second, opened = two_releases(tmp_path / "control")
    assert [reply.kind for reply in second] == ["ok"] * 4
    assert opened == 3 * 4


def rubbish_from_the_first_writer(world: World, ask: Ask, seen: list[str]) -> None:
    for target, (shared, own) in ask.parts.items():
        reply = Reply.decode(world.members[target].handle(ask.kind, shared, own))
        if ask.kind == "write":
            seen.append(target)
            if len(seen) == 1:
                written = Written.decode(reply.body)
                body = Written(sealed=b"rubbish", vote=written.vote).encode()
                reply = Reply(kind="ok", body=body)
        world.take(world.coordinator.receive(ask, target, reply))


def test_a_writer_that_nobody_follows_is_replaced(tmp_path: Path) -> None:
    world = World(tmp_path, size=4)
    world.until("write")
    writers: list[str] = []
    while (ask := world.coordinator.ask()) is not None:
        rubbish_from_the_first_writer(world, ask, writers)
        world.take(world.coordinator.finish(ask))
        world.restart_coordinator()
    assert len(set(writers)) == 2
    stored = [world.store(name).release() for name in world.names if name != writers[0]]
    assert all(stored)
    assert len({release[1] for release in stored if release}) == 1


def test_a_stranger_s_call_for_an_epoch_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, size=4)
    world.until("round", 1)
    stranger = Ed25519PrivateKey.generate()
    start = EpochStart(run=2**31 - 1, coordinator=keys.public_bytes(stranger), colluders=1)
    assert say(world, "m0", "hello", Signed.make(stranger, start).encode()).code == "roster"
    world.run()
    assert all(world.store(name).release() for name in world.names)


def test_before_any_roster_a_stranger_s_call_does_not_burn_run_numbers(tmp_path: Path) -> None:
    world = World(tmp_path, size=4)
    stranger = Ed25519PrivateKey.generate()
    start = EpochStart(run=2**31 - 1, coordinator=keys.public_bytes(stranger), colluders=1)
    for name in world.names:
        assert say(world, name, "hello", Signed.make(stranger, start).encode()).kind == "ok"
    world.run()
    assert all(world.store(name).release() for name in world.names)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"minimum_colluders": 2}, "colluders"),
        ({"delta_per_release": 1e-7}, "delta"),
    ],
)
def test_a_member_believes_neither_colluders_nor_delta(
    tmp_path: Path, limits: dict[str, float], said: str
) -> None:
    allowed = {"minimum_cohort": 3, "epsilon_per_release": 4.0, "epsilon_per_year": 5.0}
    world = World(tmp_path, size=4, limits=Limits.model_validate({**allowed, **limits}))
    shared, own = world.until("round").parts["m0"]
    reply = say(world, "m0", "round", shared, own)
    assert reply.code == "limits"
    assert said in reply.cause
    assert world.store("m0").ledger() == ()

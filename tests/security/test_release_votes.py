"""One release a run: no member signs two, and a bad writer does not keep the others from theirs."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.protocol.rounds import Rounds
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol import ceremony
from fedrepay.server.protocol.state import Ask
from fedrepay.shared import keys
from fedrepay.shared.trust.handshake import EpochStart
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Attempt, Closing, Reply, Sum, Written
from support.adversary import say, speak
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
    monkeypatch.setattr(Rounds, "_voted", lambda _self, _run, release: {"candidate": release})
    _, second, opened = two_releases(tmp_path / "control")
    assert [reply.kind for reply in second] == ["ok"] * 4
    assert opened == 3 * 4


def rubbish_from_the_first_writer(world: World, ask: Ask, seen: list[str]) -> None:
    for target, (shared, own) in ask.parts.items():
        reply = Signed.decode(world.members[target].handle(ask.kind, shared, own))
        if ask.kind == "write":
            seen.append(target)
            if len(seen) == 1:
                written = Written.decode(Reply.decode(reply.body).body)
                body = Written(sealed=b"rubbish", vote=written.vote).encode()
                reply = speak(world, target, ask, body=body)
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
    assert (
        say(world, "m0", "hello", Signed.make(stranger, far_call(world, stranger)).encode()).code == "message"
    )
    world.run()
    assert all(world.store(name).release() for name in world.names)


def far_call(world: World, key: Ed25519PrivateKey) -> EpochStart:
    """A call for the last run that there could be."""
    return EpochStart(
        run=2**31 - 1,
        coordinator=keys.public_bytes(key),
        colluders=1,
        roster=world.roster.hash(),
        terms=world.terms().terms_hash(),
    )


def test_nobody_can_name_the_last_run(tmp_path: Path) -> None:
    """Not the coordinator itself: terms of a run far above are refused, and without a yes there is no hello."""
    world = World(tmp_path, size=4)
    far = world.terms(run=2**31 - 1)
    offer = ceremony.offer(far, world.roster, world.key).encode()
    near = ceremony.offer(world.terms(run=1000), world.roster, world.key).encode()
    for name in world.names:
        assert say(world, name, "terms", offer).code == "run"
        assert say(world, name, "terms", near).kind == "ok"
        assert (
            say(world, name, "hello", Signed.make(world.key, far_call(world, world.key)).encode()).code
            == "epoch"
        )
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
    shared, own = world.until("terms").parts["m0"]
    reply = say(world, "m0", "terms", shared, own)
    assert reply.code == "limits"
    assert said in reply.cause
    assert world.store("m0").ledger() == ()

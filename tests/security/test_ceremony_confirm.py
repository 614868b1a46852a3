"""Confirmations of the seed: nobody trains before all members hold the same one, and so the same keys."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import epoch
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.trust.handshake import Confirmation, Envelope, Envelopes
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import PrepareRequest
from support.adversary import contribute, due, fork, say
from support.world import World

ALL = ("m0", "m1", "m2", "m3")
Signatures = tuple[Signed, ...]


@pytest.fixture
def world(at_confirm: World, tmp_path: Path) -> World:
    """Everything is ready to be confirmed."""
    return fork(at_confirm, tmp_path)


@pytest.fixture
def ready(at_round: World, tmp_path: Path) -> World:
    """Everybody has confirmed and the first attempt is due."""
    return fork(at_round, tmp_path)


def state_of(world: World, name: str) -> EpochState:
    return EpochState.decode(world.store(name).fact("epoch") or b"")


def sent(world: World) -> int:
    return sum(len(world.store(name).uploads(1)) for name in ALL)


def two_seeds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seeder gave m2 and m3 another contribution than the others, and nobody looked at its commitment."""
    monkeypatch.setattr(
        epoch, "seed_commitment", lambda _sent, name: world.coordinator.epoch.hello(name).commitment
    )
    public = world.coordinator.epoch
    seeder = public.seeders[0]

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        if kind != "confirm" or name not in ("m2", "m3"):
            return shared, own
        first, *rest = Envelopes.decode(own).signed
        sealed = keys.hpke_seal(public.hello(name).envelope, bytes(32), public.envelope_info(seeder, name))
        envelope = Envelope.decode(first.body).model_copy(update={"sealed": sealed})
        mine = Signed.make(world.identities[seeder].signing, envelope)
        return shared, Envelopes(signed=(mine, *rest)).encode()

    next(ask for ask in world.steps(tamper) if ask.kind == "prepare")


def test_nobody_trains_while_members_hold_different_seeds(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_seeds(world, monkeypatch)
    assert {code for _, code in world.refusals()} == {"roster"}  # of the words, before they were approved
    for name in ALL:
        assert say(world, name, "prepare", *due(world, name)).code == "seed"
    assert sent(world) == 0


def test_control_without_the_check_of_confirmations_they_train_under_different_keys(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_seeds(world, monkeypatch)
    monkeypatch.setattr(epoch, "check_confirmations", lambda *_: None)
    for name in ALL:
        assert contribute(world, name, *due(world, name)).kind == "ok"
    assert sent(world) == 4


# --- confirmations ---


def other_mac(world: World, signed: Signatures) -> Signatures:
    mine = Confirmation.decode(signed[0].body).model_copy(update={"mac": bytes(32)})
    return (Signed.make(world.identities["m0"].signing, mine), *signed[1:])


def forged_confirmation(world: World, signed: Signatures) -> Signatures:
    return (Signed.make(world.key, Confirmation.decode(signed[0].body)), *signed[1:])


def of_a_ghost(_world: World, signed: Signatures) -> Signatures:
    mine = Confirmation.decode(signed[0].body).model_copy(update={"name": "ghost"})
    return (*signed[1:], Signed.make(Identity.create("ghost").signing, mine))


CONFIRMATIONS: dict[str, tuple[str, Callable[[World, Signatures], Signatures]]] = {
    "one missing": ("seed", lambda _, s: s[:-1]),
    "one doubled": ("seed", lambda _, s: (*s[:-1], s[0])),
    "one from outside": ("seed", of_a_ghost),
    "under another seed": ("seed", other_mac),
    "forged": ("message", forged_confirmation),
}


@pytest.mark.parametrize("name", CONFIRMATIONS)
def test_nobody_trains_before_all_have_confirmed(name: str, ready: World) -> None:
    code, change = CONFIRMATIONS[name]
    for member in ALL:
        shared, own = due(ready, member)
        request = PrepareRequest.decode(shared)
        changed = request.model_copy(update={"confirmations": change(ready, request.confirmations)})
        assert say(ready, member, "prepare", changed.encode(), own).code == code
    assert sent(ready) == 0


def test_without_any_confirmation_a_member_asks_for_them(ready: World) -> None:
    shared, own = due(ready, "m0")
    none = PrepareRequest.decode(shared).model_copy(update={"confirmations": ()}).encode()
    reply = say(ready, "m0", "prepare", none, own)
    assert (reply.kind, reply.need) == ("need", 0)
    assert sent(ready) == 0
    assert contribute(ready, "m0", shared, own).kind == "ok"


def test_a_member_that_has_not_confirmed_itself_does_not_train(world: World) -> None:
    shared, own = world.until("prepare").parts["m0"]
    world.store("m0").remember(epoch=state_of(world, "m0").model_copy(update={"seed": b""}).encode())
    world.members["m0"] = world.member("m0")
    assert say(world, "m0", "prepare", shared, own).code == "epoch"
    assert sent(world) == 0

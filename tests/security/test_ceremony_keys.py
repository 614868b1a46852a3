"""Acceptances and envelopes: the group seed comes from the seeders of an epoch that all have accepted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import epoch
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.trust.handshake import Acceptance, Acceptances, Envelope, Envelopes
from fedrepay.shared.trust.message import Signed
from support.adversary import due, fork, say
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


# --- acceptances ---


def outsider(_world: World, signed: Signatures) -> Signatures:
    ghost = Identity.create("ghost")
    mine = Acceptance.decode(signed[0].body).model_copy(update={"name": "ghost"})
    return (*signed, Signed.make(ghost.signing, mine))


def other_epoch(world: World, signed: Signatures) -> Signatures:
    mine = Acceptance.decode(signed[0].body).model_copy(update={"epoch": bytes(32)})
    return (Signed.make(world.identities["m0"].signing, mine), *signed[1:])


def forged(world: World, signed: Signatures) -> Signatures:
    return (Signed.make(world.key, Acceptance.decode(signed[0].body)), *signed[1:])


ACCEPTANCES: dict[str, tuple[str, Callable[[World, Signatures], Signatures]]] = {
    "missing": ("epoch", lambda _, s: s[:-1]),
    "doubled": ("epoch", lambda _, s: (*s, s[0])),
    "from outside": ("epoch", outsider),
    "of another epoch": ("epoch", other_epoch),
    "forged": ("message", forged),
    "all missing": ("epoch", lambda _, _s: ()),
}


@pytest.mark.parametrize("name", ACCEPTANCES)
def test_without_everybodys_acceptance_no_contribution_to_the_seed_leaves(name: str, tmp_path: Path) -> None:
    code, change = ACCEPTANCES[name]
    world = World(tmp_path)
    (seeder, (shared, own)), *_ = world.until("seed").parts.items()
    changed = Acceptances(signed=change(world, Acceptances.decode(shared).signed)).encode()
    assert say(world, seeder, "seed", changed, own).code == code
    assert say(world, seeder, "seed", shared, own).kind == "ok"


@pytest.mark.parametrize("name", ACCEPTANCES)
def test_without_everybodys_acceptance_nobody_confirms(name: str, world: World) -> None:
    code, change = ACCEPTANCES[name]
    shared, own = due(world, "m0")
    message = Acceptances.decode(shared)
    changed = message.model_copy(update={"signed": change(world, message.signed)})
    assert say(world, "m0", "confirm", changed.encode(), own).code == code
    assert state_of(world, "m0").seed == b""


def test_control_without_the_check_of_acceptances_a_contribution_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    seeder = next(iter(world.until("seed").parts))
    monkeypatch.setattr(epoch, "check_acceptances", lambda *_: None)
    assert say(world, seeder, "seed", Acceptances(signed=()).encode()).kind == "ok"


def test_only_seeders_are_asked_for_contributions(world: World) -> None:
    accepted, _ = due(world, "m0")
    public = world.coordinator.epoch
    for name in set(ALL) - set(public.seeders):
        assert say(world, name, "seed", accepted).code == "epoch"


# --- envelopes ---


def resigned(world: World, signed: Signatures) -> Signatures:
    return (Signed.make(world.key, Envelope.decode(signed[0].body)), *signed[1:])


def own_contribution(world: World, signed: Signatures) -> Signatures:
    """The coordinator's own contribution under a seeder's name, signed by itself."""
    envelope = Envelope.decode(signed[0].body)
    public = state_of(world, "m0").epoch()
    info = public.envelope_info(envelope.sender, "m0")
    sealed = keys.hpke_seal(public.hello("m0").envelope, bytes(32), info)
    return (Signed.make(world.key, envelope.model_copy(update={"sealed": sealed})), *signed[1:])


def to_another(world: World, _signed: Signatures) -> Signatures:
    return Envelopes.decode(due(world, "m1")[1]).signed


def renamed(world: World, _signed: Signatures) -> Signatures:
    """m1's envelopes, addressed to m0 by seeders that collude: they do not open with m0's key."""
    out = []
    for each in Envelopes.decode(due(world, "m1")[1]).signed:
        envelope = Envelope.decode(each.body).model_copy(update={"recipient": "m0"})
        out.append(Signed.make(world.identities[envelope.sender].signing, envelope))
    return tuple(out)


ENVELOPES: dict[str, tuple[str, Callable[[World, Signatures], Signatures]]] = {
    "to another member": ("seed", to_another),
    "to another member, addressed again": ("seed", renamed),
    "signed again by the coordinator": ("message", resigned),
    "with the coordinator's contribution": ("message", own_contribution),
    "one missing": ("seed", lambda _, s: s[:-1]),
    "all missing": ("seed", lambda _, _s: ()),
    "one doubled": ("seed", lambda _, s: (*s, s[0])),
    "one in the place of another": ("seed", lambda _, s: (s[0], s[0])),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_a_wrong_envelope_gives_no_seed(name: str, world: World) -> None:
    code, change = ENVELOPES[name]
    shared, own = due(world, "m0")
    changed = Envelopes(signed=change(world, Envelopes.decode(own).signed)).encode()
    assert say(world, "m0", "confirm", shared, changed).code == code
    assert state_of(world, "m0").seed == b""
    assert say(world, "m0", "confirm", shared, own).kind == "ok"


def test_envelopes_of_the_epoch_before_give_no_seed(ready: World) -> None:
    """The roster is the same; the nonce is not."""
    old = Envelopes(
        signed=tuple(
            Envelopes.decode(body).signed[0] for body in ready.coordinator.state.answers["seed"].values()
        )
    ).encode()
    ready.events.clear()
    ready.coordinator = ready.new_coordinator(run=2)
    shared, _ = ready.until("confirm").parts["m0"]
    assert say(ready, "m0", "confirm", shared, old).code == "seed"


def test_a_seeder_that_sends_members_different_contributions_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = due(world, "m0")
    seeder = Envelope.decode(Envelopes.decode(own).signed[0].body).sender
    public = state_of(world, "m0").epoch()
    envelope = Envelope.decode(Envelopes.decode(own).signed[0].body)
    other = keys.hpke_seal(public.hello("m0").envelope, bytes(32), public.envelope_info(seeder, "m0"))
    mine = Signed.make(world.identities[seeder].signing, envelope.model_copy(update={"sealed": other}))
    changed = Envelopes(signed=(mine, *Envelopes.decode(own).signed[1:])).encode()
    reply = say(world, "m0", "confirm", shared, changed)
    assert (reply.code, reply.cause) == (
        "seed",
        f"{seeder} sent another contribution than its hello committed to.",
    )
    monkeypatch.setattr(epoch, "seed_commitment", lambda _sent, name: public.hello(name).commitment)
    assert say(world, "m0", "confirm", shared, changed).kind == "ok"  # control: m0 holds a seed of its own


def test_control_without_signatures_the_coordinator_puts_a_contribution_of_its_own_into_the_seed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, own = due(world, "m0")
    state = state_of(world, "m0")
    honest = epoch.group_seed(world.identities["m0"], state, own)
    changed = Envelopes(signed=own_contribution(world, Envelopes.decode(own).signed)).encode()
    monkeypatch.setattr(keys, "verify", lambda *_: None)
    committed = state.epoch()
    monkeypatch.setattr(epoch, "seed_commitment", lambda _sent, name: committed.hello(name).commitment)
    assert epoch.group_seed(world.identities["m0"], state, changed) != honest

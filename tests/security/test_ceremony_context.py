"""The BFV context and its confirmations: nobody trains before all members hold the same keys."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedrepay.client.crypto.he import GroupContext
from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import epoch
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, FedrepayError
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.trust.handshake import Confirmation, ContextClosing, ContextOffer
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import RoundRequest
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


def sent(world: World) -> int:
    return sum(len(world.store(name).uploads(1)) for name in ALL)


def offer(world: World, signer: str | None, **changes: bytes) -> bytes:
    """The maker's offer changed and signed again, by the coordinator (None) or a member."""
    shared, _ = due(world, "m0")
    message = ContextClosing.decode(shared)
    key = world.key if signer is None else world.identities[signer].signing
    changed = ContextOffer.decode(message.offer.body).model_copy(update=changes)
    return message.model_copy(update={"offer": Signed.make(key, changed)}).encode()


def test_a_context_that_is_not_the_makers_is_refused(world: World) -> None:
    own = due(world, "m0")[1]
    mine = GroupContext.create().public_bytes()
    for signer in (None, next(n for n in ALL if n != world.coordinator.epoch.maker)):
        reply = say(world, "m0", "confirm", offer(world, signer, public=mine), own)
        assert reply.code == "message"
    assert state_of(world, "m0").seed == b""


def test_a_maker_that_colludes_cannot_offer_keys_that_do_not_belong_together(world: World) -> None:
    own = due(world, "m0")[1]
    maker = world.coordinator.epoch.maker
    mine = GroupContext.create()
    test = ContextOffer.decode(ContextClosing.decode(due(world, "m0")[0]).offer.body).test
    changed = {
        "epoch": [{"epoch": bytes(32)}],
        "context": [
            {"public": mine.public_bytes()},
            {"test": test[:6] + bytes([test[6] ^ 8]) + test[7:]},
            {"test": bytes(len(test))},
            {"sealed": bytes(64)},
            {"sealed": b""},
            {"test": b""},
            {"test": test[:-1]},
            {"test": b"\xff" * len(test)},
        ],
        "message": [
            {"test": test + test},  # longer than any test vector may be
        ],
    }
    for code, cases in changed.items():
        for each in cases:
            reply = say(world, "m0", "confirm", offer(world, maker, **each), own)
            assert reply.code == code
            assert code != "context" or maker in reply.cause
    assert state_of(world, "m0").seed == b""


def test_a_context_with_another_modulus_is_refused_by_members_and_names_its_maker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """t of 48 bits: members' masks are mod the table's 46, so no sum would ever open, and nobody would know why."""
    real = GroupContext.create.__func__  # type: ignore[attr-defined]
    monkeypatch.setattr(GroupContext, "create", classmethod(lambda cls, _bits=46: real(cls, 48)))
    world = World(tmp_path)
    error = world.expect_stop(CohortError)
    assert f"{world.coordinator.epoch.maker} made a context with t of 48 bits" in error.cause
    monkeypatch.setattr(epoch, "GAM", replace(GAM, t_bits=48))  # control: nobody looks at t
    world = World(tmp_path / "control")
    stopped = world.expect_stop(FedrepayError)
    assert "48 bits" not in stopped.cause


def test_control_without_signatures_a_test_vector_of_the_coordinators_is_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = due(world, "m0")
    test = ContextOffer.decode(ContextClosing.decode(shared).offer.body).test
    unchanged = offer(world, None, test=test)
    assert say(world, "m0", "confirm", unchanged, own).code == "message"
    monkeypatch.setattr(keys, "verify", lambda *_: None)
    assert say(world, "m0", "confirm", unchanged, own).kind == "ok"


def second_context(world: World) -> bytes:
    """Another whole and valid context by the maker."""
    maker = world.coordinator.epoch.maker
    state = state_of(world, maker)
    seed = epoch.group_seed(world.identities[maker], state, due(world, maker)[1])
    made = epoch.offer_context(world.identities[maker], state, seed)
    message = ContextClosing.decode(due(world, "m0")[0])
    return message.model_copy(update={"offer": made}).encode()


def test_a_member_confirms_one_context_in_an_epoch(world: World) -> None:
    shared, own = due(world, "m0")
    second = second_context(world)
    first = say(world, "m0", "confirm", shared, own)
    assert first.kind == "ok"
    assert say(world, "m0", "confirm", second, own).code == "monotone"
    assert say(world, "m0", "confirm", shared, own) == first


def split_contexts(world: World) -> None:
    """m0 and m1 are given one context, m2 and m3 another; then the first attempt is due."""
    second = second_context(world)

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        return (second if kind == "confirm" and name in ("m2", "m3") else shared), own

    next(ask for ask in world.steps(tamper) if ask.kind == "round")


def test_nobody_trains_while_members_hold_different_contexts(world: World) -> None:
    split_contexts(world)
    assert {code for _, code in world.refusals()} == {"roster"}  # of the words, before they were approved
    for name in ALL:
        assert say(world, name, "round", *due(world, name)).code == "context"
    assert sent(world) == 0


def test_control_without_the_check_of_confirmations_they_train_under_different_keys(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    split_contexts(world)
    monkeypatch.setattr(epoch, "check_confirmations", lambda *_: None)
    for name in ALL:
        assert say(world, name, "round", *due(world, name)).kind == "ok"
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
    "one missing": ("context", lambda _, s: s[:-1]),
    "one doubled": ("context", lambda _, s: (*s[:-1], s[0])),
    "one from outside": ("context", of_a_ghost),
    "under another seed": ("context", other_mac),
    "forged": ("message", forged_confirmation),
}


@pytest.mark.parametrize("name", CONFIRMATIONS)
def test_nobody_trains_before_all_have_confirmed(name: str, ready: World) -> None:
    code, change = CONFIRMATIONS[name]
    for member in ALL:
        shared, own = due(ready, member)
        request = RoundRequest.decode(shared)
        changed = request.model_copy(update={"confirmations": change(ready, request.confirmations)})
        assert say(ready, member, "round", changed.encode(), own).code == code
    assert sent(ready) == 0


def test_without_any_confirmation_a_member_asks_for_them(ready: World) -> None:
    shared, own = due(ready, "m0")
    none = RoundRequest.decode(shared).model_copy(update={"confirmations": ()}).encode()
    reply = say(ready, "m0", "round", none, own)
    assert (reply.kind, reply.need) == ("need", 0)
    assert sent(ready) == 0
    assert say(ready, "m0", "round", shared, own).kind == "ok"


def test_a_member_that_has_not_confirmed_itself_does_not_train(world: World) -> None:
    shared, own = world.until("round").parts["m0"]
    world.store("m0").remember(epoch=state_of(world, "m0").model_copy(update={"seed": b""}).encode())
    world.members["m0"] = world.member("m0")
    assert say(world, "m0", "round", shared, own).code == "epoch"
    assert sent(world) == 0

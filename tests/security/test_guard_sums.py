"""A changed sum: never decrypted, and the epoch is over at that member.

Controls: without the tag the secret key is used, and a shifted sum opens to wrong numbers.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.protocol import session
from fedrepay.shared.arrays import U64
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum import ciphertext, ring
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, N, Q
from fedrepay.shared.secure_sum.tag import AttemptTags
from support.adversary import (
    contribute,
    due,
    fork,
    last_sum,
    opened,
    prepare_of,
    say,
    trace,
    upload_of,
    with_sum,
)
from support.world import World

VICTIM = "m0"
Attack = Callable[[World, bytes], bytes]


@pytest.fixture
def world(after_two_sums: World, tmp_path: Path) -> World:
    return fork(after_two_sums, tmp_path)


def numbers(payload: bytes) -> U64:
    return ciphertext.uploaded(payload, len(payload) // ciphertext.UPLOAD_BYTES)


def summed(shared: bytes) -> U64:
    payload = last_sum(shared).payload
    return ciphertext.summed(payload, len(payload) // ciphertext.SUM_BYTES).copy()


def added(shared: bytes, more: U64) -> bytes:
    total = summed(shared)
    ring.add(total, more, total)
    return with_sum(shared, {"payload": total.astype("<u8").tobytes()})


def shift(_world: World, shared: bytes) -> bytes:
    """One added to one slot, without any key."""
    more = np.zeros((1, COEFFICIENTS), dtype=np.uint64)
    more[0, 1] = Q >> 46
    return added(shared, more)


def shift_the_second(_world: World, shared: bytes) -> bytes:
    """One added to the second polynomial: it moves what opens by the secret key."""
    more = np.zeros((1, COEFFICIENTS), dtype=np.uint64)
    more[0, N] = Q >> 46
    return added(shared, more)


def omit(world: World, shared: bytes) -> bytes:
    one = numbers(upload_of(world, "m3", 1).payload)
    return added(shared, (np.uint64(Q) - one) % np.uint64(Q))


def double(_world: World, shared: bytes) -> bytes:
    return added(shared, summed(shared))


def replay(world: World, shared: bytes) -> bytes:
    """Round 0's ciphertexts in round 1's place."""
    return with_sum(shared, {"payload": world.coordinator.state.sums[0].payload})


def cut(_world: World, shared: bytes) -> bytes:
    return with_sum(shared, {"payload": last_sum(shared).payload[:-8]})


def one_alone(world: World, shared: bytes) -> bytes:
    alone = numbers(upload_of(world, "m3", 1).payload)
    return with_sum(shared, {"payload": alone.astype("<u8").tobytes()})


CIPHERTEXTS = [shift, shift_the_second, omit, double, replay, one_alone]


@pytest.fixture
def decryptions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each use of the secret key."""
    used: list[int] = []
    real = GroupKey.decrypt

    def counted(self: GroupKey, chunks: U64, bits: int) -> U64:
        used.append(len(chunks))
        return real(self, chunks, bits)

    monkeypatch.setattr(GroupKey, "decrypt", counted)
    return used


@pytest.mark.parametrize("attack", [*CIPHERTEXTS, cut])
def test_a_changed_sum_is_never_decrypted_and_ends_the_epoch(
    attack: Attack, world: World, decryptions: list[int]
) -> None:
    shared, own = due(world, VICTIM)
    before = trace(world, VICTIM)
    assert say(world, VICTIM, "prepare", attack(world, shared), own).code == "tag"
    for _ in range(2):  # and for good: also after a restart
        assert say(world, VICTIM, "prepare", shared, own).code == "rollback"
        world.members[VICTIM] = world.member(VICTIM)
    assert trace(world, VICTIM) == before
    assert world.store(VICTIM).fact("blocked") == b"tag"
    assert decryptions == []


@pytest.mark.parametrize("attack", CIPHERTEXTS)
def test_control_without_the_tag_a_changed_sum_reaches_the_secret_key(
    attack: Attack, world: World, decryptions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AttemptTags, "first_misfit", lambda *_: None)
    shared, own = due(world, VICTIM)
    say(world, VICTIM, "prepare", attack(world, shared), own)
    assert len(decryptions) == 1


def test_control_without_the_tag_a_shifted_sum_is_opened_to_wrong_numbers(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, own = due(world, VICTIM)
    assert contribute(world, "m1", *due(world, "m1")).kind == "ok"
    monkeypatch.setattr(AttemptTags, "first_misfit", lambda *_: None)
    assert contribute(world, VICTIM, shift(world, shared), own).kind == "ok"
    assert len(opened(world, VICTIM)) == 2
    assert opened(world, VICTIM)[1] != opened(world, "m1")[1]


def shift_to_the_victim(world: World) -> Callable[[str, str, bytes, bytes], tuple[bytes, bytes]]:
    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        lies = kind == "prepare" and name == VICTIM and prepare_of(shared).round == 1
        return (shift(world, shared) if lies else shared), own

    return tamper


def test_different_sums_to_two_members_stop_at_the_next_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if a wrong sum passed the tag: what each has opened stands in its signed header."""
    monkeypatch.setattr(AttemptTags, "first_misfit", lambda *_: None)
    world = World(tmp_path)
    world.expect_stop(ProtocolError, shift_to_the_victim(world))
    assert {code for _, code in world.refusals()[-len(world.names) :]} == {"headers"}
    assert {name: len(opened(world, name)) for name in world.names} == dict.fromkeys(world.names, 1)


def test_control_without_the_hmac_of_opened_sums_the_members_train_different_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(AttemptTags, "first_misfit", lambda *_: None)
    monkeypatch.setattr(session.Session, "opened_mac", lambda _self: bytes(32))
    world = World(tmp_path)
    world.replies.clear()
    next(ask for ask in world.steps(shift_to_the_victim(world)) if ask.kind == "write")
    assert world.refusals() == []
    assert world.openings() == 2 * len(world.names)
    assert opened(world, VICTIM)[0] != opened(world, "m1")[0]

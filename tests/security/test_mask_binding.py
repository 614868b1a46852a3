"""Masks belong to two identities and to one configuration; a member that is told another shares none.

Each attack reads what the coordinator and one member hold, and is shown to work without the binding.
"""

from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.learning import contribution
from fedrepay.client.protocol import session
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared import keys
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.secure_sum import masking
from fedrepay.shared.secure_sum.ciphertext import PublicSum, summed, uploaded
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.trust.handshake import Hello
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.terms import RunTerms
from fedrepay.shared.trust.wire import Header, Reply, Upload
from support.adversary import contribute, say, speak, upload_of, with_config, with_prepare
from support.world import World, rows

READABLE = 1e9  # numbers near the truth; uniform ones mod t have a standard deviation of 2e13


def plain(world: World, *names: str) -> I64:
    sums = np.array([contribution.gram(rows(world.book, int(name[1:]))) for name in names])
    return np.asarray(sums.sum(axis=0), dtype=np.int64)


def read(world: World, colluder: str, ciphertexts: U64, members: int) -> I64:
    """What a colluder's keys make of ciphertexts."""
    state = EpochState.decode(world.store(colluder).fact("epoch") or b"")
    slots = GroupKey.derive(state.seed, state.epoch().id).decrypt(ciphertexts, GAM.t_bits)
    return GAM.unpack(slots, members, world.book.dimension * (world.book.dimension + 1) // 2)


def error(seen: I64, truth: I64) -> float:
    return float(np.std((seen - truth).astype(float)))


def with_copied_mask_key(folder: Path) -> float:
    """K = 3: the colluder publishes the third member's mask key as its own; how far it is from the second."""
    world = World(folder, size=3)
    colluder, victim, copied = sorted(
        world.names, key=lambda name: keys.key_hash(keys.public_bytes(world.identities[name].signing))
    )
    masks: dict[str, bytes] = {}
    while (ask := world.coordinator.ask()) is not None:
        parts = sorted(ask.parts.items(), key=lambda part: part[0] == colluder)  # its hello comes last
        for name, (shared, own) in parts:
            signed = Signed.decode(world.members[name].handle(ask.kind, shared, own))
            reply = Reply.decode(signed.body)
            if ask.kind == "hello":
                hello = Hello.decode(Signed.decode(reply.body).body)
                masks[name] = hello.mask
                if name == colluder:
                    forged = hello.model_copy(update={"mask": masks[copied]})
                    body = Signed.make(world.identities[name].signing, forged).encode()
                    signed = speak(world, name, ask, body=body)
            world.replies.append((ask.kind, name, reply))
            world.take(world.coordinator.receive(ask, name, signed))
        if ask.kind == "round":
            break
        world.take(world.coordinator.finish(ask))
    upload = upload_of(world, victim, 0)
    return error(read(world, colluder, uploaded(upload.payload, 1), 1), plain(world, victim))


def test_a_copied_mask_key_cancels_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_copied_mask_key(tmp_path / "bound") > READABLE
    bound = masking._pair_key
    monkeypatch.setattr(
        masking, "_pair_key", lambda secret, _pair, context: bound(secret, (b"", b""), context)
    )
    assert with_copied_mask_key(tmp_path / "control") < READABLE


def with_another_epsilon_for_one(folder: Path) -> float:
    """m0 is told half the ε of the others, and had said yes to it; how far the sum of all uploads is from the truth."""
    world = World(folder, size=4)
    ask = world.until("prepare")
    total = PublicSum(1)
    for name, (shared, own) in ask.parts.items():
        told = with_prepare(world, shared, epsilon=world.epsilon / 2) if name == "m0" else shared
        reply = contribute(world, name, told, own)
        assert reply.kind == "ok", reply.cause
        upload = Upload.decode(reply.body)
        total.add(upload.payload, Header.decode(upload.header.body).tags)
    return error(read(world, "m3", summed(total.payload(), 1), 4), plain(world, *world.names))


def test_members_told_different_noise_share_no_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard refuses terms that the epoch does not name; here it is off, and the masks stand alone."""
    monkeypatch.setattr(RunTerms, "terms_hash", lambda _config: bytes(32))
    assert with_another_epsilon_for_one(tmp_path / "bound") > READABLE
    bound = masking.attempt_context

    def unbound(run: int, round_: int, attempt: int, _config: bytes) -> bytes:
        return bound(run, round_, attempt, bytes(32))

    monkeypatch.setattr(session, "attempt_context", unbound)
    monkeypatch.setattr(
        session, "mask_context", lambda run, round_, attempt, *_: bound(run, round_, attempt, bytes(32))
    )
    assert with_another_epsilon_for_one(tmp_path / "control") < READABLE


def test_a_refused_configuration_leaves_nothing_behind(tmp_path: Path) -> None:
    world = World(tmp_path, size=4, rounds=6)
    ask = world.until("round")
    shared, own = ask.parts["m1"]
    poison = with_config(world, shared, rounds=2, delta=1e-80)
    assert say(world, "m1", "round", poison, own).kind == "refused"
    world.run()
    charged = [
        {(e.round, e.attempt): e.event for e in world.store(name).ledger() if e.status == "reserved"}
        for name in world.names
    ]
    assert len(charged[0]) == 6
    assert all(each == charged[0] for each in charged)

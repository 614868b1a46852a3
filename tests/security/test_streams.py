"""One stream, one thing: what a member's secrets make hides nothing twice (B20).

The recorder stands in every world of ``tests/faults`` too. Controls: with the defences off, it is what finds out.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.protocol import guard
from fedrepay.client.protocol.session import Session
from fedrepay.shared.privacy.entropy import OsEntropy, SeededEntropy
from fedrepay.shared.secure_sum.masking import attempt_context
from fedrepay.shared.secure_sum.tag import AttemptTags
from fedrepay.shared.trust.wire import RoundConfig
from support import fuzz
from support.adversary import contribute
from support.consortium import unencrypted
from support.recorder import Recorder, Reused, recording
from support.stages import Stages, copied
from support.world import World

Patch = pytest.MonkeyPatch


def test_in_a_whole_run_every_stream_hides_one_thing(tmp_path: Path) -> None:
    with recording() as recorder:
        world = World(tmp_path, size=4)
        world.run()
    assert world.coordinator.state.done
    uploads = 4 * 3
    assert recorder.seen["pad"] == recorder.seen["canary"] == recorder.seen["second polynomial"] >= uploads
    assert recorder.seen["mask"] == uploads * 3
    assert recorder.seen["sealing key"] == 1  # the release
    assert recorder.excuses == 0


# --- two configurations of one attempt ---


def two_configurations(folder: Path) -> World:
    """The coordinator signs another configuration, of a smaller cohort, for an attempt that was answered."""
    world = World(folder, size=5, mode="none")
    shared, own = world.until("prepare").parts["m0"]
    assert contribute(world, "m0", shared, own).kind == "ok"
    world.replies.append(("round", "m0", contribute(world, "m0", shared, own, "m0", "m1", "m2", "m3")))
    return world


def without_the_monotone_counter(patch: Patch) -> None:
    patch.setattr(guard, "check_monotone", lambda *_: None)


def without_the_configuration_in_contexts(patch: Patch) -> None:
    zeros = bytes(32)

    def context(_session: Session, config: RoundConfig) -> bytes:
        return attempt_context(config.run, config.round, config.attempt, zeros)

    patch.setattr(Session, "context", context)
    patch.setattr(Session, "_masked", context)


def test_an_attempt_is_answered_once(tmp_path: Path) -> None:
    with recording() as recorder, unencrypted():
        world = two_configurations(tmp_path)
    assert world.refusals()[-1] == ("m0", "monotone")
    assert recorder.seen["mask"] == 4


@pytest.mark.parametrize("broken", [without_the_monotone_counter, without_the_configuration_in_contexts])
def test_each_of_both_defences_of_the_masks_holds_alone(
    tmp_path: Path, monkeypatch: Patch, broken: Callable[[Patch], None]
) -> None:
    broken(monkeypatch)
    with recording(), unencrypted():
        two_configurations(tmp_path)


def test_control_without_both_the_recorder_finds_out_masks_used_twice(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    without_the_monotone_counter(monkeypatch)
    without_the_configuration_in_contexts(monkeypatch)
    with recording(), unencrypted(), pytest.raises(Reused, match=r"canary|mask|pad"):
        two_configurations(tmp_path)


def test_control_a_pad_that_forgets_the_chunk_is_found(monkeypatch: Patch) -> None:
    """Of two ciphertexts of one upload: their tags' difference would tell the key."""
    pads = AttemptTags._pads
    monkeypatch.setattr(AttemptTags, "_pads", lambda attempt, _index: pads(attempt, 0))
    slots = np.zeros((2, 8192), np.uint64)
    slots[1] = 1
    with recording() as recorder:
        recorder.begin("m0")
        with pytest.raises(Reused, match="pad"):
            AttemptTags(bytes(32), bytes(48), ("m0",)).tags(slots, "m0")


def test_control_a_member_that_encrypts_with_the_same_randomness_twice_is_found(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    """Whose entropy starts over with every draw."""
    monkeypatch.setattr(OsEntropy, "draw", lambda _self, n: SeededEntropy(b"s").draw(n))
    with recording(), pytest.raises(Reused, match="second polynomial"):
        World(tmp_path, size=4, mode="none").run()


def test_two_members_that_encrypt_with_the_same_randomness_are_found() -> None:
    """Whoever subtracts their uploads has the difference of what they sent."""
    key, slots = GroupKey.derive(bytes(32), bytes(32)), np.zeros((1, 4096), dtype=np.uint64)
    with recording() as recorder:
        recorder.begin("m0")
        key.encrypt(slots, 46, SeededEntropy(b"one and the same"))
        recorder.begin("m1")
        with pytest.raises(Reused, match="second polynomial"):
            key.encrypt(slots + np.uint64(1), 46, SeededEntropy(b"one and the same"))


# --- mutants, told to members that are never put back ---


def fuzzed(run: Stages, kind: str, folder: Path) -> Recorder:
    """Every member that is asked for this gets mutants and the honest message, in one life, under one recorder."""
    stage, ask = run.at[kind]
    world = copied(stage, folder)
    with recording() as recorder:
        for name, (shared, own) in ask.parts.items():
            known = [part for part in (shared, own) if part]
            for seed, part in enumerate(known):
                for _, mutant in fuzz.mutants(seed, 60, [part]):
                    world.members[name].handle(kind, *((mutant, own) if part == shared else (shared, mutant)))
                    world.members[name].handle(kind, shared, own)
            world.members[name].handle(kind, shared, own)
    return recorder


@pytest.mark.parametrize("kind", ["seed", "confirm", "prepare", "round", "write", "close"])
def test_no_mutant_makes_a_member_use_a_stream_twice(kind: str, run: Stages, tmp_path: Path) -> None:
    recorder = fuzzed(run, kind, tmp_path)
    assert sum(recorder.seen.values()) > 0 or kind in ("confirm", "close", "seed", "prepare")

"""One stream, one thing: what a member's secrets make hides nothing twice (B20).

The recorder stands in every world of ``tests/faults`` too. Controls: with the defences off, it is what finds out.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.protocol import epoch as client_epoch
from fedrepay.client.protocol import guard
from fedrepay.client.protocol.ceremony import Answer, Ceremony
from fedrepay.client.protocol.session import Session
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared import keys
from fedrepay.shared.secure_sum import tag
from fedrepay.shared.secure_sum.masking import attempt_context
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import Envelopes
from fedrepay.shared.trust.wire import RoundConfig
from support import fuzz
from support.adversary import fork, say, with_config
from support.consortium import unencrypted
from support.recorder import Recorder, Reused, recording
from support.stages import Stages
from support.world import World

Patch = pytest.MonkeyPatch


def test_in_a_whole_run_every_stream_hides_one_thing(tmp_path: Path) -> None:
    with recording() as recorder:
        world = World(tmp_path, size=4)
        world.run()
    assert world.coordinator.state.done
    uploads = 4 * 3
    assert recorder.seen["pad"] == recorder.seen["canary"] >= uploads
    assert recorder.seen["mask"] == uploads * 3
    assert recorder.seen["sealing key"] == 2  # the secret context, the release
    assert recorder.excuses == 0


# --- a step asked twice ---


def asked_twice(folder: Path) -> World:
    """The coordinator asks the maker twice, with the same envelopes in another order."""
    world = World(folder, size=4, mode="none")
    ask = world.until("context")
    ((maker, (shared, own)),) = ask.parts.items()
    other = Envelopes(signed=tuple(reversed(Envelopes.decode(own).signed))).encode()
    assert other != own
    assert say(world, maker, "context", shared, own).kind == "ok"
    world.replies.append(("context", maker, say(world, maker, "context", shared, other)))
    return world


def answers_steps_twice(patch: Patch) -> None:
    def answer(self: Ceremony, kind: str, shared: bytes, own: bytes) -> Answer:
        steps = {"introduce": lambda: self._introduce(shared), "seed": lambda: self._seed(shared)}
        steps |= {"context": lambda: self._context(own), "confirm": lambda: self._confirm(shared, own)}
        return steps[kind]()

    patch.setattr(Ceremony, "answer", answer)


def seals_under_a_key_of_the_epoch_alone(patch: Patch) -> None:
    def context_key(seed: bytes, epoch: Epoch, _public: bytes) -> tuple[bytes, bytes]:
        return keys.derive(seed, "context", epoch.id), epoch.id

    patch.setattr(client_epoch, "_context_key", context_key)


def test_the_maker_answers_once(tmp_path: Path) -> None:
    with recording() as recorder, unencrypted():
        world = asked_twice(tmp_path)
    assert world.refusals()[-1][1] == "monotone"
    assert recorder.seen["sealing key"] == 1


@pytest.mark.parametrize("broken", [answers_steps_twice, seals_under_a_key_of_the_epoch_alone])
def test_each_of_both_defences_of_the_sealing_key_holds_alone(
    tmp_path: Path, monkeypatch: Patch, broken: Callable[[Patch], None]
) -> None:
    broken(monkeypatch)
    with recording(), unencrypted():
        asked_twice(tmp_path)


def test_control_without_both_the_recorder_finds_out(tmp_path: Path, monkeypatch: Patch) -> None:
    answers_steps_twice(monkeypatch)
    seals_under_a_key_of_the_epoch_alone(monkeypatch)
    with recording(), unencrypted(), pytest.raises(Reused, match="sealing key"):
        asked_twice(tmp_path)


# --- two configurations of one attempt ---


def two_configurations(folder: Path) -> World:
    """The coordinator signs another configuration, of a smaller cohort, for an attempt that was answered."""
    world = World(folder, size=5, mode="none")
    ask = world.until("round")
    shared, own = ask.parts["m0"]
    assert say(world, "m0", "round", shared, own).kind == "ok"
    other = with_config(world, shared, cohort=("m0", "m1", "m2", "m3"))
    world.replies.append(("round", "m0", say(world, "m0", "round", other, own)))
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


def test_control_a_pad_that_forgets_the_chunk_is_found(tmp_path: Path, monkeypatch: Patch) -> None:
    """Of two ciphertexts of one upload: their tags' difference would tell the key."""
    number = tag._number

    def forgetful(seed: bytes, label: str, context: bytes, _chunk: int, member: str, modulus: int) -> int:
        return number(seed, label, context, 0, member, modulus)

    monkeypatch.setattr(tag, "_number", forgetful)
    slots = np.zeros((2, 8192), np.uint64)
    slots[1] = 1
    with recording() as recorder:
        recorder.begin("m0")
        with pytest.raises(Reused, match="pad"):
            tag.tags(bytes(32), bytes(48), slots, "m0")


# --- mutants, told to members that are never put back ---


def fuzzed(run: Stages, kind: str, folder: Path) -> Recorder:
    """Every member that is asked for this gets mutants and the honest message, in one life, under one recorder."""
    stage, ask = run.at[kind]
    world = fork(stage, folder)
    with recording() as recorder:
        for name, (shared, own) in ask.parts.items():
            known = [part for part in (shared, own) if part]
            for seed, part in enumerate(known):
                for _, mutant in fuzz.mutants(seed, 60, [part]):
                    world.members[name].handle(kind, *((mutant, own) if part == shared else (shared, mutant)))
                    world.members[name].handle(kind, shared, own)
            world.members[name].handle(kind, shared, own)
    return recorder


@pytest.mark.parametrize("kind", ["seed", "context", "confirm", "round", "write", "close"])
def test_no_mutant_makes_a_member_use_a_stream_twice(kind: str, run: Stages, tmp_path: Path) -> None:
    recorder = fuzzed(run, kind, tmp_path)
    assert sum(recorder.seen.values()) > 0 or kind in ("confirm", "close", "seed")


def test_control_a_maker_that_keeps_no_answer_and_seals_under_one_key(
    run: Stages, tmp_path: Path, monkeypatch: Patch
) -> None:
    fact = MemberStore.fact
    monkeypatch.setattr(
        MemberStore, "fact", lambda store, key: None if key.startswith("reply:") else fact(store, key)
    )
    answers_steps_twice(monkeypatch)
    seals_under_a_key_of_the_epoch_alone(monkeypatch)
    with unencrypted(), pytest.raises(Reused, match="sealing key"):
        fuzzed(run, "context", tmp_path)

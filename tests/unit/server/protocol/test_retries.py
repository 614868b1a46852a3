"""A member that is lost: a new charged attempt, down to the quorum, then a clear stop."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning import make_learner
from fedrepay.client.protocol import contributing
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import CohortError
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.secure_sum.ciphertext import uploaded
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.secure_sum.ring import chunk_count
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.sums import LEARNERS, is_over, sum_sizes
from fedrepay.shared.trust.wire import Upload
from fedrepay.simulations.attacks.tools.adversary import answer, config_of, prepare_of
from support.invariants import answers, check, opened_sums, plain_sums, spent
from support.world import Tamper, World


def losing(*names: str, rounds: tuple[int, ...], deaf: bool = True) -> Tamper:
    """Loses these members in these rounds: prepared for the first, and then silent; unless ``deaf``, it prepares again."""
    gone = set()

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        round_ = round_of(kind, shared)
        if name not in names or round_ not in rounds:
            return shared, own
        if kind == "round":
            gone.add(name)
        return None if kind == "round" or (deaf and name in gone) else (shared, own)

    return tamper


def round_of(kind: str, shared: bytes) -> int | None:
    if kind == "prepare":
        return prepare_of(shared).round
    return config_of(shared).round if kind == "round" else None


def attempts(world: World) -> list[tuple[int, str, int]]:
    """(round, status, cohort's size) of each attempt."""
    return [(r.config.round, r.status, len(r.config.cohort)) for r in world.coordinator.state.attempts]


def released(world: World, name: str = "m0") -> ReleaseContent:
    stored = world.store(name).release()
    assert stored is not None
    return ReleaseContent.decode(stored[1])


def charged(world: World, name: str) -> list[tuple[int, int]]:
    return [(e.round, e.attempt) for e in world.store(name).ledger() if e.status == "reserved"]


@dataclass(frozen=True)
class Retried:
    """A run of four in which m3 was lost in round 1, and all the noise that was drawn, in order."""

    world: World
    noises: list[I64]


@pytest.fixture(scope="module")
def retried(tmp_path_factory: pytest.TempPathFactory) -> Retried:
    drawn: list[I64] = []

    def noted(values: I64, *rest: object) -> I64:
        noisy = add_noise(values, *rest)  # type: ignore[arg-type]
        drawn.append(noisy - values)
        return noisy

    world = World(tmp_path_factory.mktemp("retried"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contributing, "add_noise", noted)
        world.run(losing("m3", rounds=(1,)))
    return Retried(world, drawn)


# --- one lost attempt ---


def test_a_lost_member_makes_a_new_attempt_and_both_are_charged(retried: Retried) -> None:
    world = retried.world
    assert attempts(world) == [
        (0, "completed", 4),
        (1, "void", 4),
        (1, "completed", 3),
        (2, "completed", 4),
    ]
    assert charged(world, "m0") == [(0, 0), (1, 1), (1, 2), (2, 3)]
    assert charged(world, "m3") == [(0, 0), (2, 3)]  # it never got attempt 1 and stood outside attempt 2
    check(world, world.coordinator.state)


def test_a_member_that_comes_back_opens_what_it_missed(retried: Retried) -> None:
    opened = [opened_sums(retried.world, name) for name in ("m0", "m3")]
    assert len(opened[1]) == 3
    assert all(np.array_equal(first, second) for first, second in zip(*opened, strict=True))


def test_what_a_retry_costs_stands_in_the_statement_and_stays_within_epsilon(
    retried: Retried, tmp_path: Path
) -> None:
    calm, lossy = World(tmp_path), retried.world
    calm.run()
    told = released(lossy).statement
    assert (told["attempts_charged"], told["attempts_void"]) == (4, 1)
    assert told["retry_noise_factor"] > released(calm).statement["retry_noise_factor"] == 1
    last = [world.store("m0").ledger()[-1].event[0]["variance"] for world in (calm, lossy)]
    assert last[1] > last[0]  # the price: more noise in what comes after
    for world in (calm, lossy):
        assert 0.99 * world.epsilon < composed_epsilon(spent(world, "m0"), 1e-5) <= world.epsilon


def test_a_retry_draws_fresh_noise_and_opens_to_exactly_what_was_sent(retried: Retried) -> None:
    ends = np.cumsum([4, 3, 3, 4])  # contributions to each attempt; m3 was lost in attempt 1
    parts = [retried.noises[end - size : end] for end, size in zip(ends, [4, 3, 3, 4], strict=True)]
    for first, second in zip(parts[1], parts[2], strict=True):
        assert np.mean(first == second) < 0.1
    opened = opened_sums(retried.world, "m0")
    plain = plain_sums(retried.world, retried.world.coordinator.state, opened)
    for total, exact, noise in zip(opened, plain, (parts[0], parts[2], parts[3]), strict=True):
        assert np.array_equal(total - exact, np.sum(noise, axis=0))


def test_a_retry_of_the_same_cohort_has_fresh_masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mode none at three members: a member that lost its attempt stays, so all else is equal."""
    world = World(tmp_path, size=3, mode="none")
    ask = world.until("round")
    store = world.store("m2")
    store.charge(1, 0, 0, "unprotected", (), counter=world.coordinator.epoch.id + bytes(4))  # and killed
    world.deliver(ask)
    state = EpochState.decode(world.store("m0").fact("epoch") or b"")
    world.take(world.coordinator.finish(ask))
    world.run()
    assert attempts(world)[:2] == [(0, "void", 3), (0, "completed", 3)]
    group = GroupKey.derive(state.seed, state.epoch().id)
    masked = []
    for attempt in (0, 1):
        (body,) = answers(world.replies)["m0", 0, attempt]
        slots = group.decrypt(uploaded(Upload.decode(body).payload, 1), GAM.t_bits)
        masked.append(slots[0, : world.book.dimension])
    assert not np.any(masked[0] == masked[1])
    assert np.all(masked[0] < GAM.t)


# --- down to the quorum ---


def test_a_run_goes_on_without_the_lost_down_to_the_quorum(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(losing("m3", rounds=(1, 2)))
    assert attempts(world)[2:] == [(1, "completed", 3), (2, "completed", 3)]
    assert len(released(world).sums) == 3
    assert world.store("m3").release() == world.store("m0").release()  # it opened the sums at the end
    check(world, world.coordinator.state)


def test_below_the_quorum_a_run_stops_names_who_is_missing_and_resumes_with_them(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    error = world.expect_stop(CohortError, losing("m2", "m3", rounds=(1,)))
    assert "2 members are left" in error.cause
    assert "quorum is 3" in error.cause
    assert "m2" in error.cause
    assert "m3" in error.cause
    assert "Bring members back" in error.remedy
    assert error.exit_code == 8
    assert attempts(world)[-1] == (1, "void", 4)  # nobody was asked to contribute to a smaller one
    world.restart_coordinator()
    world.run()
    assert attempts(world)[2:] == [(1, "completed", 4), (2, "completed", 4)]
    check(world, world.coordinator.state)


def test_attempts_are_capped_over_the_whole_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    error = world.expect_stop(CohortError, losing("m2", "m3", rounds=(1,), deaf=False))
    assert "Lost by: m2 (4), m3 (4)" in error.cause
    allowed = world.terms().max_attempts
    assert f"{allowed + 1} attempts were lost, {allowed} extra" in error.cause
    assert [status for _, status, _ in attempts(world)] == ["completed"] + ["void"] * (allowed + 1)
    assert len(charged(world, "m0")) == allowed + 2
    assert composed_epsilon(spent(world, "m0"), 1e-5) < world.epsilon
    assert all(world.store(name).release() is None for name in world.names)


def test_who_loses_an_attempt_twice_is_left_out_of_the_next_while_a_quorum_is_left(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(losing("m3", rounds=(1,), deaf=False))
    assert world.coordinator.state.losses == {"m3": 2}
    assert [len(cohort) for _, _, cohort in cohorts(world)] == [4, 4, 4, 3, 3]


def cohorts(world: World) -> list[tuple[int, str, tuple[str, ...]]]:
    return [(r.config.round, r.status, r.config.cohort) for r in world.coordinator.state.attempts]


# --- the last sum ---


def test_a_member_lost_in_the_last_sum_ends_the_run_with_the_sums_that_are_done(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(losing("m3", rounds=(2,)))
    assert attempts(world) == [(0, "completed", 4), (1, "completed", 4), (2, "void", 4)]
    assert len(released(world).sums) == 2
    assert released(world).statement["attempts_void"] == 1
    assert charged(world, "m0")[-1] == (2, 2)  # charged all the same
    assert 0.99 * world.epsilon < composed_epsilon(spent(world, "m0"), 1e-5) <= world.epsilon
    check(world, world.coordinator.state)


def test_without_noise_the_last_sum_is_tried_again(tmp_path: Path) -> None:
    world = World(tmp_path, mode="none")
    world.run(losing("m3", rounds=(2,)))
    assert attempts(world)[2:] == [(2, "void", 4), (2, "completed", 3)]
    assert len(released(world).sums) == 3


@pytest.mark.parametrize(
    ("mode", "completed", "void_round", "over"),
    [
        ("distributed", 3, None, True),
        ("distributed", 2, None, False),
        ("distributed", 2, 2, True),
        ("distributed", 1, 1, False),
        ("none", 2, 2, False),
        ("none", 3, 2, True),
    ],
)
def test_a_run_is_over_when_its_sums_or_its_budget_are(
    mode: str, completed: int, void_round: int | None, *, over: bool
) -> None:
    assert is_over(3, mode, completed, void_round) is over


# --- exactness and monotone counters ---


@pytest.mark.parametrize("tamper", [None, losing("m1", rounds=(1,))], ids=["calm", "with a retry"])
def test_opened_sums_equal_the_plain_integer_sums_bit_for_bit(tmp_path: Path, tamper: Tamper | None) -> None:
    world = World(tmp_path, mode="none")
    world.run(tamper)
    for name in world.names:
        opened = opened_sums(world, name)
        plain = plain_sums(world, world.coordinator.state, opened)
        assert len(opened) == 3
        assert all(np.array_equal(total, exact) for total, exact in zip(opened, plain, strict=True))


def test_control_noise_would_be_noticed(retried: Retried) -> None:
    opened = opened_sums(retried.world, "m0")
    plain = plain_sums(retried.world, retried.world.coordinator.state, opened)
    assert not any(np.array_equal(total, exact) for total, exact in zip(opened, plain, strict=True))


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("rounds", [2, 5])
def test_the_coordinator_counts_values_as_the_learner_does(tmp_path: Path, learner: str, rounds: int) -> None:
    book = World(tmp_path, size=3).book
    segments = make_learner(learner, book, rounds).segments()
    sizes = sum_sizes(learner, book.dimension, rounds, book.heads)
    assert tuple(sum(s.size for s in each) for each in segments) == sizes
    assert all(chunk_count(size) == len(GAM.pack(np.zeros(size, np.int64))) for size in sizes)


def test_a_members_counter_only_grows(tmp_path: Path) -> None:
    world = World(tmp_path)
    seen = [-1]
    for _ in world.steps(losing("m3", rounds=(1,))):
        counter = world.store("m0").fact("counter")
        seen.append(-1 if counter is None else int.from_bytes(counter[32:], "big"))
    assert seen == sorted(seen)
    assert set(seen) >= {-1, 0, 1, 2, 3}


def test_a_message_that_arrives_after_its_attempt_was_given_up_is_refused_and_not_charged(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    late: list[tuple[bytes, bytes]] = []
    lose = losing("m3", rounds=(1,))

    def keep(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        sent = lose(kind, name, shared, own)
        if sent is None and kind == "round":
            late.append((shared, own))
        return sent

    next(ask for ask in world.steps(keep) if ask.kind == "sign")
    late_answer = answer(world.members["m3"].handle("round", *late[0]))
    assert (late_answer.kind, late_answer.code) == ("refused", "history")
    assert charged(world, "m3") == [(0, 0), (2, 3)]


def test_a_member_that_lost_its_store_is_left_out_and_costs_one_attempt(tmp_path: Path) -> None:
    world = World(tmp_path, size=5)
    world.until("round", 1)
    shutil.rmtree(world.folder / "m1")
    world.members["m1"] = world.member("m1")
    world.run()
    attempts = world.coordinator.state.attempts
    assert [record.status for record in attempts].count("void") == 1
    assert all("m1" not in record.config.cohort for record in attempts[2:])
    assert all(world.store(name).release() for name in world.names if name != "m1")


def test_a_member_that_refuses_is_not_asked_again_and_again(tmp_path: Path) -> None:
    world = World(tmp_path, size=5)
    world.until("round", 1)
    world.limits = Limits(minimum_cohort=3, epsilon_per_release=0.1, epsilon_per_year=9)
    world.members["m1"] = world.member("m1")
    world.run()
    attempts = world.coordinator.state.attempts
    assert [record.status for record in attempts].count("void") == 1
    assert world.refusals().count(("m1", "limits")) == 1

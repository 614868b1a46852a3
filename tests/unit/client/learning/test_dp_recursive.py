"""Windows add up: what each said is weighed by what it knows, noise is never taken for rows, and a release goes on from another."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fedrepay.client.learning import dp_recursive, make_learner
from fedrepay.client.learning.base import prior_weights
from fedrepay.client.learning.contribution import Rows, prepare
from fedrepay.client.learning.dp_recursive import (
    FIRST_ROUNDS,
    LATER_ROUNDS,
    DPRecursive,
    RecursiveModel,
    WindowsSaid,
)
from fedrepay.shared.errors import ArgumentError, SchemaError
from fedrepay.shared.privacy.accounting import Mechanism, most_draws, plan_attempt, target_mu
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from support.tiny_book import tiny_book

if TYPE_CHECKING:
    from fedrepay.shared.arrays import F64

BOOK = tiny_book((6, 4, 8), head_weights=(0.8, 0.6))
K, COLLUDERS = 5, 1


def drawn(n: int, seed: int, shift: float = 0.0) -> Rows:
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, k, n) for k in (6, 4, 8)]).astype(np.uint16)
    score = -1.4 + 0.3 * (codes[:, 0] - 2.5) + (0.5 + shift) * (codes[:, 1] == 2) - 0.15 * codes[:, 2]
    likely = 1 / (1 + np.exp(-score))
    first = (rng.random(n) < likely).astype(np.int8)
    second = (rng.random(n) < 0.3 * likely + 0.1).astype(np.int8)
    customers = np.char.add(f"{seed}-", np.arange(n).astype(str)).astype(object)
    return prepare(BOOK, codes, np.column_stack([first, second]).astype(np.int8), customers, None)


def log_loss(weights: F64, data: Rows, head: int = 0) -> float:
    score = BOOK.rows(data.codes) @ weights[head] / BOOK.scale
    return float(np.mean(np.logaddexp(0, score) - data.outcomes[:, head] * score))


def played(
    data: Rows, before: WindowsSaid | None, epsilon: float | None, seed: bytes, kept: float = 1.0
) -> tuple[WindowsSaid, RecursiveModel, DPRecursive]:
    learner = DPRecursive(BOOK, FIRST_ROUNDS if before is None else LATER_ROUNDS, before, kept)
    sums, state, entropy = learner.segments(), learner.start(), SeededEntropy(seed)
    for index in range(learner.rounds):
        opened = learner.contribution(index, state, data)
        mechanisms: tuple[Mechanism, ...] = ()
        if epsilon is not None:
            mu = target_mu(epsilon, 1e-5, most_draws(sums, K, 3))
            mechanisms = plan_attempt(mu, sums, list(range(index)), index, K, COLLUDERS)
            noise = [DiscreteGaussian(each.total_variance).sample(each.size, entropy) for each in mechanisms]
            opened = opened + np.concatenate(noise)
        state = learner.step(index, state, opened, mechanisms)
    return learner.running(state), state, learner


TEST = drawn(20_000, 99)


def test_twelve_windows_end_where_one_of_all_rows_would() -> None:
    windows = [drawn(1000, seed) for seed in range(12)]
    before: WindowsSaid | None = None
    for data in windows:
        before, state, _ = played(data, before, None, b"")
    _, newest, _ = played(windows[-1], None, None, b"")
    whole = replace(
        windows[0],
        codes=np.concatenate([each.codes for each in windows]),
        outcomes=np.concatenate([each.outcomes for each in windows]),
        weights=np.concatenate([each.weights for each in windows]),
        owners=np.arange(12_000),
        customers=12_000,
    )
    newton = make_learner("dp-newton", BOOK, 40)
    once = newton.start()
    for index in range(40):
        once = newton.step(index, once, newton.contribution(index, once, whole), ())
    start = prior_weights(BOOK)
    for head, least in ((0, 0.01), (1, 0.002)):
        found = log_loss(state.weights, TEST, head)
        assert found < log_loss(once.weights, TEST, head) + 1e-3
        assert found < log_loss(newest.weights, TEST, head) - 5e-4
        assert found < log_loss(start, TEST, head) - least


def test_a_run_starts_at_the_weights_of_the_release_before() -> None:
    before, state, _ = played(drawn(2000, 1), None, 1.0, b"a")
    after = DPRecursive(BOOK, LATER_ROUNDS, before).start()
    assert after.weights == pytest.approx(state.weights, abs=1e-12)


def test_noise_is_weighed_and_without_that_the_model_collapses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty windows of forty rows at ε = 0.2: hardly worse than none of them if noise is weighed, much worse if not."""

    def at_the_end() -> float:
        before: WindowsSaid | None = None
        for seed in range(40):
            before, state, _ = played(drawn(40, seed), before, 0.2, bytes([seed]))
        return log_loss(state.weights, TEST)

    start = log_loss(prior_weights(BOOK), TEST)
    assert at_the_end() < start + 0.02
    plain = dp_recursive.DPRecursive._weighed

    def unweighed(
        self: DPRecursive, state: RecursiveModel, window: dp_recursive.Window, head: int
    ) -> tuple[F64, F64]:
        return plain(self, state, replace(window, variance=np.zeros_like(window.variance)), head)

    monkeypatch.setattr(dp_recursive.DPRecursive, "_weighed", unweighed)
    assert at_the_end() > start + 0.03


def test_a_small_noisy_window_does_not_spoil_a_large_one() -> None:
    large, _, _ = played(drawn(20_000, 1), None, 1.0, b"large")
    before, spoiled = log_loss(DPRecursive(BOOK, 3, large).start().weights, TEST), []
    for seed in range(8):
        _, state, _ = played(drawn(30, 50 + seed), large, 0.2, bytes([seed]))
        spoiled.append(log_loss(state.weights, TEST) - before)
    assert max(spoiled) < 5e-4


def test_the_noise_band_is_what_repeated_runs_show() -> None:
    windows = [drawn(1500, seed) for seed in range(3)]
    states = []
    for draw in range(60):
        before: WindowsSaid | None = None
        for number, data in enumerate(windows):
            before, state, learner = played(data, before, 4.0, bytes([draw, number]))
        states.append(state)
    for head in range(2):
        band = np.concatenate(learner.weight_noise(states[0])[head])
        columns = zip(BOOK.blocks, BOOK.slices, strict=True)
        scores = [[b.matrix @ s.weights[head, c] / BOOK.scale for s in states] for b, c in columns]
        seen = np.concatenate([np.std(block, axis=0) for block in scores])
        assert 0.7 < math.sqrt(np.mean(band**2) / np.mean(seen**2)) < 1.5


def test_what_is_forgotten_counts_less_and_below_the_bound_it_is_refused() -> None:
    """After a change the newest windows tell; one that keeps all is slower, and both are better than one that never learned again."""
    old: WindowsSaid | None = None
    for seed in range(4):
        old, stale, _ = played(drawn(3000, seed), old, None, b"")
    assert old is not None
    losses = {}
    changed = drawn(20_000, 98, shift=2.0)
    for kept in (1.0, 0.9):
        before = old
        for seed in range(4):
            before, state, _ = played(drawn(3000, 10 + seed, shift=2.0), before, None, b"", kept)
        losses[kept] = log_loss(state.weights, changed)
    assert losses[0.9] < losses[1.0] < log_loss(stale.weights, changed)
    with pytest.raises(ArgumentError, match=r"0\.8.*0\.9 and 1"):
        DPRecursive(BOOK, 3, None, 0.8)


def test_a_window_that_is_not_over_hands_nothing_on() -> None:
    learner = DPRecursive(BOOK, 3)
    data, start = drawn(100, 1), learner.start()
    with pytest.raises(ValueError, match="not over"):
        learner.running(start)
    with pytest.raises(ValueError, match="before the Gram"):
        learner.step(1, start, learner.contribution(1, start, data), ())
    with pytest.raises(ArgumentError, match="too few"):
        DPRecursive(BOOK, 1)


def test_a_public_prior_is_where_a_window_without_rows_stays() -> None:
    prior = prior_weights(BOOK) + 0.3
    learner = DPRecursive(BOOK, 3, WindowsSaid.first(BOOK, prior))
    state = learner.start()
    assert state.weights == pytest.approx(prior)
    empty = drawn(0, 1)
    for index in range(3):
        state = learner.step(index, state, learner.contribution(index, state, empty), ())
    assert state.weights == pytest.approx(prior)


def test_heads_that_it_would_never_learn_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control takes the refusal away: a rare outcome then stays far from where forty sums of dp-newton bring it."""
    rare = tiny_book((6, 4, 8))
    rare.schema.priors = (0.02,)  # type: ignore[misc]
    with pytest.raises(SchemaError, match=r"prior 0\.02"):
        DPRecursive(rare)
    rng = np.random.default_rng(4)
    codes = np.column_stack([rng.integers(0, k, 40_000) for k in (6, 4, 8)]).astype(np.uint16)
    outcomes = (rng.random(40_000) < 1 / (1 + np.exp(5.5 - 0.7 * codes[:, 0]))).astype(np.int8)[:, None]
    data = prepare(rare, codes, outcomes, np.arange(40_000).astype(str).astype(object), None)

    def loss(learner: Any) -> float:
        state = learner.start()
        for index in range(learner.rounds):
            state = learner.step(index, state, learner.contribution(index, state, data), ())
        score = rare.rows(codes) @ state.weights[0] / rare.scale
        return float(np.mean(np.logaddexp(0, score) - outcomes[:, 0] * score))

    monkeypatch.setattr(DPRecursive, "_check_heads", lambda _self: None)
    assert loss(DPRecursive(rare)) > loss(make_learner("dp-newton", rare, 40)) + 0.005

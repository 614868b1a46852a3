import math
from typing import Any

import numpy as np
import pytest

from fedrepay.client.learning import make_learner
from fedrepay.client.learning.base import Learner, Model, prior_weights
from fedrepay.client.learning.contribution import Rows, gradient, prepare
from fedrepay.shared.arrays import F64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.accounting import Mechanism, most_draws, plan_attempt, target_mu
from fedrepay.shared.privacy.entropy import Entropy, SeededEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.trust.sums import sum_sizes
from support.tiny_book import tiny_book

BOOK = tiny_book((6, 4, 8))
N = 6_000


def synthetic(n: int = N) -> Rows:
    rng = np.random.default_rng(7)
    codes = np.column_stack([rng.integers(0, k, n) for k in (6, 4, 8)]).astype(np.uint16)
    score = -1.4 + 0.3 * (codes[:, 0] - 2.5) + 0.5 * (codes[:, 1] == 2) - 0.15 * codes[:, 2]
    outcomes = (rng.random(n) < 1 / (1 + np.exp(-score))).astype(np.int8)[:, None]
    return prepare(BOOK, codes, outcomes, np.arange(n).astype(str).astype(object), None)


DATA = synthetic()


def plan(
    learner: Learner[Any], epsilon: float, cohort: int = 5, colluders: int = 1
) -> list[tuple[Mechanism, ...]]:
    sums = learner.segments()
    mu = target_mu(epsilon, 1e-5, most_draws(sums, cohort, 3))
    return [plan_attempt(mu, sums, list(range(i)), i, cohort, colluders) for i in range(len(sums))]


def train(
    learner: Learner[Any], data: Rows, mechanisms: list[tuple[Mechanism, ...]], entropy: Entropy
) -> Model:
    state: Model = learner.start()
    for index in range(learner.rounds):
        opened = learner.contribution(index, state, data)
        assert len(opened) == sum(segment.size for segment in learner.segments()[index])
        used = mechanisms[index] if mechanisms else ()
        if used:
            noise = [DiscreteGaussian(m.total_variance).sample(m.size, entropy) for m in used]
            opened = opened + np.concatenate(noise)
        state = learner.step(index, state, opened, used)
    return state


def log_loss(weights: F64, data: Rows = DATA) -> float:
    score = BOOK.rows(data.codes) @ weights[0] / BOOK.scale
    return float(np.mean(np.logaddexp(0, score) - data.outcomes[:, 0] * score))


def ridge_optimum() -> F64:
    rows = BOOK.rows(DATA.codes) / BOOK.scale
    weights: F64 = np.zeros(BOOK.dimension)
    for _ in range(30):
        p = 1 / (1 + np.exp(-rows @ weights))
        hessian = (rows * (p * (1 - p))[:, None]).T @ rows + 0.1 * np.eye(len(weights))
        weights -= np.linalg.solve(hessian, rows.T @ (p - DATA.outcomes[:, 0]) + 0.1 * weights)
    return weights[None]


@pytest.mark.parametrize(
    ("name", "rounds", "gap"), [("dp-newton", 5, 5e-4), ("dp-surrogate", 5, 5e-4), ("dp-gd", 100, 1e-3)]
)
def test_without_noise_the_model_is_near_the_ridge_optimum(name: str, rounds: int, gap: float) -> None:
    learner = make_learner(name, BOOK, rounds)
    best, start = log_loss(ridge_optimum()), log_loss(learner.start().weights)
    assert start > best + 0.02
    assert log_loss(train(learner, DATA, [], SeededEntropy(b"")).weights) < best + gap


@pytest.mark.parametrize(("name", "rounds"), [("dp-newton", 5), ("dp-surrogate", 5), ("dp-gd", 60)])
def test_noise_of_a_plan_leaves_most_of_the_gain(name: str, rounds: int) -> None:
    learner = make_learner(name, BOOK, rounds)
    best, start = log_loss(ridge_optimum()), log_loss(learner.start().weights)
    noisy = log_loss(train(learner, DATA, plan(learner, 4.0), SeededEntropy(b"plan")).weights)
    assert best < noisy < best + 0.4 * (start - best)
    drowned = log_loss(train(learner, DATA, plan(learner, 0.01), SeededEntropy(b"plan")).weights)
    assert drowned > noisy + 0.005


@pytest.mark.parametrize(("name", "rounds"), [("dp-newton", 5), ("dp-surrogate", 5), ("dp-gd", 20)])
def test_the_noise_band_is_what_repeated_runs_show(name: str, rounds: int) -> None:
    learner = make_learner(name, BOOK, rounds)
    mechanisms = plan(learner, 4.0)
    states = [train(learner, synthetic(800), mechanisms, SeededEntropy(bytes([i]))) for i in range(60)]
    band = np.concatenate(learner.weight_noise(states[0])[0])
    columns = zip(BOOK.blocks, BOOK.slices, strict=True)
    scores = [[b.matrix @ s.weights[0, c] / BOOK.scale for s in states] for b, c in columns]
    seen = np.concatenate([np.std(block, axis=0) for block in scores])
    assert len(band) == 6 + 4 + 8 + 1
    assert 0.8 < math.sqrt(np.mean(band**2) / np.mean(seen**2)) < 1.5
    if name == "dp-newton":
        assert np.all((seen / 1.8 < band) & (band < 2.2 * seen))
    quiet = train(learner, synthetic(800), [], SeededEntropy(b""))
    assert not np.concatenate(learner.weight_noise(quiet)[0]).any()


def test_the_start_predicts_the_public_prior_for_every_row() -> None:
    scores = BOOK.rows(DATA.codes) @ prior_weights(BOOK)[0] / BOOK.scale
    assert 1 / (1 + np.exp(-scores)) == pytest.approx(np.full(N, 0.2))


def test_the_ridge_follows_the_noise_of_all_members() -> None:
    learner = make_learner("dp-newton", BOOK, 5)
    gram = learner.contribution(0, learner.start(), DATA)
    assert learner.step(0, learner.start(), gram, ()).ridge == 1.0
    mechanism = plan(learner, 1.0)[0][0]
    deviation = math.sqrt(mechanism.variance * 5 / 4) / 64**2
    found = learner.step(0, learner.start(), gram, (mechanism,)).ridge
    assert found == pytest.approx(8 * math.sqrt(BOOK.dimension) * deviation)


def test_newton_takes_exactly_the_documented_steps() -> None:
    learner = make_learner("dp-newton", BOOK, 3)
    state = learner.step(0, learner.start(), learner.contribution(0, learner.start(), DATA), ())
    rows = BOOK.rows(DATA.codes) / BOOK.scale
    preconditioner = np.linalg.inv(rows.T @ rows + np.eye(BOOK.dimension)) / 0.12
    weights, velocity = learner.start().weights[0], np.zeros(BOOK.dimension)
    for index in (1, 2):
        opened = learner.contribution(index, state, DATA)
        assert np.array_equal(opened, gradient(DATA, state.weights))
        state = learner.step(index, state, opened, ())
        velocity = 0.3 * velocity + opened / (64 * 65536)
        weights = weights - preconditioner @ velocity
        assert state.weights[0] == pytest.approx(weights, abs=1e-8)


def test_gradient_descent_counts_customers_and_caps_its_step() -> None:
    learner = make_learner("dp-gd", BOOK, 50)
    start = learner.start()
    opened = learner.contribution(0, start, DATA)
    assert opened[-1] == 1024 * N
    assert learner.step(0, start, opened, ()).rate == 20 / N
    mechanisms = plan(learner, 0.5)[0]
    mu = target_mu(0.5, 1e-5, most_draws(learner.segments(), 5, 3))
    assert learner.step(0, start, opened, mechanisms).rate == pytest.approx(0.8 * mu * 0.1 / 50)
    opened[-1] = -5  # noise can take a small count below zero
    rate = learner.step(0, start, opened, mechanisms).rate
    assert rate is not None
    assert 0 < rate <= 20


def test_gradient_descent_averages_its_last_half() -> None:
    learner = make_learner("dp-gd", BOOK, 5)
    state, seen = learner.start(), []
    for index in range(5):
        state = learner.step(index, state, learner.contribution(index, state, DATA), ())
        seen.append(state.weights)
    last = seen[3] - state.rate * state.velocity
    assert state.weights == pytest.approx((seen[2] + seen[3] + last) / 3)


@pytest.mark.parametrize(
    ("name", "rounds"), [("dp-newton", 5), ("dp-surrogate", 5), ("dp-surrogate", 2), ("dp-gd", 7)]
)
def test_sums_are_as_long_as_the_coordinator_expects(name: str, rounds: int) -> None:
    learner = make_learner(name, BOOK, rounds)
    sizes = tuple(sum(segment.size for segment in segments) for segments in learner.segments())
    assert sizes == sum_sizes(name, BOOK.dimension, rounds, BOOK.heads)
    weights = [segment.weight for segments in learner.segments() for segment in segments]
    assert math.fsum(weights) == pytest.approx(1.0)
    assert (learner.name, learner.rounds) == (name, rounds)


def test_unknown_learners_and_too_few_rounds_are_refused() -> None:
    with pytest.raises(ArgumentError):
        make_learner("sgd", BOOK, 5)
    with pytest.raises(ArgumentError):
        make_learner("dp-newton", BOOK, 1)

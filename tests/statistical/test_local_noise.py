"""The noise in what a member sends in local mode: of the width that is charged, and fresh in every step.

Noise comes from a seeded source, so these tests never flicker. A member without customers sends noise alone.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning import dp_sgd
from fedrepay.client.learning.contribution import Rows, prepare
from fedrepay.client.learning.torch_models import clipping
from fedrepay.client.learning.torch_models.clipping import DiscreteOptimizer, Steps
from fedrepay.client.veto import budget
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.accounting import SampledSteps
from fedrepay.shared.privacy.entropy import Entropy, SeededEntropy
from fedrepay.shared.privacy.subsampled import COUNT_UNIT, count_mechanism, steps_mechanism
from fedrepay.shared.schema import codebook
from support.local_world import model, terms
from support.world import SCHEMA

BOOK = codebook.build(SCHEMA)
MLP = model("mlp", BOOK.dimension)  # 321 parameters
MEMBERS, DRAWS = 8, 40
ALPHA = 1e-6
PUBLIC: dict[str, Any] = {"noise_multiplier": 3.0, "local_steps": 1, "learning_rate": 100.0}


def customers(n: int) -> Rows:
    codes = np.zeros((n, 2), np.uint16)
    return prepare(BOOK, codes, np.ones((n, 1), np.int8), np.arange(n).astype(str).astype(object), None)


def learner(seed: str, **changes: Any) -> dp_sgd.DPSGD:
    public = terms(MLP, **(PUBLIC | changes))
    return dp_sgd.DPSGD(BOOK, 3, public, 1.0, 1e-5, MEMBERS, MLP, SeededEntropy(seed.encode()))


def counted(of: dp_sgd.DPSGD) -> dp_sgd.LocalModel:
    opened = np.array([COUNT_UNIT * 400 * MEMBERS], np.int64)
    return of.step(0, of.start(), opened, (count_mechanism(1.0, 1e-5, MEMBERS),))


def sent(rows: Rows, halved: float = 1.0, **changes: Any) -> tuple[np.ndarray, float]:
    """Many updates of one member, in weights, and the standard deviation that the ledger's charge stands for."""
    of = learner("sent", **changes)
    state = counted(of)
    if halved != 1.0:
        of = replace(of, terms=of.terms.model_copy(update={"noise_multiplier": 3.0 * halved}))
    found = np.array([of.contribution(1, state, rows) for _ in range(DRAWS)])
    public = terms(MLP, **(PUBLIC | changes))
    charged = steps_mechanism(3.0, public.sampling_rate, public.local_steps, MEMBERS, MLP.parameters)
    grid = dp_sgd.grid(public.clip, MLP.parameters, BOOK.schema.public.n_max)
    batch = public.sampling_rate * state.customers
    each = math.sqrt(charged.steps * charged.variance) / (grid * public.clip * batch) * state.rate
    return found * of._unit(state), each


def p_value(noise: np.ndarray, deviation: float) -> float:
    """Two-sided p of a variance, normal draws of mean 0."""
    statistic = float((noise**2).sum() / deviation**2)
    tail = stats.chi2(noise.size).cdf(statistic)
    return float(2 * min(tail, 1 - tail))


@pytest.mark.parametrize("changes", [{}, {"local_steps": 4}, {"sampling_rate": 0.25}])
def test_a_members_update_carries_the_noise_it_is_charged_for(changes: dict[str, Any]) -> None:
    noise, deviation = sent(customers(0), **changes)
    assert p_value(noise, deviation) > ALPHA
    _, p = stats.kstest(noise.ravel() / deviation, "norm")
    assert p > ALPHA


def test_half_the_noise_is_noticed() -> None:
    noise, deviation = sent(customers(0), halved=0.5)
    assert p_value(noise, deviation) < ALPHA


def test_an_empty_sample_still_steps_with_noise() -> None:
    """A rate so small that no customer is ever drawn: the update must not be zero."""
    noise, deviation = sent(customers(3), sampling_rate=1e-6)
    assert p_value(noise, deviation) > ALPHA


def test_noise_is_fresh_in_every_step_and_number() -> None:
    noise, deviation = sent(customers(0))
    rows = noise / deviation
    assert np.abs(np.asarray(np.corrcoef(rows))[np.triu_indices(DRAWS, 1)]).max() < 0.35
    assert np.abs(rows.mean(axis=0)).max() < 5.5 / math.sqrt(DRAWS)


def test_the_count_carries_its_noise_and_nothing_is_added_after() -> None:
    of, rows = learner("count"), customers(20)
    charged = count_mechanism(1.0, 1e-5, MEMBERS)
    found = np.array([of.contribution(0, of.start(), rows)[0] for _ in range(400)]) - COUNT_UNIT * 20
    assert p_value(found, math.sqrt(charged.variance)) > ALPHA
    assert p_value(found, 2 * math.sqrt(charged.variance)) < ALPHA
    values = np.arange(3)
    assert add_noise(values, (charged,), SeededEntropy(b"")) is values


class NoNoise(DiscreteOptimizer):
    """The defence off."""

    def add_noise(self) -> None:
        self._noise = Silence()  # type: ignore[assignment]
        super().add_noise()


class Silence:
    def sample(self, n: int, _entropy: Entropy) -> np.ndarray:
        return np.zeros(n, np.int64)


def test_without_noise_the_update_of_nobody_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clipping, "DiscreteOptimizer", NoNoise)
    noise, deviation = sent(customers(0))
    assert (noise == 0).all()
    assert p_value(noise, deviation) < ALPHA


def test_customers_are_sampled_whole_and_at_the_public_rate() -> None:
    owners = np.repeat(np.arange(500), 3)
    rows = prepare(
        BOOK,
        np.zeros((1500, 2), np.uint16),
        np.ones((1500, 1), np.int8),
        owners.astype(str).astype(object),
        None,
    )
    stream = SeededEntropy(b"sampling")
    drawn = []
    for _ in range(200):
        chosen = clipping.sample(rows, 0.3, stream)
        inside = np.bincount(rows.owners[chosen], minlength=500)
        assert set(inside.tolist()) <= {0, 3}
        drawn.append(inside > 0)
    taken = np.array(drawn)
    assert stats.binomtest(int(taken.sum()), taken.size, 0.3).pvalue > ALPHA
    assert stats.binomtest(int(taken.sum()), taken.size, 0.32).pvalue < ALPHA
    sizes = taken.sum(axis=1)
    assert p_value(sizes - 150.0, math.sqrt(500 * 0.3 * 0.7)) > ALPHA  # Poisson sampling: the size varies
    assert len(clipping.sample(rows, 1.0, stream)) == 1500


def test_what_is_charged_is_what_the_steps_draw() -> None:
    """The budget's mechanism and the learner's own must be the same numbers."""
    of = learner("same")
    public = of.steps(counted(of))
    charged = steps_mechanism(3.0, 1.0, 1, MEMBERS, MLP.parameters)
    assert isinstance(charged, SampledSteps)
    assert (public.variance, public.steps, public.sampling_rate) == (charged.variance, 1, 1.0)
    assert budget.as_event((charged,))[0]["variance"] == public.variance


@pytest.mark.parametrize("options", [{"secure_mode": True}, {"generator": torch.Generator()}])
def test_opacus_own_sources_of_noise_are_refused(options: dict[str, Any]) -> None:
    parameter = torch.nn.Parameter(torch.zeros(2))
    public = Steps(1.0, 1, 1.0, 1e6, 1e3, 1.0, 1.0, 0.0)
    with pytest.raises(ArgumentError, match=next(iter(options))):
        DiscreteOptimizer(torch.optim.SGD([parameter], lr=1.0), public, SeededEntropy(b""), **options)

"""DP-GD: many noisy gradients with momentum, averaged; for models too wide for a Gram matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.learning import contribution
from fedrepay.client.learning.base import (
    Model,
    gradient_units,
    prior_weights,
    score_deviations,
    total_deviation,
)
from fedrepay.shared.privacy.accounting import Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedrepay.client.learning.base import Band
    from fedrepay.client.learning.contribution import Rows
    from fedrepay.shared.arrays import F64, I64
    from fedrepay.shared.privacy.accounting import Charged
    from fedrepay.shared.schema.codebook import CodeBook

COUNT_SHARE = 0.02  # of μ²
COUNT_UNIT = 1 << 10  # grid units a customer adds to the count
MOMENTUM = 0.9
LARGEST_STEP = 20.0


@dataclass(frozen=True)
class AveragedModel(Model):
    """A model whose last iterates are averaged at the end.

    Attributes:
        tail: sum of the iterates that will be averaged, shape (H, d).
        rate: each head's step for a gradient in records, shape (H, 1); 0 before sum 0.
        deviations: standard deviation of the noise in each gradient so far, grid units.
    """

    tail: F64
    rate: F64
    deviations: tuple[float, ...] = ()


@dataclass(frozen=True)
class DPGD:
    """``rounds`` gradients of all heads; sum 0 carries a noisy count of customers as one value more."""

    book: CodeBook
    rounds: int
    name: str = "dp-gd"

    def segments(self) -> tuple[tuple[Segment, ...], ...]:
        """The count takes 0.02 of μ², the gradients share the rest equally."""
        size = self.book.heads * self.book.dimension
        gradient = Segment(size, self.book.delta_gradient, (1 - COUNT_SHARE) / self.rounds)
        count = Segment(1, COUNT_UNIT, COUNT_SHARE)
        return ((gradient, count),) + ((gradient,),) * (self.rounds - 1)

    def start(self) -> AveragedModel:
        """The public priors and starts."""
        weights = prior_weights(self.book)
        nothing = np.zeros_like(weights)
        return AveragedModel(weights, nothing, nothing, nothing[:, :1])

    def contribution(self, index: int, state: AveragedModel, data: Rows) -> I64:
        """The heads' gradients at ``state``; in sum 0 the count of customers follows it."""
        gradient = contribution.gradient(data, state.weights)
        return gradient if index else np.append(gradient, np.int64(COUNT_UNIT * data.customers))

    def step(
        self, index: int, state: AveragedModel, opened: I64, mechanisms: Sequence[Charged]
    ) -> AveragedModel:
        """One step of gradient descent; after the last one, the average of the last half of them."""
        size = state.weights.size
        rate = state.rate if index else self._rate(int(opened[size]), mechanisms)
        gradients = opened[:size].reshape(state.weights.shape) / gradient_units(self.book)
        velocity = MOMENTUM * state.velocity + gradients
        weights = state.weights - rate * velocity
        tail = state.tail + weights if index >= self.rounds // 2 else state.tail
        if index == self.rounds - 1:
            weights = tail / (self.rounds - self.rounds // 2)
        deviations = (*state.deviations, total_deviation(mechanisms, 0))
        return replace(state, weights=weights, velocity=velocity, deviations=deviations, rate=rate, tail=tail)

    def _rate(self, count: int, mechanisms: Sequence[Charged]) -> F64:
        """0.8·μ·w·n̂·(1 − m)/T, at most 20, for a mean gradient; divided by n̂ for a summed one; shape (H, 1).

        A head of weight w sees the noise of a budget μ·w.
        """
        customers = max(1.0, count / COUNT_UNIT)
        weights = np.array(self.book.residual_scales)[:, None] / self.book.residual_scale
        if not mechanisms:
            return np.full(weights.shape, LARGEST_STEP / customers)
        mu = mechanisms[0].mu() * math.sqrt(self.rounds / (1 - COUNT_SHARE)) * weights
        steps = np.minimum(LARGEST_STEP, 0.8 * mu * customers * (1 - MOMENTUM) / self.rounds)
        return np.asarray(steps / customers)

    def weight_noise(self, state: AveragedModel) -> tuple[Band, ...]:
        """Propagate isotropic gradient noise with the curvature left out, which can only widen the band."""
        taken = len(state.deviations)
        averaged = range(self.rounds // 2, self.rounds) if taken == self.rounds else range(taken - 1, taken)
        variance = 0.0
        for first, deviation in enumerate(state.deviations):
            # noise of step i has moved iterate j ≥ i by rate·(1 + m + … + m^(j−i))
            moved = [
                (1 - MOMENTUM ** (j - first + 1)) / (1 - MOMENTUM) if j >= first else 0.0 for j in averaged
            ]
            variance += (deviation * sum(moved) / len(averaged)) ** 2
        band = score_deviations(
            self.book, [variance * np.eye(block.matrix.shape[1]) for block in self.book.blocks]
        )
        factors = (state.rate / gradient_units(self.book))[:, 0]
        return tuple(tuple(each * factor for each in band) for factor in factors)

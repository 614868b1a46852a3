"""DP-Newton: one Gram matrix gives a preconditioner, a few noisy gradients give the model.

λ = max(8·√d·σ, 1) records lifts the noisy spectrum: the noise of a symmetric matrix has norm about 2√d·σ,
and the exact matrix is always singular, since every block sums to the intercept. The public curvature
0.12 ≤ p(1 − p) ≤ ¼ stands for the labels, so the Gram matrix needs none and serves all heads: for a head
that only some rows have it counts too much curvature, which shortens its steps. Factor 8 and curvature 0.12
are the schema's ``ridge_factor`` and ``curvature``.
"""

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
from fedrepay.shared.trust.pairs import newton_segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedrepay.client.learning.base import Band
    from fedrepay.client.learning.contribution import Rows
    from fedrepay.shared.arrays import F64, I64
    from fedrepay.shared.privacy.accounting import Charged, Segment
    from fedrepay.shared.schema.codebook import CodeBook

MOMENTUM = 0.3
RIDGE_LEAST = 1.0  # records


@dataclass(frozen=True)
class NewtonModel(Model):
    """A model with its preconditioner; before sum 0 there is none, and a step would move nothing.

    Attributes:
        eigenvalues: of the noisy Gram matrix, in records, not negative, shape (d,).
        eigenvectors: its columns, shape (d, d).
        ridge: λ, in records, what is added to the eigenvalues.
        deviations: standard deviation of the noise in each gradient so far, grid units.
    """

    eigenvalues: F64
    eigenvectors: F64
    ridge: float = 0.0
    deviations: tuple[float, ...] = ()


@dataclass(frozen=True)
class DPNewton:
    """Sum 0 is the Gram matrix's upper triangle, the other ``rounds`` − 1 are gradients."""

    book: CodeBook
    rounds: int
    name: str = "dp-newton"

    def segments(self) -> tuple[tuple[Segment, ...], ...]:
        """The Gram matrix takes 0.2 of μ², the gradients share the rest equally."""
        return newton_segments(self.book, self.rounds)

    def start(self) -> NewtonModel:
        """The public priors and starts."""
        weights = prior_weights(self.book)
        d = weights.shape[1]
        return NewtonModel(weights, np.zeros_like(weights), np.zeros(0), np.zeros((d, 0)))

    def contribution(self, index: int, state: NewtonModel, data: Rows) -> I64:
        """The Gram matrix's upper triangle for sum 0, the heads' gradients at ``state`` after it."""
        return contribution.gram(data) if index == 0 else contribution.gradient(data, state.weights)

    def step(self, index: int, state: NewtonModel, opened: I64, mechanisms: Sequence[Charged]) -> NewtonModel:
        """Eigen-decompose the Gram matrix, or take one preconditioned step with momentum."""
        deviation = total_deviation(mechanisms, 0)
        if index == 0:
            return self._decompose(state, opened, deviation)
        gradients = opened.reshape(state.weights.shape) / gradient_units(self.book)
        velocity = MOMENTUM * state.velocity + gradients
        along = (velocity @ state.eigenvectors) * self._gains(state)
        return replace(
            state,
            weights=state.weights - along @ state.eigenvectors.T,
            velocity=velocity,
            deviations=(*state.deviations, deviation),
        )

    def _decompose(self, state: NewtonModel, opened: I64, deviation: float) -> NewtonModel:
        d = self.book.dimension
        unit = float(self.book.scale**2 << self.book.weight_bits)
        matrix = np.zeros((d, d))
        matrix[np.triu_indices(d)] = opened / unit
        values, vectors = np.linalg.eigh(matrix, UPLO="U")
        ridge = max(self.book.schema.public.ridge_factor * math.sqrt(d) * deviation / unit, RIDGE_LEAST)
        return replace(state, eigenvalues=np.maximum(values, 0.0), eigenvectors=vectors, ridge=ridge)

    def _gains(self, state: NewtonModel) -> F64:
        """Eigenvalues of the preconditioner A, shape (d,)."""
        return 1 / (self.book.schema.public.curvature * (state.eigenvalues + state.ridge))

    def weight_noise(self, state: NewtonModel) -> tuple[Band, ...]:
        """Propagate isotropic gradient noise through the recursion, linearised at curvature 0.12.

        Heads differ only in how many grid units a record has. Along an eigenvector with value e a step is w ← w − A·v, v ← 0.3·v + 0.12·e·w + noise; the noise of
        the Gram matrix only changes A, which changes how fast w converges, not where to.
        """
        gains, curvature = self._gains(state), self.book.schema.public.curvature
        variance = np.zeros(self.book.dimension)
        for first, deviation in enumerate(state.deviations):
            weight, velocity = np.zeros_like(gains), np.zeros_like(gains)
            for later in range(first, len(state.deviations)):
                noise = deviation if later == first else 0.0
                velocity = MOMENTUM * velocity + curvature * state.eigenvalues * weight + noise
                weight = weight - gains * velocity
            variance += weight**2
        blocks = [
            (state.eigenvectors[columns] * variance) @ state.eigenvectors[columns].T
            for columns in self.book.slices
        ]
        band = score_deviations(self.book, blocks)
        return tuple(tuple(each / unit for each in band) for unit in gradient_units(self.book)[:, 0])

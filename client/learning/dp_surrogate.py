"""DP-Surrogate: one Gram matrix, one sum of labels at half the sensitivity, a few sums without labels; the rest is free.

The gradient Σx(p − y) is the difference of Σx(p − ½) and Σx(y − ½). The labels' part does not depend on the model: it is
opened once, and |y − ½| = ½ makes it half as sensitive. The other part is mostly known from the Gram matrix
(``surrogate``); what the surrogate misses, δ, is opened at a few models, with half the sensitivity too. Each head is then
fitted to all that is known so far (``surrogate.solve``).

δ is a running mean of what the opened sums say, weighed by their noise and by how much they differ beyond it. A model
whose own sum shows it to be further from the labels than the base is passed over, and the next step is shorter.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.learning import contribution
from fedrepay.client.learning.base import (
    Model,
    gradient_units,
    prior_weights,
    refuse_starts,
    score_deviations,
    total_deviation,
)
from fedrepay.client.learning.surrogate import solve
from fedrepay.client.learning.surrogate.gram import Tables, denoise
from fedrepay.client.learning.surrogate.logistic import Surrogate
from fedrepay.shared.trust.pairs import surrogate_segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedrepay.client.learning.base import Band
    from fedrepay.client.learning.contribution import Rows
    from fedrepay.shared.arrays import F64, I64
    from fedrepay.shared.privacy.accounting import Charged, Segment
    from fedrepay.shared.schema.codebook import CodeBook

FIRST_ITERATIONS, ITERATIONS = 10, 20
FIRST_PULL, PULL = 0.5, 0.25
NARROWEST_PULL = 0.01  # of n
LIKELIEST = 0.98
MISSED = 0.15
"""What the surrogate is taken to miss before a sum says more: so much of what labels say beyond their mean."""
CAUTION = 2.0
"""Of the variance that noise and a missing δ explain."""
WORSE, SIGNIFICANT = 1.5, 4.0
SHARE_VARIANCE, SHARE_LEAST = 0.25, 0.01
"""Of the part of the rows that a head's population is, before a sum says more; where it may be less than 1."""


@dataclass(frozen=True, eq=False)
class Head:
    """What is known of one head; sums in records, on the basis.

    Attributes:
        label: b = Σx(y − ½), (d,); ``noise`` is its variance per entry.
        weights: the model at which the next sum is asked, (d,).
        base: the best model so far whose own sum is known, (d,).
        missed: δ, what the surrogate misses of Σx(p − ½), (d,); ``missed_noise`` is its variance, None before any sum.
        partial: whether rows may be outside the head's population; ``share`` is the part of them inside.
        worst: squared distance between labels and the base's own sum, less its noise.
        tau: variance of weights a priori, (d,).
        caution: how much shorter than usual the next step is.
        reach: how noise in b and δ moves the weights, (d, d − B + 1); ``base_reach`` how it moved the base.
    """

    label: F64
    noise: float
    weights: F64
    base: F64
    missed: F64
    tau: F64
    reach: F64
    base_reach: F64
    partial: bool
    missed_noise: float | None = None
    share: float = 1.0
    worst: float = math.inf
    caution: float = 1.0


@dataclass(frozen=True)
class SurrogateModel(Model):
    """A model with what was learned of the rows (None before sum 0) and of each head (none before sum 1)."""

    surrogate: Surrogate | None = None
    heads: tuple[Head, ...] = ()


@dataclass(frozen=True)
class DPSurrogate:
    """Sum 0 is the Gram matrix's upper triangle, sum 1 that of labels, the other ``rounds`` − 2 are without labels."""

    book: CodeBook
    rounds: int
    name: str = "dp-surrogate"

    def __post_init__(self) -> None:
        """Refuse before anything is asked a code book whose bins cannot be counted, or a public start; SchemaError."""
        refuse_starts(self.book, self.name)
        _ = self.tables

    @cached_property
    def tables(self) -> Tables:
        """The code book's tables and their inverses."""
        return Tables.of(self.book)

    def segments(self) -> tuple[tuple[Segment, ...], ...]:
        """Of μ²: 0.2 the Gram matrix, 0.4 the labels, the rest the sums without, each 1.3 times the one before."""
        return surrogate_segments(self.book, self.rounds)

    def start(self) -> SurrogateModel:
        """The public priors' intercepts."""
        weights = prior_weights(self.book)
        return SurrogateModel(weights, np.zeros_like(weights))

    def contribution(self, index: int, state: SurrogateModel, data: Rows) -> I64:
        """The Gram matrix's upper triangle, then the heads' sums of labels, then their sums at ``state`` without."""
        if index == 0:
            return contribution.gram(data)
        return contribution.label(data) if index == 1 else contribution.label_free(data, state.weights)

    def step(
        self, index: int, state: SurrogateModel, opened: I64, mechanisms: Sequence[Charged]
    ) -> SurrogateModel:
        """Denoise the Gram matrix, or fit each head to all that was opened."""
        deviation = total_deviation(mechanisms, 0)
        if index == 0:
            return replace(state, surrogate=self._pooled(opened, deviation))
        if state.surrogate is None:
            raise ValueError("a sum was opened before the Gram matrix")
        units = gradient_units(self.book)[:, 0]
        if index == 1:  # a label weighs ⌊⌊R·w⌋/2⌋, not ⌊R·w⌋/2
            scales = np.array(self.book.residual_scales)
            units = units * (2 * (scales // 2)) / scales
        sums = [
            self.tables.projected(each / unit)
            for each, unit in zip(opened.reshape(state.weights.shape), units, strict=True)
        ]
        noises = [(deviation / unit) ** 2 for unit in units.tolist()]
        if index == 1:
            partial = [outcome.missing == "outside" for outcome in self.book.schema.outcomes]
            heads = [self._first(state.surrogate, *each) for each in zip(sums, noises, partial, strict=True)]
        else:
            heads = [
                self._next(state.surrogate, *each) for each in zip(state.heads, sums, noises, strict=True)
            ]
        return replace(state, heads=tuple(heads), weights=np.stack([head.weights for head in heads]))

    def _pooled(self, opened: I64, deviation: float) -> Surrogate:
        d = self.book.dimension
        unit = float(self.book.scale**2 << self.book.weight_bits)
        upper = np.zeros((d, d))
        upper[np.triu_indices(d)] = opened / unit
        whole = upper + np.triu(upper, 1).T
        return Surrogate(self.tables, denoise(self.tables, whole, deviation / unit))

    def _first(self, surrogate: Surrogate, label: F64, noise: float, partial: bool) -> Head:  # noqa: FBT001
        """A head's first model, from its labels and the surrogate alone."""
        mean, d = surrogate.rows.mean, len(label)
        tilt = float(label @ mean) / float(mean @ mean)
        likely = min(max(0.5 + tilt, 1 - LIKELIEST), LIKELIEST)
        start = np.zeros(d)
        start[-1] = math.log(likely / (1 - likely)) / self.tables.matrix[-1, -1]
        beyond = label - tilt * mean
        said = max(float(beyond @ beyond) / d - noise, 0.0)
        found = solve.solve(
            self.tables,
            label,
            surrogate.both,
            start,
            np.zeros_like(self.tables.basis),
            solve.start(self.tables),
            FIRST_PULL * self._stiffness(surrogate),
            CAUTION * (noise + MISSED**2 * said),
            FIRST_ITERATIONS,
        )
        none = np.zeros(d)
        return Head(
            label, noise, found.weights, found.weights, none, found.tau, found.reach, found.reach, partial
        )

    def _next(self, surrogate: Surrogate, head: Head, opened: F64, noise: float) -> Head:
        """Take in what a head's sum at its weights said, and fit again."""
        return self._fit(surrogate, self._judged(surrogate, head, opened, noise))

    def _judged(self, surrogate: Surrogate, head: Head, opened: F64, noise: float) -> Head:
        """The head with δ, and with the base that its newest sum speaks for."""
        degrees = self.tables.basis.shape[1]
        expected = self.tables.projected(surrogate.slope(head.weights))
        if head.partial and head.missed_noise is None:
            head = replace(head, share=_share(expected, opened, noise))
        news = opened - head.share * expected
        if head.missed_noise is None:
            missed, left = news, noise
        else:
            news = news - head.missed
            before = head.missed_noise
            changed = max(0.0, float(news @ news) / degrees - before - noise)
            trust = (before + changed) / (before + changed + noise) if noise else 1.0
            missed, left = head.missed + trust * news, trust * noise
        apart = opened - head.label
        both = noise + head.noise
        distance = max(float(apart @ apart) - degrees * both, 0.0)
        if distance > WORSE * head.worst + SIGNIFICANT * math.sqrt(2 * degrees) * both:
            return replace(head, missed=missed, missed_noise=left, caution=4 * head.caution)
        return replace(
            head,
            missed=missed,
            missed_noise=left,
            base=head.weights,
            base_reach=head.reach,
            worst=distance,
            caution=max(1.0, head.caution / 2),
        )

    def _fit(self, surrogate: Surrogate, head: Head) -> Head:
        slope, bend = surrogate.both(head.base)
        at_base, bend = head.share * slope + head.missed, head.share * bend
        found = solve.solve(
            self.tables,
            head.label,
            lambda weights: (at_base + bend @ (weights - head.base), bend),
            head.base,
            head.base_reach,
            head.tau,
            head.caution * PULL * self._stiffness(surrogate),
            CAUTION * (head.noise + (head.missed_noise or 0.0)),
            ITERATIONS,
        )
        return replace(head, weights=found.weights, tau=found.tau, reach=found.reach)

    def _stiffness(self, surrogate: Surrogate) -> float:
        """How far a matrix of records may be off, in parts of the Gram matrix's trace."""
        rows = surrogate.rows
        off = max(2 * math.sqrt(self.book.dimension) * rows.deviation, NARROWEST_PULL * rows.customers)
        return off / float(np.trace(rows.gram))

    def weight_noise(self, state: SurrogateModel) -> tuple[Band, ...]:
        """Noise of the labels' sum and of δ, carried through the last fit's linear equation.

        The noise of the Gram matrix, and that of earlier sums in where the last ones were taken, is left out.
        """
        if not state.heads:  # nothing of labels was opened: the prior has no noise
            none = tuple(np.zeros(len(block.matrix)) for block in self.book.blocks)
            return (none,) * self.book.heads
        bands = []
        for head in state.heads:
            variance = head.noise + (head.missed_noise or 0.0)
            blocks = [variance * head.reach[each] @ head.reach[each].T for each in self.book.slices]
            bands.append(score_deviations(self.book, blocks))
        return tuple(bands)


def _share(expected: F64, opened: F64, noise: float) -> float:
    """Part of the rows in a head's population: what its first sum says of it beside 1, by their variances.

    Args:
        expected: the sum over all rows by the surrogate, (d,).
        opened: the sum over the population, noise of variance ``noise`` per entry included, (d,).
        noise: records².
    """
    length = float(expected @ expected)
    trust = SHARE_VARIANCE * length / (SHARE_VARIANCE * length + noise) if length else 0.0
    said = float(expected @ opened) / length if length else 1.0
    return min(max(1 + trust * (said - 1), SHARE_LEAST), 1.0)

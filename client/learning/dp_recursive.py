"""DP-Recursive: a release that goes on from the one before, on a new window's customers alone.

A window's sums are DP-Newton's: a noisy Gram matrix, then noisy gradients. About the weights w_r at which a gradient g_r was
asked the loss is nearly quadratic with Hessian H = curvature × Gram matrix, so a window says that the weights are
w_r − H⁻¹g_r, on average over its gradients. Windows are weighed by what they know: along an eigenvector along which n rows
have curvature n·s, noise of variance v in the gradient leaves a precision of (ns)²/(ns + v), ns for the rows drawn and
v for the privacy. Where noise prevails, a weight stays where other windows or the prior have it.

What windows said is post-processing of what was opened: it costs no ε, holds no member's secret, and whoever was handed it can
go on from it (docs/adr/0035-windows-add-up.md).

A window is believed for ever, so the curvature that it was read with must be about right: where it is several times too large
weights come to rest short of where they belong. So a head must not be rare, which its public prior tells, and should concern most
rows, which nothing public tells.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from fedrepay.shared.errors import ArgumentError, SchemaError
from fedrepay.shared.trust.pairs import newton_segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedrepay.client.learning.base import Band
    from fedrepay.client.learning.contribution import Rows
    from fedrepay.shared.arrays import F64, I64
    from fedrepay.shared.privacy.accounting import Charged, Segment
    from fedrepay.shared.schema.codebook import CodeBook

FIRST_ROUNDS, LATER_ROUNDS = 5, 2
"""Secure sums of a first window, and of a later one, which starts near where it ends: one gradient has all of its budget."""
PRIOR_PRECISION = 10.0
"""λ₀, records: how surely weights are where they start."""
LEAST_ROWS = 1.0
"""A noisy count below it says nothing of how many rows a window has."""
LEAST_KEPT = 0.9
"""γ = 0.9 leaves 19 windows' worth of rows however many there were; with fewer, noise is most of what is left."""
LEAST_CURVATURE = 0.5
"""Of the schema's: p(1 − p) of a head's prior. Rare outcomes have less."""


@dataclass(frozen=True, eq=False)
class Window:
    """What one window said.

    Attributes:
        asked: mean of the weights at which its gradients were asked, (H, d).
        gradient: their mean, noise included, records, (H, d).
        variance: of the noise in an entry of it, records², (H,).
        rows: how many it has, as its noisy Gram matrix tells; at least ``LEAST_ROWS``, so too many where there are hardly any.
        kept: γ to the power of its age.
    """

    asked: F64
    gradient: F64
    variance: F64
    rows: float
    kept: float = 1.0


@dataclass(frozen=True, eq=False)
class WindowsSaid:
    """What all windows so far said, for the next to go on from; all of it follows from opened sums.

    Attributes:
        prior: weights before any window, (H, d).
        windows: what each said, oldest first.
        moments: Σ rows × Gram matrix, (d, d): over ``squares``, Σ rows², the mean of C·Cᵀ/S² in which windows weigh by
            their rows, as noise of one size on each asks for.
    """

    prior: F64
    moments: F64
    windows: tuple[Window, ...] = ()
    squares: float = 0.0

    @classmethod
    def first(cls, book: CodeBook, prior: F64 | None = None) -> WindowsSaid:
        """Before any window.

        Args:
            book: the code book.
            prior: weights to start from, (H, d); None for the schema's public priors and starts.
        """
        weights = prior_weights(book) if prior is None else prior
        return cls(weights, np.zeros((book.dimension, book.dimension)))

    def aged(self, kept: float) -> WindowsSaid:
        """The same, every window's gradients counting ``kept`` of what they did; how columns go together is not forgotten."""
        return replace(self, windows=tuple(replace(each, kept=kept * each.kept) for each in self.windows))


@dataclass(frozen=True, eq=False)
class RecursiveModel(Model):
    """A model within a window.

    Attributes:
        running: what the windows said, this one's Gram matrix included after sum 0.
        rows: of this window, noisy.
        eigenvalues: of the mean of C·Cᵀ/S², not negative, (d,).
        eigenvectors: its columns, (d, d).
        asked: Σ of the weights at which this window's gradients were asked, (H, d), of ``count`` gradients.
        gradients: their Σ, (H, d).
        noise: Σ of the variance in them, (H,).
    """

    running: WindowsSaid
    rows: float | None = None
    eigenvalues: F64 = field(default_factory=lambda: np.zeros(0))
    eigenvectors: F64 = field(default_factory=lambda: np.zeros((0, 0)))
    asked: F64 = field(default_factory=lambda: np.zeros(0))
    gradients: F64 = field(default_factory=lambda: np.zeros(0))
    noise: F64 = field(default_factory=lambda: np.zeros(0))
    count: int = 0


@dataclass(frozen=True)
class DPRecursive:
    """One window's sums: the Gram matrix's upper triangle, then ``rounds`` − 1 gradients.

    Args:
        book: the code book.
        rounds: secure sums, 2 or more.
        before: what earlier windows said; None in a first window.
        kept: γ, what earlier windows count in this one's release.

    Raises:
        ArgumentError: too few sums, or γ outside 0.9 … 1.
        SchemaError: a rare head.
    """

    book: CodeBook
    rounds: int = FIRST_ROUNDS
    before: WindowsSaid | None = None
    kept: float = 1.0
    name: str = "dp-recursive"

    def __post_init__(self) -> None:
        """Refuse what cannot be carried; SchemaError of heads that it does not learn."""
        self._check_heads()
        if self.rounds < 2:
            raise ArgumentError(f"{self.rounds} secure sums are too few.", "Ask for 2 or more.")
        if not LEAST_KEPT <= self.kept <= 1:
            raise ArgumentError(
                f"Earlier windows cannot count {self.kept:g}: the bounds are {LEAST_KEPT:g} and 1.",
                "Keep 1, the default: what is forgotten must be learned again through privacy noise.",
            )

    def _check_heads(self) -> None:
        schema = self.book.schema
        for outcome, prior in zip(schema.outcomes, schema.priors, strict=True):
            if prior * (1 - prior) < LEAST_CURVATURE * schema.public.curvature:
                raise SchemaError(
                    f"{outcome.name} has the prior {prior:g}: dp-recursive does not learn outcomes so rare.",
                    "Train each release anew with dp-newton.",
                )

    def segments(self) -> tuple[tuple[Segment, ...], ...]:
        """As DP-Newton's: of the window's μ² the Gram matrix takes 0.2, the gradients share the rest equally."""
        return newton_segments(self.book, self.rounds)

    def start(self) -> RecursiveModel:
        """The model of the windows before."""
        running = (self.before or WindowsSaid.first(self.book)).aged(self.kept)
        none = np.zeros_like(running.prior)
        state = RecursiveModel(
            none, none, running, asked=none, gradients=none, noise=np.zeros(len(running.prior))
        )
        return self._solved(self._decomposed(state))

    def contribution(self, index: int, state: RecursiveModel, data: Rows) -> I64:
        """The Gram matrix's upper triangle for sum 0, the heads' gradients at ``state`` after it."""
        return contribution.gram(data) if index == 0 else contribution.gradient(data, state.weights)

    def step(
        self, index: int, state: RecursiveModel, opened: I64, mechanisms: Sequence[Charged]
    ) -> RecursiveModel:
        """Take in the window's Gram matrix, or one more gradient, and solve for the weights."""
        if index == 0:
            return self._counted(state, opened)
        if state.rows is None:
            raise ValueError("a gradient was opened before the Gram matrix")
        units = gradient_units(self.book)
        deviation = total_deviation(mechanisms, 0)
        return self._solved(
            replace(
                state,
                asked=state.asked + state.weights,
                gradients=state.gradients + opened.reshape(state.weights.shape) / units,
                noise=state.noise + (deviation / units[:, 0]) ** 2,
                count=state.count + 1,
            )
        )

    def running(self, state: RecursiveModel) -> WindowsSaid:
        """What all windows said, this one included: what its release hands on.

        Args:
            state: after the window's last sum.
        """
        if not state.count:
            raise ValueError("the window is not over")
        return replace(state.running, windows=self._windows(state))

    def weight_noise(self, state: RecursiveModel) -> tuple[Band, ...]:
        """Noise of the gradients of all windows, through the last solution; that of the Gram matrices only changes gains."""
        vectors, found = state.eigenvectors, []
        for head in range(len(state.weights)):
            spread, precision = np.zeros(len(vectors)), np.full(len(vectors), PRIOR_PRECISION)
            for each in self._windows(state):
                curved, share = self._weighed(state, each, head)
                spread += each.variance[head] * share**2
                precision += curved * share
            along = spread / precision**2
            blocks = [(vectors[columns] * along) @ vectors[columns].T for columns in self.book.slices]
            found.append(score_deviations(self.book, blocks))
        return tuple(found)

    def _counted(self, state: RecursiveModel, opened: I64) -> RecursiveModel:
        """The window's Gram matrix and, from the intercept's entry in it, its rows."""
        d = self.book.dimension
        upper = np.zeros((d, d))
        upper[np.triu_indices(d)] = opened / float(self.book.scale**2 << self.book.weight_bits)
        intercept = float(self.book.blocks[-1].matrix[0, 0]) / self.book.scale
        rows = max(float(upper[-1, -1]) / intercept**2, LEAST_ROWS)
        matrix = upper + np.triu(upper, 1).T
        running = replace(
            state.running,
            moments=state.running.moments + rows * matrix,
            squares=state.running.squares + rows**2,
        )
        return self._decomposed(replace(state, running=running, rows=rows))

    def _decomposed(self, state: RecursiveModel) -> RecursiveModel:
        running = state.running
        values, vectors = np.linalg.eigh(running.moments / (running.squares or 1.0))
        return replace(state, eigenvalues=np.maximum(values, 0.0), eigenvectors=vectors)

    def _windows(self, state: RecursiveModel) -> tuple[Window, ...]:
        """The windows before, and this one once it has a gradient."""
        if not state.count or state.rows is None:
            return state.running.windows
        here = Window(
            state.asked / state.count,
            state.gradients / state.count,
            state.noise / state.count**2,
            state.rows,
        )
        return (*state.running.windows, here)

    def _weighed(self, state: RecursiveModel, window: Window, head: int) -> tuple[F64, F64]:
        """Along each eigenvector: a window's curvature ns, and γ·ns/(ns + v), what it counts; (d,) each."""
        curved = self.book.schema.public.curvature * window.rows * state.eigenvalues
        share = np.divide(curved, curved + window.variance[head], out=np.zeros_like(curved), where=curved > 0)
        return curved, window.kept * share

    def _solved(self, state: RecursiveModel) -> RecursiveModel:
        """The most likely weights, given the prior and what every window said."""
        vectors, found = state.eigenvectors, []
        windows = self._windows(state)
        for head, prior in enumerate(state.running.prior):
            total, precision = PRIOR_PRECISION * (prior @ vectors), np.full(len(vectors), PRIOR_PRECISION)
            for each in windows:
                curved, share = self._weighed(state, each, head)
                total += share * (curved * (each.asked[head] @ vectors) - each.gradient[head] @ vectors)
                precision += curved * share
            found.append(vectors @ (total / precision))
        return replace(state, weights=np.array(found))

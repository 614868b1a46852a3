"""What every learner can do: name its sums, contribute to one, and step on an opened one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias, TypeVar

import numpy as np

from fedrepay.shared.errors import SchemaError
from fedrepay.shared.privacy.accounting import SampledSteps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedrepay.client.learning.contribution import Rows
    from fedrepay.shared.arrays import F64, I64
    from fedrepay.shared.privacy.accounting import Charged, Segment
    from fedrepay.shared.schema.codebook import CodeBook


Band: TypeAlias = "tuple[F64, ...]"
"""One number a bin, one array (bins,) a block."""


@dataclass(frozen=True)
class Model:
    """A model under way, and what its learner needs to go on. Every member of a run holds the same one.

    Attributes:
        weights: the model w, one head a row, shape (H, d), on rows x = C/S.
        velocity: the gradient with momentum, in records, shape (H, d).
    """

    weights: F64
    velocity: F64


M = TypeVar("M", bound=Model)


class Learner(Protocol[M]):
    """A model trained by secure sums of integers; its steps are pure functions of what was opened and public."""

    @property
    def name(self) -> str:
        """``dp-newton``, ``dp-surrogate``, ``dp-gd`` or ``dp-sgd``."""
        ...

    @property
    def rounds(self) -> int:
        """How many secure sums a run takes."""
        ...

    def segments(self) -> tuple[tuple[Segment, ...], ...]:
        """The slices of each sum with their sensitivities and public weights, one tuple a sum."""
        ...

    def start(self) -> M:
        """The model before any sum: the public prior."""
        ...

    def contribution(self, index: int, state: M, data: Rows) -> I64:
        """What this member's rows add to sum ``index``: integers, as long as its segments together."""
        ...

    def step(self, index: int, state: M, opened: I64, mechanisms: Sequence[Charged]) -> M:
        """The model after sum ``index`` was opened.

        Args:
            index: which sum.
            state: the state the contributions were made at.
            opened: the opened sum, noise included.
            mechanisms: of the completed attempt, one a segment; empty in mode ``none``.
        """
        ...


class Additive(Learner[M], Protocol[M]):
    """A learner whose model is a table of effects by bin."""

    def weight_noise(self, state: M) -> tuple[Band, ...]:
        """Each head's DP noise band: standard deviation of every bin's score C·w/S."""
        ...


def prior_weights(book: CodeBook) -> F64:
    """Weights of shape (H, d) that predict what is public for every row: each head's prior, and the schema's starts beside it."""
    weights = np.zeros((book.heads, book.dimension))
    intercept = int(book.blocks[-1].matrix[0, 0])
    weights[:, -1] = [math.log(p / (1 - p)) * book.scale / intercept for p in book.schema.priors]
    for block, head, log_odds in book.schema.starts:
        matrix = book.blocks[block].matrix.astype(np.float64)
        weights[head, book.slices[block]] = np.linalg.solve(matrix, book.scale * np.asarray(log_odds))
    return weights


def refuse_starts(book: CodeBook, learner: str) -> None:
    """For a learner that asks for no gradient at a model of the schema's: what is declared is not passed over in silence.

    Raises:
        SchemaError: the schema has a public start.
    """
    if book.schema.starts:
        raise SchemaError(
            f"The schema has a public start, and {learner} starts from a model of its own.",
            "Train with dp-newton or dp-gd, or drop `start` from the schema's columns.",
        )


def gradient_units(book: CodeBook) -> F64:
    """Grid units of one record in each head's gradient, shape (H, 1)."""
    return np.array([[float((scale * book.scale) << book.weight_bits)] for scale in book.residual_scales])


def total_deviation(mechanisms: Sequence[Charged], segment: int) -> float:
    """Standard deviation of all members' noise on one segment, grid units; 0 in mode ``none``."""
    if not mechanisms:
        return 0.0
    charged = mechanisms[segment]
    if isinstance(charged, SampledSteps):
        return math.sqrt(charged.cohort * charged.variance)
    return math.sqrt(charged.total_variance)


def score_deviations(book: CodeBook, blocks: Sequence[F64]) -> Band:
    """Standard deviation of C·w/S for every bin, from the covariance (width, width) of each block's w."""
    found = []
    for block, covariance in zip(book.blocks, blocks, strict=True):
        rows = block.matrix / book.scale
        found.append(np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", rows, covariance, rows), 0.0)))
    return tuple(found)

"""Where the tiers begin, and whether discounts are known, from the release's own first sum.

The opened Gram matrix holds, noise included, the mean and the spread of what the model reads over the consortium's
offers; with the weights these give the spread of its log-odds, which is close to normal (a sum over many blocks). So a
border is a place in the release's own distribution and not a probability somebody once wrote down.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from fedrepay.client.scoring.score import good_value
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.schema.codebook import CodeBook

TOP = 0.9
"""Share of the consortium's offers that are kept with less probability than a likely self-curer's."""
NUDGED = 0.6
"""Share of offers whose first payment is less likely than where a nudge will do."""
LEAST_DISCOUNTS = 1000.0
"""Fewer offers with a discount in the sums of a release than this, and nobody is offered one."""


@dataclass(frozen=True)
class Borders:
    """Where tiers begin; the defaults are for releases without a Gram matrix.

    ``self_cure`` is P(kept) and ``nudge`` P(first payment) of the best plan without a discount; ``discounts_known``: the
    release has seen enough of them.
    """

    self_cure: float = 0.6
    nudge: float = 0.4
    discounts_known: bool = True


def borders(book: CodeBook, weights: F64, first_sum: I64) -> Borders:
    """Borders of a release whose learner opens a Gram matrix.

    Args:
        book: its code book.
        weights: (H, d).
        first_sum: the opened Gram matrix as its upper triangle, row by row.
    """
    gram = np.zeros((book.dimension, book.dimension))
    gram[np.triu_indices(book.dimension)] = np.asarray(
        first_sum[: book.dimension * (book.dimension + 1) // 2], np.float64
    )
    gram = gram + np.triu(gram, 1).T
    unit = float(book.blocks[-1].matrix[0, 0]) / book.scale
    second = gram / max(gram[-1, -1], 1.0) * unit**2
    mean = second[-1] / unit
    offers = gram[-1, -1] / float(book.blocks[-1].matrix[0, 0]) ** 2
    names = [each.name for each in book.schema.outcomes]
    towards = {
        name: 1.0 if good_value(book, names.index(name)) == 1 else -1.0 for name in ("kept_90", "first_paid")
    }
    kept, first = (
        _quantile(towards[name] * weights[names.index(name)], mean, second, level)
        for name, level in (("kept_90", TOP), ("first_paid", NUDGED))
    )
    return Borders(kept, first, _discounted(book, mean, offers) >= LEAST_DISCOUNTS)


def _quantile(weights: F64, mean: F64, second: F64, level: float) -> float:
    centre = float(mean @ weights)
    spread = float(np.sqrt(max(float(weights @ second @ weights) - centre**2, 0.0)))
    return float(1 / (1 + np.exp(-(centre + NormalDist().inv_cdf(level) * spread))))


def _discounted(book: CodeBook, mean: F64, count: float) -> float:
    """About how many of the consortium's offers had a discount, from the mean of the block's columns."""
    for block, columns in zip(book.blocks, book.slices, strict=True):
        if block.kind != "cross" and block.name == "discount":
            matrix = block.matrix / book.scale
            share, *_ = np.linalg.lstsq(
                np.vstack([matrix.T, np.ones(len(matrix))]), np.append(mean[columns], 1.0), rcond=None
            )
            return float(count * (1 - share[0]))
    return 0.0

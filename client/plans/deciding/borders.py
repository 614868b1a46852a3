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
"""Fewer offers with a discount in the sums of a release than this, and nobody is offered one; a customer's offers count as one."""
EXACT = 1e-6
"""What a combination of columns may be off by for rounding."""
DEVIATIONS = 3.0
"""So many standard deviations of the sums' noise are taken off what is counted in them."""


@dataclass(frozen=True)
class Borders:
    """Where tiers begin; the defaults are for releases without a Gram matrix, of which nobody knows what they have seen.

    ``self_cure`` is P(kept) and ``nudge`` P(first payment) of the best plan without a discount; ``discounts_known``: the
    release has seen enough of them, its noise taken off.
    """

    self_cure: float = 0.6
    nudge: float = 0.4
    discounts_known: bool = False


def borders(book: CodeBook, weights: F64, first_sum: I64) -> Borders:
    """Borders of a release whose learner opens a Gram matrix; the defaults where it is all noise.

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
    deviation = noise_deviation(book, gram)
    if gram[-1, -1] <= DEVIATIONS * deviation:
        return Borders()
    one = _one(book)
    unit = one / book.scale
    second = gram / gram[-1, -1] * unit**2
    mean = second[-1] / unit
    names = [each.name for each in book.schema.outcomes]
    towards = {
        name: 1.0 if good_value(book, names.index(name)) == 1 else -1.0 for name in ("kept_90", "first_paid")
    }
    kept, first = (
        _quantile(towards[name] * weights[names.index(name)], mean, second, level)
        for name, level in (("kept_90", TOP), ("first_paid", NUDGED))
    )
    counted, noise = _discounted(book, gram[-1], deviation)
    return Borders(kept, first, counted - DEVIATIONS * noise >= LEAST_DISCOUNTS)


def noise_deviation(book: CodeBook, gram: F64) -> float:
    """Standard deviation of the noise on each entry of an opened Gram matrix, grid units, measured in it.

    Every row of the code book has one bin of each block, so in each block some combination of columns is the intercept's, and
    the exact matrix sends their difference to zero. What the opened one sends it to is noise alone, and of unit length it is
    d draws of the very noise of the entries; all blocks together are thousands. So it needs no statement of ε, and what was added beside it
    (retries, colluders' shares) counts.
    """
    one, found = _one(book), []
    for block, columns in zip(book.blocks[:-1], book.slices[:-1], strict=True):
        combined, *_ = np.linalg.lstsq(
            block.matrix.astype(np.float64), np.full(len(block.matrix), one), rcond=None
        )
        if np.abs(block.matrix @ combined - one).max() < EXACT * one:
            length = np.sqrt(combined @ combined + 1)
            found.append((gram[:, columns] @ combined - gram[:, -1]) / length)
    return float(np.sqrt(np.mean(np.square(found)))) if found else np.inf


def _one(book: CodeBook) -> float:
    """The intercept's number in every row."""
    return float(book.blocks[-1].matrix[0, 0])


def _quantile(weights: F64, mean: F64, second: F64, level: float) -> float:
    centre = float(mean @ weights)
    spread = float(np.sqrt(max(float(weights @ second @ weights) - centre**2, 0.0)))
    return float(np.exp(-np.logaddexp(0.0, -(centre + NormalDist().inv_cdf(level) * spread))))


def _discounted(book: CodeBook, last: F64, deviation: float) -> tuple[float, float]:
    """How many offers of the consortium had a discount, and the standard deviation of the noise in that number.

    Of all that add the intercept's and the block's columns up to it, the combination with the least noise.
    """
    for block, columns in zip(book.blocks, book.slices, strict=True):
        if block.kind != "cross" and block.name == "discount":
            one = _one(book)
            rows = np.hstack([block.matrix, np.full((len(block.matrix), 1), one)])
            has = np.arange(len(rows)) > 0
            parts, *_ = np.linalg.lstsq(rows, has.astype(np.float64), rcond=None)
            if np.abs(rows @ parts - has).max() < EXACT:
                record = one * (1 << book.weight_bits)
                counted = float(np.append(last[columns], last[-1]) @ parts) / record
                return counted, deviation * float(np.linalg.norm(parts)) / record
    return 0.0, 0.0

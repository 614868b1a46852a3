"""A noisy Gram matrix made consistent: how many rows, how many in each bin, and which bins go together.

Every row has one bin of each block, so its coordinates x_a in block a satisfy x_a·u_a = 1 for u_a = M_a⁻¹1 (M = C/S).
That gives the number of rows and each block's mean many times over, each time with noise of its own: they are averaged
by its variance. What is left, the dependence between blocks, is a symmetric matrix whose noise has spectral norm about
2√d·σ; eigenvalues below are noise and go, those above shrink (Gavish and Donoho, *Optimal shrinkage of singular values*,
IEEE Trans. Inf. Theory 63(4), 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.shared.errors import SchemaError
from fedrepay.shared.schema.tables import WORST_CONDITION

if TYPE_CHECKING:
    from fedrepay.shared.arrays import F64, I64
    from fedrepay.shared.schema.codebook import CodeBook

LEAST_COUNT = 1.0
"""Records that a bin holds at least: fewer cannot be told from none, and dividing by none says nothing."""


@dataclass(frozen=True, eq=False)
class Tables:
    """A code book's tables as one block-diagonal matrix; there are as many bins as columns, d.

    Attributes:
        matrix: M = C/S, one bin a row, (d, d).
        inverse: M⁻¹, (d, d).
        block: which block each bin, and each column, belongs to, (d,); the intercept's is the last.
        ones: column a holds u_a with x_a·u_a = 1 for every row x, 0 in other blocks, (d, B).
        basis: orthonormal columns that span what rows can be, (d, d − B + 1): x_a·u_a is the same in all blocks.
    """

    matrix: F64
    inverse: F64
    block: I64
    ones: F64
    basis: F64

    @classmethod
    def of(cls, book: CodeBook) -> Tables:
        """The tables of a code book.

        Raises:
            SchemaError: one of them has no inverse that float64 can take.
        """
        d, blocks = book.dimension, len(book.blocks)
        matrix, inverse, ones = np.zeros((d, d)), np.zeros((d, d)), np.zeros((d, blocks))
        for index, (block, columns) in enumerate(zip(book.blocks, book.slices, strict=True)):
            table = block.matrix / book.scale
            if not np.linalg.cond(table, 1) <= WORST_CONDITION:
                raise SchemaError(
                    f"The table of {block.name} cannot be inverted, so dp-surrogate cannot count its bins.",
                    "Raise public.scale, give the column fewer edges, or train with dp-newton.",
                )
            matrix[columns, columns], inverse[columns, columns] = table, np.linalg.inv(table)
            ones[columns, index] = inverse[columns, columns].sum(axis=1)
        apart = ones[:, :-1] - ones[:, -1:]
        basis = np.linalg.qr(apart, mode="complete")[0][:, blocks - 1 :]
        sizes = [len(block.matrix) for block in book.blocks]
        return cls(matrix, inverse, np.repeat(np.arange(blocks), sizes), ones, basis)

    @property
    def same(self) -> F64:
        """1 where two columns are of one block, else 0, (d, d)."""
        return np.asarray((self.block[:, None] == self.block).astype(np.float64))

    def by_block(self, values: F64) -> F64:
        """Sums of (d,) values over each block's bins, (B,)."""
        return np.bincount(self.block, values).astype(np.float64)

    def projected(self, values: F64) -> F64:
        """The part of (d,) values that sums of rows can have."""
        return np.asarray(self.basis @ (self.basis.T @ values))

    def of_counts(self, counts: F64) -> F64:
        """Σ c·x·xᵀ within each block, 0 between blocks, (d, d), of c (d,) records a bin."""
        return np.asarray(self.matrix.T @ (counts[:, None] * self.matrix))


@dataclass(frozen=True, eq=False)
class Pooled:
    """What is known of all members' rows; units are records.

    Attributes:
        customers: n, how many (weights added up).
        counts: c, of each bin, (d,); each block's add up to n.
        mean: m = Σx, (d,).
        gram: Σx·xᵀ, denoised, (d, d).
        covariance: of x, no eigenvalue below 0, (d, d).
        deviation: standard deviation of the noise that the opened matrix had, per entry.
    """

    customers: float
    counts: F64
    mean: F64
    gram: F64
    covariance: F64
    deviation: float


def denoise(tables: Tables, noisy: F64, deviation: float) -> Pooled:
    """Counts, means and dependence that agree with each other, from a noisy Gram matrix.

    Args:
        tables: of the code book.
        noisy: the opened matrix in records, symmetric, (d, d).
        deviation: standard deviation of its noise, per entry.
    """
    ones, block, same = tables.ones, tables.block, tables.same
    d, blocks = ones.shape
    trust = 1 / (ones**2).sum(axis=0)  # the noise of ..·u_b has variance |u_b|²·σ²
    sums = noisy @ ones  # column b: Σx once more, from block b; within b itself it has bins' counts in it
    pairs = np.triu(np.outer(trust, trust), 1)
    counted = float((pairs * (ones.T @ sums)).sum() / pairs.sum())
    sizes = np.bincount(block)
    customers = max(counted, (1 + sizes.max()) * LEAST_COUNT)
    own = sums[np.arange(d), block] * trust[block]
    mean = (sums @ trust - own) / (trust.sum() - trust[block])
    counts = tables.inverse.T @ mean
    for index in range(blocks):
        here = block == index
        counts[here] = _on_simplex(counts[here], customers)
    mean = tables.matrix.T @ counts
    units = ones * np.sqrt(trust)
    inside = np.eye(d) - units @ units.T  # off the direction that the means fix
    left = inside @ (noisy - np.outer(mean, mean) / customers) @ inside * (1 - same)
    values, vectors = np.linalg.eigh(left)
    edge = 2 * math.sqrt(d - blocks) * deviation
    kept = np.sign(values) * np.sqrt(np.maximum(values**2 - edge**2, 0.0))
    left = (vectors * kept) @ vectors.T * (1 - same)
    product = np.outer(mean, mean) / customers
    gram = (product + left) * (1 - same) + tables.of_counts(counts)
    return Pooled(customers, counts, mean, gram, positive((gram - product) / customers), deviation)


def positive(matrix: F64) -> F64:
    """The nearest symmetric matrix without eigenvalues below 0, (d, d)."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return np.asarray((vectors * np.maximum(values, 0.0)) @ vectors.T)


def _on_simplex(counts: F64, total: float) -> F64:
    """The closest counts, each at least ``LEAST_COUNT``, that add up to ``total`` (Held, Wolfe and Crowder 1974)."""
    above = counts - LEAST_COUNT
    falling = np.sort(above)[::-1]
    levels = (np.cumsum(falling) - (total - LEAST_COUNT * len(counts))) / np.arange(1, len(counts) + 1)
    last = int(np.flatnonzero(falling > levels)[-1])
    return np.asarray(np.maximum(above - levels[last], 0.0) + LEAST_COUNT)

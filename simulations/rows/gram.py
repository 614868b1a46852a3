"""Customers per bin, read from a Gram matrix on public bins: a cross-tabulation read backwards."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.shared.arrays import F64, I64

if TYPE_CHECKING:
    from fedrepay.shared.schema.codebook import CodeBook


@dataclass(frozen=True)
class GramReader:
    """The linear estimator of customers per bin from a Gram matrix of this code book.

    Attributes:
        cells: number of cells over all blocks but the intercept.
        estimator: one (columns, rows, weights, solve) a block, see :meth:`of`.
        total: u with x·u = 1 for every row x, shape (d,).
        unit: grid units of one customer, 2ᵇ.
        sd: of a cell's estimate, mean over cells, in customers per grid unit of noise.
    """

    cells: int
    blocks: tuple[tuple[slice, F64, F64], ...]
    total: F64
    unit: float
    sd: float

    @classmethod
    def of(cls, book: "CodeBook") -> "GramReader":
        """Least squares, block by block.

        In a block with table C and counts n, the diagonal part of the matrix is Σⱼ nⱼ·cⱼcⱼᵀ. Every other
        block has a v with C·v = 1, so the mixed parts, weighted by the u that has x·u = 1, give Cᵀn once
        more, with noise ‖u‖ times as wide. Both are stacked, each in units of its noise.
        """
        ones = []
        for block, columns in zip(book.blocks, book.slices, strict=True):
            table = block.matrix.astype(np.float64)
            v = np.linalg.lstsq(table, np.ones(len(table)), rcond=None)[0]
            if np.allclose(table @ v, 1):
                ones.append((columns, v, 1 / float(v @ v)))

        def unite(without: slice | None) -> F64:
            used = [each for each in ones if each[0] != without]
            u = np.zeros(book.dimension)
            for columns, v, precision in used:
                u[columns] = v * precision
            return u / sum(precision for _, _, precision in used)

        blocks, variances = [], []
        for block, columns in zip(book.blocks, book.slices, strict=True):
            if block.kind == "intercept":
                continue
            table = block.matrix.astype(np.float64)
            u = unite(columns)
            upper = np.triu_indices(table.shape[1])
            diagonal = (table[:, :, None] * table[:, None, :])[:, upper[0], upper[1]].T
            design = np.vstack([diagonal, table.T / np.linalg.norm(u)])
            solve = np.linalg.pinv(design)
            blocks.append((columns, u, solve))
            variances.append((solve**2).sum(axis=1))
        cells = np.concatenate(variances)
        unit = float(1 << book.weight_bits)
        return cls(len(cells), tuple(blocks), unite(None), unit, float(np.sqrt(cells).mean()) / unit)

    def counts(self, matrix: F64) -> F64:
        """Customers per bin, all blocks one after the other, shape (cells,), from a full matrix (d, d)."""
        found = []
        for columns, u, solve in self.blocks:
            square = matrix[columns, columns]
            mixed = matrix[columns] @ u / np.linalg.norm(u)
            found.append(solve @ np.concatenate([square[np.triu_indices(len(square))], mixed]))
        return np.concatenate(found) / self.unit

    def customers(self, matrix: F64) -> float:
        """All customers in a full matrix (d, d)."""
        return float(self.total @ matrix @ self.total) / self.unit


def square(upper: I64, dimension: int) -> F64:
    """The full matrix (d, d) of an upper triangle (d(d+1)/2,)."""
    full = np.zeros((dimension, dimension))
    full[np.triu_indices(dimension)] = upper
    return full + np.triu(full, 1).T

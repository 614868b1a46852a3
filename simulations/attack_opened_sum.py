"""What the other members can read in the opened Gram matrix: a cross-tabulation of the market.

A coalition takes its own contributions and its own noise off the opened sum. What is left is the
cross-tabulation of the members outside it, plus their shares of noise. On public bins that is linear in
how many customers fall in each bin, so least squares reads the counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian

if TYPE_CHECKING:
    from fedrepay.shared.schema.codebook import CodeBook

CLOSE = 0.1
"""A cell counts as known if the estimate is within this part of the true number, or half a customer."""

TEXT = (
    "Members open the sum, so each can take its own part away and read what is left: how many customers of "
    "the others fall in each bin. {noise} Only the number of members outside the coalition does. A rival "
    "guesses an equal share of what is left or, if it knows the member's size (banks publish theirs), a share "
    "in proportion. Where members are alike, both guesses are good, and so is the guess from the coalition's "
    "own books that needs no sum at all."
)
NOISE = "Differential privacy hides every single customer in these counts; it does not hide an institution's totals."
NO_NOISE = "This run had no noise: nothing hides a customer in these counts, nor an institution's totals."


@dataclass(frozen=True)
class Reader:
    """The linear estimator of customers per bin from a Gram matrix of this code book.

    Attributes:
        cells: number of cells over all blocks but the intercept.
        estimator: one (columns, rows, weights, solve) a block, see :meth:`of`.
        total: u with x·u = 1 for every row x, shape (d,).
        unit: grid units of one customer, 2ᵇ.
        sd: of a cell's estimate, mean over cells, in customers per grid unit of noise.
    """

    cells: int
    blocks: tuple[tuple[slice, NDArray[np.float64], NDArray[np.float64]], ...]
    total: NDArray[np.float64]
    unit: float
    sd: float

    @classmethod
    def of(cls, book: "CodeBook") -> "Reader":
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

        def unite(without: slice | None) -> NDArray[np.float64]:
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

    def counts(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Customers per bin, all blocks one after the other, shape (cells,), from a full matrix (d, d)."""
        found = []
        for columns, u, solve in self.blocks:
            square = matrix[columns, columns]
            mixed = matrix[columns] @ u / np.linalg.norm(u)
            found.append(solve @ np.concatenate([square[np.triu_indices(len(square))], mixed]))
        return np.concatenate(found) / self.unit

    def customers(self, matrix: NDArray[np.float64]) -> float:
        """All customers in a full matrix (d, d)."""
        return float(self.total @ matrix @ self.total) / self.unit


def attack(
    book: "CodeBook",
    opened: NDArray[np.int64],
    contributions: Mapping[str, NDArray[np.int64]],
    share_variance: float,
    colluders: int,
    target: str | None = None,
    entropy: Entropy | None = None,
) -> dict[str, Any]:
    """Coalitions of 1, c, K − 2 and K − 1 members against one of the others.

    The driver does not know members' noise, so the honest members' shares are drawn anew; that has the
    distribution a coalition faces, and in mode ``none`` (variance 0) it is exactly what it holds.

    Args:
        book: the code book.
        opened: upper triangle of the opened Gram matrix, shape (d(d+1)/2,), grid units.
        contributions: the same of every member of the cohort before noise, by name.
        share_variance: of one member's noise share, grid units²; 0 without noise.
        colluders: c.
        target: whose book is sought; the last in name order by default.
        entropy: of the noise; the operating system's by default.

    Returns:
        ``rows`` (one a coalition, as ``docs/metrics.md`` says), ``text``, ``target``.

    Raises:
        ArgumentError: the opened sum is not the sum of these contributions and their noise, or the target
            is none of the members.
    """
    names = sorted(contributions)
    chosen = names[-1] if target is None else target
    if chosen not in contributions or len(names) < 2:
        raise ArgumentError(f"{chosen} is not one of {len(names)} members.", "Name a member of the cohort.")
    noise = opened - np.sum([contributions[name] for name in names], axis=0)
    if np.abs(noise).max(initial=0) > 11 * np.sqrt(len(names) * share_variance):
        raise ArgumentError(
            "The opened sum is not the sum of these members' contributions.", "Bring those of its cohort."
        )
    reader = Reader.of(book)
    others = [name for name in names if name != chosen]
    most = len(others)
    sizes = sorted({min(max(size, 1), most) for size in (1, colluders, most - 1, most)})
    source = OsEntropy() if entropy is None else entropy

    def square(upper: NDArray[np.int64]) -> NDArray[np.float64]:
        full = np.zeros((book.dimension, book.dimension))
        full[np.triu_indices(book.dimension)] = upper
        return full + np.triu(full, 1).T

    own = square(contributions[chosen])
    truth, true_customers = reader.counts(own), reader.customers(own)
    rows = []
    for size in sizes:
        outside = [name for name in names if name not in others[:size]]
        rest = np.sum([contributions[name] for name in outside], axis=0)
        seen = rest.copy()
        if share_variance > 0:
            sampler = DiscreteGaussian(share_variance)
            for _ in outside:
                seen += sampler.sample(len(seen), source)
        left = square(seen)
        guess = reader.counts(left) / len(outside)
        left_customers = reader.customers(left)
        sized = reader.counts(left) * (true_customers / left_customers if left_customers > 0 else 0.0)
        coalition_books = square(np.sum([contributions[name] for name in others[:size]], axis=0))
        blind = reader.counts(coalition_books) / size
        group = reader.counts(square(rest))
        rows.append(
            {
                "coalition": _coalition(size, colluders, most),
                "size": size,
                "hidden_among": len(outside),
                "sees": "your own book alone, under one share of noise"
                if size == most
                else f"the books of {len(outside)} members added up, yours among them",
                "noise_sd_customers": reader.sd * float(np.sqrt(len(outside) * share_variance)),
                "cells": reader.cells,
                "group_cells_within_10pct": _close(reader.counts(left), group),
                "true_customers": round(true_customers),
                "estimated_customers": reader.customers(left) / len(outside),
                "relative_error": _error(guess, truth),
                "relative_error_known_size": _error(sized, truth),
                "cells_within_10pct": max(_close(guess, truth), _close(sized, truth)),
                "relative_error_without_sum": _error(blind, truth),
            }
        )
    return {
        "rows": rows,
        "text": TEXT.format(noise=NOISE if share_variance > 0 else NO_NOISE),
        "target": chosen,
    }


def _coalition(size: int, colluders: int, most: int) -> str:
    if size == most:
        return "all other members"
    if size == 1:
        return "one other member"
    if size == colluders:
        return f"c = {size} other members"
    return f"all other members but {most - size}"


def _error(estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> float | None:
    """Σ|estimate − truth| ÷ Σ truth over cells; None without customers."""
    whole = float(np.abs(truth).sum())
    return float(np.abs(estimate - truth).sum()) / whole if whole else None


def _close(estimate: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Share of cells whose estimate is close enough to count as known."""
    return float(np.mean(np.abs(estimate - truth) <= np.maximum(CLOSE * truth, 0.5)))

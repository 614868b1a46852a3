"""What coalitions of members read of the others in an opened Gram matrix: every run's report, and ``attack subtract``.

A coalition takes its own contributions and its own noise off the opened sum. What is left is the
cross-tabulation of the members outside it, plus their shares of noise. On public bins that is linear in
how many customers fall in each bin, so least squares reads the counts.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.simulations.rows.gram import GramReader, square

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


def read(
    book: "CodeBook",
    opened: I64,
    contributions: Mapping[str, I64],
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
    noise = opened - _total(contributions, names)
    if np.abs(noise).max(initial=0) > 11 * np.sqrt(len(names) * share_variance):
        raise ArgumentError(
            "The opened sum is not the sum of these members' contributions.", "Bring those of its cohort."
        )
    reader = GramReader.of(book)
    others = [name for name in names if name != chosen]
    most = len(others)
    sizes = sorted({min(max(size, 1), most) for size in (1, colluders, most - 1, most)})
    source = OsEntropy() if entropy is None else entropy

    def full(upper: I64) -> F64:
        return square(upper, book.dimension)

    own = full(contributions[chosen])
    truth, true_customers = reader.counts(own), reader.customers(own)
    rows = []
    for size in sizes:
        outside = [name for name in names if name not in others[:size]]
        rest = _total(contributions, outside)
        seen = rest.copy()
        if share_variance > 0:
            sampler = DiscreteGaussian(share_variance)
            for _ in outside:
                seen += sampler.sample(len(seen), source)
        left = full(seen)
        guess = reader.counts(left) / len(outside)
        left_customers = reader.customers(left)
        sized = reader.counts(left) * (true_customers / left_customers if left_customers > 0 else 0.0)
        coalition_books = full(_total(contributions, others[:size]))
        blind = reader.counts(coalition_books) / size
        group = reader.counts(full(rest))
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


def _total(contributions: Mapping[str, I64], names: Sequence[str]) -> I64:
    """Their sum, one at a time: a thousand members' books stacked would double what they take."""
    total = np.zeros_like(contributions[names[0]])
    for name in names:
        total += contributions[name]
    return total


def _coalition(size: int, colluders: int, most: int) -> str:
    if size == most:
        return "all other members"
    if size == 1:
        return "one other member"
    if size == colluders:
        return f"c = {size} other members"
    return f"all other members but {most - size}"


def _error(estimate: F64, truth: F64) -> float | None:
    """Σ|estimate − truth| ÷ Σ truth over cells; None without customers."""
    whole = float(np.abs(truth).sum())
    return float(np.abs(estimate - truth).sum()) / whole if whole else None


def _close(estimate: F64, truth: F64) -> float:
    """Share of cells whose estimate is close enough to count as known."""
    return float(np.mean(np.abs(estimate - truth) <= np.maximum(CLOSE * truth, 0.5)))

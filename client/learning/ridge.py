"""Ridge logistic regression for a list of penalties, on all rows and without each fold, by Newton's chord method.

The second derivatives are the costly part of a Newton step. They are a sum over rows: taken fold by fold, one pass gives
those of all rows and of the rows without each fold. They are kept, from step to step and from penalty to penalty, for as
long as steps shrink (Kelley, *Iterative Methods for Linear and Nonlinear Equations*, 1995, section 5.4).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from fedrepay.shared.arrays import F64, I64

PENALTIES = (30.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
"""λ tried where cross-validation chooses, strongest first: the loss is Σ log-loss + λ‖w‖²/2 over rows of norm 1."""
_NO_BETTER = 2
"""So many weaker λ in a row that are no better than the best one: weaker ones are not tried (``chosen``)."""
FOLDS_CLOSE, CLOSE = 1e-4, 1e-9
"""Fits end when no row's log-odds move by more: those without a fold only choose λ."""
_SHRINKS = 0.4
"""A step longer than this part of the one before asks for new second derivatives."""
_LONGEST = 2.0
"""A step moves no row's log-odds by more: second derivatives would change too much on the way."""
_MISFITS = 3
"""So often derivatives just taken for all columns together failed to shrink steps: from here each column has its own."""
_MOST_STEPS = 1000


@dataclass(frozen=True, eq=False)
class Fit:
    """One penalty λ: ``weights`` (d,) of the fit on all rows, ``without`` (folds, d) those of the fits without each fold.

    ``held_out`` (n,) is each row's log-odds without its fold.
    """

    penalty: float
    weights: F64
    without: F64
    held_out: F64


def chosen(tried: Iterator[Fit], labels: F64) -> tuple[Fit, float]:
    """The fit of least cross-validated log-loss, and that loss (nats a row).

    Args:
        tried: of ``cross_validated``, strongest penalty first; it is not asked on once ``_NO_BETTER`` in a row were no better.
        labels: 0 or 1, shape (n,).
    """
    best = next(tried)
    least, worse = loss(labels, best.held_out), 0
    for each in tried:
        found = loss(labels, each.held_out)
        if found < least:
            best, least, worse = each, found, 0
            continue
        worse += 1
        if worse == _NO_BETTER:
            break
    return best, least


def loss(labels: F64, log_odds: F64) -> float:
    """Mean log-loss of log-odds of label 1, nats; shape (n,) each, n ≥ 1."""
    return float(np.mean(np.logaddexp(0.0, log_odds) - labels * log_odds))


def cross_validated(
    rows: F64,
    labels: F64,
    offset: F64,
    fold: I64,
    penalties: Sequence[float],
    free: int = 0,
    start: F64 | None = None,
) -> Iterator[Fit]:
    """Minimise Σ log-loss(offset + rows·w) + λ‖w‖²/2 on all rows and without each fold, to ``FOLDS_CLOSE``.

    Args:
        rows: shape (n, d).
        labels: 0 or 1, shape (n,).
        offset: log-odds to add to, shape (n,).
        fold: of each row, shape (n,), 0 … folds − 1 with at least two folds.
        penalties: λ > 0, strongest first: each fit starts where the one before ended.
        free: so many last columns bear no penalty.
        start: weights (d,) to begin from; None: zeros.

    Raises:
        ArithmeticError: a fit has no end within ``_MOST_STEPS``.
    """
    order = np.argsort(fold, kind="stable")
    rows, labels, offset = rows[order], labels[order], offset[order]
    ends = np.searchsorted(fold[order], np.arange(fold.max() + 2)).tolist()
    parts = [slice(a, b) for a, b in pairwise(ends)]
    found = np.zeros((rows.shape[1], 1 + len(parts)))
    if start is not None:
        found += start[:, None]
    for penalty, score in _descend(rows, labels, offset, parts, penalties, free, found, FOLDS_CLOSE):
        held_out = np.empty(len(rows))
        for column, part in enumerate(parts, 1):
            held_out[order[part]] = score[part, column]
        yield Fit(penalty, found[:, 0].copy(), found[:, 1:].T.copy(), held_out)


def fit(rows: F64, labels: F64, offset: F64, penalty: float, free: int = 0, start: F64 | None = None) -> F64:
    """Weights (d,) of one λ on all rows, to ``CLOSE``; arguments and errors as of ``cross_validated``."""
    found = np.zeros((rows.shape[1], 1)) if start is None else start[:, None].copy()
    for _ in _descend(rows, labels, offset, [], [penalty], free, found, CLOSE):
        pass
    return found[:, 0]


def _descend(
    rows: F64,
    labels: F64,
    offset: F64,
    parts: Sequence[slice],
    penalties: Sequence[float],
    free: int,
    found: F64,
    close: float,
) -> Iterator[tuple[float, F64]]:
    """Move ``found`` (d, 1 + parts), of all rows and without each part, to each λ's minimum; gives the rows' log-odds."""
    inside = np.ones((len(rows), found.shape[1]))
    for column, part in enumerate(parts, 1):
        inside[part, column] = 0
    ridge = np.ones((len(found), 1))
    ridge[len(found) - free :] = 0
    score = offset[:, None] + rows @ found
    bends: list[F64] = []
    misfits = 0
    for penalty in penalties:
        factors: list[tuple[F64, bool]] = []
        age, last = 1, np.inf
        for _ in range(_MOST_STEPS):
            likely = 0.5 * (1 + np.tanh(score / 2))
            if not bends:
                curve = likely * (1 - likely) * inside
                bends, factors, age = _bends(rows, curve, parts, shared=misfits < _MISFITS), [], 0
            if not factors:
                ridges = np.diagflat(penalty * ridge)
                factors = [cho_factor(bend + ridges, overwrite_a=True, check_finite=False) for bend in bends]
            slope = rows.T @ ((likely - labels[:, None]) * inside) + penalty * ridge * found
            step = np.stack(
                [
                    cho_solve(factor, each, check_finite=False)
                    for factor, each in zip(factors, slope.T, strict=True)
                ],
                axis=1,
            )
            change = rows @ step
            longest = float(np.abs(change).max())
            if longest > _SHRINKS * last and age:
                bends, misfits = [], misfits + (age == 1)
                continue
            part_of = min(1.0, _LONGEST / max(longest, close))
            found -= part_of * step
            score -= part_of * change
            age, last = age + 1, longest
            if longest <= close:
                break
        else:
            raise ArithmeticError(f"The fit with λ = {penalty:g} has no end.")
        yield penalty, score


def _bends(rows: F64, curve: F64, parts: Sequence[slice], *, shared: bool) -> list[F64]:
    """Second derivatives Σ curve·x·xᵀ of each column of ``curve`` (n, 1 + parts), or of their mean without each part."""
    if not shared or not parts:
        return [half.T @ half for half in (rows * np.sqrt(each)[:, None] for each in curve.T)]
    half = rows * np.sqrt(curve.sum(axis=1) / len(parts))[:, None]  # a row is inside all columns but one
    each = [half[part].T @ half[part] for part in parts]  # of one array with itself: BLAS does half the work
    whole = np.sum(each, axis=0)
    return [whole, *(whole - part for part in each)]

"""The most likely model given a noisy sum of labels, a surrogate for the sums without labels, and a learned penalty.

The sum of labels b says b = F(w) + noise, F(w) = Σx(p − ½). Around w the equation is taken as linear with curvature H;
weights are a priori normal with a variance τ a block, the one that fits them best (empirical Bayes: MacKay, *Bayesian
interpolation*, Neural Computation 4(3), 1992), drawn towards what all blocks say together. A pull r towards a base keeps steps short where the
surrogate may be wrong. All in the subspace that sums of rows span (``Tables.basis``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedrepay.client.learning.surrogate.gram import Tables
    from fedrepay.shared.arrays import F64

INTERCEPT_VARIANCE = 1e4
TAU_LEAST, TAU_MOST = 1e-3, 200.0
TOGETHER = 5.0
"""Weights of its own that what all blocks say counts for in a block's τ."""
LEAST_CURVATURE = 1e-4  # records
LONGEST_STEP = 2.0
"""No bin's score moves by more in a step."""
SETTLED, SETTLED_AFTER = 0.02, 5
"""Iterations end when a step moves no bin's score by so much, not before so many of them."""
SHRINKS = 0.9
"""A step that is longer than this part of the one before does not settle: from here on all are half as long.

Iterations that bounce magnify the last bits of float64, in which CPUs differ, until members' releases are not alike.
"""


@dataclass(frozen=True, eq=False)
class Solved:
    """Weights (d,), the prior's variance τ of each bin's weight, (d,), and how noise in b moves the weights, (d, d − B + 1) on ``Tables.basis``."""

    weights: F64
    tau: F64
    reach: F64


def solve(
    tables: Tables,
    label: F64,
    sums: Callable[[F64], tuple[F64, F64]],
    base: F64,
    before: F64,
    tau: F64,
    stiffness: float,
    variance: float,
    most: int,
) -> Solved:
    """Weights that make label − F(w) noise, none longer than they must be.

    Args:
        tables: of the code book.
        label: b, in records, on the basis, (d,).
        sums: F and its derivative at a model; the same derivative object again means that nothing of it changed.
        base: where to start, and where the pull is to, (d,).
        before: how the same noise in b moved the base, (d, d − B + 1).
        tau: τ to start with, (d,).
        stiffness: of the pull, in parts of the derivative's trace.
        variance: of b − F(w) at the truth, per entry, records².
        most: iterations; where it bounced, four times as many.
    """
    basis, one = tables.basis, np.eye(tables.basis.shape[1])
    weights, anchor = base, basis.T @ base
    bend: F64 | None = None
    reach = np.zeros_like(basis)
    damped, last = 1.0, np.inf
    for iteration in range(4 * most):
        if iteration >= most and damped == 1.0:
            break
        slope, now = sums(weights)
        if now is not bend:
            bend = now
            curved = basis.T @ bend @ basis + LEAST_CURVATURE * one
            pull = stiffness * float(np.trace(bend))
            pulled = curved + pull * one
            gain = np.linalg.solve(curved + variance * one, pulled).T  # they commute
            precise = gain @ pulled
            precise = (precise + precise.T) / 2
        place = basis.T @ weights
        spread = np.linalg.inv(precise + basis.T @ (basis / tau[:, None]))
        wanted = gain @ (basis.T @ (label - slope) - pull * (place - anchor) + pulled @ place)
        step = basis @ (spread @ wanted) - weights
        moved = float(np.abs(tables.matrix @ step).max())
        whole = moved <= LONGEST_STEP
        if moved > SHRINKS * last and last <= LONGEST_STEP:
            damped /= 2
        last = moved
        weights = weights + step * min(damped, LONGEST_STEP / max(moved, SETTLED))
        around = basis @ spread
        tau = _prior(tables, weights**2 + np.einsum("ij,ij->i", around, basis))
        reach = around @ gain @ (one + pull * basis.T @ before)
        if whole and moved < SETTLED and iteration >= SETTLED_AFTER:
            break
    return Solved(weights, tau, reach)


def start(tables: Tables) -> F64:
    """τ before anything is known, (d,): 1, and next to no prior for the intercept."""
    tau = np.ones(len(tables.block))
    tau[-1] = INTERCEPT_VARIANCE
    return tau


def _prior(tables: Tables, squares: F64) -> F64:
    """Each weight's τ, (d,), from what its block's squares w² plus their uncertainty, (d,), are on average."""
    whole = float(squares[:-1].mean())
    own = (tables.by_block(squares) + TOGETHER * whole) / (np.bincount(tables.block) + TOGETHER)
    tau = np.clip(own, TAU_LEAST, TAU_MOST)[tables.block]
    tau[-1] = INTERCEPT_VARIANCE
    return np.asarray(tau)

"""What logistic sums over all rows would be, read off their counts and covariance.

Given its bin of block a, a row's score w·x is taken as normal: its mean follows from the covariance, its variance is what
the block leaves of the whole. Σx(p − ½) and Σp(1 − p)x·xᵀ are then integrals of one variable (Gauss–Hermite).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.learning.surrogate.gram import positive

if TYPE_CHECKING:
    from fedrepay.client.learning.surrogate.gram import Pooled, Tables
    from fedrepay.shared.arrays import F64

NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
SHARES = _WEIGHTS / _WEIGHTS.sum()
LEAST_LEFT = 0.05
"""Part of the score's variance that a block leaves at least."""
LEAST_VARIANCE = 1e-9
LEAST_BENT = 1e-12
"""p(1 − p) of a row counts for at least so much: where float64 has none left, nothing could be divided by it."""


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Stands for all members' rows where their sums at a model are wanted without asking for them."""

    tables: Tables
    rows: Pooled

    def chances(self, weights: F64) -> tuple[F64, F64]:
        """Mean p and mean p(1 − p) of the rows in each bin, (d,) each; the intercept's bin has neither (0).

        Args:
            weights: one head's model w, (d,).
        """
        tables, rows = self.tables, self.rows
        along = rows.covariance @ weights
        centre = float(rows.mean @ weights) / rows.customers
        variance = max(float(weights @ along), LEAST_VARIANCE)
        apart = rows.customers * (tables.inverse.T @ along) / rows.counts
        explained = tables.by_block(rows.counts * apart**2) / rows.customers
        left = np.sqrt(np.maximum(variance - explained, LEAST_LEFT * variance))[tables.block]
        p = 0.5 * (1 + np.tanh((centre + apart[:, None] + left[:, None] * NODES) / 2))
        many = tables.block < tables.block[-1]
        return np.where(many, p @ SHARES, 0.0), np.where(many, (p * (1 - p)) @ SHARES, 0.0)

    def slope(self, weights: F64) -> F64:
        """Σx(p − ½), (d,), at a model w (d,)."""
        likely, _ = self.chances(weights)
        return self._slope(likely)

    def both(self, weights: F64) -> tuple[F64, F64]:
        """Σx(p − ½), (d,), and Σp(1 − p)x·xᵀ without eigenvalues below 0, (d, d), at a model w (d,)."""
        tables, rows = self.tables, self.rows
        likely, bent = self.chances(weights)
        bent[:-1] = np.maximum(bent[:-1], LEAST_BENT)
        total = float(
            tables.by_block(rows.counts * bent)[:-1].mean()
        )  # Σp(1 − p) over rows: every block says so
        ratio = total / rows.customers
        root = np.sqrt(bent / ratio)
        root[-1] = 1.0
        units = tables.ones / np.linalg.norm(tables.ones, axis=0)
        turn = tables.matrix.T @ (root[:, None] * tables.inverse.T)
        turn[:-1] -= (units[:-1] @ units[:-1].T) @ turn[:-1]
        counts = rows.counts * bent
        counts[-1] = total
        counts *= total / tables.by_block(counts)[tables.block]
        mean = tables.matrix.T @ counts
        dependence = rows.gram - np.outer(rows.mean, rows.mean) / rows.customers
        between = np.outer(mean, mean) / total + ratio * (turn @ dependence @ turn.T)
        return self._slope(likely), positive(between * (1 - tables.same) + tables.of_counts(counts))

    def _slope(self, likely: F64) -> F64:
        tables, rows = self.tables, self.rows
        each = rows.counts * (likely - 0.5)
        each[-1] = tables.by_block(each)[:-1].mean()
        return np.asarray(tables.matrix.T @ each)

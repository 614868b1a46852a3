"""How long the noise of ε is beside all that the customers can say together: from ε, δ, n and d alone.

A sum of one row of norm 1 a customer is at most n long; the noise that ε asks of it is about √d/μ long, with (ε, δ) the
guarantee of a Gaussian mechanism of μ (Dong, Roth & Su 2022). Where that is a twentieth of n or more, little or nothing may
be left: it depends on how much the columns say.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.privacy.accounting import gdp_mu
from fedrepay.simulations.rows import gain

THIN = 0.05
"""Noise of at least this part of the longest possible sum is said before a run (docs/evidence-of-gain.md: what was left there)."""


def share(epsilon: float, delta: float, customers: int, parameters: int, noisy: int = 1) -> float:
    """Length of the noise ÷ longest possible sum.

    Args:
        epsilon: ε of one customer.
        delta: its δ.
        customers: all members' training customers.
        parameters: d.
        noisy: members that each add all of the noise; 1 where they share it.
    """
    return math.sqrt(parameters * noisy) / gdp_mu(epsilon, delta) / max(customers, 1)


def told(part: float | None, y: NDArray[np.generic], owner: I64, scores: F64) -> dict[str, Any]:
    """``noise`` of metrics.json.

    Args:
        part: of :func:`share`; None without noise.
        y: labels of everybody's held-out rows, shape (n,), both of them.
        owner: whose they are, shape (n,).
        scores: of the released model, shape (n,).
    """
    interval = gain.level(gain.read(y, owner, scores)).interval()
    return {
        "share": part,
        "thin": part is not None and part >= THIN,
        "auc_interval": np.clip(interval, 0.0, 1.0).tolist(),
        "only": part is not None and interval[0] <= 0.5,
    }

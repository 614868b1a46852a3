"""What came of plans, where only their values matter."""

import numpy as np

from fedrepay.shared.arrays import F64
from fedrepay.simulations.market.value import NO_PLAN, Worth


def came_of(value: F64) -> Worth:
    """Values of accounts of one balance, (n,), and nothing else."""
    none = np.zeros(len(value))
    return Worth(
        arm=np.full(len(value), NO_PLAN),
        value=value,
        uplift=value,
        first=none,
        kept=none,
        affordable=none > 0,
        offered=none > 0,
        balance=none + 1,
    )

"""Whether numbers look uniform mod t, and noise as wide as stated."""

import numpy as np
from scipy.stats import chi2, kstest

from fedrepay.shared.arrays import F64, U64

LOWEST = 30  # bits that are turned round
TOO_RARE = 1e-6
"""An honest build fails one test in a million."""


def p_value(numbers: U64, t_bits: int = 46) -> float:
    """The smaller p of two Kolmogorov-Smirnov tests, exact for a few numbers too: as they are, and their lowest bits first.

    Args:
        numbers: any shape, below t, which is 2^t_bits to eight digits.
        t_bits: bits of the modulus.
    """
    whole = numbers.ravel().astype(np.float64) / 2.0**t_bits
    bits = (numbers.ravel()[:, None] >> np.arange(LOWEST, dtype=np.uint64)) & np.uint64(1)
    turned = bits @ 0.5 ** np.arange(1, LOWEST + 1)
    return min(float(kstest(part, "uniform").pvalue) for part in (whole, turned))


def as_wide_as_stated(scores: F64) -> bool:
    """Whether squared noise, each in the variance stated for it, is neither narrower nor wider than chance allows."""
    total, count = float(scores.sum()), scores.size
    return min(float(chi2.cdf(total, count)), float(chi2.sf(total, count))) > TOO_RARE / 2

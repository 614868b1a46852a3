"""Whether numbers look uniform mod t, and noise as wide as stated."""

import numpy as np
from scipy.stats import chi2, chisquare

from fedrepay.shared.arrays import F64, U64

TOO_RARE = 1e-6
"""An honest build fails one test in a million."""


def p_value(numbers: U64, t_bits: int = 46) -> float:
    """The smaller p of two chi-square tests over 64 bins each: the highest and the lowest bits of the numbers.

    Args:
        numbers: any shape, below t; t is 2^t_bits to eight digits, so its 64 slices are equal.
        t_bits: bits of the modulus.
    """
    high = (numbers >> np.uint64(t_bits - 6)).astype(np.int64)
    low = (numbers & np.uint64(63)).astype(np.int64)
    return min(float(chisquare(np.bincount(bins.ravel(), minlength=64)).pvalue) for bins in (high, low))


def as_wide_as_stated(scores: F64) -> bool:
    """Whether squared noise, each in the variance stated for it, is neither narrower nor wider than chance allows."""
    total, count = float(scores.sum()), scores.size
    return min(float(chi2.cdf(total, count)), float(chi2.sf(total, count))) > TOO_RARE / 2

"""The lemma: a sum of discrete shares is as private as the continuous Gaussian with variance less 4.

Checked by brute-force convolution, in one dimension, where δ(ε) = Σ max(0, p(x) − e^ε·p(x − Δ)).
"""

import numpy as np
import pytest

from fedrepay.shared.arrays import F64
from fedrepay.shared.privacy.accounting import Mechanism, gdp_delta

REACH = 600


def chances(variance: float) -> F64:
    values = np.arange(-REACH, REACH + 1)
    weights = np.exp(-(values**2) / (2 * variance))
    return np.asarray(weights / weights.sum())


def convolved_delta(shares: int, share_variance: float, sensitivity: int, epsilon: float) -> float:
    total = np.ones(1)
    for _ in range(shares):
        total = np.convolve(total, chances(share_variance))
    moved = np.concatenate([np.zeros(sensitivity), total])
    total = np.concatenate([total, np.zeros(sensitivity)])
    return float(np.maximum(total - np.exp(epsilon) * moved, 0).sum())


def continuous_delta(variance: float, sensitivity: int, epsilon: float) -> float:
    return gdp_delta(sensitivity / np.sqrt(variance), epsilon)


def test_at_equal_width_the_discrete_mechanism_is_less_private() -> None:
    """σ = 2, Δ = 1, ε = 1.5: 4.33e-4 against 3.94e-4."""
    assert convolved_delta(1, 4.0, 1, 1.5) == pytest.approx(4.33e-4, rel=2e-3)
    assert continuous_delta(4.0, 1, 1.5) == pytest.approx(3.94e-4, rel=2e-3)


@pytest.mark.parametrize(("shares", "width"), [(1, 4.0), (1, 6.0), (2, 4.0), (3, 5.0)])
def test_the_lemma_holds_where_the_plain_formula_fails(shares: int, width: float) -> None:
    plain_fails = 0
    for sensitivity in (1, 2, 3, 5, 8, 13):
        mechanism = Mechanism(sensitivity, shares * width**2, shares + 1, 1, 1)
        for epsilon in np.arange(0.1, 4.0, 0.1):
            exact = convolved_delta(shares, width**2, sensitivity, float(epsilon))
            if exact < 1e-10:
                continue  # below float64's own rounding
            assert exact <= gdp_delta(mechanism.mu(), float(epsilon)) * (1 + 1e-9)
            plain_fails += exact > 1.005 * continuous_delta(shares * width**2, sensitivity, float(epsilon))
    assert plain_fails > 0


@pytest.mark.parametrize(("shares", "width"), [(2, 4.0), (5, 4.5)])
def test_a_sum_of_shares_is_a_discrete_gaussian(shares: int, width: float) -> None:
    total = np.ones(1)
    for _ in range(shares):
        total = np.convolve(total, chances(width**2))
    middle = len(total) // 2
    total = total[middle - REACH : middle + REACH + 1]
    assert np.abs(total - chances(shares * width**2)).sum() < 1e-12


def test_a_sum_of_narrow_shares_is_not() -> None:
    total = np.convolve(chances(0.25), chances(0.25))
    middle = len(total) // 2
    assert np.abs(total[middle - REACH : middle + REACH + 1] - chances(0.5)).sum() > 1e-3

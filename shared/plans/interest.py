"""Interest as a contract runs it: on what is still owed after each instalment, never on interest.

With principal p, instalment a and rate i a period, the first instalment falls due after a wait that bears simple
interest of its own; what is left after k instalments is B_k = p(1 + i)^(k−1) − a((1 + i)^k − 1) ÷ i, the annuity-due
of any textbook. The wait's interest is added at the end and bears none, so a plan's cost is a straight line in its
first date. An instalment that does not exceed a period's interest would let the balance grow: no plan then.
"""

import numpy as np

from fedrepay.shared.arrays import F64, I64, Bool

DAYS_A_YEAR = 365.0
ENDLESS = 10_000
"""Stands for more payments than any plan may have."""
EPSILON = 1e-9
"""So that the last bit of a quotient never costs a whole payment or a minor unit."""


def waiting(principal: F64, rate: F64, days: F64 | I64) -> F64:
    """Simple interest from the offer to the first instalment, minor units; shapes that broadcast."""
    return np.asarray(principal * rate * days / DAYS_A_YEAR)


def level_instalment(principal: F64, period_rate: F64, count: I64, wait: F64) -> F64:
    """The equal instalment that repays principal and interest in so many payments, minor units, not rounded.

    Args:
        principal: minor units.
        period_rate: a year's rate × years between two instalments.
        count: payments, at least 1.
        wait: interest until the first of them (``waiting``).
    """
    spent = -np.expm1(-np.log1p(period_rate) * count)
    with np.errstate(divide="ignore", invalid="ignore"):
        annuity = principal * period_rate / ((1 + period_rate) * spent)
    return np.asarray(np.where(period_rate > 0, annuity, principal / count) + wait / count)


def repaid(principal: F64, period_rate: F64, wait: F64, instalment: F64) -> tuple[I64, I64, Bool]:
    """How many instalments repay a debt, and what interest they bear.

    Args:
        principal: minor units, whole.
        period_rate: as above.
        wait: as above.
        instalment: minor units; the last one is smaller.

    Returns:
        payments (``ENDLESS`` where it takes more, or for ever), interest (minor units, rounded down), and where
        what is owed falls with every instalment.
    """
    falls = np.asarray((instalment > principal * period_rate) & (instalment > 0))
    pay = np.where(falls, instalment, np.inf)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = principal * period_rate / (pay * (1 + period_rate))
        count = np.where(period_rate > 0, -np.log1p(-share) / np.log1p(period_rate), principal / pay)
    count = np.clip(np.ceil(np.where(falls, count, ENDLESS) - EPSILON), 1, ENDLESS)
    short = falls & (count < ENDLESS)
    before = np.where(short, count - 1, 0.0)
    growth = np.expm1(np.log1p(period_rate) * before)
    with np.errstate(divide="ignore", invalid="ignore"):
        paid = np.where(period_rate > 0, (1 + period_rate) * growth / period_rate, before)
    amount = np.where(short, instalment, 0.0)
    last = principal * (1 + growth) - amount * paid
    interest = np.floor(
        np.where(short, amount * before + last - principal + wait, 0.0) + EPSILON + 1e-12 * principal
    )
    interest = np.maximum(interest, 0.0)
    with np.errstate(divide="ignore"):
        payments = np.where(
            short, np.ceil((principal + interest) / np.where(short, instalment, 1.0)), ENDLESS
        )
    return payments.astype(np.int64), interest.astype(np.int64), np.asarray(short)

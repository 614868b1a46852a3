"""Money from heads and schedule, never regressed: E[NPV] of a plan and of no plan; and what a waiver leaves of fees.

With p the probability of the first payment and k that of being kept at 90 days, a plan pays at month j after its
first instalment with probability p·(k/p)^(j/3) up to three months and k·s^(j − 3) after, s a published monthly
survival. What an account would have paid without a plan is displaced in full while the plan lives and once it is paid.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.plans.kinds import LEAVES_A_REST

if TYPE_CHECKING:
    from fedrepay.shared.plans.candidates import Candidates

KEPT_AT = 3
"""Months after the first instalment at which a plan counts as kept."""
DAYS_A_MONTH = 365 / 12
_MOST_DAYS = 366
"""Of a first date, and more than any has (``FIRST_DUE``)."""


@dataclass(frozen=True)
class Prices:
    """Public or member-set constants of money.

    Attributes:
        survival: a month after the third, the share of living plans that live on (published break rates).
        discount_rate: a year's, for present values.
        no_plan_rate: share of the balance that comes in a month without any plan.
        no_plan_months: for how long that is counted.
    """

    survival: float = 0.964
    discount_rate: float = 0.10
    no_plan_rate: float = 0.0035
    no_plan_months: int = 24

    @property
    def monthly(self) -> float:
        """Discount factor of a month."""
        return float((1 + self.discount_rate) ** (-1 / 12))


def fees_left(fees: I64, waiver: F64) -> I64:
    """What a waiver, a share 0 … 1, leaves of fees, minor units, of the shape the two broadcast to; the waived part is rounded down."""
    return fees - np.floor(fees * waiver).astype(np.int64)


def no_plan_value(prices: Prices, balance: I64) -> F64:
    """Present value of no plan, minor units, (n,)."""
    factor = prices.monthly
    return np.asarray(balance * prices.no_plan_rate * _geometric(factor, 1.0, prices.no_plan_months, factor))


def plan_value(prices: Prices, plans: "Candidates", first: F64, kept: F64) -> F64:
    """Present value of offering each plan, no-plan cash included, minor units, (n, P).

    Args:
        prices: the constants.
        plans: the candidates.
        first: P(first payment) per eligible offer, (n, P).
        kept: P(kept at 90 days) per eligible offer, (n, P).
    """
    factor = prices.monthly
    months = np.maximum(np.rint(plans.months), 1)
    whole = months.astype(np.int64)
    of = _by_months(prices, 1 << int(whole.max(initial=1)).bit_length())
    amount = plans.total / months  # a month's
    ratio = np.cbrt(kept / np.maximum(first, 1e-9))
    early = sum((months > j) * first * ratio**j * factor**j for j in range(KEPT_AT))
    cash = amount * _by_days(prices)[plans.first_due] * (early + kept * of.late[whole])
    # no-plan cash that the plan displaces: while it lives, and once it is paid
    lasts = np.minimum(months, prices.no_plan_months)
    early_d = sum((lasts > j) * first * ratio**j * factor ** (j + 1) for j in range(KEPT_AT))
    late_d = kept * of.displaced[whole]
    done = kept * of.alive[whole]
    short = months <= KEPT_AT
    done[short] = first[short] * ratio[short] ** np.minimum(months[short] - 1, KEPT_AT)
    rest = done * of.rest[whole]
    rest = rest * ~plans.arms.is_kind(*LEAVES_A_REST)  # pays no debt off: what is left is owed as before
    balance = plans.debts.balance
    displaced = (balance * prices.no_plan_rate)[:, None] * (early_d + late_d + rest)
    return np.asarray((cash - displaced) * plans.arms.pays + no_plan_value(prices, balance)[:, None])


@dataclass(frozen=True, eq=False)
class _OfMonths:
    """What hangs on a plan's length alone, by whole months: looked up, for a power costs ten times as much.

    ``late`` cash after the third month and no-plan cash ``displaced`` then, ``alive`` of the plans kept at three months, and
    no-plan cash displaced in the ``rest`` of its months.
    """

    late: F64
    displaced: F64
    alive: F64
    rest: F64


@lru_cache(16)
def _by_months(prices: Prices, longest: int) -> _OfMonths:
    """For 0 … ``longest`` months."""
    factor, alive = prices.monthly, prices.survival
    months = np.arange(longest + 1, dtype=np.float64)
    lasts = np.minimum(months, prices.no_plan_months)
    living = factor * alive
    return _OfMonths(
        _geometric(living, factor**KEPT_AT, np.maximum(months - KEPT_AT, 0), 1.0),
        _geometric(living, factor ** (KEPT_AT + 1), np.maximum(lasts - KEPT_AT, 0), 1.0),
        alive ** np.maximum(months - 1 - KEPT_AT, 0),
        _geometric(factor, factor ** (lasts + 1), prices.no_plan_months - lasts, 1.0),
    )


@lru_cache(16)
def _by_days(prices: Prices) -> F64:
    """Discount factors of a first date, by days from the offer."""
    return np.asarray(prices.monthly ** (np.arange(_MOST_DAYS + 1) / DAYS_A_MONTH))


def _geometric(ratio: float, first: F64 | float, terms: F64 | float, scale: float) -> F64:
    """scale·first·(1 + ratio + … ), so many terms."""
    if ratio == 1.0:
        return np.asarray(scale * first * terms)
    return np.asarray(scale * first * (1 - ratio**terms) / (1 - ratio))

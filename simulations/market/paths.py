"""Paths of the market's chain: what a lender's records show of the offers it made."""

from dataclasses import dataclass

import numpy as np

from fedrepay.shared.arrays import I8, I64, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.simulations.market.truth import (
    AFTER_MISS,
    INCOME,
    MOVES,
    SHOCK,
    Debtors,
    Effects,
    agreement,
    linked,
    payday_gap,
)

LONGEST = 12
"""Months of payments that are drawn: enough for every label."""


@dataclass(frozen=True)
class Paths:
    """One drawn path an offer: ``agreed`` (n,), and how many instalments were ``paid`` at each due date, (n, months)."""

    agreed: Bool
    paid: I8

    @property
    def first(self) -> Bool:
        """The first instalment was paid, (n,)."""
        return np.asarray(self.paid[:, 0] > 0)

    def take(self, index: I64 | Bool) -> "Paths":
        """The paths of the chosen offers."""
        return Paths(self.agreed[index], self.paid[index])


def draw(
    effects: Effects,
    debtors: Debtors,
    plans: Candidates,
    arm: I64,
    rng: np.random.Generator,
) -> Paths:
    """Draw what happened to n offers.

    Args:
        effects: how debtors answer plans.
        debtors: the debtors, n.
        plans: their candidates, (n, P), monthly ones.
        arm: the plan offered to each, (n,).
        rng: of the draws.
    """
    n, at = len(debtors), np.arange(len(debtors))
    arms = plans.arms
    agreed = rng.random(n) < agreement(effects, debtors, plans)[at, arm]
    surplus = debtors.surplus_in()
    monthly, count = plans.monthly[at, arm], plans.count[at, arm]
    points, weights = debtors.shocks()
    due = arms.first_due[arm]
    first = effects.first + effects.delay * np.maximum(due - 7, 0)
    first = first + effects.payday * payday_gap(debtors.payday, due)
    steady = (
        effects.pay
        + effects.pay_waiver * arms.interest_waiver[arm]
        + effects.pay_discount * arms.discount[arm]
        + effects.pay_willing * debtors.willingness
    )
    state = debtors.state.copy()
    behind = np.zeros(n, np.int8)
    lives = agreed.copy()
    paid = np.zeros((n, LONGEST), np.int8)
    for step in range(LONGEST):
        shock = SHOCK * debtors.income_employed * points[rng.choice(len(points), n, p=weights)]
        z = (surplus[at, state] - debtors.promised - monthly + shock) / debtors.unit()
        score = steady + effects.pay_below * np.minimum(z, 0) + effects.pay_above * np.maximum(z, 0)
        score = score + effects.pay_month * step + (first if step == 0 else 0.0) + AFTER_MISS * behind
        open_ = lives & (count > step)
        pays = open_ & (rng.random(n) < linked(effects, score))
        paid[:, step] = np.where(pays, 1 + behind, 0)
        lives &= ~(open_ & ~pays & (behind == 1))
        behind = np.where(pays, 0, np.where(open_, 1, behind)).astype(np.int8)
        draws = rng.random(n)[:, None] > np.cumsum(MOVES[state], axis=1)
        state = np.minimum(draws.sum(axis=1), len(INCOME) - 1)
    return Paths(agreed, paid)

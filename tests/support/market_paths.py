"""Debtors of the market, lived month by month: one debtor and one plan at a time, many lives each.

Written from docs/domain.md section 7 and the docstrings of ``simulations/market/truth.py``; shares no code with it or with
``paths.py``. Numbers of the law are copied when this module is loaded, so that a test may spoil the market's.
"""

from dataclasses import dataclass

import numpy as np

from fedrepay.shared.arrays import F64, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.simulations.market import truth
from fedrepay.simulations.market.truth import Debtors, Effects

INCOME = (1.0, 0.48, 0.62)
MOVES = ((0.97, 0.02, 0.01), (0.18, 0.80, 0.02), (0.10, 0.03, 0.87))
AFTER_MISS, NO_PLAN_RATE = truth.AFTER_MISS, truth.NO_PLAN_RATE
SHOCK, FOLLOW = 0.06, 0.75
MONTHS, YEARLY = 24, 0.10
ROOT = 10**0.5
CALM = ((-((5 + ROOT) ** 0.5), -((5 - ROOT) ** 0.5), 0.0, (5 - ROOT) ** 0.5, (5 + ROOT) ** 0.5), None)
"""Points of five-point Gauss–Hermite quadrature for a standard normal."""
CALM_WEIGHTS = ((7 - 2 * ROOT) / 60, (7 + 2 * ROOT) / 60, 8 / 15, (7 + 2 * ROOT) / 60, (7 - 2 * ROOT) / 60)
HEAVY = (0.6, 0.2, -0.2, -1.0, -4.0)
HEAVY_WEIGHTS = (0.25, 0.3, 0.25, 0.15, 0.05)


@dataclass(frozen=True)
class Lives:
    """What happened in each life, (lives,); ``value`` the present value of offering the plan, minor units."""

    agreed: Bool
    first: Bool
    kept: Bool
    done: Bool
    value: F64


def probability(effects: Effects, score: F64) -> F64:
    if effects.link == "cloglog":
        return np.asarray(1 - np.exp(-np.exp(0.8 * score - 0.37)))
    return np.asarray(1 / (1 + np.exp(-score)))


def hinge(z: F64, below: float, above: float) -> F64:
    return np.asarray(np.where(z < 0, below * z, above * z))


def live(
    effects: Effects,
    debtors: Debtors,
    plans: Candidates,
    who: int,
    arm: int,
    lives: int,
    rng: np.random.Generator,
) -> Lives:
    """Live one debtor's months under one plan, ``lives`` times."""
    w = float(debtors.willingness[who])
    employed = float(debtors.income_employed[who])
    start = int(debtors.state[who])
    surplus, promised = float(debtors.surplus[who]), float(debtors.promised[who])
    unit = max(6000.0, 0.12 * employed * INCOME[start])
    of = plans.arms
    each, due = float(of.months_each[arm]), int(of.first_due[arm])
    count, monthly = int(plans.count[who, arm]), float(plans.monthly[who, arm])
    amount = float(plans.principal[who, arm] + plans.interest[who, arm]) / count
    discount, waiver = float(of.discount[arm]), float(of.interest_waiver[arm])
    no_plan = NO_PLAN_RATE * float(np.exp(0.5 * w)) * float(plans.debts.balance[who])
    worth = [(1 + YEARLY) ** (-month / 12) for month in range(MONTHS + 1)]

    def no_plan_after(month: float) -> float:
        """No-plan cash of the whole months that begin after this one."""
        return float(no_plan * sum(worth[k] for k in range(1, MONTHS + 1) if k > np.ceil(month)))

    z = np.array([(surplus - promised - monthly) / unit])
    likes = (
        effects.accept
        + hinge(z, effects.accept_below, effects.accept_above)
        + effects.accept_discount * discount
        + effects.accept_waiver * waiver
        + effects.accept_willing * w
        + effects.accept_month * count * each
    )
    engages = probability(effects, np.array([effects.engage + effects.engage_willing * w]))
    agreed = (rng.random(lives) < engages) & (rng.random(lives) < probability(effects, likes))

    points, weights = (HEAVY, HEAVY_WEIGHTS) if debtors.heavy_shocks else (CALM[0], CALM_WEIGHTS)
    left_in = surplus + (1 - FOLLOW) * employed * (np.array(INCOME) - INCOME[start])
    after_payday = (due - int(debtors.payday[who])) % 31
    first = effects.first + effects.payday * (after_payday < 4) + effects.delay * max(due - 7, 0)
    own = (
        effects.pay + effects.pay_willing * w + effects.pay_waiver * waiver + effects.pay_discount * discount
    )
    judged = [step for step in range(count) if step * each * 365 / 12 + 7 <= 90]

    state = np.full(lives, start)
    behind, broken, paid_first = np.zeros((3, lives), bool)
    broken_90 = np.zeros(lives, bool)
    cash = np.zeros(lives)
    moves = np.array(MOVES)
    stays = np.eye(3) + (moves - np.eye(3)) * each
    for step in range(count):
        shock = np.array(points)[rng.choice(5, lives, p=weights)] * SHOCK * employed
        z = (left_in[state] - promised - monthly + shock) / unit
        score = own + hinge(z, effects.pay_below, effects.pay_above) + effects.pay_month * step * each
        score = score + (first if step == 0 else 0.0) + np.where(behind, AFTER_MISS, 0.0)
        pays = ~broken & (rng.random(lives) < probability(effects, score))
        breaks = ~broken & behind & ~pays
        when = due * 12 / 365 + step * each
        cash += pays * np.where(behind, 2.0, 1.0) * amount * (1 + YEARLY) ** (-when / 12)
        cash += breaks * no_plan_after(when)
        paid_first = pays if step == 0 else paid_first
        broken |= breaks
        broken_90 |= breaks & (step in judged)
        behind = ~broken & ~pays
        state = (rng.random(lives)[:, None] > np.cumsum(stays[state], axis=1)[:, :2]).sum(axis=1)
    owing = ~broken if of.is_kind("TOKEN")[arm] else ~broken & behind
    if owing.any():
        cash += owing * no_plan_after(min(due * 12 / 365 + count * each, MONTHS))
    kept = paid_first if len(judged) == 1 and count == 1 else ~broken_90
    value = np.where(agreed, cash, no_plan_after(0))
    return Lives(agreed, agreed & paid_first, agreed & kept, agreed & ~broken & ~behind, value)

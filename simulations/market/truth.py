"""The market's truth: what each plan would bring from each debtor, by an exact forward recursion.

A debtor is a Markov chain over employment × arrears {none, one instalment} until a second miss in a row breaks the
plan; what is left after essentials is disturbed each month by an independent shock, integrated by five-point
Gauss–Hermite quadrature. No path is drawn: the value of every plan of every debtor is a sum over states, so
counterfactuals are known. ``paths.py`` draws paths of the same chain; a test compares the two.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans import outcomes
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.catalogue import Arms
from fedrepay.shared.plans.kinds import LEAVES_A_REST
from fedrepay.shared.plans.money import DAYS_A_MONTH

EMPLOYED, UNEMPLOYED, SICK = 0, 1, 2
INCOME = np.array([1.0, 0.48, 0.62])
"""Income in each employment state, of the employed one (docs/domain.md, section 7)."""

MOVES = np.array([[0.97, 0.02, 0.01], [0.18, 0.80, 0.02], [0.10, 0.03, 0.87]])
"""Monthly moves between employment states, rows from, columns to."""

ESSENTIALS_FOLLOW = 0.75
"""The part of a change of income that essentials and benefits take up."""

SHOCK = 0.06
"""Standard deviation of a month's unforeseen expenses, of the income when employed."""

NO_PLAN_RATE = 0.0035
"""Of the balance, a month, without a plan, for willingness 0."""

HORIZON = 24
"""Months of no-plan cash that count."""

DISCOUNT_RATE = 0.10
"""A year's."""

AFTER_MISS = -0.5
"""On the log-odds of paying two instalments at once after a miss."""

_AT_ONCE = 4096
"""Pairs of debtor and plan whose states are moved together: few enough for a processor's cache."""

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(5)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


@dataclass(frozen=True)
class Effects:
    """How debtors answer plans: coefficients on log-odds; ``z`` is headroom in units of 12 % of income.

    ``z`` counts with ``below`` under zero and with ``above`` over it.
    """

    pay: float = 1.25
    pay_below: float = 1.6
    pay_above: float = 0.25
    pay_willing: float = 0.75
    pay_waiver: float = 0.30
    pay_discount: float = 0.60
    pay_month: float = -0.006
    first: float = -0.6
    payday: float = 0.35
    delay: float = -0.018
    accept: float = -0.15
    accept_below: float = 1.3
    accept_above: float = 0.15
    accept_discount: float = 1.6
    accept_waiver: float = 0.5
    accept_willing: float = 0.5
    accept_month: float = -0.012
    engage: float = 0.05
    engage_willing: float = 0.45
    link: Literal["logit", "cloglog"] = "logit"


@dataclass(frozen=True)
class Debtors:
    """n simulated debtors as they truly are, (n,) each; money in minor units a month.

    ``willingness`` is never observed; ``surplus`` is what is left after essentials in the ``state`` at the offer;
    ``promised`` other plans and priority arrears; ``payday`` days from the offer to the next payday.
    """

    willingness: F64
    income_employed: F64
    state: I64
    surplus: F64
    promised: F64
    payday: I64
    heavy_shocks: bool = False

    def __len__(self) -> int:
        return len(self.willingness)

    @property
    def income(self) -> F64:
        """Income in the state at the offer, (n,)."""
        return np.asarray(self.income_employed * INCOME[self.state])

    def surplus_in(self) -> F64:
        """What is left after essentials in each employment state, (n, 3)."""
        change = self.income_employed[:, None] * INCOME - self.income[:, None]
        return np.asarray(self.surplus[:, None] + (1 - ESSENTIALS_FOLLOW) * change)

    def unit(self) -> F64:
        """One unit of z, minor units, (n,): 12 % of income, at least £60."""
        return np.asarray(np.maximum(6000.0, 0.12 * self.income))

    def take(self, index: npt.NDArray[np.integer] | Bool) -> "Debtors":
        """The chosen debtors."""
        return Debtors(
            self.willingness[index],
            self.income_employed[index],
            self.state[index],
            self.surplus[index],
            self.promised[index],
            self.payday[index],
            self.heavy_shocks,
        )

    def shocks(self) -> tuple[F64, F64]:
        """The law of a month's shock: points in standard deviations (5,), and their weights (5,)."""
        if self.heavy_shocks:  # mostly calm, now and then a broken boiler
            return np.array([0.6, 0.2, -0.2, -1.0, -4.0]), np.array([0.25, 0.3, 0.25, 0.15, 0.05])
        return _NODES, _WEIGHTS


@dataclass(frozen=True)
class Outcome:
    """What every plan brings, (n, P): probabilities per eligible offer, and values in minor units.

    ``done`` is being paid to the end; ``value`` the present value of offering the plan, ``HORIZON`` months of no-plan
    cash included; ``no_plan`` (n,) that of offering nothing.
    """

    agreed: F64
    first: F64
    kept: F64
    done: F64
    value: F64
    no_plan: F64


def outcome(effects: Effects, debtors: Debtors, plans: Candidates) -> Outcome:
    """Evaluate all candidates of n debtors; an invalid one is worth no plan."""
    n, p = plans.valid.shape
    agreed = agreement(effects, debtors, plans) * plans.valid
    first, kept, done, cash = (np.zeros((n, p)) for _ in range(4))
    no_plan = no_plan_rate(debtors) * plans.debts.balance
    for each in np.unique(plans.arms.months_each[plans.arms.pays]):
        who, arm = np.nonzero(plans.valid & plans.arms.pays & (plans.arms.months_each == each))
        longest = np.argsort(-plans.count[who, arm], kind="stable")
        for start in range(0, len(longest), _AT_ONCE):
            part = longest[start : start + _AT_ONCE]
            at = (who[part], arm[part])
            first[at], kept[at], done[at], cash[at] = _run(effects, debtors, plans, *at, no_plan)
    without = no_plan * (_factor() ** np.arange(1, HORIZON + 1)).sum()
    value = agreed * cash + (1 - agreed) * without[:, None]
    value = np.where(plans.arms.is_kind("DORMANT"), 0.0, value)
    return Outcome(agreed, agreed * first, agreed * kept, agreed * done, value, without)


def agreement(effects: Effects, debtors: Debtors, plans: Candidates) -> F64:
    """P(the debtor engages and accepts), (n, P)."""
    arms, w = plans.arms, debtors.willingness[:, None]
    z = headroom(debtors, plans)
    accept = (
        effects.accept
        + effects.accept_below * np.minimum(z, 0)
        + effects.accept_above * np.maximum(z, 0)
        + effects.accept_discount * arms.discount
        + effects.accept_waiver * arms.interest_waiver
        + effects.accept_willing * w
        + effects.accept_month * plans.months
    )
    engage = effects.engage + effects.engage_willing * w
    chance = linked(effects, engage) * linked(effects, accept)
    return np.asarray(chance * arms.pays)


def headroom(debtors: Debtors, plans: Candidates) -> F64:
    """Headroom z without a shock in the state at the offer, (n, P)."""
    left = debtors.surplus - debtors.promised
    return np.asarray((left[:, None] - plans.monthly) / debtors.unit()[:, None])


def linked(effects: Effects, score: F64) -> F64:
    """The probability behind a score: logistic, or complementary log-log in the other world."""
    return _shifted(effects, _base(effects, score), np.zeros(1))


def _base(effects: Effects, score: F64) -> F64:
    """What of a score's probability can be computed once, before shifts by the month."""
    if effects.link == "cloglog":
        return np.asarray(np.exp(np.clip(0.8 * score - 0.37, -30, 3)))
    return np.asarray(np.exp(np.clip(-score, -30, 30)))


def _shifted(effects: Effects, base: F64, shift: F64) -> F64:
    """The probability of a score whose ``_base`` is given, with something added to the score."""
    if effects.link == "cloglog":
        return np.asarray(1 - np.exp(-base * np.exp(0.8 * shift)))
    return np.asarray(1 / (1 + base * np.exp(-shift)))


def no_plan_rate(debtors: Debtors) -> F64:
    """Part of the balance that comes in a month without a plan, (n,)."""
    return np.asarray(NO_PLAN_RATE * np.exp(0.5 * debtors.willingness))


def payday_gap(payday: I64, first_due: I64) -> Bool:
    """Whether the first instalment falls within four days of a payday, (n,); days from the offer, (n,) each."""
    return np.asarray((first_due - payday + 62) % 31 < 4)


def pay_scores(effects: Effects, debtors: Debtors, plans: Candidates, who: I64, arm: I64) -> tuple[F64, F64]:
    """Log-odds of paying an instalment, (shocks, states, pairs) of debtors and arms, and what the first adds, (pairs,)."""
    arms = plans.arms
    points, _ = debtors.shocks()
    shock = SHOCK * debtors.income_employed[who] * points[:, None]
    left = debtors.surplus_in().T[:, who] - debtors.promised[who] - plans.monthly[who, arm]
    z = (left + shock[:, None]) / debtors.unit()[who]
    steady = (
        effects.pay
        + effects.pay_waiver * arms.interest_waiver[arm]
        + effects.pay_discount * arms.discount[arm]
        + effects.pay_willing * debtors.willingness[who]
    )
    score = steady + effects.pay_below * np.minimum(z, 0) + effects.pay_above * np.maximum(z, 0)
    due = arms.first_due[arm]
    payday = payday_gap(debtors.payday[who], due)
    first = effects.first + effects.payday * payday + effects.delay * np.maximum(due - 7, 0)
    return score, np.asarray(first)


def checked_steps(arms: Arms, arm: int) -> int:
    """How many instalments are judged in the 90 days of the label ``kept_90``, the first included."""
    return int(np.floor((outcomes.HORIZON - outcomes.GRACE) / (arms.months_each[arm] * DAYS_A_MONTH))) + 1


def _run(
    effects: Effects, debtors: Debtors, plans: Candidates, who: I64, arm: I64, no_plan: F64
) -> tuple[F64, F64, F64, F64]:
    """Debtors with an arm each, given agreement: P(first), P(kept at 90 days), P(done), cash with no-plan cash after a break.

    Args:
        effects: how debtors answer plans.
        debtors: the debtors, n.
        plans: their candidates, (n, P).
        who: which debtors, (pairs,).
        arm: the arm of each, (pairs,): as many months apart, those of most instalments first.
        no_plan: cash a month without a plan, (n,).
    """
    score, first_extra = pay_scores(effects, debtors, plans, who, arm)
    base = _base(effects, score)
    _, weights = debtors.shocks()
    each = float(plans.arms.months_each[arm[0]])
    count = plans.count[who, arm]
    amount = plans.total[who, arm] / np.maximum(count, 1)
    start = plans.arms.first_due[arm] / DAYS_A_MONTH
    fresh, behind = np.zeros((2, 3, len(who)))  # the law of the state, without and with a miss
    fresh[debtors.state[who], np.arange(len(who))] = 1.0
    moves = (MOVES if each == 1.0 else np.eye(3) + (MOVES - np.eye(3)) * each).T
    first, kept, done, cash = np.zeros((4, len(who)))
    amount, no_plan = amount * _factor() ** start, no_plan[who]
    rest, checks = _rest(), checked_steps(plans.arms, int(arm[0]))
    for step in range(int(count[0])):
        still = int(np.searchsorted(-count, -step))
        at, shift = base[:, :, :still], effects.pay_month * step * each
        begins = first_extra if step == 0 else np.zeros(1)
        paid_one = fresh[:, :still] * np.tensordot(weights, _shifted(effects, at, shift + begins), 1)
        paid_two = behind[:, :still] * np.tensordot(
            weights, _shifted(effects, at, shift + begins + AFTER_MISS), 1
        )
        missed, broken = fresh[:, :still] - paid_one, (behind[:, :still] - paid_two).sum(0)
        ends = np.minimum(np.ceil(start[:still] + step * each), HORIZON).astype(np.int64)
        one = paid_one.sum(0)
        cash[:still] += (one + 2 * paid_two.sum(0)) * amount[:still] * _factor() ** (step * each)
        cash[:still] += broken * no_plan[:still] * rest[ends]
        fresh[:, :still], behind[:, :still] = moves @ (paid_one + paid_two), moves @ missed
        if step == 0:
            first[:still] = one
        done[:still] = fresh[:, :still].sum(0)
        if step < checks:
            alive = done[:still] + behind[:, :still].sum(0)
            kept[:still] = np.where(count[:still] == 1, first[:still], alive)
    # who ends behind owes as before, and a plan that leaves a rest pays no debt off
    owing = behind.sum(0) + np.where(plans.arms.is_kind(*LEAVES_A_REST)[arm], fresh.sum(0), 0.0)
    ends = np.minimum(np.ceil(start + count * each), HORIZON).astype(np.int64)
    cash += owing * no_plan * rest[ends]
    return first, kept, done, cash


def _factor() -> float:
    return float((1 + DISCOUNT_RATE) ** (-1 / 12))


def _rest() -> F64:
    """Present value of one unit a month after month m up to the horizon, (HORIZON + 1,)."""
    worth = _factor() ** np.arange(1, HORIZON + 1)
    return np.concatenate([np.cumsum(worth[::-1])[::-1], [0.0]])

"""What would have to change for a plan to be kept more surely."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fedrepay.client.plans.deciding.judged import NONE, Judged
from fedrepay.client.plans.explaining.messages import money
from fedrepay.shared.arrays import F64, I64, Bool, Objects
from fedrepay.shared.plans.candidates import MOST_PAYMENTS
from fedrepay.shared.plans.catalogue import MONTHS_EACH, Arms, Catalogue
from fedrepay.shared.plans.interest import repaid
from fedrepay.shared.plans.schedule import Plan

STEP = 0.05
"""A counterfactual lifts P(kept) to the next round one of these."""
MOST_STEPS = 2000

Predict = Callable[[I64, I64, I64], F64]
"""(instalment, count, first_due), (m,) each → P(kept at 90 days), (m,)."""


@dataclass(frozen=True)
class Counterfactual:
    """The smallest change that lifts P(kept).

    Attributes:
        kind: ``instalment`` or ``first_date``.
        change: minor units less (below 0), or days earlier (below 0) or later.
        instalment: then.
        count: payments then.
        first_due: days then.
        target: the round probability that is reached.
        kept: the probability itself.
    """

    kind: str
    change: int
    instalment: int
    count: int
    first_due: int
    target: float
    kept: float


def counterfactual(
    plan: Plan, kept: float, catalogue: Catalogue, predict: Predict, days: I64
) -> Counterfactual | None:
    """The smallest lower instalment, or else the nearest other first date, that lifts P(kept) to the next round 5 %.

    Args:
        plan: the chosen plan.
        kept: its P(kept at 90 days).
        catalogue: rounding, smallest instalment and longest term bound the change.
        predict: the model on changed plans.
        days: first dates that a plan may have, days from the offer.

    Returns:
        None where nothing within those bounds is enough.
    """
    target = STEP * (math.floor(round(kept / STEP, 9)) + 1)
    if not plan.pays or plan.kind == "TOKEN" or target >= 1:
        return None
    lower = _lower(plan, catalogue)
    days = days[days != plan.first_due]
    days = days[np.lexsort((days, np.abs(days - plan.first_due)))]
    same = np.ones(len(days), np.int64)
    for kind, (instalment, count, first_due) in (
        ("instalment", lower),
        ("first_date", (same * plan.instalment, same * plan.count, days)),
    ):
        if not len(instalment):
            continue
        found = np.asarray(predict(instalment, count, first_due))
        enough = np.flatnonzero(found >= target - 1e-9)
        if len(enough):
            at = int(enough[0])
            moved = (int(instalment[at]), int(count[at]), int(first_due[at]))
            change = moved[0] - plan.instalment if kind == "instalment" else moved[2] - plan.first_due
            return Counterfactual(kind, change, *moved, round(target, 2), float(found[at]))
    return None


def _lower(plan: Plan, catalogue: Catalogue) -> tuple[I64, I64, I64]:
    """Lower instalments, the nearest first, with the longer terms that they need, as in candidates."""
    if plan.kind == "FULL":
        return (np.zeros(0, np.int64),) * 3
    step, each = catalogue.rounding, MONTHS_EACH[plan.frequency]
    highest = (plan.instalment - 1) // step * step
    instalment = np.arange(highest, catalogue.smallest_instalment - 1, -step, dtype=np.int64)[:MOST_STEPS]
    period, wait = np.array(plan.rate * each / 12), np.array(plan.interest_per_day * plan.charged)
    count, _, falls = repaid(np.array(float(plan.principal)), period, wait, instalment.astype(np.float64))
    fits = falls & (count <= MOST_PAYMENTS) & (count * each <= catalogue.longest_months + 1e-9)
    return instalment[fits], count[fits], np.full(int(fits.sum()), plan.first_due)


def counterfactuals(judged: Judged, catalogue: Catalogue, arm: I64) -> Objects:
    """The least lower instalment among each account's candidates that lifts P(kept) to the next round 5 %, (n,) text.

    Args:
        judged: n accounts; a change that a rule forbids is none.
        catalogue: for its currency.
        arm: the chosen one of each account, or −1, (n,).
    """
    plans, rows, at = judged.plans, np.arange(len(arm)), np.maximum(arm, 0)
    kept, monthly = judged.kept, plans.monthly
    target = STEP * (np.floor(np.round(kept[rows, at] / STEP, 9)) + 1)
    open_ = (arm != NONE) & plans.arms.is_kind("INSTALMENT", "SETTLEMENT")[at] & (target < 1)
    helps = (
        _alike(plans.arms)[at]
        & plans.valid
        & (monthly < monthly[rows, at][:, None])
        & (kept >= target[:, None])
    )
    helps &= open_[:, None] & (judged.blocked == NONE)
    nearest = np.where(helps, monthly, -1).argmax(axis=1)
    found = np.full(len(arm), None, dtype=object)
    for row in np.flatnonzero(helps[rows, nearest]):
        other = int(nearest[row])
        less = int(plans.instalment[row, at[row]] - plans.instalment[row, other])
        percent = math.floor(100 * kept[row, other] + 1e-9)
        found[row] = (
            f"{money('en', catalogue.currency, less)} lower, {int(plans.count[row, other])} payments, "
            f"keeps to {percent} %"
        )
    return found


def _alike(arms: Arms) -> Bool:
    """Which arms differ in amount and first date only, (P, P)."""
    same = np.ones((len(arms.kind), len(arms.kind)), np.bool_)
    for name in ("kind", "frequency", "discount", "interest_waiver", "fee_waiver", "channel", "human"):
        values = getattr(arms, name)
        same &= values[:, None] == values
    return same

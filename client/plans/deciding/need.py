"""Who can pay no plan that clears what is due, and what remains for them; with the rules, or as if there were none.

``why`` is ``Judged.why``, or ``Judged.bare``: what somebody needs a person for without any law, no law takes away.
"""

import numpy as np

from fedrepay.client.plans.deciding.judged import NONE, Judged, Why
from fedrepay.shared.arrays import I32, U8, Bool
from fedrepay.shared.plans.kinds import CONTRACT

REMAINS = {
    "no form": ("REFER", "TOKEN"),
    "no work": (*CONTRACT, "REVIEW", "DORMANT", "TOKEN", "REFER"),
    "nothing left": (*CONTRACT, "REFER", "TOKEN", "DORMANT"),
    "else": (*CONTRACT, "REVIEW", "TOKEN", "REFER", "DORMANT"),
}
"""What remains where no plan clears the debt: the first kind that the catalogue has and the rules allow."""
HARD = (
    *(Why.OUT_OF_BOUNDS, Why.NO_SUCH_PLAN, Why.RULE, Why.PROTECTED, Why.NOT_DUE, Why.UNAFFORDABLE),
    *(Why.COST, Why.RELIEF, Why.TERMS, Why.UNSURE),
)
"""Why a plan cannot be had, whatever it would bring; the others say that it is not wanted."""
_SOFT = np.array([each not in HARD for each in Why])


def payable(judged: Judged, why: U8) -> Bool:
    """Who could have a plan that clears the whole debt, or is offered one, (n,)."""
    arms = judged.plans.arms
    whole = arms.is_offer & ~(arms.discount > 0)
    offered = (why == Why.OK) & arms.is_offer
    return np.asarray(((_SOFT[why] & whole) | offered).any(axis=1))


def in_need(judged: Judged, why: U8) -> Bool:
    """Who owes something that is due and can have no plan that clears it, (n,)."""
    cases, owes = judged.cases, judged.plans.debts.balance > 0
    left = cases.column("idle") | cases.column("protected") | cases.column("outside")
    return np.asarray(owes & ~payable(judged, why) & ~left)


def remaining(judged: Judged, why: U8, open_: Bool) -> I32:
    """The arm that remains for each account in need (``open_``), or −1, (n,).

    Ask for an income form where there is none; what fits a contract that still runs; what is affordable until the next
    review; a pause where there is no work; advice where nothing is left of the income; else a token.
    """
    known, no_work = judged.cases.income_known, judged.cases.hardship
    nothing = judged.plans.debts.bound <= 0
    where = {
        "no form": ~known,
        "no work": known & no_work,
        "nothing left": known & ~no_work & nothing,
        "else": known & ~no_work & ~nothing,
    }
    arm = np.full(len(why), NONE, np.int32)
    for group, kinds in REMAINS.items():
        rows = np.flatnonzero(where[group] & open_)
        order = judged.plans.arms.in_order(kinds)
        if len(rows) and len(order):
            may = why[rows[:, None], order] == Why.OK
            arm[rows] = np.where(may.any(axis=1), order[may.argmax(axis=1)], NONE)
    return arm


def needs(judged: Judged, why: U8) -> tuple[Bool, Bool]:
    """Whom a pause would be proposed, and who is in need and left nothing by catalogue and rules, (n,) each."""
    open_ = in_need(judged, why)
    arm = remaining(judged, why, open_)
    pauses = (arm != NONE) & judged.plans.arms.is_kind("DORMANT")[arm]
    return np.asarray(pauses), np.asarray(open_ & (arm == NONE))

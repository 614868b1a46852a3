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


def payable(judged: Judged, why: U8) -> Bool:
    """Who could have a plan that clears the whole debt, or is offered one, (n,)."""
    arms = judged.plans.arms
    whole = arms.is_offer & ~(arms.discount > 0)
    offered = (why == Why.OK) & arms.is_offer
    return np.asarray(((~np.isin(why, HARD) & whole) | offered).any(axis=1))


def in_need(judged: Judged, why: U8) -> Bool:
    """Who owes something that is due and can have no plan that clears it, (n,)."""
    cases, owes = judged.cases, judged.plans.debts.balance > 0
    left = cases.column("idle") | cases.column("protected") | cases.column("outside")
    return np.asarray(owes & ~payable(judged, why) & ~left)


def remaining(judged: Judged, why: U8) -> I32:
    """The arm that remains for each account in need, or −1, (n,).

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
    open_ = in_need(judged, why)
    arm = np.full(len(why), NONE, np.int32)
    allowed = {kind: _first(judged, why, kind) for kinds in REMAINS.values() for kind in kinds}
    for group, kinds in REMAINS.items():
        for kind in reversed(kinds):
            take = where[group] & open_ & (allowed[kind] != NONE)
            arm[take] = allowed[kind][take]
    return arm


def pauses(judged: Judged, why: U8) -> Bool:
    """Whom a pause would be proposed, (n,)."""
    arm = remaining(judged, why)
    return np.asarray((arm != NONE) & judged.plans.arms.is_kind("DORMANT")[arm])


def nothing_fits(judged: Judged, why: U8) -> Bool:
    """Who is in need, and neither catalogue nor rules leave them anything, (n,)."""
    return np.asarray(in_need(judged, why) & (remaining(judged, why) == NONE))


def _first(judged: Judged, why: U8, kind: str) -> I32:
    """The first arm of a kind that may be used, the shortest pause before a longer one, or −1, (n,)."""
    arms = judged.plans.arms
    place = np.flatnonzero(arms.is_kind(kind))
    place = place[np.argsort(arms.dormant_months[place], kind="stable")]
    if not len(place):
        return np.full(len(why), NONE, np.int32)
    may = why[:, place] == Why.OK
    return np.where(may.any(axis=1), place[may.argmax(axis=1)], NONE).astype(np.int32)

"""The menu of an account: the recommended plan and up to two others, chosen as a set.

A customer who may choose takes what is best for themself: what costs less in all, then what takes less of a month,
then what ends sooner. So a menu holds nothing that they would rather take than the recommended plan, which makes a
menu worth what its first plan is worth; no plan that another of them beats on every count; and only plans that differ
in what they ask of a month.
"""

import numpy as np

from fedrepay.client.plans.deciding.judged import NONE, Judged
from fedrepay.shared.arrays import F64, I32, I64, Bool

TOP = 3
"""Plans of a menu at most."""
DIFFERENT = 0.25
"""Two plans of a menu differ by at least this part of the larger one in what they ask of a month."""


def menu(judged: Judged, first: I32) -> I32:
    """The menus that begin with given plans, (n, 3), −1 where there is no more.

    The others are the best by score among the offers that may stand beside those chosen already.

    Args:
        judged: n accounts.
        first: the recommended arm or −1, (n,).
    """
    rows = np.arange(len(first))
    top = np.full((len(first), TOP), NONE, np.int32)
    top[:, 0] = first
    has = first != NONE
    at = np.maximum(first, 0)
    score = np.where(judged.offers & has[:, None], judged.score, -np.inf)
    score[_preferred(judged, at)] = -np.inf
    for place in range(1, TOP):
        score[~_beside(judged, at)] = -np.inf
        arm = score.argmax(axis=1)
        found = np.isfinite(score[rows, arm])
        top[found, place] = arm[found]
        at = np.where(found, arm, at)
    return top


def picked(total: I64, monthly: I64, months: F64) -> int:
    """Which plan of a menu a customer takes who takes the best for themself: its place; (k,) each."""
    return int(np.lexsort((months, monthly, total))[0])


def _preferred(judged: Judged, at: I64 | I32) -> Bool:
    """What a customer would rather take than plan ``at``, or as soon, (n, P)."""
    plans, rows = judged.plans, np.arange(len(at))
    total, monthly, months = plans.total, plans.monthly, plans.months
    mine = [each[rows, at][:, None] for each in (total, monthly, months)]
    less = (monthly < mine[1]) | ((monthly == mine[1]) & (months <= mine[2]))
    return np.asarray((total < mine[0]) | ((total == mine[0]) & less))


def _beside(judged: Judged, at: I64 | I32) -> Bool:
    """What may stand beside plan ``at``: neither beats the other on every count, and they differ, (n, P)."""
    plans, rows = judged.plans, np.arange(len(at))
    columns = (plans.total, plans.monthly, plans.months)
    mine = [each[rows, at][:, None] for each in columns]
    worse = np.ones(plans.valid.shape, np.bool_)
    better = np.ones(plans.valid.shape, np.bool_)
    for column, one in zip(columns, mine, strict=True):
        worse &= column >= one
        better &= column <= one
    gap = np.abs(plans.monthly - mine[1])
    apart = gap >= DIFFERENT * np.maximum(plans.monthly, mine[1])
    return np.asarray(~worse & ~better & apart)

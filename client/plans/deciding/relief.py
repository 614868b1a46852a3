"""How much of the interest is waived for an account: what its rate and its means demand, never what brings more money.

An optimiser that counts interest as income gives less relief the dearer the debt is. So the waived part is settled
before plans are ranked, one for each account: the least in the catalogue at which the rate that is left is not above
``most_rate`` and some affordable, lawful plan clears the debt without costing more than ``most_cost`` of it. Each of
these conditions only gets harder to meet as the contract's rate rises, so at equal means the waived part never falls.
Who can clear a debt only if part of it is forgiven has all waived that the catalogue can waive.
"""

import numpy as np

from fedrepay.client.plans.deciding.settings import Relief
from fedrepay.shared.arrays import F64, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.interest import level_instalment, waiting

NO_LEVEL = -1.0
"""No part that the catalogue can waive is enough: no plan that clears the debt is offered."""
SAME = 1e-9
"""Two yearly rates no further apart than this are one."""


def within_cost(settings: Relief, plans: Candidates) -> Bool:
    """Which candidates bear no more interest than ``most_cost`` of what they repay, (n, P).

    Of so many instalments it is that of the exact level instalment, which rounding up only lowers: so it rises with the rate.
    """
    arms, principal = plans.arms, plans.principal.astype(np.float64)
    wait = waiting(principal, plans.rate, np.minimum(plans.first_due, arms.first_due))
    n = np.maximum(arms.n, 1)
    exact = n * level_instalment(principal, plans.rate * arms.months_each / 12, n, wait) - principal
    cost = np.where(arms.is_offer & (arms.share <= 0), np.maximum(exact, plans.interest), plans.interest)
    return np.asarray(cost <= settings.most_cost * principal)


def waived_part(settings: Relief, plans: Candidates, fits: Bool) -> F64:
    """The part of the interest that is waived for each account, (n,), or ``NO_LEVEL``.

    Args:
        settings: the highest rate that may go on, and the highest cost.
        plans: the candidates.
        fits: which candidates clear the debt within every hard condition, interest apart from nothing, (n, P).
    """
    arms, apr = plans.arms, plans.debts.apr
    parts = sorted(set(arms.interest_waiver[arms.is_offer].tolist()))
    found = np.full(len(apr), NO_LEVEL)
    whole = arms.is_offer & ~(arms.discount > 0)
    for among, order in ((arms.is_offer, parts), (whole, reversed(parts))):
        for part in order:
            here = among & (arms.interest_waiver == part)
            enough = (apr * (1 - part) <= settings.most_rate + SAME) & (fits & here).any(axis=1)
            found[enough] = part
    return found


def otherwise_extended(settings: Relief, plans: Candidates, fits: Bool) -> Bool:
    """Longer terms that waive more or less than it takes, (n, P).

    It takes what brings the rate to ``most_rate`` and leaves some longer term that ``fits`` (valid and affordable, (n, P)).
    """
    extends = plans.arms.is_kind("EXTEND")
    left = np.where(extends & fits & (plans.rate <= settings.most_rate + SAME), plans.rate, -1.0)
    return np.asarray(extends & (plans.rate != left.max(axis=1, initial=-1.0)[:, None]))


def as_waived(plans: Candidates, part: F64) -> Bool:
    """Which candidates charge the rate that is left for their account, (n, P); without interest, all of them."""
    left = plans.debts.apr * (1 - part)
    same = np.abs(plans.rate - left[:, None]) <= SAME
    return np.asarray(same & ((part != NO_LEVEL) | (plans.debts.apr <= SAME))[:, None])

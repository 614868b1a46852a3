"""What a plan is worth to the member: one score a candidate, in parts of the balance.

``E[NPV] + λf·P(first payment) − contact cost − λc·P(complaint) + λs·P(sustained) − λg·forgiven``. What must not happen (a plan
that cannot be afforded or is against the rules) is no part of it: harm limits are masks, never prices.
"""

import numpy as np

from fedrepay.client.plans.deciding.settings import Value
from fedrepay.shared.arrays import F64, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.catalogue import Arms
from fedrepay.shared.plans.kinds import CHANNELS, FREE, KINDS, SMALL
from fedrepay.shared.plans.schedule import forgiven

PLACES = 9
"""Of a score: so that the last bits of two processors never order two plans differently."""


def contact_cost(settings: Value, arms: Arms) -> F64:
    """What an offer over each arm's channel costs, minor units, (P,)."""
    return np.array([settings.contact_cost.get(name, 0) for name in CHANNELS], np.float64)[arms.channel]


def score(settings: Value, plans: Candidates, first: F64, kept: F64, worth: F64) -> F64:
    """Scores of all candidates, parts of the balance to nine places, (n, P).

    Args:
        settings: prices and λ.
        plans: the candidates.
        first: P(first payment) per eligible offer, (n, P).
        kept: P(kept at 90 days) per eligible offer, (n, P).
        worth: their E[NPV], minor units, (n, P).
    """
    balance = np.maximum(plans.debts.balance, 1)[:, None]
    complaint = np.array([settings.complaint_rate.get(name, 0.0) for name in KINDS])[plans.arms.kind]
    found = (worth - contact_cost(settings, plans.arms)) / balance
    found += settings.lambda_first * first
    found += settings.lambda_sustained * kept
    found -= settings.lambda_complaint * complaint
    found -= settings.lambda_given * forgiven(plans) / balance
    return np.asarray(np.round(found, PLACES))


def affordable(plans: Candidates) -> Bool:
    """Which candidates stay within the bound in every month (a token plan asks what nobody lacks), (n, P)."""
    free = plans.arms.is_kind(*FREE, *SMALL)
    return np.asarray(free | (plans.worst_month <= plans.debts.bound[:, None]))

"""The hard bound of every plan: sustainable = LCB(net income − essentials) − what is promised already − savings.

The surplus a debtor states, a bureau estimates or payslips prove is wrong by a known spread; mixed with what is
usual it gives a normal posterior (conjugate normal mean), and the bound is its lower quantile at the level of the class.
Without an income form there is no bound, so no plan but a token, dormancy or a referral.
"""

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.settings import CLASSES, Caution
from fedrepay.shared.arrays import F64, I64


def sustainable(
    settings: Caution,
    income: F64,
    surplus: F64,
    known: npt.NDArray[np.generic],
    promised: F64,
) -> I64:
    """What n debtors can pay a month without touching basic living, minor units, (n,), 0 where nothing.

    Args:
        settings: levels and errors.
        income: net income a month, NaN where unknown, (n,).
        surplus: income less essentials as known, NaN where unknown, (n,).
        known: the class of each income, one of ``CLASSES``, (n,).
        promised: other plans and agreed payments on priority arrears, a month, (n,).
    """
    bound = np.zeros(len(income))
    usable = np.isfinite(income) & np.isfinite(surplus) & (income > 0)
    for name in CLASSES[1:]:
        here = usable & (known == name)
        bound[here] = lower_bound(settings, name, income[here], surplus[here])
    left = bound - promised - settings.savings_share * np.where(usable, income, 0.0)
    return np.asarray(np.floor(np.clip(np.where(usable, left, 0.0), 0.0, None)), np.int64)


def lower_bound(settings: Caution, known: str, income: F64, surplus: F64) -> F64:
    """The lower confidence bound of the surplus for one class, never above the surplus as known, minor units a month, (n,)."""
    from statistics import NormalDist  # noqa: PLC0415

    given = {"stated": settings.stated, "estimated": settings.estimated, "verified": settings.verified}[known]
    trust = settings.usual_spread**2 / (settings.usual_spread**2 + given.error**2)
    mean = trust * surplus / income + (1 - trust) * settings.usual_surplus
    spread = given.error * np.sqrt(trust)
    return np.asarray(np.minimum(income * (mean - NormalDist().inv_cdf(given.level) * spread), surplus))

"""The hard bound of every plan: sustainable = LCB(net income − essentials) − what is promised already − savings.

The surplus a debtor states, a bureau estimates or payslips prove is wrong by a known spread; mixed with what is
usual it gives a normal posterior (conjugate normal mean), and the bound is its lower quantile at the level of the class.
Without an income form there is no bound, so no plan but a token, dormancy or a referral. A proven income of zero is
known, and leaves no room.

Where little is left every plan stands at its bound, so that of all plans there the share that is truly affordable is the
level, and no better. So no level stands below 95 %: ``simulations/market/caution_levels.py`` fits them, and judges them on
other seeds, for each class in each band of known surplus.
"""

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.settings import CLASSES, Caution, Income
from fedrepay.shared.arrays import F64, I64, Bool


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


def income_known(income: F64, surplus: F64, known: npt.NDArray[np.generic]) -> Bool:
    """Whose room is known: an income form with a surplus, or proof that there is no income, (n,); arguments as above."""
    form = np.isfinite(income) & np.isfinite(surplus) & (income > 0) & (known != "none")
    return np.asarray(form | ((income == 0) & (known == "verified")), np.bool_)


def lower_bound(settings: Caution, known: str, income: F64, surplus: F64) -> F64:
    """The lower confidence bound of the surplus for one class, never above the surplus as known, minor units a month, (n,).

    A pound more of surplus never lowers it, and raises it by a pound at most: the level is one for all surpluses of a class.
    """
    from statistics import NormalDist  # noqa: PLC0415

    mean, spread = believed(settings, known, income, surplus)
    return np.asarray(
        np.minimum(mean - NormalDist().inv_cdf(_given(settings, known).level) * spread, surplus)
    )


def believed(settings: Caution, known: str, income: F64, surplus: F64) -> tuple[F64, F64]:
    """Mean and standard deviation of the true surplus given the known one, minor units a month, (n,) each.

    Args:
        settings: errors, and what is usual; with the class ``none`` the usual is all that is known.
        known: the class.
        income: net income a month, (n,).
        surplus: as known, (n,); of no effect for ``none``.
    """
    if known == "none":
        return settings.usual_surplus * income, settings.usual_spread * income
    error = _given(settings, known).error
    trust = settings.usual_spread**2 / (settings.usual_spread**2 + error**2)
    mean = trust * surplus + (1 - trust) * settings.usual_surplus * income
    return np.asarray(mean), np.asarray(error * np.sqrt(trust) * income)


def _given(settings: Caution, known: str) -> Income:
    return {"stated": settings.stated, "estimated": settings.estimated, "verified": settings.verified}[known]

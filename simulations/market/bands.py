"""How many of the offered plans are truly affordable, by class of income and by how much is known to be left of it.

A mean hides who pays for it: where much is left most plans are far below the bound and hold anyway, where little is
left every plan stands at the bound. So the target holds in each cell, class × band of known surplus ÷ income.
"""

from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.settings import CLASSES
from fedrepay.shared.arrays import F64, Bool
from fedrepay.simulations.market.people import NewAccounts
from fedrepay.simulations.market.value import Worth

EDGES = (0.02, 0.06, 0.10, 0.15, 0.20)
"""Of known surplus ÷ known income, between the bands."""

Figures = dict[str, Any]


def band_of(accounts: NewAccounts) -> npt.NDArray[np.intp]:
    """The place of each account's band, 0 … len(EDGES), (n,); without an income form it means nothing."""
    known = accounts.columns
    income, surplus = known["income"].astype(float), known["surplus"].astype(float)
    return np.asarray(np.searchsorted(EDGES, surplus / np.maximum(income, 1.0), side="right"), np.intp)


def interval(share: float, plans: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of plans taken as independent; what one market and one model share is not in it."""
    z = NormalDist().inv_cdf(0.975)
    centre = (share + z * z / (2 * plans)) / (1 + z * z / plans)
    half = z / (1 + z * z / plans) * float(np.sqrt(share * (1 - share) / plans + z * z / (4 * plans**2)))
    return centre - half, centre + half


def cells(known: npt.NDArray[np.generic], band: npt.NDArray[np.intp], came: Worth) -> list[Figures]:
    """Each cell's accounts, plans, affordable share with its interval (None without plans), and mean value.

    Args:
        known: class of each income, (n,).
        band: of each account (``band_of``), (n,).
        came: what was chosen for them and what came of it.
    """
    found = []
    lows, highs = (None, *EDGES), (*EDGES, None)
    for name in CLASSES[1:]:
        for place, (low, high) in enumerate(zip(lows, highs, strict=True)):
            here = (known == name) & (band == place)
            found.append(
                {
                    "income": name,
                    "from": low,
                    "to": high,
                    **_figures(here, came.offered, came.affordable, came.value),
                }
            )
    return found


def _figures(here: Bool, offered: Bool, affordable: Bool, value: F64) -> Figures:
    plans = here & offered
    count = int(plans.sum())
    share = float(affordable[plans].mean()) if count else None
    return {
        "accounts": int(here.sum()),
        "plans": count,
        "affordable": share,
        "interval": None if share is None else interval(share, count),
        "value": float(value[here].mean()) if here.any() else None,
    }

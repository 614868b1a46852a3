"""What it would bring to verify incomes that are only stated: the same accounts, with the bound of a verified income.

The model still reads the income as stated, so that only the room it leaves differs, and the surplus is taken as
stated: on average that is what verifying finds, for a single account it may find less.
"""

from dataclasses import dataclass

import numpy as np

from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.judged import Judged


@dataclass(frozen=True)
class Verifying:
    """``accounts`` with a stated income; how many get a plan now and then; best values over no plan, minor units."""

    accounts: int
    plans_now: int
    plans_then: int
    value_now: float
    value_then: float


def verifying(engine: Engine, accounts: Accounts, today: int) -> Verifying:
    """Decide for all accounts with a stated income twice.

    Args:
        engine: what it decides with.
        accounts: all of a batch.
        today: day since 1970-01-01.
    """
    rows = np.flatnonzero(accounts.values["income_verified"] == "stated")
    found = np.zeros((2, 2))
    for start in range(0, len(rows), engine.chunk):
        part = accounts.take(rows[start : start + engine.chunk])
        for place, known in enumerate((None, "verified")):
            found[place] += _best(engine.judge(part, today, known).judged)
    (plans_now, value_now), (plans_then, value_then) = found.tolist()
    return Verifying(len(rows), int(plans_now), int(plans_then), value_now, value_then)


def _best(judged: Judged) -> tuple[float, float]:
    """How many accounts get a real plan, and Σ of the first plans' value over no plan."""
    offers = judged.offers & ~(judged.human | judged.stop)[:, None]
    has, rows = offers.any(axis=1), np.arange(len(offers))
    arm = np.where(offers, judged.score, -np.inf).argmax(axis=1)
    gain = judged.value[rows, arm] - judged.no_plan
    return float(has.sum()), float(gain[has].sum())

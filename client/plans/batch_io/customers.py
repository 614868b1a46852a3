"""One customer, several accounts: one affordability bound, and what is known of the person on any of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.safeguards import DRIVER, PAUSES
from fedrepay.shared.arrays import F64, I64, Objects
from fedrepay.shared.schema.bins import Values

OF_THE_PERSON = ("adviser_engaged", "contact_refused", "health_data", "deceased", "insolvent")
"""Facts that hold for all accounts of a customer when they hold for one; a dispute is about one debt.

So do days of a pause, and a driver of vulnerability. A breathing space is of the person and all qualifying debts
(SI 2020/1311): the strictest day holds on all accounts, also where another says −1.
"""


def groups(customers: Objects) -> I64 | None:
    """The customer's number of each account, (n,); None where nobody has two accounts."""
    _, of, counts = np.unique(customers.astype(str), return_inverse=True, return_counts=True)
    return None if counts.max(initial=0) < 2 else np.asarray(of, np.int64)


def parts_of(of: I64, balance: Values) -> F64:
    """Each account's part of what its customer owes in all, (n,).

    The affordability bound is the customer's: plans on several accounts must stay within it together.
    """
    owed = np.maximum(np.asarray(balance, np.float64), 0.0)
    total = np.bincount(of, owed)[of]
    return np.where(total > 0, owed / np.where(total > 0, total, 1.0), 1.0)


def spread(of: I64, facts: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The facts, (n,) each, with what is known of a person on one account known on all of them."""
    found = dict(facts)
    for name in OF_THE_PERSON:
        if name in found:
            yes = np.bincount(of, found[name] == 1)[of] > 0
            found[name] = np.where(yes, 1.0, found[name])
    for name, last in PAUSES.items():
        if name in found:
            days = np.asarray(found[name], np.float64)
            least = np.full(int(of.max(initial=0)) + 1, np.inf)
            np.fmin.at(least, of, np.where(days >= 0, days, np.nan))
            soonest = least[of]
            over = np.isnan(days) & (
                soonest > last
            )  # a pause that ended elsewhere says nothing of one not known here
            found[name] = np.where(np.isfinite(soonest) & ~over, soonest, days)
    if DRIVER in found:
        driver = found[DRIVER].copy()
        known = np.array([each not in (None, "", "none") for each in driver], np.bool_)
        first = {int(of[row]): driver[row] for row in np.flatnonzero(known)[::-1]}
        for row in np.flatnonzero(~known):
            driver[row] = first.get(int(of[row]), driver[row])
        found[DRIVER] = driver
    return found

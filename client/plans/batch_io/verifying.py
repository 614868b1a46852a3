"""What asking for income forms and proofs would bring a batch, by how the income is known (``deciding/verify.py``)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedrepay.client.plans.deciding.settings import CLASSES
from fedrepay.client.plans.deciding.verify import Verify
from fedrepay.shared.arrays import F64
from fedrepay.shared.schema.bins import Values

ASKED = CLASSES[:-1]
"""Nothing is asked of the verified."""
Sums = dict[str, F64]
"""By class: how many are asked, plans now and then, their values now and then over no plan, (5,)."""


@dataclass(frozen=True)
class Verifying:
    """One class: ``accounts`` that something may be asked of, and what is expected of them now and then.

    ``plans_now``, ``plans_then`` how many have a plan; ``value_now``, ``value_then`` what their best decisions bring over no
    plan, minor units.
    """

    accounts: int
    plans_now: int
    plans_then: float
    value_now: float
    value_then: float


def sums(known: Values, found: Verify) -> Sums:
    """The sums of some accounts, by how their incomes are ``known``, (n,)."""
    columns = (
        found.plan_now,
        found.plan_then,
        found.value_now - found.no_plan,
        found.value_then - found.no_plan,
    )
    made = {}
    for name in ASKED:
        here = np.asarray(known == name) & (found.ask > 0)
        made[name] = np.array([here.sum(), *(each[here].sum() for each in columns)], np.float64)
    return made


def summed(parts: Iterable[Sums]) -> dict[str, Verifying]:
    """By class of income, what asking every account of a batch would bring, from the sums of its parts in order."""
    whole = {name: np.zeros(5) for name in ASKED}
    for part in parts:
        for name in ASKED:
            whole[name] += part[name]
    return {
        name: Verifying(int(n), int(plans), round(then, 2), round(value, 2), round(more, 2))
        for name, (n, plans, then, value, more) in ((name, each.tolist()) for name, each in whole.items())
    }

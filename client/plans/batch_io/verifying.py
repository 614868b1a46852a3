"""What asking for income forms and proofs would bring a batch, by how the income is known (``deciding/verify.py``)."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fedrepay.client.plans.deciding.settings import CLASSES
from fedrepay.client.plans.deciding.verify import Verify
from fedrepay.shared.schema.bins import Values


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


def summed(parts: Iterable[tuple[Values, Verify]]) -> dict[str, Verifying]:
    """By class of income, what asking every account of a batch would bring.

    Args:
        parts: how the incomes of some accounts are known, (n,), and what asking would bring them.
    """
    names = CLASSES[:-1]  # nothing is asked of the verified
    sums = {name: np.zeros(5) for name in names}
    for known, found in parts:
        columns = (
            found.plan_now,
            found.plan_then,
            found.value_now - found.no_plan,
            found.value_then - found.no_plan,
        )
        for name in names:
            here = np.asarray(known == name) & (found.ask > 0)
            sums[name] += [here.sum(), *(each[here].sum() for each in columns)]
    return {
        name: Verifying(int(n), int(plans), round(then, 2), round(value, 2), round(more, 2))
        for name, (n, plans, then, value, more) in ((name, each.tolist()) for name, each in sums.items())
    }

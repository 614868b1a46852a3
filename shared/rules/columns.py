"""What rules may read of plans: columns over P plans, and over n accounts × P plans."""

from dataclasses import dataclass, fields

import numpy as np

from fedrepay.shared.arrays import F64, I64, U8, Bool
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.plans.kinds import CHANNELS, KINDS

NO_BOUND = int(np.iinfo(np.int64).min)
"""``bound`` of an account whose affordability is not known: an affordability rule blocks it as unknown."""

_OF_PLAN: dict[str, type[np.generic]] = {
    "kind": np.uint8,
    "channel": np.uint8,
    "human": np.bool_,
    "discount": np.float64,
    "interest_waiver": np.float64,
    "fee_waiver": np.float64,
    "dormant_months": np.int64,
}
_OF_PAIR: dict[str, type[np.generic]] = {
    "first_due_days": np.int64,
    "instalment": np.int64,
    "monthly": np.int64,
    "total": np.int64,
    "months": np.float64,
    "fees": np.int64,
    "interest": np.int64,
}


@dataclass(frozen=True, eq=False)
class PlanColumns:
    """P candidate plans for each of n accounts; money in minor units of the account's currency.

    Attributes:
        kind: (P,) code into ``KINDS``.
        channel: (P,) code into ``CHANNELS``.
        human: (P,) whether a human agent makes the offer.
        discount: (P,) share of the balance forgiven, 0–1.
        interest_waiver: (P,) share of interest waived, 0–1.
        fee_waiver: (P,) share of fees waived, 0–1.
        dormant_months: (P,) months without collection.
        first_due_days: (n, P) days until the first instalment is due.
        instalment: (n, P) one instalment.
        monthly: (n, P) what the plan asks for in a month.
        total: (n, P) all the debtor pays under the plan.
        months: (n, P) how long the plan runs.
        fees: (n, P) fees charged under the plan.
        interest: (n, P) interest charged under the plan.
        bound: (n,) affordability bound, a month; ``NO_BOUND`` where it is not known.

    Raises:
        ArgumentError: a column of another type, shape or range.
    """

    kind: U8
    channel: U8
    human: Bool
    discount: F64
    interest_waiver: F64
    fee_waiver: F64
    dormant_months: I64
    first_due_days: I64
    instalment: I64
    monthly: I64
    total: I64
    months: F64
    fees: I64
    interest: I64
    bound: I64

    def __post_init__(self) -> None:
        plans, accounts = len(self.kind), len(self.bound)
        shapes: dict[str, tuple[int, ...]] = dict.fromkeys(_OF_PLAN, (plans,))
        shapes |= dict.fromkeys(_OF_PAIR, (accounts, plans)) | {"bound": (accounts,)}
        types = {**_OF_PLAN, **_OF_PAIR, "bound": np.int64}
        for field in fields(self):
            column = getattr(self, field.name)
            if column.dtype != types[field.name] or column.shape != shapes[field.name]:
                raise ArgumentError(
                    f"Plan column {field.name} is {column.dtype} {column.shape}; it must be "
                    f"{np.dtype(types[field.name])} {shapes[field.name]}.",
                    "Build the columns from one list of plans and one list of accounts.",
                )
        for name, names in (("kind", KINDS), ("channel", CHANNELS)):
            if plans and getattr(self, name).max() >= len(names):
                raise ArgumentError(
                    f"Plan column {name} holds {getattr(self, name).max()}; the codes are 0 … {len(names) - 1}.",
                    f"Use the positions of {', '.join(names)}.",
                )

    @property
    def shape(self) -> tuple[int, int]:
        """(n, P)."""
        return len(self.bound), len(self.kind)

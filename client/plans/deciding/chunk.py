"""What goes from room to room: some accounts, and what has been worked out of them so far, once."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.judged import Judged
from fedrepay.client.plans.deciding.pairs import PairCodes
from fedrepay.client.plans.deciding.safeguards import Safeguards
from fedrepay.shared.arrays import F64, Bool, Objects
from fedrepay.shared.rules.facts import Column as Fact
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.schema.bins import Values


@dataclass(frozen=True, eq=False)
class Accounts:
    """n accounts, (n,) each.

    ``names`` text; ``values`` settled account columns, derived ones too; ``facts`` of rules; ``beside`` what else
    is known (``accounts.BESIDE``, groups of a floor). ``share`` is the part of the customer's affordability bound that
    is an account's own, by balance, where a customer has several (None: each has one).
    """

    names: Objects
    values: dict[str, Values]
    facts: dict[str, Fact] = field(default_factory=dict)
    beside: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    share: F64 | None = None

    def take(self, rows: slice | npt.NDArray[np.integer] | Bool) -> "Accounts":
        """The chosen accounts."""
        return Accounts(
            self.names[rows],
            {name: each[rows] for name, each in self.values.items()},
            {name: each[rows] for name, each in self.facts.items()},
            {name: each[rows] for name, each in self.beside.items()},
            None if self.share is None else self.share[rows],
        )


@dataclass(frozen=True, eq=False)
class Chunk:
    """n accounts × P candidates.

    ``facts`` are completed by what columns and settings say, ``safeguards`` what they forbid; ``codes`` and ``judged`` are
    of the candidates; in ``judged.verdict`` stands what the rules say of both.
    """

    accounts: Accounts
    facts: FactTable
    safeguards: Safeguards
    codes: PairCodes
    judged: Judged

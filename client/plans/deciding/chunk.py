"""What goes from room to room: some accounts, and what has been worked out of them so far, once."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.judged import Judged
from fedrepay.client.plans.deciding.outside import MONEY
from fedrepay.client.plans.deciding.pairs import PairCodes
from fedrepay.client.plans.deciding.safeguards import Safeguards
from fedrepay.shared.arrays import F64, I64, Bool, Objects
from fedrepay.shared.rules.facts import Column as Fact
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.schema.bins import Values


@dataclass(frozen=True, eq=False)
class Accounts:
    """n accounts, (n,) each.

    ``names`` text; ``values`` settled account columns, derived ones too; ``facts`` of rules; ``beside`` what else
    is known (``accounts.BESIDE``, groups of a floor). ``person`` numbers who owes, where somebody
    has several rows, and ``part`` is the share of the person's affordability bound that is an account's own
    (``customers.py``; None: each has one row). ``outside`` are the cells that
    ``values`` holds at a bound of the schema, as they were (``outside.noted``; None: there is none).
    """

    names: Objects
    values: dict[str, Values]
    facts: dict[str, Fact] = field(default_factory=dict)
    beside: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    part: F64 | None = None
    outside: Objects | None = None
    person: I64 | None = None

    @cached_property
    def raw(self) -> dict[str, Values]:
        """``values`` as they were given, outside the schema's bounds too, (n,) each."""
        found = dict(self.values)
        for row, cells in enumerate(() if self.outside is None else self.outside):
            for name, value in cells:
                if found[name] is self.values[name]:
                    found[name] = found[name].copy()
                found[name][row] = value
        return found

    @cached_property
    def beyond(self) -> Objects:
        """Columns of money that lie outside the schema's bounds, (n,) text, "" for none."""
        found = np.full(len(self.names), "", dtype=object)
        for row, cells in enumerate(() if self.outside is None else self.outside):
            found[row] = ", ".join(name for name, _ in cells if name in MONEY)
        return found

    def take(self, rows: slice | npt.NDArray[np.integer] | Bool) -> "Accounts":
        """The chosen accounts."""
        return Accounts(
            self.names[rows],
            {name: each[rows] for name, each in self.values.items()},
            {name: each[rows] for name, each in self.facts.items()},
            {name: each[rows] for name, each in self.beside.items()},
            None if self.part is None else self.part[rows],
            None if self.outside is None else self.outside[rows],
            None if self.person is None else self.person[rows],
        )


@dataclass(frozen=True, eq=False)
class Chunk:
    """n accounts × P candidates.

    ``facts`` are completed by what columns and settings say, ``safeguards`` what they forbid; ``codes`` and ``judged`` are
    of the candidates, ``learned`` which of these the model knows (n, P); in ``judged.verdict`` stands what the rules say of both.
    """

    accounts: Accounts
    facts: FactTable
    safeguards: Safeguards
    codes: PairCodes
    learned: Bool
    judged: Judged

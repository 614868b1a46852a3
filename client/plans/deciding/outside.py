"""Values outside the public bounds that a model was learned within.

The model reads the nearest bound, as in training; money is never worked out from one. What cannot be is refused with its
row, what merely lies outside goes to a person.
"""

from collections.abc import Iterable

import numpy as np

from fedrepay.shared.arrays import Bool, Objects
from fedrepay.shared.rules.facts import FACTS
from fedrepay.shared.schema.bins import Values

MONEY = ("income", "surplus", "other_plans", "priority_arrears", "balance", "fees", "apr")
"""Account columns that bound and cost of a plan are computed from."""
LOWEST = {name: 0.0 for name in MONEY if name != "surplus"}
"""What no value of these is below, whatever a schema's bounds."""
Cell = tuple[str, float | str]


def possible(name: str) -> tuple[float, float]:
    """The lowest and highest value that an account column can have at all: a fact's own bounds, and no money below 0."""
    fact = FACTS.get(name)
    if fact is not None and fact.type in ("int", "number"):
        return fact.low, fact.high
    return LOWEST.get(name, -np.inf), np.inf


def impossible(name: str, values: Values) -> Bool:
    """Which values of a column cannot be, (n,); a missing one can."""
    low, high = possible(name)
    if values.dtype == object:
        return np.zeros(len(values), np.bool_)
    return np.asarray((values < low) | (values > high))


def bound_text(name: str) -> str:
    """What such a value must be, for findings."""
    low, high = possible(name)
    return f"at least {low:g}" if np.isinf(high) else f"{low:g} to {high:g}"


def noted(accounts: int, cells: Iterable[tuple[int, Cell]]) -> Objects:
    """Cells outside bounds by account, (n,): a tuple of (column, value) each.

    Args:
        accounts: n.
        cells: (row, (column, value)).
    """
    found = np.empty(accounts, dtype=object)
    found.fill(())
    for row, cell in cells:
        found[row] = (*found[row], cell)
    return found


def columns_text(cells: tuple[Cell, ...]) -> str | None:
    """The columns of an account's cells, None for none."""
    return ", ".join(name for name, _ in cells) or None

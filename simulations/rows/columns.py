"""Plain arrays out of a table of rows: the outcome, whose row it is, the columns as numbers."""

from collections.abc import Iterable

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.shared.arrays import I64


def labels(table: Table) -> np.ndarray:
    """The one outcome of a table that was read with it, (n,) of 0 and 1."""
    if table.outcomes is None or table.outcomes.shape[1] != 1:
        raise ValueError("the table was read without its one outcome")
    return table.outcomes[:, 0]


def owners(table: Table) -> I64:
    """The customer of each row as a number, (n,)."""
    return np.unique(table.customers.astype(str), return_inverse=True)[1].astype(np.int64)


def raw(table: Table, names: Iterable[str] | None = None) -> np.ndarray:
    """Canonical columns (all, or the named ones) as numbers, (n, columns), for trees; categories become codes."""
    columns = []
    for name in table.values if names is None else names:
        values = table.values[name]
        numeric = values.dtype.kind == "f"
        columns.append(values if numeric else np.unique(values.astype(str), return_inverse=True)[1])
    return np.column_stack(columns).astype(np.float64)

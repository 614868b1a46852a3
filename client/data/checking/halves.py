"""The metamorphic check: without a random part of the customers, the others' rows are the same bytes.

The allow-list knows what a SELECT may say, and this what it does on the data at hand. Each draw splits the customers
in two at random (OS entropy) and reads both parts alone: together they must give exactly the rows of the whole.
"""

import os
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.checking.owners import Subsets
from fedrepay.client.data.reading.findings import Group
from fedrepay.client.data.reading.table import Table
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.schema.codebook import CodeBook

SHARES = (0.5, 0.5, 1 / 16)
"""Part of the customers in one side of each draw; a small side shows thresholds that both halves pass."""
_EXAMPLES = 5


def mixed(
    book: CodeBook,
    whole: Table,
    subsets: Subsets,
    read: Callable[[], Table],
    file: str,
    draws: Sequence[float] = SHARES,
) -> tuple[Group, ...]:
    """Compare parts with the whole.

    Args:
        book: the code book, for names.
        whole: the rows of all customers.
        subsets: chooses customers.
        read: reads the tables as they stand.
        file: named in findings.
        draws: the part of the customers on one side of each draw.

    Returns:
        a refusal for the first draw in which a row changed with other customers' rows, or none.
    """
    rng = np.random.default_rng(int.from_bytes(os.urandom(16)))
    for share in draws:
        chosen = rng.random(subsets.owners.count) < share
        parts = []
        for side in (chosen, ~chosen):
            subsets.keep(side & subsets.left, renumber=True)
            parts.append(read())
        columns, rows = _different(book, whole, parts, rng)
        if len(rows):
            shown = ", ".join(str(each) for each in rows[:_EXAMPLES])
            bound = (
                "made of its own customer's rows alone; with a random part of the customers taken away, "
                f"{len(rows):,} rows of other customers changed (rows {shown} …)"
            )
            return (Group(file, ", ".join(columns) or "(rows)", bound, "refuse"),)
    return ()


def _different(
    book: CodeBook, whole: Table, parts: list[Table], rng: np.random.Generator
) -> tuple[list[str], I64]:
    """Which columns differ, and file rows of the whole that no part has (or that a part has beyond it)."""
    numbers: dict[object, int] = {}
    tables = [_columns(book, each, numbers) for each in (whole, *parts)]
    names = [name for name in tables[0] if all(name in each for each in tables[1:])]
    seeds = rng.integers(0, 2**63, len(names), dtype=np.uint64)
    mixed = [[_mix(each[name] ^ seed) for name, seed in zip(names, seeds, strict=True)] for each in tables]
    found = [np.sum(each, axis=0, dtype=np.uint64) for each in mixed]
    both = np.concatenate(found[1:])
    if np.array_equal(np.sort(found[0]), np.sort(both)):
        return [], np.zeros(0, dtype=np.int64)
    lost = whole.source_rows[~np.isin(found[0], both)]
    more = np.concatenate([each.source_rows for each in parts])[~np.isin(both, found[0])]
    owner = [each[names.index("(customer)")] if "(customer)" in names else np.uint64(0) for each in mixed]
    columns = []
    for place, name in enumerate(names):
        tied = [_mix(each[place] + who) for each, who in zip(mixed, owner, strict=True)]
        if not np.array_equal(np.sort(tied[0]), np.sort(np.concatenate(tied[1:]))):
            columns.append(name)
    rows = lost if len(lost) else more if len(more) else whole.source_rows
    return [name for name in columns if name[0] != "("] or columns, rows


def _columns(book: CodeBook, table: Table, numbers: dict[object, int]) -> dict[str, U64]:
    """All that a row brings, (n,) words each; text is numbered by ``numbers``."""
    found: dict[str, npt.NDArray[np.generic]] = dict(table.values)
    found |= {f"(code of {each.name})": table.codes[:, n] for n, each in enumerate(book.blocks[:-1])}
    if table.outcomes is not None:
        found |= {each.name: table.outcomes[:, n] for n, each in enumerate(book.schema.outcomes)}
    if table.propensity is not None:
        found["(propensity)"] = table.propensity
    found |= {**table.audit, **table.extra}
    if book.schema.customer is not None:
        found["(customer)"] = table.customers
        _, inverse, counts = np.unique(table.customers.astype(str), return_inverse=True, return_counts=True)
        found["(rows of the customer)"] = counts[inverse]
    return {name: _words(each, numbers) for name, each in found.items()}


def _words(values: npt.NDArray[np.generic], numbers: dict[object, int]) -> U64:
    if values.dtype == object:
        return np.array([numbers.setdefault(each, len(numbers)) for each in values.tolist()], dtype=np.uint64)
    if np.issubdtype(values.dtype, np.floating):
        floats = values.astype(np.float64)
        return np.where(np.isnan(floats), np.nan, floats).view(np.uint64)
    return values.astype(np.int64).view(np.uint64)


def _mix(words: U64) -> U64:
    """splitmix64's finaliser: words that differ anywhere differ everywhere."""
    words = words.astype(np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(factor)
    return np.asarray(words ^ (words >> np.uint64(31)), dtype=np.uint64)

"""A member's rows as they may enter a sum: read, each customer apart from all others, dropped rows counted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.data.checking import halves, owners, spellings
from fedrepay.client.data.checking.owners import Subsets
from fedrepay.client.data.mappings import rowwise
from fedrepay.client.data.mappings.mapping import DATA, Mapping, UnreadableError
from fedrepay.client.data.reading import files
from fedrepay.client.data.reading.findings import Findings, Group
from fedrepay.client.data.reading.table import Reading, Table
from fedrepay.shared.schema.codebook import CodeBook

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_UNREADABLE = 100
"""Customers set aside one by one where a joined or grouped cell cannot be read."""


def read_contributed(
    book: CodeBook,
    data: Path | None,
    mapping: Mapping | None,
    *,
    extra: Sequence[str] = (),
    override: bytes = b"",
    draws: Sequence[float] = halves.SHARES,
) -> tuple[Table, Findings]:
    """Read rows to learn from, and refuse those whose customers are not apart.

    Args:
        book: schema and code book.
        data: the file behind the table ``data``; None if the mapping names all its tables.
        mapping: None means that columns match by name.
        extra: columns outside the schema to keep as text.
        override: digest of the member's signed override of this mapping; what would refuse it is then only told.
        draws: of the metamorphic check: the part of the customers on one side of each.

    Returns:
        the rows that can be used, and everything that is wrong at once; a fatal finding means not to use them.

    Raises:
        MappingError: a SELECT fails, or declares absent what the schema needs.
        SchemaError: a derived column does not fit its inputs.
        ArgumentError: neither data nor a mapping with tables.
    """
    reading = Reading.of(book, data, mapping, need_outcome=True, extra=extra)
    with files.opened(reading.sources) as (connection, groups):
        if groups:
            return reading.read(connection, groups)
        customer = book.schema.customer
        asked = mapping or Mapping(f"SELECT * FROM {DATA}")
        columns = _columns(connection, reading)
        checked = rowwise.checked(
            connection, asked, columns, customer.name if customer else None, dated=bool(reading.given)
        )
        refused = [
            Group(reading.file, f"(mapping: {each.place})", each.said, "refuse") for each in checked.faults
        ]
        if refused and not override:
            return _stopped(reading, connection, refused)
        own = [name for name in columns if name.lower() not in asked.public]
        keys = owners.named(asked.keys, checked.customer, {name: columns[name] for name in own})
        named = {name: str(reading.sources[name]) for name in own}
        dropped = owners.without_keys(connection, keys, named) if checked.together else []
        split = owners.owners(connection, keys, named)
        subsets = Subsets(connection, split)
        table, findings, unreadable = _read(reading, connection, subsets, named)
        mixed = halves.mixed(
            book, table, subsets, lambda: reading.read(connection, ())[0], reading.file, draws
        )
        apart = [*refused, *split.shared, *mixed]
        if override:
            apart = [replace(each, kind="warn") for each in apart]
        told = spellings.told(customer.name, table, reading.file) if customer else ()
        every = (*findings.groups, *dropped, *unreadable, *told, *apart)
        return table, replace(findings, groups=(*every, *_too_few(reading, findings)))


def _columns(connection: "DuckDBPyConnection", reading: Reading) -> dict[str, list[str]]:
    return {
        name: [str(each[0]) for each in connection.execute(f"DESCRIBE {files.quoted(name)}").fetchall()]
        for name in reading.sources
    }


def _stopped(
    reading: Reading, connection: "DuckDBPyConnection", refused: list[Group]
) -> tuple[Table, Findings]:
    """A refused mapping is read all the same, so that `check-data` says everything at once."""
    try:
        table, findings = reading.read(connection, ())
    except UnreadableError:  # what the mapping says comes first
        return reading.read(connection, refused)
    return table, replace(findings, groups=(*refused, *findings.groups))


def _read(
    reading: Reading, connection: "DuckDBPyConnection", subsets: Subsets, named: dict[str, str]
) -> tuple[Table, Findings, list[Group]]:
    """Read; customers with a cell that fails inside a join or a group are set aside one by one."""
    try:
        return *reading.read(connection, ()), []
    except UnreadableError as error:
        failed = error
    count = subsets.owners.count
    bad = np.zeros(count, dtype=bool)
    waiting = [np.arange(count)]
    while waiting:
        part = waiting.pop()
        chosen = np.zeros(count, dtype=bool)
        chosen[part] = True
        subsets.keep(chosen, renumber=False)
        try:
            reading.read(connection, ())
        except UnreadableError:
            if len(part) > 1:
                waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
            else:
                bad[part] = True
        if bad.sum() > MOST_UNREADABLE:
            raise UnreadableError(
                f"{failed.cause} More than {MOST_UNREADABLE} customers have such cells.", failed.remedy
            ) from failed
    subsets.drop(bad)
    groups = []
    for name, rows in subsets.gone.items():
        if len(rows):
            none = np.full(len(rows), None, dtype=object)
            bound = f"of a customer whose cells can be read: {failed.cause[:200]}"
            groups.append(Group(named[name], "(customer)", bound, "refuse", rows, none))
    return *reading.read(connection, ()), groups


def _too_few(reading: Reading, findings: Findings) -> list[Group]:
    """Dropped rows must not silently become most of the file."""
    if findings.used < 0:
        return []
    if findings.dropped > findings.used and findings.rows_read:
        rows = [each for each in findings.groups if each.kind == "refuse" and each.rows is not None]
        most = max(rows, key=lambda each: each.count, default=None)
        why = "" if most is None else f", {most.count:,} since {most.column} must be {most.bound[:120]}"
        bound = (
            f"mostly good rows: {findings.dropped:,} of {findings.rows_read:,} would be dropped{why}; mend them, "
            "or leave them out by a WHERE in the mapping"
        )
        return [Group(reading.file, "(rows)", bound, "refuse")]
    if not findings.used and not any(each.fatal for each in findings.groups):
        return [Group(reading.file, "(rows)", "usable, at least one of them", "refuse")]
    return []

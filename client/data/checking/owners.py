"""Whose row is whose: the member's tables split into customers by their keys, and any of them taken away again."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.data.checking.spellings import plain
from fedrepay.client.data.mappings.mapping import ROW, Keys
from fedrepay.client.data.reading.columns import WHOLE
from fedrepay.client.data.reading.files import quoted
from fedrepay.client.data.reading.findings import Group
from fedrepay.shared.arrays import I64, Bool

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Named = Mapping[str, list[tuple[str, list[str]]]]
"""By table: kinds of keys, each with the columns that make it."""


@dataclass(frozen=True)
class Owners:
    """``rows`` (n,) by table: the customer of each row, 0 … count − 1, in the file's order.

    Rows that keys tie together are one customer's; a row without a key is a customer of its own. ``shared`` says
    which keys belong to several customers.
    """

    rows: dict[str, I64]
    count: int
    shared: tuple[Group, ...]


def named(keys: Keys, customer: Collection[tuple[str, str]], columns: Mapping[str, Collection[str]]) -> Named:
    """The key columns of each table.

    Args:
        keys: as the mapping declares them.
        customer: (table, column) pairs that the customer is read from, used where ``keys`` names no customer.
        columns: of each table.
    """
    found: dict[str, list[tuple[str, list[str]]]] = {name: [] for name in columns}
    for name, each in columns.items():
        for column in each:
            kind = keys.kind(name, column)
            if kind is not None:
                found[name].append((kind, [column]))
        read = [column for column in each if (name.lower(), column.lower()) in customer]
        if read and not keys.customer and ROW not in read:
            found[name].append(("customer", read))
    return found


def without_keys(connection: "DuckDBPyConnection", given: Named, files: Mapping[str, str]) -> list[Group]:
    """Take rows with an empty key out of the tables, for joins and groups would put them together.

    Args:
        connection: holds the tables.
        given: their keys.
        files: by table, for findings.

    Returns:
        which rows are gone.
    """
    groups = []
    for table, keys in given.items():
        for _, columns in keys:
            empty = " AND ".join(
                f"trim(coalesce(CAST({quoted(each)} AS VARCHAR), '')) = ''" for each in columns
            )
            rows = [
                row
                for (row,) in connection.execute(
                    f"SELECT {ROW} FROM {quoted(table)} WHERE {empty} ORDER BY {ROW}"
                ).fetchall()
            ]
            if rows:
                none = np.full(len(rows), None, dtype=object)
                bound = "not empty: it is a key, and rows without it are not read"
                groups.append(
                    Group(files[table], columns[0], bound, "refuse", np.array(rows, np.int64), none)
                )
                connection.execute(f"DELETE FROM {quoted(table)} WHERE {empty}")
    return groups


def owners(connection: "DuckDBPyConnection", given: Named, files: Mapping[str, str]) -> Owners:
    """Tie rows together by their keys.

    Args:
        connection: holds the tables.
        given: their keys; a table that is not there is nobody's.
        files: by table, for findings.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415 - heavy
    from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    known: dict[tuple[str, str], int] = {}
    fresh, edges, rows = 0, [], {}
    for table, keys in given.items():
        columns = [_text(each) for _, each in keys]
        fetched = connection.execute(
            f"SELECT {', '.join([ROW, *columns])} FROM {quoted(table)} ORDER BY {ROW}"
        ).fetchall()
        first = np.empty(len(fetched), dtype=np.int64)
        for place, cells in enumerate(fetched):
            nodes = [
                known.setdefault((kind, plain(cell) if kind == "customer" else cell), len(known))
                for (kind, _), cell in zip(keys, cells[1:], strict=True)
                if cell is not None and cell.strip()
            ]
            fresh -= not nodes
            first[place] = nodes[0] if nodes else fresh
            edges += [(nodes[0], each) for each in nodes[1:]]
        rows[table] = first
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(known) + 1,) * 2)
    count, parts = connected_components(graph, directed=False)
    for table, first in rows.items():
        rows[table] = np.where(first >= 0, parts[np.maximum(first, 0)], count - 1 - first)
    people = np.array([place for (kind, _), place in known.items() if kind == "customer"], dtype=np.int64)
    several = np.flatnonzero(np.bincount(parts[people], minlength=count) > 1)
    return Owners(rows, int(count) - fresh, tuple(_shared(connection, given, files, rows, several)))


def _text(columns: list[str]) -> str:
    cells = [f"regexp_replace(CAST({quoted(each)} AS VARCHAR), '{WHOLE}', '\\1')" for each in columns]
    return cells[0] if len(cells) == 1 else f"concat_ws(chr(0), {', '.join(cells)})"


def _shared(
    connection: "DuckDBPyConnection",
    given: Named,
    files: Mapping[str, str],
    rows: dict[str, I64],
    several: I64,
) -> list[Group]:
    """A finding for the first table that shows keys of several customers."""
    for table, keys in given.items():
        found = np.flatnonzero(np.isin(rows[table], several))
        if len(several) and len(found) and any(kind == "customer" for kind, _ in keys):
            numbers = connection.execute(f"SELECT {ROW} FROM {quoted(table)} ORDER BY {ROW}").fetchall()
            shown = ", ".join(str(numbers[each][0]) for each in found[:5])
            bound = (
                f"of one customer each: {len(several):,} accounts or offers belong to several (rows {shown} …); "
                "joins would put their rows together"
            )
            return [Group(files[table], "keys", bound, "refuse")]
    return []


@dataclass
class Subsets:
    """The tables with only some customers' rows in them.

    Args:
        connection: holds the tables.
        owners: of their rows.
    """

    connection: "DuckDBPyConnection"
    owners: Owners
    gone: dict[str, I64] = field(default_factory=dict, init=False)
    left: Bool = field(init=False)
    _ready: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.left = np.ones(self.owners.count, dtype=bool)

    def keep(self, chosen: Bool, *, renumber: bool) -> None:
        """Fill the tables with the rows of some customers.

        Args:
            chosen: (count,) flags by customer.
            renumber: whether ``_row`` counts from 1 anew, as in a file without the others.
        """
        if not self._ready:
            for name in self.owners.rows:
                self.connection.execute(f"ALTER TABLE {quoted(name)} RENAME TO {quoted('_whole_' + name)}")
            self._ready = True
        for name, owner in self.owners.rows.items():
            whole = quoted("_whole_" + name)
            numbers = self.connection.execute(f"SELECT {ROW} FROM {whole} ORDER BY {ROW}").fetchnumpy()[ROW]
            self.connection.register("_kept", {"_kept": np.asarray(numbers)[chosen[owner]]})
            row = f"row_number() OVER (ORDER BY {ROW})" if renumber else ROW
            self.connection.execute(f"DROP TABLE IF EXISTS {quoted(name)}")
            self.connection.execute(
                f"CREATE TABLE {quoted(name)} AS SELECT {row} AS {ROW}, * EXCLUDE ({ROW}) FROM {whole} "
                f"WHERE {ROW} IN (SELECT _kept FROM _kept) ORDER BY {whole}.{ROW}"
            )
            self.connection.unregister("_kept")

    def drop(self, bad: Bool) -> None:
        """Leave some customers out for good; ``gone`` then holds their rows' numbers by table."""
        for name, owner in self.owners.rows.items():
            whole = quoted("_whole_" + name)
            numbers = self.connection.execute(f"SELECT {ROW} FROM {whole} ORDER BY {ROW}").fetchnumpy()[ROW]
            self.gone[name] = np.asarray(numbers, dtype=np.int64)[bad[owner]]
        self.left = ~bad
        self.keep(self.left, renumber=False)

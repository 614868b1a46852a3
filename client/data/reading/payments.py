"""One SELECT of a mapping's ``[outcomes]``: its cells as ids, days and whole amounts, and what is wrong with them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.mappings.mapping import ROW, UnreadableError, tables_of
from fedrepay.client.data.reading import tolerant
from fedrepay.client.data.reading.columns import MAPPED, WrongTypeError
from fedrepay.client.data.reading.files import doubled, quoted
from fedrepay.client.data.reading.reader import MappedTable
from fedrepay.shared.arrays import F64, I64, Bool, Objects
from fedrepay.shared.errors import MappingError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

LAST_DAY = 84_005
"""2199-12-31 in days since 1970-01-01."""
MOST_MONEY = 10**12
"""Bound on one amount, in minor units."""

_DAYS = "date_diff('day', DATE '1970-01-01', {0})"


class DatedTable(MappedTable):
    """The rows of one SELECT; ``usable`` is false once a column as a whole cannot be used."""

    usable = True

    def whole(self, column: str, bound: str) -> None:
        """A finding about a whole column."""
        self.usable = False
        super().whole(column, bound)

    def expect(self, names: Sequence[str]) -> None:
        """Exactly these columns; ``_row`` may stand beside them."""
        for lower, (name, _) in self.types.items():
            if lower not in (*names, ROW):
                self.whole(name, f"one of {', '.join(names)}; this one is unknown")
        for name in names:
            if name not in self.types:
                self.whole(name, "there; the column is missing")

    def refuse(self, column: str, where: Bool, bound: str, values: npt.NDArray[np.generic]) -> None:
        """A finding for each flagged row that has none yet."""
        rows = np.flatnonzero(where & ~self.refused)
        if len(rows):
            self._add(column, rows, np.asarray(values, dtype=object)[rows], bound, "refuse")

    def ids(self, name: str, *, optional: bool = False) -> Objects:
        """Ids as text, (n,), None where there is none."""
        found = self.text(name)
        if found is None:
            return np.full(self.rows, None, dtype=object)
        blank = np.array([each is None or not each.strip() for each in found], dtype=bool)
        found[blank] = None
        if not optional:
            self.refuse(name, blank, "not missing", found)
        return found

    def whole_numbers(self, name: str, low: int, high: int, unit: str) -> I64:
        """Whole numbers from ``low`` to ``high``, (n,)."""
        try:
            raw, numbers, present = self._cells(name, "TRY_CAST({0} AS DOUBLE)")
        except WrongTypeError as error:
            self.whole(name, str(error))
            return np.zeros(self.rows, dtype=np.int64)
        self.refuse(name, ~present, "not missing", raw)
        fits = np.isfinite(numbers) & (numbers == np.floor(numbers))
        self.refuse(name, ~fits, f"{unit}, without decimals", raw)
        inside = fits & (numbers >= low) & (numbers <= high)
        self.refuse(name, ~inside, f"{low} to {high}", raw)
        return np.where(inside, numbers, 0).astype(np.int64)

    def days(self, name: str, *, optional: bool = False) -> I64:
        """Dates as days since 1970-01-01, (n,), −1 where there is none."""
        try:
            raw, numbers, present = self._cells(name, "TRY_CAST({0} AS DATE)", dates=True)
        except WrongTypeError as error:
            self.whole(name, str(error))
            return np.full(self.rows, -1, dtype=np.int64)
        if not optional:
            self.refuse(name, ~present, "not missing", raw)
        unread = present & ~np.isfinite(numbers)
        self.refuse(name, unread, "a date, as 2026-10-31 (CAST or strptime reads other forms)", raw)
        inside = np.isfinite(numbers) & (numbers >= 0) & (numbers <= LAST_DAY)
        self.refuse(name, present & ~inside, "a date from 1970-01-01 to 2199-12-31", raw)
        return np.where(inside, numbers, -1).astype(np.int64)

    def _cells(self, name: str, read: str, *, dates: bool = False) -> tuple[Objects, F64, Bool]:
        """Cells as text, as numbers (NaN where they are none), and which are there; (n,) each.

        Raises:
            WrongTypeError: the column as a whole has another type.
        """
        kind = self.types[name][1]
        cell = quoted(self.types[name][0])
        good = ("DATE", "VARCHAR") if dates else ("VARCHAR", "DECIMAL", "DOUBLE", "FLOAT")
        whole = kind.removeprefix("U") in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
        value = read.format(cell)
        if dates:
            value = f"CASE WHEN isfinite({value}) THEN {_DAYS.format(value)} END"
        if kind.partition("(")[0] not in good and (dates or not whole):
            value = "NULL"  # a column of NULLs has some type or other
        found = self.connection.execute(
            f"SELECT CAST({cell} AS VARCHAR) AS raw, CAST({value} AS DOUBLE) AS number, "
            f"{cell} IS NOT NULL AS present FROM {MAPPED}"
        ).fetchnumpy()
        present = np.asarray(found["present"], dtype=bool)
        if value == "NULL" and present.any():
            raise WrongTypeError(f"{'dates' if dates else 'numbers'}; the column's type is {kind}")
        raw = np.array(np.ma.getdata(found["raw"]), dtype=object)
        raw[~present] = None
        numbers = np.ma.filled(found["number"].astype(np.float64), np.nan)
        return raw, np.asarray(numbers, dtype=np.float64), present


@contextmanager
def opened(
    connection: "DuckDBPyConnection", name: str, sql: str, sources: Mapping[str, Path], columns: Sequence[str]
) -> Iterator[DatedTable]:
    """Run one SELECT for as long as its cells are being read.

    Args:
        connection: holds the member's tables.
        name: the SELECT's name in the mapping.
        sql: the SELECT.
        sources: file by table name; findings name the file if the SELECT reads just one.
        columns: what it must give.

    Raises:
        MappingError: it fails.
    """
    import duckdb  # noqa: PLC0415 - heavy

    read = {table.lower(): str(path) for table, path in sources.items() if table.lower() in tables_of(sql)}
    file = next(iter(read.values())) if len(read) == 1 else f"outcomes.{name}"
    try:
        relation = connection.sql(sql)
        twice = doubled(file, relation.columns)
        if twice:
            connection.sql("SELECT 1 AS _none WHERE false").create(MAPPED)
        unread = tolerant.create(connection, sql) if not twice else []
    except duckdb.Error as error:
        kind = UnreadableError if tolerant.is_of_a_cell(error) else MappingError
        raise kind(
            f"outcomes.{name}: the SELECT fails on {file}: {tolerant.said(connection, error)}",
            "Mend the SELECT. Cells of a CSV file are text; dates such as 2026-10-31 and whole amounts "
            "need no CAST.",
        ) from error
    try:
        table = DatedTable(connection, file, ())
        if twice:
            table.groups, table.usable = twice, False
        else:
            table.expect(columns)
            table.unreadable(unread)
        yield table
    finally:
        connection.execute(f"DROP TABLE {MAPPED}")

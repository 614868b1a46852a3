"""Reads one mapped table column by column and collects everything that is wrong with it."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.data.mappings.mapping import ROW
from fedrepay.client.data.reading import columns, tolerant
from fedrepay.client.data.reading.columns import MAPPED, WrongTypeError
from fedrepay.client.data.reading.findings import Group, Kind
from fedrepay.shared.arrays import I64, Bool, Objects
from fedrepay.shared.schema import encode
from fedrepay.shared.schema.bins import Values
from fedrepay.shared.schema.columns import Column
from fedrepay.shared.schema.model import Schema

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class MappedTable:
    """One mapped table: ``columns`` (n,) settled so far, ``refused`` (n,) flags, ``groups`` of findings."""

    def __init__(self, connection: "DuckDBPyConnection", file: str, absent: tuple[str, ...]) -> None:
        self.connection, self.file, self.absent = connection, file, absent
        described = connection.execute(f"DESCRIBE {MAPPED}").fetchall()
        self.types = {str(each[0]).lower(): (str(each[0]), str(each[1])) for each in described}
        counted = connection.execute(f"SELECT count(*) FROM {MAPPED}").fetchone()
        self.rows = int(counted[0]) if counted else 0
        self.source_rows = self._row_numbers()
        self.refused = np.zeros(self.rows, dtype=bool)
        self.unread = np.zeros(self.rows, dtype=bool)
        self.columns: dict[str, Values] = {}
        self.groups: list[Group] = []

    def _row_numbers(self) -> I64:
        if self.types.get(ROW, ("", ""))[1] != "BIGINT":
            return np.arange(1, self.rows + 1)
        found = self.connection.execute(f"SELECT {ROW} FROM {MAPPED}").fetchnumpy()[ROW]
        return np.asarray(np.ma.filled(found, 0), dtype=np.int64)

    def unreadable(self, found: Sequence[tolerant.Unread]) -> None:
        """Findings for rows in which an expression of the SELECT failed; nothing more is said of them."""
        for each in found:
            self.unread[each.rows] = True
            self._add(each.column, each.rows, each.values, each.bound, "refuse")

    def whole(self, column: str, bound: str) -> None:
        """A finding about a whole column or file."""
        self.groups.append(Group(self.file, column, bound, "refuse"))

    def check_names(
        self, schema: Schema, wanted: list[Column], extra: Sequence[str], unasked: Collection[str]
    ) -> None:
        """Unknown, missing and wrongly absent columns; ``unasked`` ones may be there or not."""
        derived = {column.name for column in schema.columns if column.derived}
        asked = {each.lower() for each in extra}
        known = {column.name for column in schema.columns} | asked | {*unasked, ROW}
        for lower, (name, _) in self.types.items():
            if lower in derived and lower not in asked:
                self.whole(name, "left out: the schema derives it")
            elif lower not in known:
                self.whole(name, "a column of the schema; this one is unknown")
        for name in self.absent:
            if name in self.types:
                self.whole(name, "absent as the mapping declares, or not declared absent")
        needed = [column.name for column in wanted if column.name not in self.absent] + [*extra]
        for name in needed:
            if name.lower() not in self.types:
                self.whole(name, "there; the column is missing")

    def read(self, column: Column) -> None:
        """Read one column and settle it inside its bounds; an absent one is missing throughout."""
        if column.name in self.absent:
            text = column.type in ("category", "text")
            none: Values = np.full(self.rows, None, dtype=object)
            self.columns[column.name] = none if text else np.full(self.rows, np.nan)
        elif column.name in self.types:
            try:
                cells = columns.read_cells(self.connection, column, *self.types[column.name])
            except WrongTypeError as error:
                self.whole(column.name, str(error))
                return
            skip = self.unread | encode.refused_rows(cells.findings, self.rows)
            self._settle(column, cells.values, cells.findings, skip)

    def derive(self, column: Column, inputs: Collection[str], sandbox: "DuckDBPyConnection") -> None:
        """Compute one derived column from the inputs before it, in a sandbox; without all of them there is none."""
        if self.rows and all(name in self.columns for name in inputs):
            before = {name: self.columns[name] for name in inputs}
            self._settle(column, columns.derive(column, before, self.rows, sandbox), [], self.refused)

    def _settle(self, column: Column, values: Values, found: list[encode.Unfitting], skip: Bool) -> None:
        settled, more = encode.settle(column, values, skip)
        self.columns[column.name] = settled
        for each in (*found, *more):
            self._add(each.column, each.rows, each.values, each.bound, each.kind)

    def _add(
        self,
        column: str,
        rows: I64,
        values: Objects,
        bound: str,
        kind: Kind,
    ) -> None:
        self.groups.append(Group(self.file, column, bound, kind, self.source_rows[rows], values))
        if kind == "refuse":
            self.refused[rows] = True

    def text(self, name: str) -> Objects | None:
        """A column outside the schema as text, if it is there and has a usable type."""
        try:
            return columns.read_text(self.connection, *self.types[name.lower()])
        except WrongTypeError as error:
            self.whole(name, str(error))
        except KeyError:
            return None  # check_names has said it
        return None

    def check_outcomes(self, schema: Schema) -> None:
        """A row outside every head's population teaches nothing and is refused."""
        names = [each.name for each in schema.outcomes]
        if all(name in self.columns for name in names):
            heads = np.stack([np.asarray(self.columns[name], dtype=np.float64) for name in names])
            rows = np.flatnonzero(np.isnan(heads).all(axis=0) & ~self.refused)
            if len(rows):
                none = np.full(len(rows), None, dtype=object)
                self._add(", ".join(names), rows, none, "at least one outcome known", "refuse")

    def check_customers(self, schema: Schema, most: int) -> None:
        """One row a customer where the schema promises it (of several none is used); else show too many rows to count.

        Args:
            schema: names the customer column and the promise.
            most: 2ᵇ; a customer with more rows gets weight ⌊2ᵇ/m⌋ = 0.
        """
        customer = schema.customer
        if customer is None or customer.name not in self.columns:
            return
        names = np.asarray(self.columns[customer.name], dtype=object)
        usable = np.flatnonzero(~self.refused)
        _, inverse, counts = np.unique(names[usable].astype(str), return_inverse=True, return_counts=True)
        if schema.public.one_row_per_customer:
            again = usable[counts[inverse] > 1]  # all of them: which is the right one, the order must not say
            if len(again):
                bound = "unique: the schema has one row per customer, and none of several is used"
                self._add(customer.name, again, names[again], bound, "refuse")
            return
        many = usable[counts[inverse] > most]
        if len(many):
            bound = f"a customer of at most {most} rows; with more, each row's weight is 0"
            self._add(customer.name, many, names[many], bound, "clip")

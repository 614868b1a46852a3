"""From DuckDB columns to canonical arrays: typed, cell by cell, and derived columns computed."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.reading.files import quoted, sandbox
from fedrepay.shared.arrays import F64, Objects
from fedrepay.shared.errors import SchemaError
from fedrepay.shared.schema import expressions
from fedrepay.shared.schema.bins import Values
from fedrepay.shared.schema.columns import Column
from fedrepay.shared.schema.encode import Unfitting

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MAPPED = "_mapped"
WHOLE = "^(-?[0-9]{1,15})[.]0+$"
"""A whole number written with decimals."""
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_EMPTY = '"NULL"'  # the type of a Parquet column without any value
_NUMERIC = (*_WHOLE, *(f"U{each}" for each in _WHOLE), "FLOAT", "DOUBLE", "DECIMAL", "BOOLEAN", _EMPTY)
_TEXTUAL = ("VARCHAR", "ENUM", "UUID", "DATE", *_NUMERIC)


class WrongTypeError(Exception):
    """A whole column has a type that cannot be used; the message says what is needed."""


@dataclass(frozen=True)
class Cells:
    """One column as read: (n,) values, missing as NaN or None, and cells that hold no such value."""

    values: Values
    findings: list[Unfitting]


def read_cells(connection: "DuckDBPyConnection", column: Column, name: str, kind: str) -> Cells:
    """Fetch one column of the mapped table.

    Args:
        connection: holds the table ``_mapped`` in row order.
        column: the canonical column.
        name: its name in the table.
        kind: its DuckDB type.

    Raises:
        WrongTypeError: the column as a whole has a type that cannot be used.
    """
    if column.type in ("category", "text"):
        return Cells(read_text(connection, name, kind), [])
    base = kind.partition("(")[0]
    if kind.endswith("]") or base not in (*_NUMERIC, "VARCHAR"):
        raise WrongTypeError(f"numbers; the column's type is {kind}")
    cell = quoted(name)
    numbers, present = _fetch(connection, f"TRY_CAST({cell} AS DOUBLE)", f"{cell} IS NOT NULL")
    values = np.ma.filled(numbers.astype(np.float64), np.nan)
    bad = present.astype(bool) & np.isnan(values) if base == "VARCHAR" else np.zeros(len(values), bool)
    infinite = present.astype(bool) & ~np.isfinite(values) & ~bad
    found = []
    if bad.any():
        (raw,) = _fetch(connection, f"CAST({cell} AS VARCHAR)")
        raw = _texts(raw)
        not_number = [str(each).strip().lower() in ("nan", "-nan", "+nan") for each in raw[bad]]
        rows = np.flatnonzero(bad)
        for chosen, bound in ((np.array(not_number), "a finite number"), (~np.array(not_number), "a number")):
            if chosen.any():
                found.append(Unfitting(column.name, rows[chosen], raw[rows[chosen]], bound, "refuse"))
    if infinite.any():
        rows = np.flatnonzero(infinite)
        bound = "a finite number (leave the cell empty if it is missing)"
        found.append(Unfitting(column.name, rows, values[rows].astype(object), bound, "refuse"))
    values[infinite] = np.nan
    return Cells(values, found)


def read_text(connection: "DuckDBPyConnection", name: str, kind: str) -> Objects:
    """Fetch a column as text, (n,) str or None; whole numbers lose their ``.0``, each cell for itself.

    Raises:
        WrongTypeError: nested values, times, binary data.
    """
    base = kind.partition("(")[0]
    if kind.endswith("]") or base not in _TEXTUAL:
        raise WrongTypeError(f"text or numbers; the column's type is {kind}")
    cell = quoted(name)
    text = f"CAST({cell} AS VARCHAR)"
    if base in ("FLOAT", "DOUBLE"):
        text = (
            f"CASE WHEN isnan({cell}) THEN NULL WHEN {cell} = floor({cell}) AND abs({cell}) < 1e15 "
            f"THEN CAST(CAST({cell} AS BIGINT) AS VARCHAR) ELSE {text} END"
        )
    elif base == "VARCHAR":
        text = f"regexp_replace({cell}, '{WHOLE}', '\\1')"
    (found,) = _fetch(connection, text)
    return _texts(found)


def _fetch(connection: "DuckDBPyConnection", *sql: str) -> list[npt.NDArray[np.generic]]:
    names = [f"c{index}" for index in range(len(sql))]
    chosen = ", ".join(f"{each} AS {name}" for each, name in zip(sql, names, strict=True))
    found = connection.execute(f"SELECT {chosen} FROM {MAPPED}").fetchnumpy()
    return [found[name] for name in names]


def _texts(found: npt.NDArray[np.generic]) -> Objects:
    """Text cells with None where missing (``np.ma.filled`` would put its default ``'?'`` there)."""
    texts = np.array(np.ma.getdata(found), dtype=object)
    texts[np.ma.getmaskarray(found)] = None
    return texts


def derive(
    column: Column,
    columns: Mapping[str, Values],
    rows: int,
    connection: "DuckDBPyConnection | None" = None,
) -> Values:
    """Compute a derived column, (rows,): the checked text runs, one row at a time as it were.

    An error, infinity or NaN in one row makes that row's value missing and touches no other row.

    Args:
        column: its declaration.
        columns: what it may read.
        rows: how many.
        connection: a sandbox, where no column of this name was derived before; None opens one.

    Raises:
        SchemaError: the expression does not fit its columns' types.
    """
    sql = checked(column, columns)
    if connection is None:
        with sandbox() as own:
            return derive(column, columns, rows, own)
    made = Derivation(connection, [column], {column.name: sql}, f"v_{column.name}")
    return made.run(columns, (rows,))[column.name]


def checked(column: Column, columns: Collection[str]) -> str:
    """The SQL of a derived column over so many columns, checked."""
    assert column.derived is not None  # noqa: S101 - callers ask first
    of = "VARCHAR" if column.type == "category" else "DOUBLE"
    return f"TRY(CAST(({_checked(column.derived, frozenset(columns))}) AS {of}))"


@lru_cache(256)
def _checked(text: str, columns: frozenset[str]) -> str:
    """Parsed once, however often a member's rows are read."""
    return expressions.checked(text, columns)


class Derivation:
    """Computes some derived columns that do not need each other, in one SELECT, as often as asked.

    Args:
        connection: a sandbox that outlives it.
        wanted: the columns.
        sql: of each, from ``checked``.
        name: of its tables in the connection; another for each derivation.
    """

    def __init__(
        self, connection: "DuckDBPyConnection", wanted: list[Column], sql: Mapping[str, str], name: str = "v"
    ) -> None:
        self.wanted, self._connection, self._name = wanted, connection, name
        chosen = ", ".join(f"{sql[column.name]} AS {quoted(column.name)}" for column in wanted)
        self._select = f"SELECT {chosen} FROM {name}_inputs"  # DuckDB keeps the order of a scan (preserve_insertion_order)
        self._inputs: dict[str, npt.NDArray[np.generic]] = {}
        self._shape: tuple[int, ...] | None = None

    def run(self, columns: Mapping[str, Values], shape: tuple[int, ...]) -> dict[str, Values]:
        """Compute.

        Args:
            columns: what the columns read (more does not matter); each can be broadcast to ``shape``.
            shape: of the results; its last axis runs fastest.

        Raises:
            SchemaError: an expression does not fit its columns' types.
        """
        import duckdb  # noqa: PLC0415 - heavy

        text = any(each.dtype == object for each in columns.values())
        ready = not text and self._shape == shape
        if not ready:
            self._inputs = {name: np.empty(math.prod(shape), each.dtype) for name, each in columns.items()}
            self._inputs = self._inputs or {"_n": np.empty(math.prod(shape), np.bool_)}  # constants alone
            self._shape = shape
        for name, each in columns.items():
            np.copyto(self._inputs[name].reshape(shape), each)
        try:
            if not ready:
                self._connection.register(f"{self._name}_inputs", self._inputs)
                self._connection.execute(f"PREPARE {self._name}_select AS {self._select}")
            found = self._connection.execute(f"EXECUTE {self._name}_select").fetchnumpy()
        except duckdb.Error as error:
            raise SchemaError(
                f"columns.{' or '.join(column.name for column in self.wanted)}.derived cannot be computed: "
                f"{str(error).splitlines()[0]}",
                "Check that numbers meet numbers and text meets text.",
            ) from error
        results = {column.name: found[column.name] for column in self.wanted}
        return {
            column.name: (_texts if column.type == "category" else _finite)(results[column.name]).reshape(
                shape
            )
            for column in self.wanted
        }


def _finite(found: npt.NDArray[np.generic]) -> F64:
    numbers = np.ma.filled(found.astype(np.float64), np.nan)
    numbers[~np.isfinite(numbers)] = np.nan
    return np.asarray(numbers)

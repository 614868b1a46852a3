"""Columns in memory: what a person hands in, and what is handed back, as Arrow or pandas where these are installed."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import duckdb
import numpy as np
import numpy.typing as npt

from fedrepay.shared.errors import ArgumentError, StorageError

Column = npt.NDArray[Any]
Cells = Column | Sequence[object]


class Streams(Protocol):
    """A table that Arrow can read: of pyarrow, pandas, polars and others."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The rows, by Arrow's C interface."""


Rows = str | os.PathLike[str] | Mapping[str, Cells] | Streams
"""Rows as they may be handed in: a CSV or Parquet file, columns by name, or a table of pyarrow or pandas."""


@dataclass(frozen=True, eq=False)
class Columns:
    """Rows by column.

    Attributes:
        columns: by name, (n,) each. An empty cell is None among texts, NaN among decimals, and masked
            (``numpy.ma``) among whole numbers and truth values.
    """

    columns: dict[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def to_arrow(self) -> Any:
        """As a ``pyarrow.Table``.

        Raises:
            ArgumentError: pyarrow is not installed.
        """
        arrow = _library("pyarrow", "to_arrow")
        return arrow.table(
            {name: arrow.array(np.ma.getdata(each), mask=_empty(each)) for name, each in self.columns.items()}
        )

    def to_pandas(self) -> Any:
        """As a ``pandas.DataFrame``; whole numbers and truth values with empty cells are of pandas' nullable types.

        Raises:
            ArgumentError: pandas is not installed.
        """
        pandas = _library("pandas", "to_pandas")
        nullable = {"i": "Int64", "u": "Int64", "b": "boolean"}
        return pandas.DataFrame(
            {
                name: pandas.array(each.tolist(), dtype=nullable[each.dtype.kind])
                if np.ma.isMaskedArray(each)
                else each
                for name, each in self.columns.items()
            }
        )


def fetched(connection: duckdb.DuckDBPyConnection, sql: str, given: list[str]) -> dict[str, Column]:
    """A query's columns as :class:`Columns` has them."""
    found: dict[str, Any] = connection.execute(sql, given).fetchnumpy()
    return {name: _plain(each) for name, each in found.items()}


def _plain(column: Column) -> Column:
    """Masked only where nothing else says that a cell is empty."""
    if not np.ma.isMaskedArray(column):
        return column
    data, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
    if column.dtype.kind in "fO":
        data[mask] = np.nan if column.dtype.kind == "f" else None
        return data
    return column if mask.any() else data


def _empty(column: Column) -> npt.NDArray[np.bool_]:
    """Which cells are empty, (n,)."""
    if column.dtype.kind == "f":
        return np.isnan(column)
    if column.dtype.kind == "O":
        return np.array([each is None for each in column], np.bool_)
    return np.ma.getmaskarray(column)


def _library(name: str, asked: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ArgumentError(
            f"{asked} needs {name}, which is not installed.",
            f"pip install {name}, or take the arrays in .columns.",
        ) from error


@contextmanager
def as_file(rows: Rows) -> Iterator[Path]:
    """The rows as a file: their own, or one in a folder that only its owner can open and that goes afterwards.

    Raises:
        ArgumentError: nothing that can be read as a table.
        StorageError: the file cannot be written.
    """
    if isinstance(rows, str | os.PathLike):
        yield Path(rows)
        return
    if isinstance(rows, Mapping):
        rows = {name: _array(values) for name, values in rows.items()}
    with TemporaryDirectory(prefix="fedrepay-") as folder:
        path = Path(folder) / "rows.parquet"
        with duckdb.connect(config={"threads": 1}) as connection:
            try:
                connection.register("given", rows)
            except (duckdb.Error, TypeError) as error:  # TypeError: of None
                raise ArgumentError(
                    f"A {type(rows).__name__} as given is no table.",
                    "Give a CSV or Parquet file, a mapping from names to columns of one length, or a table of "
                    "pyarrow or pandas.",
                ) from error
            _copy(connection, "given", path)
        yield path


def write_columns(columns: Mapping[str, Cells], out: Path) -> None:
    """Write columns as CSV or Parquet (by suffix; anything else is CSV), all or nothing.

    Raises:
        StorageError: the file cannot be written.
    """
    with duckdb.connect() as connection:
        connection.register("columns", {name: _array(values) for name, values in columns.items()})
        _copy(connection, "columns", out)


def _copy(connection: duckdb.DuckDBPyConnection, table: str, out: Path) -> None:
    partial = out.with_name(out.name + ".partial")
    form = "FORMAT parquet" if out.suffix == ".parquet" else "FORMAT csv, HEADER"
    try:
        connection.execute(f"COPY {table} TO '{str(partial).replace(chr(39), chr(39) * 2)}' ({form})")
        partial.replace(out)
    except (duckdb.Error, OSError) as error:
        partial.unlink(missing_ok=True)
        raise StorageError(
            f"{out} cannot be written: {str(error).splitlines()[0]}", "Free the disk or choose another path."
        ) from error


def _array(values: Cells) -> Column:
    if isinstance(values, np.ndarray):
        return values.astype(object) if values.dtype.kind == "U" else values
    return np.asarray(values, dtype=_dtype(values))


def _dtype(values: Sequence[object]) -> type:
    for kind in (int, float):
        if all(type(each) is kind for each in values):
            return kind
    return object

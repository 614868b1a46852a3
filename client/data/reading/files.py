"""A member's files as DuckDB tables; once they are loaded, nothing outside can be reached."""

import csv
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedrepay.client.data.mappings.mapping import ROW
from fedrepay.client.data.reading.findings import Group
from fedrepay.shared.errors import ArgumentError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    "threads": 1,  # the same rows in the same order every time
    # The first two choose plans, and with them the order of rows, by how many rows there are; the third takes what
    # two expressions share out of TRY, so that its errors end the query.
    "disabled_optimizers": "join_order,build_side_probe_side,common_subexpressions",
}
_DELIMITERS = ",;\t|"
_GUESSES = {  # by what every cell looks like: for the draft of a schema only
    "BIGINT": "regexp_full_match({0}, '[-+]?[0-9]{{1,18}}')",
    "DOUBLE": "TRY_CAST({0} AS DOUBLE) IS NOT NULL",
    "DATE": "TRY_CAST({0} AS DATE) IS NOT NULL",
    "TIMESTAMP": "TRY_CAST({0} AS TIMESTAMP) IS NOT NULL",
}

_SAID = (
    "Line: [0-9]+",
    "Expected Number of Columns: [0-9]+ Found: [0-9]+",
    "unterminated quote",
    "[Ii]nvalid unicode|not utf-8 encoded",
    "Maximum line size of [0-9]+ bytes exceeded",
)
"""What of an error about a CSV is shown; the rest may be cells."""


class _Unreadable(Exception):
    """A file that cannot become a table; the message ends up in a finding."""


@contextmanager
def sandbox() -> Iterator["DuckDBPyConnection"]:
    """An in-memory DuckDB without access to anything outside, its configuration locked."""
    with _connected() as connection:
        _lock(connection)
        yield connection


@contextmanager
def opened(tables: Mapping[str, Path]) -> Iterator[tuple["DuckDBPyConnection", list[Group]]]:
    """Load CSV and Parquet files as tables, then lock everything outside away.

    Args:
        tables: file by table name.

    Yields:
        the connection and what is wrong with the files; every table has a column ``_row``, 1-based.

    Raises:
        ArgumentError: no file at all.
    """
    if not tables:
        raise ArgumentError(
            "There is no data: neither --data nor a table in the mapping.", "Give --data FILE."
        )
    with _connected() as connection:
        found: list[Group] = []
        for name, path in tables.items():
            try:
                found += _load(connection, name, path)
            except _Unreadable as error:
                found.append(Group(str(path), "(file)", str(error), "refuse"))
        _lock(connection)
        yield connection, found


@contextmanager
def _connected() -> Iterator["DuckDBPyConnection"]:
    import duckdb  # noqa: PLC0415 - heavy

    connection = duckdb.connect(config=_SETTINGS)
    try:
        yield connection
    finally:
        connection.close()


def _lock(connection: "DuckDBPyConnection") -> None:
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _load(connection: "DuckDBPyConnection", name: str, path: Path) -> list[Group]:
    import duckdb  # noqa: PLC0415 - heavy

    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise _Unreadable("a file, not a pipe or a device: it is read more than once")
        with path.open("rb") as file:
            start = file.read(4)
    except (OSError, ValueError) as error:  # ValueError: a path with NUL in it
        raise _Unreadable(f"a readable file: {getattr(error, 'strerror', None) or error}") from error
    if not start:
        raise _Unreadable("a table; the file is empty")
    is_parquet = start == b"PAR1" or path.suffix.lower() == ".parquet"
    try:
        names = _parquet(connection, name, path) if is_parquet else _csv(connection, name, path)
    except duckdb.Error as error:
        kind = "a whole Parquet file" if is_parquet else "UTF-8 CSV with as many cells in every row"
        raise _Unreadable(f"{kind}: {_said(str(error), is_parquet=is_parquet)}") from error
    return doubled(str(path), names)


def _said(error: str, *, is_parquet: bool) -> str:
    """What DuckDB says of a file, without the row of a CSV that it quotes."""
    if is_parquet:
        lines = [line.strip() for line in error.split("\nLINE 1", maxsplit=1)[0].splitlines() if line.strip()]
        return " ".join(lines[:3])[:300]
    found = [each[0] for part in _SAID if (each := re.search(part, error))]
    return ", ".join(found) or "it cannot be read"


def doubled(file: str, names: list[str]) -> list[Group]:
    """Findings for names that occur more than once, in any case."""
    lower = [name.lower() for name in names]
    again = sorted({name for name in lower if lower.count(name) > 1})
    return [Group(file, name, f"named once, not {lower.count(name)} times", "refuse") for name in again]


def _parquet(connection: "DuckDBPyConnection", name: str, path: Path) -> list[str]:
    connection.execute(
        f"CREATE TABLE {quoted(name)} AS "
        f"SELECT row_number() OVER () AS {ROW}, * FROM read_parquet($path, file_row_number = false, hive_partitioning = false)",
        {"path": literal_path(path)},
    )
    tree = connection.execute(
        "SELECT name, coalesce(num_children, 0) FROM parquet_schema($path) OFFSET 1",
        {"path": literal_path(path)},
    ).fetchall()
    return [ROW, *_top_level(tree)]


def _top_level(tree: list[tuple[str, int]]) -> list[str]:
    """The columns of a Parquet schema, which lists (name, number of children) depth first."""
    names: list[str] = []
    inside = 0  # nodes still to come below the last column
    for name, children in tree:
        if not inside:
            names.append(str(name))
        inside = max(inside - 1, 0) + int(children)
    return names


def _csv(connection: "DuckDBPyConnection", name: str, path: Path) -> list[str]:
    """Every cell is text, whatever the others in its column are.

    A type guessed from a whole column would let one customer's cell change how all others' are read, and no
    sensitivity would bound that. Cells become numbers one at a time, where the schema or a CAST says so.
    """
    delimiter, names = _header(path)
    if len({each.lower() for each in names}) < len(names):
        return names
    connection.execute(
        f"CREATE TABLE {quoted(name)} AS SELECT row_number() OVER () AS {ROW}, * FROM read_csv("
        "$path, auto_detect = false, header = true, skip = 0, delim = $delimiter, quote = '\"', "
        "escape = '\"', strict_mode = true, null_padding = false, hive_partitioning = false, columns = $columns)",
        {
            "path": literal_path(path),
            "delimiter": delimiter,
            "columns": dict.fromkeys(names, "VARCHAR"),
        },
    )
    return [ROW, *names]


def guessed_types(connection: "DuckDBPyConnection", table: str) -> list[tuple[str, str]]:
    """(column, DuckDB type) of a table: declared ones, and for text what all its cells look like."""
    described = connection.execute(f"DESCRIBE {quoted(table)}").fetchall()
    columns = [(str(each[0]), str(each[1])) for each in described if each[0] != ROW]
    return [(name, _guess(connection, table, name) if kind == "VARCHAR" else kind) for name, kind in columns]


def _guess(connection: "DuckDBPyConnection", table: str, column: str) -> str:
    cell = quoted(column)
    tests = ", ".join(f"bool_and({test.format(cell)})" for test in _GUESSES.values())
    found = connection.execute(
        f"SELECT {tests} FROM {quoted(table)} WHERE {cell} IS NOT NULL HAVING count({cell}) > 0"
    ).fetchone()
    return next((kind for kind, fits in zip(_GUESSES, found or (), strict=False) if fits), "VARCHAR")


def _header(path: Path) -> tuple[str, list[str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline(1_000_000)
    except UnicodeDecodeError as error:
        raise _Unreadable(f"UTF-8 text: {error.reason} in the first lines") from error
    delimiter = max(_DELIMITERS, key=re.sub('"[^"]*"', "", line).count)
    try:
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error as error:
        raise _Unreadable(f"CSV with a header line: {error}") from error
    if not names or not all(names):
        raise _Unreadable("CSV with a header line that names every column")
    return delimiter, names


def literal_path(path: Path) -> str:
    """The path with DuckDB's glob characters taken literally; readers also say ``hive_partitioning = false``.

    Otherwise a folder named ``income=1`` would give every row that income, in place of the file's own.
    """
    return "".join(f"[{each}]" if each in "*?[" else each for each in str(path))

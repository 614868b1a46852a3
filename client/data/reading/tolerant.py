"""Runs a SELECT so that a cell it cannot read costs that row, and no other row and not the whole file.

``CAST(x AS DATE)`` of one bad cell ends a query. So each expression that comes out runs inside DuckDB's TRY, which
looks at one row at a time; a row in which one fails is a finding. This is done whether or not a cell is bad, so that
one row never changes how the others are computed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.data.mappings import tree
from fedrepay.client.data.mappings.functions import AGGREGATES, ORDERED
from fedrepay.client.data.mappings.tree import Node
from fedrepay.client.data.reading.columns import MAPPED
from fedrepay.client.data.reading.files import quoted
from fedrepay.shared.arrays import I64, Objects
from fedrepay.shared.rules.facts import HIDDEN, RESTRICTED

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TRIED = "_tried"
_WHERE = "_unread_where"


@dataclass(frozen=True)
class Unread:
    """Rows (0-based, (m,)) in which one expression failed, a cell of each, and what the cell must be."""

    column: str
    rows: I64
    values: Objects
    bound: str


def is_of_a_cell(error: Exception) -> bool:
    """Whether a query failed on what a cell holds, not on what the query says."""
    import duckdb  # noqa: PLC0415 - heavy

    return isinstance(
        error, (duckdb.ConversionException, duckdb.InvalidInputException, duckdb.OutOfRangeException)
    )


def said(connection: "DuckDBPyConnection", error: Exception) -> str:
    """What DuckDB says of a failing query, without any cell: one it quotes may be what nobody should read."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not is_of_a_cell(error):
        return " ".join(lines[:2])[:400]
    found = connection.execute("SELECT DISTINCT lower(column_name) FROM duckdb_columns()").fetchall()
    named = re.findall(r"source column \"?(\w+)", " ".join(lines))
    column = next((f" of the column {each}" for each in named if (each.lower(),) in found), "")
    return f"Could not convert a cell{column}."


def create(connection: "DuckDBPyConnection", sql: str) -> list[Unread]:
    """Run a SELECT into the table ``_mapped``.

    What aggregates, or reads failing cells elsewhere than in its output and its WHERE, runs as it stands.

    Returns:
        the rows that could not be read; their cells are empty.

    Raises:
        duckdb.Error: it fails as a whole.
    """
    import duckdb  # noqa: PLC0415 - heavy

    node = tree.parsed(connection, sql)
    wrapped = {} if node is None else _wrap(connection, node)
    if node is None or not (wrapped or _WHERE in _names(node)):
        connection.sql(sql).create(MAPPED)
        return []
    columns = connection.sql(sql).columns
    try:
        connection.execute(f"CREATE TABLE {_TRIED} AS {tree.written(connection, node)}").fetchall()
    except duckdb.BinderException:  # an alias is read by another expression: it follows from the SELECT alone
        connection.sql(sql).create(MAPPED)
        return []
    try:
        chosen = [
            f"{quoted(each)}[1] AS {quoted(each)}" if each.lower() in wrapped else quoted(each)
            for each in columns
        ]
        connection.execute(f"CREATE TABLE {MAPPED} AS SELECT {', '.join(chosen)} FROM {_TRIED}").fetchall()
        return list(_failed(connection, wrapped, where=_WHERE in _names(node)))
    finally:
        connection.execute(f"DROP TABLE {_TRIED}").fetchall()


def _failed(connection: "DuckDBPyConnection", wrapped: dict[str, str], *, where: bool) -> Iterator[Unread]:
    tests = {name: f"{quoted(name)} IS NULL" for name in wrapped}
    if where:
        tests[_WHERE] = quoted(_WHERE)
        wrapped = {**wrapped, _WHERE: "WHERE"}
    counted = ", ".join(f"count(*) FILTER ({test})" for test in tests.values())
    counts = connection.execute(f"SELECT {counted} FROM {_TRIED}").fetchall()[0]
    for (name, test), count in zip(tests.items(), counts, strict=True):
        if count:
            cell = f"CAST({quoted('_cell_' + name)} AS VARCHAR)" if name != _WHERE else "NULL"
            found = connection.execute(f"SELECT {test}, {cell} FROM {_TRIED}").fetchall()
            rows = np.array([place for place, each in enumerate(found) if each[0]], dtype=np.int64)
            values = np.array([found[place][1] for place in rows.tolist()], dtype=object)
            column = "(WHERE)" if name == _WHERE else name
            yield Unread(column, rows, values, f"what `{wrapped[name][:120]}` can read")


def _wrap(connection: "DuckDBPyConnection", node: Node) -> dict[str, str]:
    """Change the tree; returns the SQL of each wrapped output by its name in lower case."""
    if not _row_by_row(node):
        return {}
    aliases = _read_by_alias(connection, node)
    wrapped: dict[str, str] = {}
    items, cells = [], []
    for each in node["select_list"]:
        name = tree.alias(each)
        if each["class"] in ("COLUMN_REF", "CONSTANT", "STAR") or not name or name in aliases:
            items.append(each)
            continue
        wrapped[name] = tree.text(connection, each)
        bare = {key: value for key, value in each.items() if key != "alias"}
        items.append({**_tried(bare), "alias": each["alias"]})
        read = [one for one in tree.every(each) if one["class"] == "COLUMN_REF"]
        hides = any(part in RESTRICTED for one in read for part in tree.names(one))
        shows = (
            _constant(connection, f"'{HIDDEN}'") if hides else (read or [_constant(connection, "NULL")])[0]
        )
        cells.append({**shows, "alias": f"_cell_{name}"})
    where = node.get("where_clause")
    if where is not None and not _several(where):
        cells.append({**_is_null(_tried(where)), "alias": _WHERE})
        node["where_clause"] = _operator("OPERATOR_COALESCE", _first(_tried(where)), _is_null(_tried(where)))
    node["select_list"] = [*items, *cells]
    return wrapped


def _row_by_row(node: Node) -> bool:
    """Whether each row that comes out is made of one row, so that TRY can hold its expressions."""
    return (
        node.get("type") == "SELECT_NODE"
        and all(each["type"] == "ORDER_MODIFIER" for each in node.get("modifiers", []))
        and "group_expressions" not in node
        and "qualify" not in node
        and not any(_several(each) for each in node["select_list"])
    )


def _read_by_alias(connection: "DuckDBPyConnection", node: Node) -> set[str]:
    """Names that expressions read and no table has: outputs that others read by their alias."""
    parts = [node["select_list"], node.get("where_clause"), node.get("modifiers", [])]
    paths = [tree.names(each) for each in tree.every(parts) if each["class"] == "COLUMN_REF"]
    found = connection.execute("SELECT DISTINCT lower(column_name) FROM duckdb_columns()").fetchall()
    return {path[0] for path in paths if len(path) == 1} - {str(name) for (name,) in found}


def _several(value: object) -> bool:
    """Whether anything looks at several rows; TRY cannot hold it."""
    return any(
        each["class"] in ("WINDOW", "SUBQUERY")
        or (each["class"] == "FUNCTION" and tree.function(each) in AGGREGATES | ORDERED)
        for each in tree.every(value)
    )


def _names(node: Node) -> set[str]:
    return {tree.alias(each) for each in node.get("select_list", [])}


def _tried(expression: Node) -> Node:
    """``TRY([expression])``: a list of one value, or NULL where the expression fails."""
    listed = {
        "class": "FUNCTION",
        "type": "FUNCTION",
        "function_name": "list_value",
        "qualified_name": {"path": ["list_value"]},
        "order_bys": {"type": "ORDER_MODIFIER"},
        "arguments": [{"expression": expression}],
    }
    return _operator("OPERATOR_TRY", listed)


def _operator(kind: str, *children: Node) -> Node:
    return {"class": "OPERATOR", "type": kind, "children": list(children)}


def _is_null(expression: Node) -> Node:
    return _operator("OPERATOR_IS_NULL", expression)


def _first(listed: Node) -> Node:
    one = {"class": "CONSTANT", "type": "VALUE_CONSTANT", "literal": {"kind": "INTEGER", "text": "1"}}
    return _operator("ARRAY_EXTRACT", listed, one)


def _constant(connection: "DuckDBPyConnection", sql: str) -> Node:
    node = tree.parsed(connection, f"SELECT {sql}")
    assert node is not None  # noqa: S101 - DuckDB reads its own constant
    found: Node = node["select_list"][0]
    return found

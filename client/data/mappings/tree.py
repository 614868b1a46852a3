"""A SELECT as DuckDB's own parser sees it: the tree that runs is the tree that is checked.

Nodes are dicts as ``json_serialize_sql`` writes them. Another parser's tree (sqlglot's) would only be near it, and
what lies between the two would not be checked.
"""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Node = dict[str, Any]
DEEPEST = 300
"""Levels of a tree, so that reading it never exhausts the stack."""


def parsed(connection: "DuckDBPyConnection", sql: str) -> Node | None:
    """The query node of one SELECT; None for whatever DuckDB cannot write as a tree (PIVOT, DESCRIBE …)."""
    found = connection.execute(
        "SELECT json_serialize_sql(CAST(? AS VARCHAR), skip_null := true, skip_empty := true, "
        "skip_default := true)",
        [sql],
    ).fetchall()
    try:
        tree = json.loads(str(found[0][0]))
    except RecursionError:
        return None
    statements = tree.get("statements", [])
    if tree.get("error") or len(statements) != 1 or _depth(tree) > DEEPEST:
        return None
    node: Node = statements[0]["node"]
    return node


def written(connection: "DuckDBPyConnection", node: Node) -> str:
    """The SQL of a query node, written by DuckDB."""
    whole = json.dumps({"error": False, "statements": [{"node": node}]})
    found = connection.execute("SELECT json_deserialize_sql(CAST(? AS JSON))", [whole]).fetchall()
    return str(found[0][0])


def text(connection: "DuckDBPyConnection", expression: Node) -> str:
    """The SQL of one expression."""
    bare = {key: value for key, value in expression.items() if key != "alias"}
    node = {
        "type": "SELECT_NODE",
        "modifiers": [],
        "cte_map": {"map": []},
        "select_list": [bare],
        "from_table": {"type": "EMPTY"},
        "aggregate_handling": "STANDARD_HANDLING",
    }
    return written(connection, node).removeprefix("SELECT ")


def expressions(value: object) -> Iterator[Node]:
    """The outermost expressions below a value."""
    if isinstance(value, dict):
        if "class" in value:
            yield value
        else:
            for each in value.values():
                yield from expressions(each)
    elif isinstance(value, list):
        for each in value:
            yield from expressions(each)


def every(value: object) -> Iterator[Node]:
    """All expressions below a value, inner ones too."""
    for each in expressions(value):
        yield each
        yield from every([part for key, part in each.items() if key != "class"])


def together(value: object) -> bool:
    """Whether anything below a value joins tables, groups rows or looks at several."""
    if isinstance(value, dict):
        if value.get("type") == "JOIN" or value.get("class") == "WINDOW" or "group_expressions" in value:
            return True
        return any(together(each) for each in value.values())
    return isinstance(value, list) and any(together(each) for each in value)


def function(node: Node) -> str:
    """The name of a function call in lower case, schema and catalogue before it where they are given."""
    path = node.get("qualified_name", {}).get("path") or [node.get("function_name", "")]
    return ".".join(str(each) for each in path).lower()


def names(node: Node) -> list[str]:
    """A column reference's parts, in lower case."""
    return [str(each).lower() for each in node.get("column_names", [])]


def alias(node: Node) -> str:
    """The output name of a select item in lower case; empty for an expression without one."""
    given = str(node.get("alias", "")).lower()
    return given or (names(node)[-1] if node.get("class") == "COLUMN_REF" else "")


def _depth(tree: object) -> int:
    level: list[Any] = [tree]
    deepest = 0
    while level:
        deepest += 1
        level = [
            part
            for each in level
            for part in (each.values() if isinstance(each, dict) else each)
            if isinstance(part, (dict, list))
        ]
    return deepest

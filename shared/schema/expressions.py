"""Derived columns: scalar SQL from a closed list, checked on the parsed tree.

A schema comes from outside. A window, an aggregate or a subquery would let one customer move another's
row and break the privacy proof; a file or environment function would leak. So only listed node types
pass, and what runs is text made again from the checked tree, never the text that came.
"""

from collections.abc import Collection
from typing import cast

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from fedrepay.shared.errors import SchemaError

LONGEST = 2000
"""Characters of one expression."""

ALLOWED: frozenset[type[exp.Expr]] = frozenset(
    {
        *(exp.Paren, exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null),
        *(exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Pow),
        *(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In, exp.Is),
        *(exp.And, exp.Or, exp.Not, exp.Case, exp.If),
        *(exp.Coalesce, exp.Nullif, exp.Greatest, exp.Least),
        *(exp.Abs, exp.Ln, exp.Log, exp.Sqrt, exp.Round, exp.Floor, exp.Ceil),
        *(exp.Cast, exp.TryCast, exp.DataType),
    }
)
"""Node types a derived column may hold; everything else is refused."""

CASTS = frozenset({exp.DType.DOUBLE, exp.DType.BIGINT, exp.DType.INT, exp.DType.BOOLEAN})

_FIELDS: dict[type[exp.Expr], frozenset[str]] = {
    exp.Column: frozenset({"this"}),
    exp.In: frozenset({"this", "expressions"}),
    exp.Cast: frozenset({"this", "to"}),
    exp.TryCast: frozenset({"this", "to", "safe", "requires_string"}),
    exp.Round: frozenset({"this", "decimals"}),
    exp.Floor: frozenset({"this", "decimals"}),
    exp.Ceil: frozenset({"this", "decimals"}),
    exp.DataType: frozenset({"this"}),
}
_REMEDY = (
    "Use arithmetic, comparisons, CASE, COALESCE, NULLIF, GREATEST, LEAST, ABS, LN, LOG10, SQRT, ROUND, "
    "FLOOR, CEIL, POW, IN, BETWEEN, IS NULL, AND/OR/NOT and casts to DOUBLE, BIGINT, INTEGER or BOOLEAN, "
    "over columns declared earlier."
)


def checked(text: str, columns: Collection[str]) -> str:
    """The expression as SQL made again from its checked tree, every identifier quoted.

    Args:
        text: DuckDB SQL, one scalar expression.
        columns: the names it may use.

    Raises:
        SchemaError: it is not a single expression, or holds anything outside the closed list.
    """
    if len(text) > LONGEST:
        raise SchemaError(f"the expression is longer than {LONGEST} characters", _REMEDY)
    tree = _parse(text)
    for node in tree.walk():
        _check(node, columns)
    again: str = tree.sql(dialect="duckdb", identify=True, comments=False)
    if _parse(again).sql(dialect="duckdb", identify=True, comments=False) != again:
        raise SchemaError(f"the expression `{text}` does not survive being written again", _REMEDY)
    return again


def columns_of(text: str) -> frozenset[str]:
    """The names a checked expression reads."""
    return frozenset(node.name for node in _parse(text).find_all(exp.Column))


def _parse(text: str) -> exp.Expr:
    try:
        statements = sqlglot.parse(f"SELECT ({text}\n)", read="duckdb")
    except (SqlglotError, RecursionError) as error:
        first = str(error).split("\n", maxsplit=1)[0] or "nested too deeply"
        raise SchemaError(f"`{text[:80]}` is not an expression: {first}", _REMEDY) from error
    root = statements[0] if len(statements) == 1 else None
    if type(root) is exp.Select and _given(root) == {"expressions"} and len(root.expressions) == 1:
        wrapped = root.expressions[0]
        if type(wrapped) is exp.Paren and _given(wrapped) == {"this"}:
            return cast("exp.Expr", wrapped.this)
    raise SchemaError(f"`{text[:80]}` is not one scalar expression", _REMEDY)


def _given(node: exp.Expr) -> set[str]:
    return {
        key for key, value in node.args.items() if value is not None and value is not False and value != []
    }


def _check(node: exp.Expr, columns: Collection[str]) -> None:
    kind = type(node)
    if kind not in ALLOWED:
        raise SchemaError(f"{kind.__name__} (`{node.sql(dialect='duckdb')[:60]}`) is not allowed", _REMEDY)
    if kind in _FIELDS and not _given(node) <= _FIELDS[kind]:
        raise SchemaError(f"this form of {kind.__name__} is not allowed: `{node.sql()[:60]}`", _REMEDY)
    if kind is exp.Column and node.name not in columns:
        raise SchemaError(f"unknown column {node.name[:60]} (it must be declared earlier)", _REMEDY)
    if kind is exp.DataType and node.this not in CASTS:
        raise SchemaError(f"a cast to {node.sql()[:60]} is not allowed", _REMEDY)
    decimals = node.args.get("decimals")
    if decimals is not None and not (kind is exp.Round and isinstance(decimals, exp.Literal)):
        raise SchemaError("decimals must be a plain number in ROUND", _REMEDY)

"""The allow-list for expressions in a mapping's SELECT: closed lists of nodes and functions, names resolved."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedrepay.client.data.mappings import tree
from fedrepay.client.data.mappings.functions import AGGREGATES, ORDERED, SCALARS, WINDOWS, words
from fedrepay.client.data.mappings.mapping import ROW
from fedrepay.client.data.mappings.tree import Node

_PLACE = words("class type alias query_location query_location_length")
_FIELDS = {
    "COLUMN_REF": "column_names",
    "CONSTANT": "literal value",
    "COMPARISON": "left right",
    "CONJUNCTION": "children",
    "BETWEEN": "input lower upper",
    "CASE": "case_checks else_expr",
    "CAST": "child type_expr cast_type try_cast",
    "TYPE": "type_name qualified_name children type_schema catalog schema",
    "COLLATE": "child collation",
    "OPERATOR": "children",
    "FUNCTION": "function_name qualified_name arguments children is_operator filter order_bys distinct",
    "WINDOW": (
        "function_name qualified_name arguments children partitions orders start end start_expr end_expr "
        "offset_expr default_expr filter_expr ignore_nulls distinct exclude_clause arg_orders"
    ),
}
_KNOWN = {kind: _PLACE | words(names) for kind, names in _FIELDS.items()}
_OPERATORS = words("""
    OPERATOR_NOT OPERATOR_IS_NULL OPERATOR_IS_NOT_NULL OPERATOR_COALESCE OPERATOR_NULLIF OPERATOR_TRY COMPARE_IN
    COMPARE_NOT_IN ARRAY_EXTRACT ARRAY_SLICE STRUCT_EXTRACT ARRAY_CONSTRUCTOR
    """)
_TEXTS = words("varchar text string")


class Refused(Exception):
    """A SELECT is not let through; the message says why."""


@dataclass(frozen=True)
class Item:
    """One column: its kind of key, the (table, column) pairs that it is read from, whether a LEFT JOIN may empty it."""

    kind: str | None
    sources: frozenset[tuple[str, str]]
    nullable: bool = False


@dataclass
class Scope:
    """What names mean: columns by relation, and the select items so far by alias.

    ``single``: each row is a customer, so that nothing may look at two.
    """

    relations: Mapping[str, Mapping[str, Item]]
    single: bool
    aliases: dict[str, Item] = field(default_factory=dict)

    def find(self, node: Node) -> Item:
        """The column that a reference means.

        Raises:
            Refused: it means none of them; a whole row, ``rowid`` or ``current_date`` do not either.
        """
        parts = tree.names(node)
        if len(parts) > 1 and parts[0] in self.relations:
            if parts[1] in self.relations[parts[0]]:
                item = self.relations[parts[0]][parts[1]]
                return item if len(parts) == 2 else Item(None, item.sources)
            raise Refused(f"there is no column {parts[1]} in {parts[0]}")
        found = [each[parts[0]] for each in self.relations.values() if parts[0] in each]
        if not found and len(parts) == 1 and parts[0] in self.aliases:
            found = [self.aliases[parts[0]]]
        if not found:
            raise Refused(f"there is no column {parts[0]} in its tables")
        kinds = {each.kind for each in found}
        kind = kinds.pop() if len(kinds) == 1 and len(parts) == 1 else None
        nullable = all(each.nullable for each in found)
        return Item(kind, frozenset().union(*(each.sources for each in found)), nullable)

    def table(self, node: Node) -> str | None:
        """The one relation that a bare reference belongs to."""
        parts = tree.names(_bare(node))
        if len(parts) > 1:
            return parts[0]
        found = [name for name, columns in self.relations.items() if parts[0] in columns]
        return found[0] if len(found) == 1 else None


def key(node: Node, scope: Scope) -> Item | None:
    """The key that an expression is: a column as it stands, or cast to text (which keeps keys apart)."""
    bare = _bare(node)
    if bare["class"] != "COLUMN_REF":
        return None
    item = scope.find(bare)
    return item if item.kind else None


def groups_by(node: Node, scope: Scope) -> bool:
    """Whether rows of equal values are one customer's: a key that no LEFT JOIN leaves empty for many customers."""
    item = key(node, scope)
    return item is not None and not item.nullable


def _bare(node: Node) -> Node:
    while (
        node["class"] == "CAST"
        and str(node.get("type_expr", {}).get("type_name", "")).lower() in _TEXTS
        and not node["type_expr"].get("children")
    ):
        node = node["child"]
    return node


def check(
    node: Node, scope: Scope, *, grouped: bool, public: bool, output: bool = False, order: bool = False
) -> Item:
    """Let one expression through.

    Args:
        node: its tree.
        scope: what its names mean.
        grouped: whether aggregates may stand here.
        public: whether it reads no customer's row at all.
        output: whether it is a select item, where ``_row`` may stand under its own name.
        order: whether it only orders rows, which ``_row`` may do.

    Raises:
        Refused: it is not on the list.
    """
    if node["class"] == "COLUMN_REF" and tree.names(node)[-1] == ROW and (order or output):
        if output and tree.alias(node) != ROW:
            raise Refused(
                f"{ROW} is a row's place in the file, not a value: pass it through under its own name"
            )
        return Item(None, scope.find(node).sources)
    sources = _walk(node, scope, grouped=grouped, public=public)
    found = key(node, scope)
    return Item(found.kind, sources, found.nullable) if found else Item(None, sources)


def _walk(node: Node, scope: Scope, *, grouped: bool, public: bool) -> frozenset[tuple[str, str]]:
    kind = node["class"]
    if kind not in _KNOWN:
        words = {"SUBQUERY": "a subquery in an expression", "STAR": "COLUMNS or *"}.get(kind, kind.lower())
        raise Refused(f"{words} is not allowed: join a WITH table by its key instead")
    more = sorted(set(node) - _KNOWN[kind])
    if more:
        raise Refused(f"{kind.lower()} with `{more[0]}` is not allowed")
    if kind == "COLUMN_REF":
        if tree.names(node)[-1] == ROW:
            raise Refused(
                f"{ROW} is a row's place in the file, not a value: it may be passed through or order rows"
            )
        return scope.find(node).sources
    inner = grouped
    if kind == "OPERATOR" and node["type"] not in _OPERATORS:
        raise Refused(f"{node['type']} is not allowed")
    if kind == "FUNCTION":
        inner = _function(node, grouped=grouped)
    if kind == "WINDOW":
        _window(node, scope, public=public)
    orders = node.get("order_bys", {}).get("orders", []) + node.get("orders", []) + node.get("arg_orders", [])
    found: frozenset[tuple[str, str]] = frozenset()
    for each in orders:
        found |= check(each["expression"], scope, grouped=inner, public=public, order=True).sources
    rest = {
        name: part
        for name, part in node.items()
        if name not in ("class", "order_bys", "orders", "arg_orders")
    }
    for part in tree.expressions(rest):
        found |= _walk(part, scope, grouped=inner, public=public)
    return found


def _function(node: Node, *, grouped: bool) -> bool:
    """Let a call through; returns whether aggregates may stand inside it."""
    name = tree.function(node)
    if name in SCALARS:
        if node.get("distinct") or "filter" in node or node.get("order_bys", {}).get("orders"):
            raise Refused(f"{name} with DISTINCT, FILTER or ORDER BY is not allowed")
        return grouped
    if name not in AGGREGATES | ORDERED:
        raise Refused(f"the function {name} is not on the list (docs/mappings.md)")
    if not grouped:
        raise Refused(f"{name} without GROUP BY a key reads all customers' rows")
    if name in ORDERED and not node.get("order_bys", {}).get("orders"):
        raise Refused(f"{name} needs an ORDER BY inside, or it takes whichever row comes first")
    return False


def _window(node: Node, scope: Scope, *, public: bool) -> None:
    name = tree.function(node)
    if scope.single:
        raise Refused(
            f"{name} OVER looks at several rows, and the schema names no customer that they could share"
        )
    if name not in WINDOWS | AGGREGATES | ORDERED:
        raise Refused(f"the window function {name} is not on the list (docs/mappings.md)")
    if name not in AGGREGATES and not node.get("orders"):
        raise Refused(f"{name} needs an ORDER BY, or it takes whichever row comes first")
    if not public and not any(groups_by(each, scope) for each in node.get("partitions", [])):
        raise Refused(
            f"{name} OVER must be PARTITION BY a key (see `keys`; not of a LEFT JOIN's right side), or it reads all customers' rows"
        )

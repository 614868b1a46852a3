"""The allow-list for a mapping's SELECTs: every row they make depends on rows of one customer only.

Sound by induction over the tree. A row of a table belongs to one customer, the one its keys name (that no key is
shared by two is checked on the data, ``owners.py``). A scalar expression reads one row. A join on equal keys of the same
kind, a group and a window within one key put together rows of one customer. Nothing else is let through: what is
not known here is refused, also fields of nodes that this module does not know.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedrepay.client.data.mappings import mapping as mappings
from fedrepay.client.data.mappings import tree
from fedrepay.client.data.mappings.allowed import Item, Refused, Scope, check, groups_by
from fedrepay.client.data.mappings.functions import words
from fedrepay.client.data.mappings.mapping import DATA, OFFER
from fedrepay.client.data.mappings.relations import Relation, emptied, keyed, only
from fedrepay.client.data.mappings.tree import Node

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_SELECT = words(
    "type modifiers cte_map select_list from_table where_clause group_expressions group_sets "
    "aggregate_handling having qualify"
)
_TABLE = words("type alias query_location query_location_length table_name qualified_name")
_SUBQUERY = words("type alias query_location query_location_length subquery column_name_alias qualified_name")
_VALUES = words("type alias query_location query_location_length values")
_JOIN = words(
    "type query_location query_location_length left right condition join_type ref_type using_columns "
    "is_implicit"
)
_STAR = words("class type alias query_location query_location_length relation_name exclude_list replace_list")
_CTE = words("materialized query_node")


@dataclass(frozen=True)
class Fault:
    """Why a SELECT (``place``: ``sql``, ``outcomes.offers`` …) is not let through."""

    place: str
    said: str


@dataclass(frozen=True)
class CheckedSelects:
    """What the allow-list found.

    ``customer`` are the (table, column) pairs that the customer's column is read from, ``together`` says whether
    anything joins, groups or looks at several rows.
    """

    faults: tuple[Fault, ...]
    customer: frozenset[tuple[str, str]] = frozenset()
    together: bool = False


def checked(
    connection: "DuckDBPyConnection",
    given: mappings.Mapping,
    columns: Mapping[str, Collection[str]],
    customer: str | None,
    *,
    dated: bool,
) -> CheckedSelects:
    """Check a mapping's SELECTs.

    Args:
        connection: any; it parses.
        given: the mapping.
        columns: of each loaded table.
        customer: the schema's customer column; None where each row is a customer.
        dated: whether ``[outcomes]`` is used.
    """
    faults: list[Fault] = []
    sources: frozenset[tuple[str, str]] = frozenset()
    together = False
    tables = {name.lower(): {each.lower() for each in found} for name, found in columns.items()}
    for name in sorted(set(given.public) & tables.keys()):
        held = [each for each in sorted(tables[name]) if given.keys.kind(name, each)]
        if held or name == DATA:
            what = f"it holds the key {held[0]}" if held else "it holds the member's rows"
            faults.append(Fault("public", f"{name} cannot be a public table: {what}"))
    for place, sql in given.selects.items():
        if place != "sql" and not dated:
            continue
        parsed = tree.parsed(connection, sql)
        together = together or parsed is None or tree.together(parsed)
        try:
            out = _Select(given, tables, single=customer is None).query(parsed, {})
            sources = _outputs(given, out, place, customer, dated=dated) or sources
        except Refused as error:
            faults.append(Fault(place, str(error)))
    return CheckedSelects(tuple(faults), sources, together)


def _outputs(
    given: mappings.Mapping, out: Relation, place: str, customer: str | None, *, dated: bool
) -> frozenset[tuple[str, str]]:
    """Check whose rows come out; returns what the customer's column is read from."""
    if out.public:
        raise Refused("it reads no table that holds rows of customers")
    if dated and OFFER in out.columns and out.columns[OFFER].kind != "offer":
        raise Refused(f"{OFFER} must be a column that `keys` calls an offer key, as it stands")
    if place != "sql" or customer is None or customer.lower() not in out.columns:
        return frozenset()
    item = out.columns[customer.lower()]
    kinds = {given.keys.kind(*source) for source in item.sources}
    if given.keys.customer and kinds != {"customer"}:
        raise Refused(
            f"{customer} must be made of columns that `keys` calls customer keys, and of nothing else"
        )
    if not given.keys.customer and len({table for table, _ in item.sources}) != 1:
        raise Refused(f"{customer} must be made of columns of one table, or `keys` must name customer keys")
    return item.sources


class _Select:
    def __init__(
        self, given: mappings.Mapping, tables: Mapping[str, Collection[str]], *, single: bool
    ) -> None:
        self._given, self._tables, self._single = given, tables, single

    def query(self, node: Node | None, outer: Mapping[str, Relation]) -> Relation:
        """Check one query node; ``outer`` are the CTEs it may read."""
        if node is None or node.get("type") != "SELECT_NODE":
            found = (
                "what DuckDB cannot write as a tree (PIVOT and the like)" if node is None else node["type"]
            )
            words = {
                "SET_OPERATION_NODE": "UNION, INTERSECT or EXCEPT",
                "RECURSIVE_CTE_NODE": "WITH RECURSIVE",
            }
            raise Refused(f"{words.get(found, found)} is not allowed")
        only(node, _SELECT, "a SELECT")
        for modifier in node.get("modifiers", []):
            if modifier["type"] != "ORDER_MODIFIER":
                raise Refused(
                    f"{modifier['type'].removesuffix('_MODIFIER')} chooses among all customers' rows"
                )
        if node.get("aggregate_handling", "STANDARD_HANDLING") != "STANDARD_HANDLING":
            raise Refused("GROUP BY ALL is not allowed: name the key")
        known = dict(outer)
        for entry in node.get("cte_map", {}).get("map", []):
            only(entry["value"], _CTE, "WITH")
            name = entry["key"].lower()
            made = self.query(entry["value"]["query_node"], known)
            known[name] = Relation(name, made.columns, made.public)
        relations = self._from(node["from_table"], known)
        return self._body(node, relations)

    def _body(self, node: Node, relations: list[Relation]) -> Relation:
        public = all(each.public for each in relations)
        scope = Scope({each.name: each.columns for each in relations}, single=self._single)
        items: list[tuple[str, Item]] = []
        stars = [each for each in node["select_list"] if each["class"] == "STAR"]
        plain = [each for each in node["select_list"] if each["class"] != "STAR"]
        groups = self._groups(node, plain, stars, scope, public=public)
        grouped = public or groups
        for each in stars:
            items += self._star(each, relations, scope)
        for each in plain:
            made = check(each, scope, grouped=grouped, public=public, output=True)
            name = tree.alias(each)
            if name:
                items.append((name, made))
                scope.aliases.setdefault(name, made)
        for name, may in (("where_clause", False), ("having", grouped), ("qualify", grouped)):
            if name in node:
                check(node[name], scope, grouped=may, public=public)
        for modifier in node.get("modifiers", []):
            for order in modifier["orders"]:
                check(order["expression"], scope, grouped=grouped, public=public, order=True)
        columns: dict[str, Item] = {}
        for name, made in items:  # of two columns with one name neither is a key
            columns[name] = made if name not in columns else Item(None, columns[name].sources | made.sources)
        return Relation("", columns, public)

    def _groups(
        self, node: Node, plain: list[Node], stars: list[Node], scope: Scope, *, public: bool
    ) -> bool:
        """Whether rows are grouped, by a key."""
        given = node.get("group_expressions", [])
        if not given:
            return False
        if self._single:
            raise Refused(
                "GROUP BY puts rows together, and the schema names no customer that they could share"
            )
        if node.get("group_sets") != [list(range(len(given)))]:
            raise Refused("GROUPING SETS, ROLLUP and CUBE make rows of all customers together")
        found = []
        for each in given:
            place = each.get("literal", {}) if each["class"] == "CONSTANT" else {}
            if place.get("kind") == "INTEGER" and not stars and 1 <= int(place["text"]) <= len(plain):
                each = plain[int(place["text"]) - 1]  # noqa: PLW2901 - GROUP BY 1
            elif each["class"] == "COLUMN_REF" and len(tree.names(each)) == 1:
                name = tree.names(each)[0]
                if any(name in columns for columns in scope.relations.values()):
                    _no_other_meaning(name, plain)
                else:
                    each = next((one for one in plain if tree.alias(one) == name), each)  # noqa: PLW2901
            check(each, scope, grouped=False, public=public)
            found.append(groups_by(each, scope))
        if not public and not any(found):
            raise Refused(
                "GROUP BY must name a key (see `keys`; not of a LEFT JOIN's right side), or it groups several "
                "customers' rows"
            )
        return True

    def _star(self, node: Node, relations: list[Relation], scope: Scope) -> list[tuple[str, Item]]:
        only(node, _STAR, "*")
        wanted = str(node.get("relation_name", "")).lower()
        left_out = {str(each).lower() for each in node.get("exclude_list", [])}
        chosen = [each for each in relations if not wanted or each.name == wanted]
        items = {name: item for each in reversed(chosen) for name, item in each.columns.items()}
        for entry in node.get("replace_list", []):
            items[str(entry["key"]).lower()] = check(entry["value"], scope, grouped=False, public=False)
        return [(name, item) for name, item in items.items() if name not in left_out]

    def _from(self, node: Node, known: Mapping[str, Relation]) -> list[Relation]:
        kind = node["type"]
        if kind == "BASE_TABLE":
            return [self._table(node, known)]
        if kind == "SUBQUERY":
            return [self._subquery(node, known)]
        if kind == "EMPTY":
            return [Relation("", {}, public=True)]
        if kind == "EXPRESSION_LIST":
            only(node, _VALUES, "VALUES")
            for each in tree.expressions(node["values"]):
                check(each, Scope({}, single=self._single), grouped=False, public=True)
            return [Relation(str(node.get("alias", "")).lower(), {}, public=True)]
        if kind == "JOIN":
            return self._join(node, known)
        words = {"TABLE_FUNCTION": "a table function"}.get(kind, kind)
        name = f" ({tree.function(node['function'])})" if kind == "TABLE_FUNCTION" else ""
        raise Refused(f"{words}{name} in FROM is not allowed: read the tables of the mapping")

    def _table(self, node: Node, known: Mapping[str, Relation]) -> Relation:
        only(node, _TABLE, f"the table {node.get('table_name')}")
        name = str(node["table_name"]).lower()
        called = str(node.get("alias") or name).lower()
        if len(node["qualified_name"]["path"]) > 1:
            raise Refused(f"{name} is named with a schema: read the tables of the mapping")
        if name in known:
            return Relation(called, known[name].columns, known[name].public)
        if name not in self._tables:
            raise Refused(f"there is no table {name} in the mapping")
        kinds = {each: self._given.keys.kind(name, each) for each in self._tables[name]}
        items = {each: Item(kind, frozenset({(name, each)})) for each, kind in kinds.items()}
        return Relation(called, items, name in self._given.public)

    def _subquery(self, node: Node, known: Mapping[str, Relation]) -> Relation:
        only(node, _SUBQUERY, "a subquery in FROM")
        made = self.query(node["subquery"]["node"], known)
        again = [str(each).lower() for each in node.get("column_name_alias", [])]
        if again and not made.public:
            raise Refused("columns of a subquery are renamed outside it: name them in its SELECT")
        columns = {each: Item(None, frozenset()) for each in again} if again else made.columns
        return Relation(str(node.get("alias", "")).lower(), columns, made.public)

    def _join(self, node: Node, known: Mapping[str, Relation]) -> list[Relation]:
        kind, how = node.get("join_type", "INNER"), node.get("ref_type", "REGULAR")
        if how != "REGULAR" or kind not in ("INNER", "LEFT") or node.get("is_implicit"):
            words = "a comma or CROSS join" if how == "CROSS" else f"{kind if how == 'REGULAR' else how} JOIN"
            raise Refused(f"{words} is not allowed: JOIN or LEFT JOIN … ON an equality of keys")
        only(node, _JOIN, "JOIN")
        if self._single:
            raise Refused("JOIN puts rows together, and the schema names no customer that they could share")
        left, right = self._from(node["left"], known), self._from(node["right"], known)
        both = [each.name for each in (*left, *right)]
        if len(set(both)) < len(both):
            raise Refused(f"two tables are called {max(both, key=both.count)}: give each an alias of its own")
        scope = Scope({each.name: each.columns for each in (*left, *right)}, single=self._single)
        if "condition" in node:
            check(node["condition"], scope, grouped=False, public=False)
        known_to_all = all(each.public for each in right) or (
            kind == "INNER" and all(each.public for each in left)
        )
        if not known_to_all and not keyed(node, left, right, scope):
            raise Refused(
                "JOIN must hold an equality of two keys of the same kind, one of each side "
                "(`keys` names them; a table without any customer's data can be declared in `public`)"
            )
        return [*left, *(emptied(each) if kind == "LEFT" else each for each in right)]


def _no_other_meaning(name: str, plain: list[Node]) -> None:
    """A name to group by must not also name another expression."""
    for each in plain:
        if tree.alias(each) == name and not (each["class"] == "COLUMN_REF" and tree.names(each)[-1] == name):
            raise Refused(f"GROUP BY {name} could mean a column or an expression called so: rename one")

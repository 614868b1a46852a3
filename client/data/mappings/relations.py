"""What stands in a FROM of a mapping, and which joins keep customers apart."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from fedrepay.client.data.mappings.allowed import Item, Refused, Scope, key
from fedrepay.client.data.mappings.tree import Node


@dataclass(frozen=True)
class Relation:
    """What stands in a FROM: its name, its columns by lower-case name, whether it holds no customer's row."""

    name: str
    columns: Mapping[str, Item]
    public: bool


def emptied(right: Relation) -> Relation:
    """The right side of a LEFT JOIN: where nothing fits its keys are empty, and many customers share that."""
    columns = {name: replace(each, nullable=True) for name, each in right.columns.items()}
    return replace(right, columns=columns)


def keyed(node: Node, left: list[Relation], right: list[Relation], scope: Scope) -> bool:
    """Whether a join's condition demands that keys of the same kind are equal."""
    owned = [[each for each in side if not each.public] for side in (left, right)]
    for name in (str(each).lower() for each in node.get("using_columns", [])):
        kinds = [{each.columns[name].kind for each in side if name in each.columns} for side in (left, right)]
        if len(kinds[0]) == 1 and kinds[0] == kinds[1] and None not in kinds[0]:
            return True
    condition = node.get("condition", {})
    parts = condition["children"] if condition.get("type") == "CONJUNCTION_AND" else [condition]
    for each in parts:
        if each.get("type") != "COMPARE_EQUAL":
            continue
        found = [key(each[side], scope) for side in ("left", "right")]
        if found[0] is None or found[1] is None or found[0].kind != found[1].kind:
            continue
        tables = [scope.table(each[side]) for side in ("left", "right")]
        for first, second in (tables, tables[::-1]):
            if any(first == one.name for one in owned[0]) and any(second == one.name for one in owned[1]):
                return True
    return False


def only(node: Node, known: Collection[str], what: str) -> None:
    """Refuse fields of a node that are not known here."""
    more = sorted(set(node) - set(known))
    if more:
        raise Refused(f"{what} with `{more[0]}` is not allowed")

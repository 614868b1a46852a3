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
    if any(_one_kind(str(name).lower(), left, right) for name in node.get("using_columns", [])):
        return True
    condition = node.get("condition", {})
    parts = condition["children"] if condition.get("type") == "CONJUNCTION_AND" else [condition]
    return any(_equal_keys(each, left, right, scope) for each in parts)


def _one_kind(name: str, left: list[Relation], right: list[Relation]) -> bool:
    """Whether the columns of that name, which USING sets equal, are keys of one kind."""
    kinds = [{each.columns[name].kind for each in side if name in each.columns} for side in (left, right)]
    return len(kinds[0]) == 1 and kinds[0] == kinds[1] and None not in kinds[0]


def _equal_keys(part: Node, left: list[Relation], right: list[Relation], scope: Scope) -> bool:
    """Whether a comparison sets a customer's key on one side equal to its like on the other."""
    if part.get("type") != "COMPARE_EQUAL":
        return False
    first, second = (key(part[side], scope) for side in ("left", "right"))
    if first is None or second is None or first.kind != second.kind:
        return False
    one, other = (scope.table(part[side]) for side in ("left", "right"))
    here, there = ({each.name for each in side if not each.public} for side in (left, right))
    return (one in here and other in there) or (other in here and one in there)


def only(node: Node, known: Collection[str], what: str) -> None:
    """Refuse fields of a node that are not known here."""
    more = sorted(set(node) - set(known))
    if more:
        raise Refused(f"{what} with `{more[0]}` is not allowed")

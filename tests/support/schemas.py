"""Small schemas, written as text, for tests of data and code books."""

from collections.abc import Sequence

HEAD = 'name = "small"\nversion = 1\n[public]\nn_max = {n_max}\nprior = 0.3\n{public}\n'
OUTCOME = '[[columns]]\nname = "late"\nrole = "outcome"\ntype = "integer"\ngood = 0\n'
CUSTOMER = '[[columns]]\nname = "who"\nrole = "customer"\ntype = "text"\n'


def column(name: str, kind: str = "number", role: str = "account", **given: object) -> str:
    """One column's TOML; numbers get bounds and edges unless given."""
    if kind in ("number", "integer") and role in ("account", "plan") and "bounds" not in given:
        given = {"bounds": [0, 100], "edges": [10, 20, 50], **given}
    lines = ["[[columns]]", f'name = "{name}"', f'role = "{role}"', f'type = "{kind}"']
    return "\n".join([*lines, *(f"{key} = {toml(value)}" for key, value in given.items())]) + "\n"


def cross(first: str, second: str, edges: Sequence[object]) -> str:
    """One cross's TOML."""
    return f'[[crosses]]\ncolumns = ["{first}", "{second}"]\nedges = {toml(edges)}\n'


def schema(*parts: str, public: str = "", n_max: int = 1000, customer: bool = True) -> str:
    """A whole schema: the given parts, a customer and an outcome."""
    ends = (CUSTOMER if customer else "") + OUTCOME
    crosses = [part for part in parts if part.startswith("[[crosses]]")]
    columns = [part for part in parts if part not in crosses]
    return HEAD.format(n_max=n_max, public=public) + ends + "".join(columns) + "".join(crosses)


def toml(value: object) -> str:
    """A value as TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(each) for each in value) + "]"
    return str(value)

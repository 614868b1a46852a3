"""One word, one thing: no two classes of the package share a name."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SIDES = ("shared", "client", "server", "simulations")


def named_twice(root: Path) -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in sorted(
        each for side in SIDES for each in (root / side).rglob("*.py") if "_pb2" not in each.name
    ):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(root)))
    return {name: places for name, places in found.items() if len(places) > 1}


def test_a_class_name_means_one_thing() -> None:
    assert named_twice(ROOT) == {}


def test_control_a_second_class_of_a_name_is_found(tmp_path: Path) -> None:
    for side in ("client", "server"):
        (tmp_path / side).mkdir()
        (tmp_path / side / "a.py").write_text("class Limits: ...\n")
    with pytest.raises(AssertionError):
        assert named_twice(tmp_path) == {}
    assert named_twice(tmp_path) == {"Limits": ["client/a.py", "server/a.py"]}

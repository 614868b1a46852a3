"""What ``make mutants`` is told to change and to run is there."""

import tomllib
from pathlib import Path

TESTS = Path(__file__).parents[2]


def test_files_and_tests_of_every_target_are_there() -> None:
    targets = tomllib.loads((TESTS / "mutation" / "targets.toml").read_text())
    assert len(targets) > 10
    files = {TESTS.parent / name for each in targets.values() for name in each["files"]}
    tests = {TESTS / name for each in targets.values() for name in each["tests"]}
    assert {path for path in files | tests if not path.exists()} == set()


def test_what_is_explained_is_of_a_target() -> None:
    targets = tomllib.loads((TESTS / "mutation" / "targets.toml").read_text())
    explained = tomllib.loads((TESTS / "mutation" / "explained.toml").read_text())["mutant"]
    files = {name for each in targets.values() for name in each["files"]}
    assert {each["file"] for each in explained} <= files

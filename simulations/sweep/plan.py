"""A sweep's FILE: settings of ``fedrepay simulate`` that are fixed, settings that vary, and seeds; checked as a whole."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import content_of, read_bytes
from fedrepay.simulations.run.arguments import Arguments, MarketArguments
from fedrepay.simulations.run.case_of import SHIPPED_NAME, arguments_of

ROWS = {
    "schema": str,
    "mapping": str,
    "test": str,
    "split": str,
    "model": str,
    "sampling_rate": float,
    "local_steps": int,
    "clip": float,
    "learning_rate": float,
}
MARKET = {"market": str, "scale": float, "accounts": int, "redraws": int, "settings": str}
BOTH = {
    "epsilon": float,
    "delta": float,
    "colluders": int,
    "mode": str,
    "rounds": int,
    "learner": str,
    "drop": list,
    "baselines": bool,
    "engine": str,
}
TYPES: dict[str, type] = {"data": str, "members": int, **ROWS, **MARKET, **BOTH}
"""Options of ``fedrepay simulate`` that a FILE may set; ``seeds`` stand for ``--seed``."""
FILES = ("data", "schema", "mapping", "test", "settings")
_WORDS = {
    str: "text",
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    list: "a list of texts",
}
MOST_VALUES, MOST_SEEDS, MOST_RUNS = 100, 100, 2000
Settings = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """One combination of the grid's values; ``name`` is its folder's."""

    name: str
    varied: Settings
    settings: Settings

    def arguments(self, seed: int) -> Arguments | MarketArguments:
        """The simulation of this point and seed.

        Raises:
            ArgumentError: its options do not go together.
        """
        given = self.settings
        both = {name: given[name] for name in BOTH if name in given} | {"seed": seed}
        both["drop"] = tuple(given.get("drop", ()))
        market = {name: given.get(name) for name in MARKET if name != "market"}
        made = arguments_of(
            given.get("data"),
            given.get("members"),
            rows={name: given.get(name) for name in ROWS},
            market={"preset": given.get("market"), **market},
            both=both,
        )
        made.check()
        return made


@dataclass(frozen=True)
class Sweep:
    """What a FILE asks for: every point of the grid with every seed."""

    fixed: Settings
    grid: dict[str, list[Any]]
    seeds: list[int]

    def points(self) -> tuple[Point, ...]:
        """All combinations, the last option of the grid varying fastest."""
        found = []
        for number, values in enumerate(product(*self.grid.values()), start=1):
            varied = dict(zip(self.grid, values, strict=True))
            words = "-".join([f"{number:03d}", *(f"{key}={_plain(value)}" for key, value in varied.items())])
            name = re.sub(r"[^A-Za-z0-9=._-]+", "-", words)[:100]
            found.append(Point(name, varied, self.fixed | varied))
        return tuple(found)

    def facts(self) -> dict[str, Any]:
        """What makes two starts the same sweep."""
        fixed = {f"fixed.{key}": value for key, value in self.fixed.items()}
        return fixed | {f"grid.{key}": value for key, value in self.grid.items()} | {"seeds": self.seeds}


def load(path: Path) -> Sweep:
    """Read and check a FILE; paths in it are relative to it.

    Raises:
        ArgumentError: naming the key and its bound.
    """
    data = read_bytes(path, ArgumentError)
    read = content_of(data, str(path), ArgumentError, "docs/sweeps.md has an example.")
    unknown = sorted(set(read) - {"fixed", "grid", "seeds"})
    if unknown:
        raise ArgumentError(
            f"{path}: {unknown[0]} is unknown.", "At the top stand seeds, and the tables [fixed] and [grid]."
        )
    fixed = {
        _key(path, "fixed", key): value for key, value in _table(path, "fixed", read.get("fixed", {})).items()
    }
    grid = {
        _key(path, "grid", key): value for key, value in _table(path, "grid", read.get("grid", {})).items()
    }
    if not grid:
        raise ArgumentError(f"{path}: [grid] is empty.", "Give at least one option a list of values.")
    both = sorted(set(fixed) & set(grid))
    if both:
        raise ArgumentError(
            f"{path}: {both[0]} stands in [fixed] and in [grid].", "Leave it out of one of the two."
        )
    fixed = {key: _value(path, f"fixed.{key}", key, value) for key, value in fixed.items()}
    for key, values in grid.items():
        if not isinstance(values, list) or not 1 <= len(values) <= MOST_VALUES:
            raise ArgumentError(
                f"{path}: grid.{key} must be a list of 1 … {MOST_VALUES} values.", "[fixed] is for one value."
            )
        grid[key] = [_value(path, f"grid.{key}[{at}]", key, value) for at, value in enumerate(values)]
        if any(value in grid[key][:at] for at, value in enumerate(grid[key])):
            raise ArgumentError(f"{path}: grid.{key} names a value twice.", "Leave one of them out.")
    sweep = Sweep(fixed, grid, _seeds(path, read.get("seeds", [1])))
    runs = len(sweep.points()) * len(sweep.seeds)
    if runs > MOST_RUNS:
        raise ArgumentError(
            f"{path} asks for {runs} runs; {MOST_RUNS} is the most.", "Use several files, or fewer values."
        )
    return sweep


def _table(path: Path, name: str, found: object) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise ArgumentError(f"{path}: {name} is not a table.", f"Write [{name}] and its options below it.")
    return found


def _key(path: Path, table: str, key: str) -> str:
    plain = key.replace("-", "_")
    if plain == "seed":
        raise ArgumentError(f"{path}: {table}.seed is not set here.", "Write seeds = [1, 2, 3] at the top.")
    if plain not in TYPES:
        raise ArgumentError(
            f"{path}: {table}.{key} is not an option of simulate that a sweep sets.",
            f"Known: {', '.join(TYPES)}.",
        )
    return plain


def _value(path: Path, where: str, key: str, value: object) -> Any:
    wanted = TYPES[key]
    if wanted is float and type(value) is int:
        value = float(value)
    right = type(value) is wanted
    if wanted is list and right:
        right = all(isinstance(each, str) for each in value)  # type: ignore[attr-defined]
    if not right:
        raise ArgumentError(f"{path}: {where} is {value!r}, not {_WORDS[wanted]}.", "Write it as TOML does.")
    if key in FILES and not (key == "data" and value == SHIPPED_NAME):
        return str(path.resolve().parent / str(value))
    return value


def _seeds(path: Path, found: object) -> list[int]:
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_SEEDS:
        raise ArgumentError(
            f"{path}: seeds must be a list of 1 … {MOST_SEEDS} whole numbers.", "For example [1, 2, 3]."
        )
    for at, seed in enumerate(found):
        if type(seed) is not int or not 0 <= seed < 2**31 or seed in found[:at]:
            raise ArgumentError(
                f"{path}: seeds[{at}] is {seed!r}, not another whole number of 0 … 2,147,483,647.",
                "Change it.",
            )
    return found


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return "+".join(map(str, value)) or "none"
    return Path(value).name if isinstance(value, str) else str(value).lower()

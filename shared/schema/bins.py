"""How values fall into bins: one layout per block, shared by the code book and the encoder."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from fedrepay.shared.arrays import F64, U16, Objects
from fedrepay.shared.schema.columns import PAIR, Column
from fedrepay.shared.schema.model import Schema

MISSING = "missing"
Values = F64 | Objects


@dataclass(frozen=True)
class Side:
    """The bins of one column: by edges, or by groups of categories; the missing bin is the last."""

    column: str
    edges: tuple[float, ...]
    groups: tuple[tuple[str, ...], ...]
    labels: tuple[str, ...]
    has_missing: bool

    def codes(self, values: Values) -> U16:
        """Bins of canonical values, (n,).

        Args:
            values: float64 with NaN, or objects with None, for missing; already clipped or refused.

        Raises:
            ValueError: a missing or unseen value where there is no missing bin.
        """
        last = len(self.labels) - 1 if self.has_missing else -1
        if self.groups:
            of = {category: code for code, group in enumerate(self.groups) for category in group}
            found = np.array([of.get(value, last) for value in values], dtype=np.int64)
        else:
            numbers = np.asarray(values, dtype=np.float64)
            found = np.searchsorted(np.asarray(self.edges), numbers, side="right").astype(np.int64)
            found[np.isnan(numbers)] = last
        if (found < 0).any():
            raise ValueError(f"{self.column}: a missing or unseen value, and no bin for it")
        return found.astype(np.uint16)


@dataclass(frozen=True)
class Layout:
    """The bins of one block: one side for a feature, two for a cross (the second runs fastest)."""

    name: str
    kind: Literal["feature", "cross"]
    sides: tuple[Side, ...]
    ordered: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns the block reads."""
        return tuple(side.column for side in self.sides)

    @property
    def size(self) -> int:
        """Number of bins."""
        return math.prod(len(side.labels) for side in self.sides)

    @property
    def has_missing(self) -> bool:
        """Whether the last bin of a feature is the missing one."""
        return self.kind == "feature" and self.sides[0].has_missing

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per bin."""
        if self.kind == "feature":
            return self.sides[0].labels
        return tuple(PAIR.join((a, b)) for a in self.sides[0].labels for b in self.sides[1].labels)

    def codes(self, columns: dict[str, Values]) -> U16:
        """Bins of each row, (n,), from canonical columns."""
        first = self.sides[0].codes(columns[self.sides[0].column])
        if self.kind == "feature":
            return first
        second = self.sides[1].codes(columns[self.sides[1].column])
        return (first.astype(np.int64) * len(self.sides[1].labels) + second).astype(np.uint16)


def layouts(schema: Schema) -> tuple[Layout, ...]:
    """All blocks but the intercept: features in schema order, then crosses."""
    found = [
        Layout(column.name, "feature", (side(column),), ordered=column.type != "category")
        for column in schema.features
    ]
    for cross in schema.crosses:
        pair = [schema.column(name) for name in cross.columns]
        sides = tuple(side(column, edges) for column, edges in zip(pair, cross.edges, strict=True))
        found.append(Layout(cross.name, "cross", sides, ordered=False))
    return tuple(found)


def side(column: Column, edges: tuple[float, ...] | tuple[tuple[str, ...], ...] | None = None) -> Side:
    """The bins of a column, by its own edges or by coarser ones given (a cross's side)."""
    missing = column.missing == "bin"
    last = (MISSING,) if missing else ()
    if column.type == "category":
        groups = tuple(each for each in edges or () if isinstance(each, tuple))
        groups = groups or tuple((category,) for category in column.categories)
        labels = tuple(" or ".join(group) for group in groups)
        return Side(column.name, (), groups, labels + last, missing)
    numbers = tuple(float(each) for each in edges or column.edges if not isinstance(each, tuple))
    return Side(column.name, numbers, (), _labels(column, numbers) + last, missing)


def number(value: float) -> str:
    """A number as people read it: 20,000; 0.05; -1."""
    return f"{int(value):,}" if value == int(value) and abs(value) < 1e15 else f"{value:g}"


def _labels(column: Column, edges: tuple[float, ...]) -> tuple[str, ...]:
    """``< 20,000``, ``20,000 to 50,000``, ``≥ 50,000``; whole numbers by name where a bin holds few."""
    if column.type != "integer" or column.bounds is None:
        inner = [f"{number(a)} to {number(b)}" for a, b in pairwise(edges)]
        return (f"< {number(edges[0])}", *inner, f"≥ {number(edges[-1])}")
    low, high = column.bounds
    lows = [math.ceil(low), *(math.ceil(edge) for edge in edges)]
    highs = [*(math.ceil(edge) - 1 for edge in edges), math.floor(high)]
    labels = [
        number(a) if a == b else f"{number(a)} to {number(b)}" for a, b in zip(lows, highs, strict=True)
    ]
    if lows[0] < highs[0]:
        labels[0] = f"≤ {number(highs[0])}"
    if lows[-1] < highs[-1]:
        labels[-1] = f"≥ {number(lows[-1])}"
    return tuple(labels)

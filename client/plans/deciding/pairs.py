"""Codes and logits of n accounts × P candidate plans, without the (n·P, blocks) matrix of codes.

What depends on the account alone is coded once an account, what is the same for an arm everywhere once an
arm; only the rest is coded for each pair. Derived columns run as the same checked SQL as in training.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.reading.columns import Derivation, checked
from fedrepay.client.data.reading.files import sandbox
from fedrepay.client.scoring.score import block_effects
from fedrepay.shared.arrays import F64, U8, U16, Bool
from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.catalogue import Arms
from fedrepay.shared.plans.kinds import CHANNELS, FREQUENCIES, KINDS
from fedrepay.shared.schema import bins, encode, expressions
from fedrepay.shared.schema.bins import Side, Values
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.schema.columns import Column

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Codes = npt.NDArray[np.unsignedinteger[Any]]
Scope = Literal["account", "arm", "pair"]

OF_ARM = ("kind", "frequency", "channel", "discount", "interest_waiver", "fee_waiver")
OF_PAIR = ("months", "monthly", "instalment", "count", "total", "first_due")
"""The plan columns that candidates have; a schema's other plan columns must be derived."""
_SMALL = 256
_FEW = 5_000
"""Fewer numbers than this are looked up among the edges, which costs less calls; of more a comparison an edge costs less time."""


@dataclass(frozen=True, eq=False)
class PairCodes:
    """Codes of all blocks but the intercept, each (n, 1), (1, P) or (n, P)."""

    blocks: tuple[Codes, ...]
    shape: tuple[int, int]

    def logits(self, effects: Sequence[F64]) -> F64:
        """Σ of the blocks' effects and the intercept's, (n, P).

        Args:
            effects: log-odds of each bin of each block, the intercept's last (``block_effects``).
        """
        account, arm = np.full((self.shape[0], 1), effects[-1][0]), np.zeros((1, self.shape[1]))
        pair: list[F64] = []
        for codes, effect in zip(self.blocks, effects, strict=False):
            if codes.shape[1] == 1:
                account += effect[codes]
            elif codes.shape[0] == 1:
                arm += effect[codes]
            else:
                pair.append(np.take(effect, codes))
        total = account + arm
        for each in pair:
            total += each
        return total

    def of(self, rows: npt.NDArray[np.integer], arms: npt.NDArray[np.integer]) -> U16:
        """Codes of chosen pairs, (m, blocks), from (m,) accounts and (m,) arms."""
        found = np.empty((len(rows), len(self.blocks)), np.uint16)
        for place, codes in enumerate(self.blocks):
            found[:, place] = codes[rows if codes.shape[0] > 1 else 0, arms if codes.shape[1] > 1 else 0]
        return found


@dataclass(frozen=True, eq=False)
class _Level:
    """Derived columns that one SELECT computes, and what they read."""

    compute: Derivation
    needs: tuple[str, ...]

    def run(self, known: Mapping[str, Values], shape: tuple[int, ...]) -> dict[str, Values]:
        return self.compute.run({name: known[name] for name in self.needs}, shape)


class PairEncoder:
    """Codes pairs of one book and one catalogue; keeps one DuckDB connection until ``close``.

    Raises:
        ReleaseError: the book reads a plan column that candidates do not have.
    """

    def __init__(self, book: CodeBook, arms: Arms) -> None:
        self.book, self.arms = book, arms
        self.columns = {column.name: column for column in book.schema.columns if column.is_input}
        self.layouts = bins.layouts(book.schema)
        self.scope, levels = _planned(self.columns)
        self._stack = ExitStack()
        connection = self._stack.enter_context(sandbox())
        self._account_levels, self._pair_levels = (
            [_level(connection, self.columns, names, f"{side}{place}") for place, names in enumerate(each)]
            for side, each in levels.items()
        )
        self._known_arm = np.ones((1, len(arms.kind)), np.bool_)
        self._arm: dict[str, Values] = {}
        for name in OF_ARM:
            if name in self.columns:
                values, usable = settled(self.columns[name], _of_arm(arms, name))
                self._arm[name] = values
                self._known_arm &= usable
        self._sides = tuple(dict.fromkeys(side for layout in self.layouts for side in layout.sides))
        self._places = [tuple(self._sides.index(side) for side in layout.sides) for layout in self.layouts]
        self._arm_sides = {
            place: _side_codes(side, self._arm[side.column])
            for place, side in enumerate(self._sides)
            if side.column in self._arm
        }

    def close(self) -> None:
        """Close the connection."""
        self._stack.close()

    @cached_property
    def account_columns(self) -> tuple[Column, ...]:
        """The columns to be read of an account, in schema order."""
        return tuple(
            column
            for name, column in self.columns.items()
            if column.derived is None and self.scope[name] == "account"
        )

    def derive_accounts(self, values: Mapping[str, Values], rows: int) -> tuple[dict[str, Values], Bool]:
        """Complete accounts' settled columns by the derived ones; returns them and which rows may be used, (n,)."""
        known, usable = dict(values), np.ones(rows, np.bool_)
        for level in self._account_levels:
            for name, raw in level.run(known, (rows,)).items():
                known[name], fine = settled(self.columns[name], raw)
                usable &= fine
        return known, usable

    def encode(self, values: Mapping[str, Values], plans: Candidates) -> tuple[PairCodes, Bool]:
        """Code all pairs.

        Args:
            values: settled account columns, derived ones too, (n,) each.
            plans: the candidates, n × P.

        Returns:
            the codes, and which pairs the model knows (within the schema's bounds), (n, P).
        """
        shape = plans.valid.shape
        known: dict[str, Values] = dict(self._arm)
        usable = np.broadcast_to(self._known_arm, shape)
        for name in self.columns:
            if self.scope[name] == "account":
                known[name] = values[name][:, None]
        for name in OF_PAIR:
            if name in self.columns:
                known[name], fine = settled(self.columns[name], np.asarray(getattr(plans, name), np.float64))
                usable = usable & fine
        for level in self._pair_levels:
            for name, raw in level.run(known, shape).items():
                known[name], fine = settled(self.columns[name], raw)
                usable = usable & fine
        sides = [
            self._arm_sides[place] if place in self._arm_sides else _side_codes(side, known[side.column])
            for place, side in enumerate(self._sides)
        ]
        blocks = [
            sides[of[0]] if layout.kind == "feature" else _crossed(sides[of[0]], sides[of[1]], layout)
            for layout, of in zip(self.layouts, self._places, strict=True)
        ]
        return PairCodes(tuple(blocks), (shape[0], shape[1])), usable

    def effects(self, weights: F64) -> list[F64]:
        """Log-odds of each bin of each block of one head, the intercept's last."""
        return block_effects(self.book, weights)


def scopes(book: CodeBook) -> dict[str, Scope]:
    """What each column of accounts and plans hangs on."""
    return _planned({column.name: column for column in book.schema.columns if column.is_input})[0]


def _planned(columns: Mapping[str, Column]) -> tuple[dict[str, Scope], dict[str, list[list[str]]]]:
    """What each column hangs on, and the derived ones in levels of which one SELECT does each."""
    scope: dict[str, Scope] = {}
    level: dict[str, int] = {}
    levels: dict[str, list[list[str]]] = {"account": [], "pair": []}
    for name, column in columns.items():
        if column.derived is None:
            if column.role == "plan" and name not in (*OF_ARM, *OF_PAIR):
                raise ReleaseError(
                    f"The release's model reads the plan column {name}, which candidates do not have.",
                    f"Recommending needs plan columns among {', '.join((*OF_ARM, *OF_PAIR))}, or derived from them.",
                )
            scope[name] = "account" if column.role == "account" else "arm" if name in OF_ARM else "pair"
            continue
        needs = _needs(column)
        scope[name] = "account" if all(scope[each] == "account" for each in needs) else "pair"
        same = [level[each] + 1 for each in needs if columns[each].derived and scope[each] == scope[name]]
        level[name] = max(same, default=0)
        side = levels[scope[name]]
        side.extend([] for _ in range(level[name] + 1 - len(side)))
        side[level[name]].append(name)
    return scope, levels


def _level(
    connection: "DuckDBPyConnection", columns: Mapping[str, Column], names: Sequence[str], table: str
) -> _Level:
    order = list(columns)
    sql = {name: checked(columns[name], order[: order.index(name)]) for name in names}
    needs = sorted({each for name in names for each in _needs(columns[name])})
    return _Level(Derivation(connection, [columns[name] for name in names], sql, table), tuple(needs))


def _needs(column: Column) -> frozenset[str]:
    assert column.derived is not None  # noqa: S101 - callers ask first
    return expressions.columns_of(column.derived)


def _of_arm(arms: Arms, name: str) -> Values:
    lists = {"kind": KINDS, "frequency": FREQUENCIES, "channel": CHANNELS}
    if name in lists:
        codes: U8 = getattr(arms, name)
        return np.array(lists[name], dtype=object)[codes][None, :]
    return np.asarray(getattr(arms, name), np.float64)[None, :]


def settled(column: Column, values: Values) -> tuple[Values, Bool]:
    """Values of any shape brought inside the column's bounds as training does, and which could be."""
    if column.type == "category":
        flat, found = encode.settle(column, values.reshape(-1), np.zeros(values.size, np.bool_))
        fine = ~encode.refused_rows(found, values.size)
        return flat.reshape(values.shape), fine.reshape(values.shape)
    numbers = np.asarray(values, np.float64)
    low, high = encode.legal_range(column)
    missing = np.isnan(numbers)
    fine = np.isfinite(numbers)
    if column.type == "integer":
        fine &= numbers == np.floor(numbers)
    if column.outside == "refuse":
        fine &= (numbers >= low) & (numbers <= high)
    if column.missing == "bin":
        fine |= missing
    return np.clip(numbers, low, high), fine


def _side_codes(side: Side, values: Values) -> Codes:
    """``side.codes`` of any shape; a value without a bin gets 0 (its pair is not used)."""
    kind = np.dtype(np.uint8 if len(side.labels) <= _SMALL else np.uint16)
    last = len(side.labels) - 1 if side.has_missing else 0
    if side.groups:
        of = {category: code for code, group in enumerate(side.groups) for category in group}
        flat = [of.get(value, last) for value in np.asarray(values, object).reshape(-1)]
        return np.array(flat, kind).reshape(values.shape)
    numbers = np.asarray(values, np.float64)
    if numbers.size < _FEW:
        found: Codes = np.searchsorted(side.edges, numbers, side="right").astype(kind)
        found[np.isnan(numbers)] = 0
    else:
        found = np.zeros(numbers.shape, kind)
        for edge in side.edges:
            found += numbers >= edge
    if side.has_missing:
        found[np.isnan(numbers)] = last
    return found


def _crossed(first: Codes, second: Codes, layout: bins.Layout) -> Codes:
    kind = np.dtype(np.uint8 if layout.size <= _SMALL else np.uint16)
    width = kind.type(len(layout.sides[1].labels))
    return np.asarray(first.astype(kind) * width + second.astype(kind))

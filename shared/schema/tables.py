"""The tables of a code book: made from a schema, and checked when they come from a file."""

import math
from collections.abc import Sequence

import numpy as np

from fedrepay.shared.arrays import F64, I32
from fedrepay.shared.errors import SchemaError
from fedrepay.shared.schema import bins
from fedrepay.shared.schema.model import Schema

WORST_CONDITION = 1e3
"""Of a table that is inverted, by the release's projection or a public start: last bits in which processors differ are made
larger by as much, and members compare weights to 1e-9. Tables that are built reach 36 with up to 300 bins."""


def kernel_root(bins_: int) -> F64:
    """K^½ of K = 0.7·exp(−(i − j)²/2ℓ²) + 0.3·I, ℓ = 1.5·max(1, k/10), (k, k); rows have norm 1."""
    length = 1.5 * max(1.0, bins_ / 10)
    steps = np.subtract.outer(np.arange(bins_), np.arange(bins_))
    kernel = 0.7 * np.exp(-(steps**2) / (2 * length**2)) + 0.3 * np.eye(bins_)
    values, vectors = np.linalg.eigh(kernel)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def of(schema: Schema, layouts: Sequence[bins.Layout]) -> list[I32]:
    """trunc(S·share·E/√(Σ share² + 1)) of each block, then of the intercept, whose share is 1."""
    found = []
    for layout, share in zip((*layouts, None), _shares(schema), strict=True):
        embedding = np.eye(1 if layout is None else layout.size)
        if layout is not None and layout.ordered:
            ordered = layout.size - layout.has_missing
            if ordered > 2:
                embedding[:ordered, :ordered] = kernel_root(ordered)
        found.append(_grid(schema, share, embedding))
    return found


def _shares(schema: Schema) -> tuple[float, ...]:
    return (*schema.shares, 1.0)


def _grid(schema: Schema, share: float, embedding: F64) -> I32:
    """Parts of a row of length 1 in grid units, towards zero: the one place where they are rounded."""
    whole = math.sqrt(math.fsum(each * each for each in _shares(schema)))
    return np.trunc(schema.public.scale * share * embedding / whole).astype(np.int32)


def check_shapes(schema: Schema, layouts: Sequence[bins.Layout], matrices: Sequence[I32]) -> bool:
    """Whether tables from a file are as large as the schema's, in rows, columns, numbers and lengths of rows.

    Longer rows would be no leak, since Δ follows from the tables; they would make noise that nobody agreed to.
    """
    for layout, matrix, share in zip((*layouts, None), matrices, _shares(schema), strict=True):
        size = 1 if layout is None else layout.size
        if matrix.dtype != np.int32 or matrix.shape != (size, size):
            return False
        most = int(_grid(schema, share, np.ones((1, 1)))[0, 0])
        wide = matrix.astype(np.int64)  # in int32, |−2³¹| is negative
        if np.abs(wide).max() > most or (wide**2).sum(axis=1).max() > (most + 1) ** 2:
            return False
    return True


def check(schema: Schema, layouts: Sequence[bins.Layout], matrices: Sequence[I32], source: str) -> None:
    """Every bin is heard, and what a projection or a public start inverts can be inverted.

    Raises:
        SchemaError: naming the block.
    """
    starts = {block for block, _, _ in schema.starts}
    for index, (layout, matrix) in enumerate(zip((*layouts, None), matrices, strict=True)):
        name = "the intercept" if layout is None else layout.name
        if not matrix.any(axis=1).all():
            raise SchemaError(
                f"{source}: S = {schema.public.scale} leaves a bin of {name} nothing but zeros, beside so many and so long blocks.",
                "Raise public.scale, lower the largest shares, or raise this block's.",
            )
        monotone = layout is not None and any(schema.column(each).monotone for each in layout.columns)
        if (monotone or index in starts) and not np.linalg.cond(
            matrix.astype(np.float64), 1
        ) <= WORST_CONDITION:
            wish = "made monotone" if monotone else "started from public log-odds"
            raise SchemaError(
                f"{source}: the table of {name} cannot be inverted, so the model cannot be {wish}.",
                "Raise public.scale or the column's share, give it fewer edges, or drop `monotone` and `start`.",
            )


def check_starts(schema: Schema, source: str) -> None:
    """Public starts have one number a bin; raises SchemaError, naming column and bins."""
    layouts = bins.layouts(schema)
    for index, _, given in schema.starts:
        layout = layouts[index]
        if len(given) != layout.size:
            raise SchemaError(
                f"{source}: columns.{layout.name}.start: {len(given)} log-odds for {layout.size} bins ({'; '.join(layout.labels)}).",
                "Give one for each bin, in this order.",
            )

"""What a member's rows add to a secure sum: exact integers, one record at a time.

A record adds â·r̂·C to each head's gradient and the upper triangle of â·C·Cᵀ to the one Gram matrix, with C
its row of the code book, r̂ = trunc(⌊R·w⌋·(p − y)) for a head of weight w, 0 outside the head's population,
and â = ⌊2ᵇ·a⌋; a customer's weights a sum to at most 1. As Σw² ≤ 1, all heads' r̂ together are no longer
than one head's would be. A gradient is the difference of two sums of half its reach, which can be opened apart:
one of the labels alone, r̂ = ±⌊⌊R·w⌋/2⌋ for y − ½ = ±½, and one without labels, r̂ = trunc(⌊R·w⌋·(p − ½)). All products are whole numbers below 2⁵³, so float64 BLAS adds them exactly in any
order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.shared.errors import DataError, SchemaError
from fedrepay.shared.schema.model import KIND

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedrepay.client.data.reading.table import Table
    from fedrepay.shared.arrays import F64, I8, I64, U16, Objects
    from fedrepay.shared.schema.codebook import CodeBook

MANY_ROWS = 500
"""From so many rows, counting pairs of bins beats multiplying rows; both give the same integers."""

_CHUNK = 4096  # rows expanded at a time
_EXACT = 1 << 53  # float64 holds every integer up to here


@dataclass(frozen=True)
class Rows:
    """One member's frozen training rows, as integers.

    Attributes:
        book: the code book the codes point into.
        codes: bins, shape (n, blocks − 1).
        outcomes: 0 or 1, or −1 outside a head's population, int8, shape (n, H).
        weights: â in units of 2⁻ᵇ, whole numbers as float64, shape (n,).
        customers: how many distinct customers the rows belong to.
        owners: which customer each row belongs to, 0 … customers − 1, shape (n,).
        window: whose rows these are, as the ledger keeps it, UTF-8 (``client/protocol/snapshot.py``).
    """

    book: CodeBook
    codes: U16
    outcomes: I8
    weights: F64
    customers: int
    owners: I64
    window: bytes = b""


def from_table(book: CodeBook, table: Table) -> Rows:
    """A member's rows as it contributes them: all but those of plan kinds that stay local.

    Raises:
        DataError: the table was read without outcomes.
    """
    if table.outcomes is None:
        raise DataError("These rows carry no outcome.", "Read the table with its outcomes.")
    local = book.schema.public.local_kinds
    if local:
        table = table.take(~np.isin(table.values[KIND].astype(str), local))
    assert table.outcomes is not None  # noqa: S101 - taking rows keeps them
    return prepare(book, table.codes, table.outcomes, table.customers, table.propensity)


def prepare(
    book: CodeBook,
    codes: U16,
    outcomes: I8,
    customers: Objects,
    propensity: F64 | None,
) -> Rows:
    """Weigh each row: a = min(1, p_floor/p)/m for a customer of m rows, floored on the 2⁻ᵇ grid.

    Args:
        book: the code book.
        codes: bins, shape (n, blocks − 1); n may be 0.
        outcomes: 0 or 1, −1 outside the head's population, shape (n, H).
        customers: customer ids, shape (n,).
        propensity: p in (0, 1], shape (n,), exactly where the schema has a p_floor.

    Raises:
        DataError: if the arrays do not belong together, an outcome or a propensity is out of range.
    """
    n = len(customers)
    if codes.shape != (n, len(book.blocks) - 1) or outcomes.shape != (n, book.heads):
        raise DataError("Codes, outcomes and customers differ in length.", "Read the table again.")
    if not np.isin(outcomes, (-1, 0, 1)).all():
        raise DataError("An outcome is not -1, 0 or 1: it would weigh more than Δ allows.", "Read it again.")
    p_floor = book.schema.public.p_floor
    if (p_floor is None) != (propensity is None):
        raise DataError(
            "Propensities go with a schema that has p_floor, and only with one.", "Check the mapping."
        )
    number: dict[str, int] = {}
    owner = np.array([number.setdefault(str(each), len(number)) for each in customers], dtype=np.int64)
    counts = np.bincount(owner, minlength=len(number))
    most = (1 << book.weight_bits) // counts[owner].astype(np.int64)  # a = 1/m, exact
    weights = most.astype(np.float64)
    if p_floor is not None and propensity is not None:
        if propensity.shape != (n,) or not np.all((propensity > 0) & (propensity <= 1)):
            raise DataError("A propensity is not in (0, 1].", "Run `fedrepay member check-data`.")
        ratio = np.minimum(1.0, p_floor / propensity)
        scaled = (1 << book.weight_bits) * ratio / counts[owner]
        weights = np.minimum(np.floor(scaled), weights)  # never more than an unweighted row
    return Rows(book, codes, outcomes, weights, len(counts), owner)


def gradient(data: Rows, weights: F64) -> I64:
    """Σ â·r̂·C over the rows, one head after the other.

    Args:
        data: the rows.
        weights: the model, shape (H, d).

    Returns:
        shape (H·d,), in units of 1/(2ᵇ·⌊R·w⌋·S) of each head.
    """
    return _residuals(
        data, lambda rows, outcomes: _scales(data.book) * (_likely(data.book, rows, weights) - outcomes)
    )


def label(data: Rows) -> I64:
    """Σ â·r̂·C with r̂ = ⌊⌊R·w⌋/2⌋ where the outcome is 1 and minus that where it is 0, one head after the other.

    One customer moves it by at most Δ/2, Δ that of a gradient: |y − ½| is ½ exactly, so all heads' r̂ of a row have
    squares that add up to at most Σ(R·wₕ/2)² ≤ (R/2)², and a customer's â to at most 2ᵇ.

    Returns:
        shape (H·d,), in units of 1/(2ᵇ·2⌊⌊R·w⌋/2⌋·S) of each head.
    """
    halves = _scales(data.book) // 2
    return _residuals(data, lambda _, outcomes: halves * (2 * outcomes - 1))


def label_free(data: Rows, weights: F64) -> I64:
    """Σ â·r̂·C with r̂ = trunc(⌊R·w⌋·(p − ½)), one head after the other; a head's population is all that it sees of labels.

    One customer moves it by at most Δ/2, as a label sum: 0 ≤ p ≤ 1, so |r̂| ≤ ⌊⌊R·w⌋/2⌋.

    Args:
        data: the rows.
        weights: the model, shape (H, d).

    Returns:
        shape (H·d,), in units of 1/(2ᵇ·⌊R·w⌋·S) of each head.
    """
    return _residuals(data, lambda rows, _: _scales(data.book) * (_likely(data.book, rows, weights) - 0.5))


def _residuals(data: Rows, residual: Callable[[F64, I8], F64]) -> I64:
    """Σ â·trunc(r)·C of r (n, H) from some rows C (n, d) and outcomes (n, H); r counts as 0 outside a population."""
    book = data.book
    total = np.zeros((book.heads, book.dimension), dtype=np.int64)
    _check_exact(data, book.residual_scale * largest_entry(book))
    for start in range(0, len(data.outcomes), _CHUNK):
        part = slice(start, start + _CHUNK)
        rows, outcomes = book.rows(data.codes[part]), data.outcomes[part]
        whole = np.where(outcomes < 0, 0.0, np.trunc(residual(rows, outcomes)))
        total += ((data.weights[part, None] * whole).T @ rows).astype(np.int64)
    return total.ravel()


def _scales(book: CodeBook) -> F64:
    return np.array(book.residual_scales, dtype=np.float64)


def _likely(book: CodeBook, rows: F64, weights: F64) -> F64:
    """Probabilities of rows C (n, d) under weights (H, d), shape (n, H)."""
    return np.asarray(0.5 * (1.0 + np.tanh(rows @ weights.T / (2 * book.scale))))


def gram(data: Rows) -> I64:
    """Upper triangle of Σ â·C·Cᵀ, row by row, shape (d(d+1)/2,), in units of 1/(2ᵇ·S²).

    Raises:
        IndexError: a code beyond its block's bins.
    """
    book = data.book
    _check_exact(data, largest_entry(book) ** 2)
    widest = max(
        len(block.matrix) for block in book.blocks
    )  # pairs of two wide blocks are many, however few the rows
    many = len(data.codes) >= max(MANY_ROWS, widest)
    total = _gram_of_pairs(data) if many else _gram_of_rows(data)
    return total[np.triu_indices(book.dimension)].astype(np.int64)


def _gram_of_rows(data: Rows) -> F64:
    """Σ â·C·Cᵀ from the rows themselves, (d, d)."""
    rows = data.book.rows(data.codes)
    return np.asarray((rows * data.weights[:, None]).T @ rows)


def _gram_of_pairs(data: Rows) -> F64:
    """Σ â·C·Cᵀ from how much weight each pair of bins has, (d, d); blocks below the diagonal are left 0."""
    matrices, slices = [block.matrix for block in data.book.blocks], data.book.slices
    sizes = [len(matrix) for matrix in matrices]
    if (data.codes >= sizes[:-1]).any():
        raise IndexError("A code lies beyond its block's bins.")
    intercept = np.zeros(len(data.codes), np.int64)
    codes = [*data.codes.T.astype(np.int64, order="C"), intercept]
    total = np.zeros((data.book.dimension, data.book.dimension))
    for first, mine in enumerate(codes):
        for second in range(first, len(codes)):
            shape = (sizes[first], sizes[second])
            pairs = np.bincount(mine * shape[1] + codes[second], data.weights, shape[0] * shape[1])
            total[slices[first], slices[second]] = pairs.reshape(shape)
    for matrix, columns in zip(matrices, slices, strict=True):
        total[columns] = matrix.T.astype(np.float64) @ total[columns]
    for matrix, columns in zip(matrices, slices, strict=True):
        total[:, columns] = total[:, columns] @ matrix.astype(np.float64)
    return total


def largest_entry(book: CodeBook) -> int:
    """Largest |C| in the code book."""
    return max(int(np.abs(block.matrix).max()) for block in book.blocks)


def _check_exact(data: Rows, entry: int) -> None:
    """No sum over all rows may pass 2⁵³; one record adds at most 2ᵇ·``entry``."""
    if len(data.outcomes) * (entry << data.book.weight_bits) >= _EXACT:
        raise SchemaError(
            "A sum could pass 2^53 and lose its last bits.", "Lower n_max and build the schema again."
        )

"""Canonical columns in, codes out; whatever lies outside the schema becomes a finding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fedrepay.shared.arrays import I64, U16, Bool, Objects
from fedrepay.shared.schema import bins
from fedrepay.shared.schema.bins import Values
from fedrepay.shared.schema.columns import Column
from fedrepay.shared.schema.model import Schema

LONGEST_ID = 200
"""Characters of a customer's id; arrays of ids are as wide as the longest one."""


@dataclass(frozen=True)
class Unfitting:
    """Rows of one column that do not fit: 0-based ``rows`` (m,), their ``values`` (m,), why, and what follows.

    ``kind`` is ``"refuse"`` (the row is not used) or ``"clip"`` (used with the nearest legal value).
    """

    column: str
    rows: I64
    values: Objects
    bound: str
    kind: Literal["refuse", "clip"]


def settle(column: Column, values: Values, skip: Bool) -> tuple[Values, list[Unfitting]]:
    """Bring one column inside its bounds.

    Args:
        column: its declaration.
        values: (n,) float64 with NaN for missing, or objects (str or None) for a category.
        skip: (n,) rows refused already; nothing more is said of them.

    Returns:
        (n,) values inside the bounds, missing ones as they were; and the findings.
    """
    if column.type in ("category", "text"):
        return _settle_text(column, values, skip)
    numbers = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers)
    found = _missing(column, missing, skip, values)
    if column.type == "integer":
        broken = ~missing & (numbers != np.floor(numbers)) & np.isfinite(numbers)
        found += _finding(column, broken & ~skip, values, "a whole number", "refuse")
        skip = skip | broken
    infinite = np.isinf(numbers) & ~skip
    found += _finding(column, infinite, values, "a finite number", "refuse")
    low, high = legal_range(column)
    outside = ~missing & ~skip & ~infinite & ((numbers < low) | (numbers > high))
    if outside.any():
        bound = f"{bins.number(low)} to {bins.number(high)}"
        found += _finding(column, outside, values, bound, column.outside)
        if column.outside == "clip":
            numbers = np.where(outside, np.clip(numbers, low, high), numbers)
    if column.role == "propensity":
        found += _finding(column, (numbers <= 0) & ~skip & ~outside, values, "above 0", "refuse")
    return numbers, found


def legal_range(column: Column) -> tuple[float, float]:
    """The bounds of a numeric column; 0 and 1 for outcome and propensity."""
    return column.bounds or (0.0, 1.0)


def categories_text(column: Column) -> str:
    """The legal categories in words, the first twelve, and what the column means: a bound in messages."""
    listed = ", ".join(column.categories[:12]) + (" …" if len(column.categories) > 12 else "")
    return f"one of {listed}" + (f" ({column.title})" if column.title else "")


def _settle_text(column: Column, values: Values, skip: Bool) -> tuple[Values, list[Unfitting]]:
    texts = np.asarray(values, dtype=object)
    missing = np.array([value is None for value in texts], dtype=bool)
    found = _missing(column, missing, skip, texts)
    if column.type == "category":
        known = set(column.categories)
        unseen = np.array([value is not None and value not in known for value in texts], dtype=bool)
        found += _finding(column, unseen & ~skip, texts, categories_text(column), column.outside)
        if column.outside == "clip" and unseen.any():
            texts = texts.copy()
            texts[unseen] = None
    else:
        blank = np.array([value is not None and not value.strip() for value in texts], dtype=bool)
        found += _finding(column, blank & ~skip, texts, "not blank", "refuse")
        long = np.array([value is not None and len(value) > LONGEST_ID for value in texts], dtype=bool)
        found += _finding(column, long & ~skip, texts, f"at most {LONGEST_ID} characters", "refuse")
    return texts, found


def _missing(column: Column, missing: Bool, skip: Bool, values: Values) -> list[Unfitting]:
    if column.missing != "refuse":
        return []
    return _finding(column, missing & ~skip, values, "not missing", "refuse")


def _finding(
    column: Column, where: Bool, values: Values, bound: str, kind: Literal["refuse", "clip"]
) -> list[Unfitting]:
    if not where.any():
        return []
    rows = np.flatnonzero(where).astype(np.int64)
    return [Unfitting(column.name, rows, np.asarray(values)[rows].astype(object), bound, kind)]


def refused_rows(findings: list[Unfitting], rows: int) -> Bool:
    """Which of so many rows some finding refuses, (rows,)."""
    flags = np.zeros(rows, dtype=bool)
    for finding in findings:
        if finding.kind == "refuse":
            flags[finding.rows] = True
    return flags


def encode(schema: Schema, columns: Mapping[str, Values]) -> U16:
    """Codes (n, blocks − 1) of settled columns: each row falls into exactly one bin of every block.

    Args:
        schema: the schema.
        columns: every account and plan column by name, (n,) each, without refused rows.

    Raises:
        KeyError: a column is absent.
        ValueError: a missing value where the schema declares no missing bin.
    """
    found = [layout.codes(dict(columns)) for layout in bins.layouts(schema)]
    return np.stack(found, axis=1)

"""Who is held out and who belongs to which member: seeded, by customer, pure numpy.

A simulation first draws the test customers, then forms the members; no split here is natural unless it
comes from a column of the data.
"""

import re
import unicodedata

import numpy as np
from numpy.typing import NDArray

from fedrepay.shared.arrays import F64, I64, Bool, Objects
from fedrepay.shared.errors import ArgumentError

LEAST_MEMBERS, MOST_MEMBERS = 3, 1500
SKEW = 0.2
"""Standard deviation of the noise on a customer's rank in [0, 1] before ``skewed`` cuts; 0 would sort."""

_TEST_STREAM, _MEMBER_STREAM = 1, 2  # independent streams of one seed
_FORMS = "Choose column:NAME, iid, skewed:COLUMN or sizes:zipf."


def split_test(customers: Objects, seed: int, share: float = 0.2) -> Bool:
    """Hold out a share of the customers, each with all its rows.

    Args:
        customers: customer ids, shape (n,).
        seed: of the draw.
        share: part of the customers to hold out, in (0, 1).

    Returns:
        True for held-out rows, shape (n,); at least one customer is on either side.

    Raises:
        ArgumentError: for a share outside (0, 1) or fewer than two customers.
    """
    if not 0 < share < 1:
        raise ArgumentError(f"A test share of {share:g} is outside (0, 1).", "0.2 is the default.")
    _, of = _numbered(customers)
    count = int(of.max(initial=-1)) + 1
    if count < 2:
        raise ArgumentError(f"{count} customers cannot be split.", "Bring more rows.")
    held_out = min(max(round(share * count), 1), count - 1)
    order = np.random.default_rng([seed, _TEST_STREAM]).permutation(count)
    chosen = np.zeros(count, dtype=np.bool_)
    chosen[order[:held_out]] = True
    return chosen[of]


def split_members(
    customers: Objects,
    how: str,
    members: int | None,
    seed: int,
    values: NDArray[np.generic] | None,
) -> list[tuple[str, I64]]:
    """Form the members; all rows of a customer go to one of them unless a column says otherwise.

    Args:
        customers: customer ids, shape (n,).
        how: ``column:NAME`` (one member a value), ``iid`` (equal parts at random), ``skewed:COLUMN`` (equal
            parts of the customers ordered by their noisy rank in the column) or ``sizes:zipf`` (member i
            has a part proportional to 1/i, at least one customer).
        members: K; for ``column:`` None, or the number of its values.
        seed: of the draws.
        values: the column that ``how`` names, shape (n,), None where there is none of that name.

    Returns:
        (name, row numbers in order) of each member, sorted by name. Names are ``m01`` …, or the column's
        values made safe for file names.

    Raises:
        ArgumentError: unknown form or column, K outside 3 … 1,500, fewer customers than members.
    """
    kind, _, column = how.partition(":")
    if how not in ("iid", "sizes:zipf") and not (kind in ("column", "skewed") and column):
        raise ArgumentError(f"--split {how} is unknown.", _FORMS)
    if column and kind != "sizes" and values is None:
        raise ArgumentError(
            f"--split {how}: there is no column {column}.", "Name a column of the data or the schema."
        )
    if kind == "column" and values is not None:
        parts = by_value(values)
        _check_count(len(parts), f"--split {how}")
        if members is not None and members != len(parts):
            raise ArgumentError(
                f"--members {members} does not fit --split {how}, whose values are {len(parts)} members.",
                "Leave --members out.",
            )
        return parts
    if members is None:
        raise ArgumentError(f"--split {how} does not say how many members.", "Give --members K.")
    _check_count(members, "--members")
    _, of = _numbered(customers)
    count = int(of.max(initial=-1)) + 1
    if count < members:
        raise ArgumentError(
            f"{count} customers are too few for {members} members.", "Lower --members or bring more rows."
        )
    rng = np.random.default_rng([seed, _MEMBER_STREAM])
    if kind == "skewed" and values is not None:
        order = np.argsort(_ranks(values, of, count) + rng.normal(0, SKEW, count), kind="stable")
    else:
        order = rng.permutation(count)
    weights = 1 / np.arange(1, members + 1) if kind == "sizes" else np.ones(members)
    member = np.empty(count, dtype=np.int64)
    member[order] = np.repeat(np.arange(members), _apportion(count, weights))
    width = max(2, len(str(members)))
    return [(f"m{k + 1:0{width}d}", np.flatnonzero(member[of] == k)) for k in range(members)]


def _check_count(members: int, source: str) -> None:
    if members < LEAST_MEMBERS:
        raise ArgumentError(
            f"{source} gives {members} members; {LEAST_MEMBERS} is the least.",
            "With two members, the sum minus one's own part is the other's.",
        )
    if members > MOST_MEMBERS:
        raise ArgumentError(
            f"{source} gives {members} members; {MOST_MEMBERS} is the most.",
            "The modulus table ends there: form fewer, larger members.",
        )


def by_value(values: NDArray[np.generic]) -> list[tuple[str, I64]]:
    """(name, row numbers in order) of each distinct value, shape (n,), sorted by name; however many."""
    texts = np.array([_text(value) for value in values.tolist()], dtype=np.str_)
    distinct, of = np.unique(texts, return_inverse=True)
    names: list[str] = []
    taken: set[str] = set()
    for text in distinct.tolist():
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()  # Süd is Sud
        safe = re.sub(r"[^A-Za-z0-9_-]+", "-", plain)[:40].strip("-") or "value"
        name, copy = safe, 1
        while name.casefold() in taken:  # some file systems do not tell A from a
            copy += 1
            name = f"{safe}-{copy}"
        taken.add(name.casefold())
        names.append(name)
    return sorted((name, np.flatnonzero(of == i)) for i, name in enumerate(names))


def _text(value: object) -> str:
    if value is None or value != value:  # noqa: PLR0124 - NaN, of whatever type
        return "missing"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _numbered(values: NDArray[np.generic]) -> tuple[list[str], I64]:
    """Distinct values as text, in order, and the number of each row's value."""
    distinct, of = np.unique(values.astype(str), return_inverse=True)
    return distinct.tolist(), of.astype(np.int64)


def _ranks(values: NDArray[np.generic], of: I64, count: int) -> F64:
    """Rank in [0, 1] of each customer's mean value, ties sharing theirs; missing values come last."""
    if values.dtype.kind in "biuf":
        numbers = values.astype(np.float64)
    else:
        numbers = _numbered(values)[1].astype(np.float64)
        numbers[np.array([_text(value) == "missing" for value in values.tolist()], dtype=np.bool_)] = np.nan
    known = ~np.isnan(numbers)
    rows = np.bincount(of[known], minlength=count)
    sums = np.bincount(of[known], weights=numbers[known], minlength=count)
    means = np.full(count, np.inf)
    means[rows > 0] = sums[rows > 0] / rows[rows > 0]
    _, place, ties = np.unique(means, return_inverse=True, return_counts=True)
    middle = np.cumsum(ties) - ties / 2
    ranks: F64 = middle[place] / count
    return ranks


def _apportion(count: int, weights: F64) -> I64:
    """Whole parts of ``count`` close to the weights (largest remainder), each at least 1."""
    exact = (count - len(weights)) * weights / weights.sum()
    parts: I64 = np.floor(exact).astype(np.int64)
    parts[np.argsort(parts - exact, kind="stable")[: count - len(weights) - parts.sum()]] += 1
    parts += 1
    return parts

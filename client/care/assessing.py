"""What a member's own rows can say alone, before it joins anybody and with nothing sent.

Outcome rates, how well its own model ranks its own customers, and where its rows say nothing. The model is the additive one
on the schema's bins, without noise; λ is chosen inside each training part (nested folds), and a customer's rows are never
on both sides. Intervals are 95 % percentile intervals over customers drawn again (a customer's rows together); of the AUC
they are for the scores as they were predicted: that another sample would have fitted another model is not in them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import ridge
from fedrepay.client.learning.folds import dealt
from fedrepay.client.learning.ranking import weighted_aucs
from fedrepay.client.scoring.score import good_value
from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.errors import DataError
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.schema.model import KIND

FOLDS, LEAST_OF_A_LABEL, FEW = 5, 20, 30
"""Folds of customers; customers of either label below which no model is fitted; customers below which a bin is thin."""
_REPEATS, _AT_A_TIME, _TAIL, _SEED = 1000, 50, 2.5, 1
_MOST_PAIRS = 50
Interval = tuple[float, float]


@dataclass(frozen=True)
class OutcomeAlone:
    """One outcome. ``rate`` is of the good value; figures are None where ``reason`` says why."""

    name: str
    rows: int
    customers: int
    rate: float | None
    rate_interval: Interval | None
    auc: float | None
    auc_interval: Interval | None
    reason: str | None


@dataclass(frozen=True)
class ThinBin:
    """A bin of the schema that fewer than ``FEW`` customers are in; ``plan``: of a plan's column, so not offered to them."""

    column: str
    label: str
    rows: int
    customers: int
    plan: bool


@dataclass(frozen=True)
class Assessment:
    """What the rows say.

    Attributes:
        rows: that can be used.
        customers: whose they are.
        outcomes: one of each head of the schema.
        thin: bins of single features with few or no customers.
        never_offered: plan kinds of the schema that no row has; empty where the schema has no plans.
        never_together: (column, bin, kind): enough customers in the bin, enough with the kind, and none with both; at most
            ``_MOST_PAIRS`` of them.
        pairs_missing: how many such pairs there are.
    """

    rows: int
    customers: int
    outcomes: tuple[OutcomeAlone, ...]
    thin: tuple[ThinBin, ...]
    never_offered: tuple[str, ...]
    never_together: tuple[tuple[str, str, str], ...]
    pairs_missing: int


def assess(book: CodeBook, table: Table) -> Assessment:
    """Assess a member's rows.

    Args:
        book: schema and code book.
        table: its rows, with outcomes.

    Raises:
        DataError: no row can be used.
    """
    if table.outcomes is None or not len(table.codes):
        raise DataError("No row with an outcome can be used.", "`fedrepay member check-data` shows why.")
    _, owner = np.unique(table.customers.astype(str), return_inverse=True)
    owner = owner.astype(np.int64)
    together = list(_never_together(book, table, owner))
    return Assessment(
        rows=len(table.codes),
        customers=_count(owner),
        outcomes=tuple(_outcome(book, table, owner, head) for head in range(book.heads)),
        thin=tuple(_thin(book, table, owner)),
        never_offered=_never_offered(book, table),
        never_together=tuple(together[:_MOST_PAIRS]),
        pairs_missing=len(together),
    )


# --- outcomes ---


def _outcome(book: CodeBook, table: Table, owner: I64, head: int) -> OutcomeAlone:
    assert table.outcomes is not None  # noqa: S101 - ``assess`` has looked
    inside = table.outcomes[:, head] >= 0
    name, mine = book.schema.outcomes[head].name, owner[inside]
    y = (table.outcomes[inside, head] == good_value(book, head)).astype(np.int64)
    if not len(y):
        return OutcomeAlone(name, 0, 0, None, None, None, None, "no row is in this outcome's population")
    reason, score = None, np.zeros(0)
    labelled = [_count(mine[y == label]) for label in (0, 1)]
    if min(labelled) < LEAST_OF_A_LABEL:
        reason = (
            f"{labelled[1]} customers with the good outcome and {labelled[0]} without; "
            f"{LEAST_OF_A_LABEL} of each are needed"
        )
    else:
        score = predicted(book.rows(table.codes[inside]) / book.scale, y, mine)
    rates, aucs = _drawn(y, mine, score)
    auc = None if reason else float(weighted_aucs(y, score, np.ones((1, len(y))))[0])
    return OutcomeAlone(
        name=name,
        rows=len(y),
        customers=_count(mine),
        rate=float(y.mean()),
        rate_interval=_interval(rates),
        auc=auc,
        auc_interval=None if reason else _interval(aucs),
        reason=reason,
    )


def predicted(rows: F64, y: I64, owner: I64) -> F64:
    """Log-odds of label 1 of each row, by a model that has seen no row of its customer; shape (n,).

    Args:
        rows: code-book rows x = C/S, shape (n, d).
        y: labels, shape (n,), both of them at ``FOLDS`` customers or more.
        owner: the customer of each row, shape (n,).
    """
    fold = dealt(y, owner, FOLDS, _SEED)
    design = np.column_stack([rows, np.ones(len(rows))])
    labels, score = y.astype(np.float64), np.empty(len(y))
    for held in range(FOLDS):
        inside = fold != held
        inner = np.unique(fold[inside], return_inverse=True)[1].astype(np.int64)
        part, told, none = design[inside], labels[inside], np.zeros(int(inside.sum()))
        tried = ridge.cross_validated(part, told, none, inner, ridge.PENALTIES, free=1)
        best, _ = ridge.chosen(tried, told)
        weights = ridge.fit(part, told, none, best.penalty, free=1, start=best.weights)
        score[~inside] = design[~inside] @ weights
    return score


def _drawn(y: I64, owner: I64, score: F64) -> tuple[F64, F64]:
    """Rate and AUC of each resample of the customers; (repeats,) each, the second empty without scores."""
    _, place = np.unique(owner, return_inverse=True)
    people = int(place.max()) + 1
    rng = np.random.default_rng(_SEED)
    rates, aucs = [], []
    for _ in range(0, _REPEATS, _AT_A_TIME):
        drawn = rng.integers(0, people, size=(_AT_A_TIME, people))
        weights = np.stack([np.bincount(each, minlength=people) for each in drawn])[:, place].astype(
            np.float64
        )
        rates.append(weights @ y / weights.sum(axis=1))
        if len(score):
            aucs.append(weighted_aucs(y, score, weights))
    return np.concatenate(rates), np.concatenate(aucs) if aucs else np.zeros(0)


def _interval(values: F64) -> Interval:
    low, high = np.nanpercentile(values, [_TAIL, 100 - _TAIL])
    return float(low), float(high)


# --- overlap ---


def _thin(book: CodeBook, table: Table, owner: I64) -> Iterator[ThinBin]:
    for index, block in enumerate(book.blocks[:-1]):
        if block.kind != "feature":
            continue
        plan = book.schema.column(block.name).role == "plan"
        for code, label in enumerate(block.labels):
            here = table.codes[:, index] == code
            people = _count(owner[here])
            if people < FEW:
                yield ThinBin(block.name, label, int(here.sum()), people, plan)


def _kinds(book: CodeBook, table: Table) -> dict[str, Bool]:
    """The rows of each plan kind of the schema; none where it has no plans."""
    known = {each.name: each for each in book.schema.of_role("plan")}
    if KIND not in known or KIND not in table.values:
        return {}
    offered = table.values[KIND].astype(str)
    return {kind: offered == kind for kind in known[KIND].categories}


def _never_offered(book: CodeBook, table: Table) -> tuple[str, ...]:
    return tuple(kind for kind, rows in _kinds(book, table).items() if not rows.any())


def _never_together(book: CodeBook, table: Table, owner: I64) -> Iterator[tuple[str, str, str]]:
    """Bins of account features and plan kinds that occur, and never at once."""
    kinds = {kind: rows for kind, rows in _kinds(book, table).items() if _count(owner[rows]) >= FEW}
    for index, block in enumerate(book.blocks[:-1]):
        if block.kind != "feature" or book.schema.column(block.name).role != "account":
            continue
        for code, label in enumerate(block.labels):
            here = table.codes[:, index] == code
            if _count(owner[here]) < FEW:
                continue
            for kind, rows in kinds.items():
                if not (here & rows).any():
                    yield block.name, label, kind


def _count(owner: I64) -> int:
    return len(np.unique(owner))

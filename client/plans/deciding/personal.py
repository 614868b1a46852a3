"""What a member adds to the shared model from its own records, and never sends.

Each head gets an intercept, so that it is right on average for the member's own customers (no slope: docs/adr/0011).
A member with many offers may add a correction of the model's own form with the shared log-odds as offset; it counts
only for plans like those it has offered itself, and only if its cross-validated loss beats the shared model's by more
than one standard error (the one-standard-error rule, Hastie, Tibshirani & Friedman, *The Elements of Statistical
Learning*, 7.10). Elsewhere its records say nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import monotone, ridge
from fedrepay.client.plans.deciding.pairs import PairCodes
from fedrepay.client.scoring.score import block_effects
from fedrepay.shared.arrays import F64, I64, U16, Objects
from fedrepay.shared.schema.codebook import CodeBook

LEAST_OFFERS = 3000
"""Fewer own offers than this, and there is no correction."""
LEAST_ALIKE = 20
"""An own plan was offered so often at least."""
OVERLAP = ("kind", "months", "discount", "interest_waiver")
"""Blocks that make two plans alike."""
PRIOR_INTERCEPT = 0.5
"""Standard deviation of what is expected of a member's intercept, around 0."""
PENALTIES = (300.0, 100.0, 30.0, 10.0)
_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Correction:
    """One head: log-odds become intercept + shared, plus the effects of own weights (d,) if there are any.

    ``penalty`` is the λ they were fitted with.
    """

    intercept: float
    weights: F64 | None
    penalty: float | None = None


@dataclass(frozen=True, eq=False)
class Personal:
    """A member's own part of the model.

    ``heads`` one correction each; ``alike`` the keys of plans offered often enough (``_keys``), sorted.
    """

    book: CodeBook
    heads: tuple[Correction, ...]
    alike: I64

    def adjust(self, head: int, shared_logit: F64, pair_codes: PairCodes) -> F64:
        """Log-odds of outcome 1, (n, P), from the shared model's."""
        own = self.heads[head]
        out = own.intercept + shared_logit
        if own.weights is not None:
            inside = np.isin(_keys(self.book, pair_codes.blocks), self.alike)
            out = out + np.where(inside, pair_codes.logits(block_effects(self.book, own.weights)), 0.0)
        return np.asarray(out)

    def beside(self, head: int, shared_logit: F64, codes: U16) -> F64:
        """The same for rows of codes (n, blocks − 1), (n,)."""
        blocks = tuple(codes[:, place, None] for place in range(codes.shape[1]))
        pairs = PairCodes(blocks, (len(codes), 1))
        return self.adjust(head, shared_logit[:, None], pairs)[:, 0]


def fit(book: CodeBook, table: Table, weights: F64, *, correct: bool = True, seed: int = 1) -> Personal:
    """Fit a member's own part on its own matured offers.

    Args:
        book: the code book.
        table: the member's training rows, n.
        weights: the shared model, (H, d).
        correct: whether to try a correction beyond the intercept.
        seed: of the folds.
    """
    shared = book.rows(table.codes) / book.scale @ weights.T
    return beside(
        book, table, shared, least=LEAST_OFFERS if correct else None, penalties=PENALTIES, seed=seed
    )


def beside(
    book: CodeBook, table: Table, shared: F64, *, least: int | None, penalties: Sequence[float], seed: int = 1
) -> Personal:
    """Fit a member's own part beside whatever model was shared.

    Args:
        book: the code book.
        table: the member's training rows, n.
        shared: the shared model's log-odds of outcome 1 for them, (n, H).
        least: rows of a head below which it gets an intercept only; None: none gets more.
        penalties: λ of corrections to try, strongest first.
        seed: of the folds.
    """
    assert table.outcomes is not None  # noqa: S101 - training rows have them
    rows = book.rows(table.codes) / book.scale
    keys, counts = np.unique(_keys(book, list(table.codes.T)), return_counts=True)
    fold = _folds(table.customers, seed)
    found = []
    for head in range(book.heads):
        inside = table.outcomes[:, head] >= 0
        labels = table.outcomes[inside, head].astype(float)
        offset = shared[inside, head]
        own = Correction(calibrate(offset, labels), None)
        if least is not None and len(labels) >= least:
            best = _correction(rows[inside], own.intercept + offset, labels, fold[inside], penalties)
            own = own if best is None else Correction(own.intercept, best[0], best[1])
        found.append(own)
    return Personal(book, _monotone(book, found), keys[counts >= LEAST_ALIKE])


def _monotone(book: CodeBook, found: Sequence[Correction]) -> tuple[Correction, ...]:
    """Corrections are made monotone as the release is, so that the sum is."""
    own = np.array([np.zeros(book.dimension) if each.weights is None else each.weights for each in found])
    projected = monotone.project(book, own)
    return tuple(
        each if each.weights is None else replace(each, weights=projected[head])
        for head, each in enumerate(found)
    )


def calibrate(offset: F64, labels: F64) -> float:
    """The intercept on given log-odds, (n,) each: penalised maximum likelihood by Newton's method."""
    precision = PRIOR_INTERCEPT**-2.0
    found = 0.0
    for _ in range(50):
        likely = _sigmoid(offset + found)
        step = (float((likely - labels).sum()) + precision * found) / (
            float((likely * (1 - likely)).sum()) + precision
        )
        found -= step
        if abs(step) < 1e-9:
            break
    return found


def _correction(
    rows: F64, base: F64, labels: F64, fold: I64, penalties: Sequence[float]
) -> tuple[F64, float] | None:
    """Own weights (d,) and their λ where they beat the base by more than one standard error of the difference, else None."""
    best: tuple[F64, ridge.Fit] | None = None
    for tried in ridge.cross_validated(
        rows, labels, base, fold, penalties
    ):  # all: one λ may do harm and a weaker good
        gains = _loss(labels, base) - _loss(labels, tried.held_out)
        if best is None or gains.mean() > best[0].mean():
            best = (gains, tried)
    assert best is not None  # noqa: S101 - there are penalties
    gains, found = best
    if gains.mean() <= gains.std() / np.sqrt(len(gains)):
        return None
    return ridge.fit(rows, labels, base, found.penalty, start=found.weights), found.penalty


def _folds(customers: Objects, seed: int) -> I64:
    """A fold for each row, (n,); all rows of a customer fall into one."""
    _, of = np.unique(customers.astype(str), return_inverse=True)
    return np.random.default_rng([seed, 21]).integers(0, _FOLDS, int(of.max(initial=0)) + 1)[of]


def _keys(book: CodeBook, blocks: Sequence[npt.NDArray[np.generic]]) -> I64:
    """One number for the bins of ``OVERLAP``, of the shape those blocks broadcast to; without plans all rows are alike."""
    names = [block.name for block in book.blocks]
    if not set(OVERLAP) & set(names):
        return np.zeros(np.broadcast_shapes(*(np.shape(each) for each in blocks)), np.int64)
    key = np.zeros((), np.int64)
    for name in OVERLAP:
        if name not in names:
            continue
        place = names.index(name)
        key = key * len(book.blocks[place].labels) + blocks[place].astype(np.int64)
    return np.asarray(key)


def _sigmoid(score: F64) -> F64:
    return np.asarray(0.5 * (1 + np.tanh(score / 2)))


def _loss(labels: F64, score: F64) -> F64:
    return np.asarray(np.logaddexp(0, np.where(labels > 0, -score, score)))

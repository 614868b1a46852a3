"""One member on its own held-out customers: the shared model, its own, its own part, and a constant beside each other.

The shared model is held as it was released. What the member could have had instead is fitted to its own training rows and
nothing else: λ, and whether there is a correction, are chosen by folds of their customers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import monotone, ridge
from fedrepay.client.learning.folds import dealt, scarcest
from fedrepay.client.plans.deciding import personal
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.rows import baselines, figures, gain
from fedrepay.simulations.rows.baselines import AdditiveModel
from fedrepay.simulations.rows.columns import labels, owners
from fedrepay.simulations.rows.gain import Estimate, Ranking

LEAST_ROWS = 1500
"""Fewer training rows than this, and a member's own part is an intercept."""
PENALTIES = (300.0, 100.0, *ridge.PENALTIES)
"""λ of a correction: what a member could have alone must be within reach, so the weakest are those of own models."""
LOST = "one training customer of a label: its own model cannot be fitted without it"

Shared = Callable[[Table], F64]
"""P(outcome = 1) by the shared model, (n,)."""


@dataclass(frozen=True, eq=False)
class OneMember:
    """What was found; ``figures`` by name as in metrics.json, but for intervals of gains, which depend on how many are judged.

    Attributes:
        figures: rows, base rate, AUC and log-loss of each model.
        gain: AUC of the shared model less the own model's; None where nothing can be judged.
        part_gain: AUC with the own part less the own model's.
        enough: rows enough for a correction.
        alone: the own model, where one was fitted.
    """

    figures: dict[str, Any]
    gain: Estimate | None
    part_gain: Estimate | None
    enough: bool
    alone: AdditiveModel | None


def judge(
    book: CodeBook, train: Table, test: Table, shared: Shared, seed: int, not_fitted: str | None
) -> OneMember:
    """Fit what the member can have alone, and judge all on its held-out rows.

    Args:
        book: the code book.
        train: its training rows; may be empty.
        test: its held-out rows; may be empty.
        shared: the released model.
        seed: of folds and groups.
        not_fitted: why no model of its own is fitted; None: fit one.
    """
    given = _Given(book, train, test, seed)
    offset, scores = log_odds(shared(train)), shared(test)
    alone, reason = None, not_fitted
    if not_fitted is None:
        alone, reason = baselines.ridge_logistic(given.rows, given.labels, seed, owner=given.owner)
    enough = alone is not None and len(train.codes) >= LEAST_ROWS
    least = LEAST_ROWS if enough else None
    part = personal.beside(book, train, offset[:, None], least=least, penalties=PENALTIES, seed=seed)
    with_part = part.beside(0, log_odds(scores), test.codes)
    found: dict[str, Any] = {
        "rows": len(train.codes),
        "test_rows": len(test.codes),
        "base_rate": float(given.y.mean()) if len(given.y) else None,
        "own_part_corrects": part.heads[0].weights is not None,
        "log_loss": _losses(given, scores, alone, with_part),
    }
    few = gain.too_few(given.y, given.owner_of_y)
    if few is None and alone is not None and given.groups is None:
        reason = LOST
    found["reason"] = few or reason
    levels: dict[str, Estimate] = {}
    gained = part_gained = None
    if few is None:
        of_shared = given.read(scores)
        of_part = given.read(with_part, _part_without(given, part, offset, scores))
        levels = {"federated": gain.level(of_shared), "own_part": gain.level(of_part)}
        if alone is not None and given.groups is not None:
            of_alone = given.read(alone.predict(given.test_rows), _alone_without(given, alone))
            levels["alone"] = gain.level(of_alone)
            gained, part_gained = (gain.difference(each, of_alone) for each in (of_shared, of_part))
    for name in ("federated", "alone", "own_part"):
        at = levels.get(name)
        kept = None if at is None else np.clip(at.interval(), 0.0, 1.0).tolist()
        found |= {name: None if at is None else at.value, f"{name}_interval": kept}
    return OneMember(found, gained, part_gained, enough, alone)


def log_odds(probability: F64) -> F64:
    """ln(p/(1 − p)), finite, (n,)."""
    kept = np.clip(probability, 1e-15, 1 - 1e-15)
    return np.asarray(np.log(kept) - np.log1p(-kept))


class _Given:
    """A member's training and held-out rows, and the groups of customers that fits are made without."""

    def __init__(self, book: CodeBook, train: Table, test: Table, seed: int) -> None:
        self.book, self.seed = book, seed
        self.rows, self.test_rows = (book.rows(each.codes) / book.scale for each in (train, test))
        self.labels, self.y = labels(train), labels(test)
        self.owner, self.owner_of_y = owners(train), owners(test)

    @cached_property
    def groups(self) -> I64 | None:
        """The group of each training row, (n,); None where a label would be lost without one."""
        count = min(gain.GROUPS, scarcest(self.labels, self.owner))
        return None if count < 2 else dealt(self.labels, self.owner, count, self.seed)

    def read(self, scores: F64, without: F64 | None = None) -> Ranking:
        """How a model ranks the held-out rows."""
        return gain.read(self.y, self.owner_of_y, scores, without)

    def refitted(self, rows: F64, offset: F64, penalty: float, start: F64, free: int = 0) -> F64:
        """Weights of one λ, as it was chosen, without each group, (groups, d)."""
        assert self.groups is not None  # noqa: S101 - asked for where there are some
        y = self.labels.astype(np.float64)
        tried = ridge.cross_validated(rows, y, offset, self.groups, (penalty,), free, start)
        return next(tried).without


def _alone_without(given: _Given, model: AdditiveModel) -> F64:
    """Scores of the own model fitted without each group, (groups, n)."""
    start, none = np.append(model.weights, model.intercept), np.zeros(len(given.labels))
    weights = given.refitted(baselines.beside_one(given.rows), none, model.penalty, start, free=1)
    return np.asarray(weights @ baselines.beside_one(given.test_rows).T)


def _part_without(given: _Given, part: personal.Personal, offset: F64, scores: F64) -> F64 | None:
    """Log-odds with the own part fitted without each group, (groups, n); None without a correction: all rank alike."""
    own = part.heads[0]
    if own.weights is None or own.penalty is None or given.groups is None:
        return None
    found = given.refitted(given.rows, own.intercept + offset, own.penalty, own.weights)
    weights = np.concatenate([monotone.project(given.book, each[None]) for each in found])
    return np.asarray(log_odds(scores) + weights @ given.test_rows.T)


def _losses(
    given: _Given, scores: F64, alone: AdditiveModel | None, with_part: F64
) -> dict[str, float | None]:
    """Mean log-loss of each model on the held-out rows; the constant is the member's own training rate."""
    y = given.y
    if not len(y):
        return dict.fromkeys(("federated", "alone", "own_part", "constant"))
    constant = np.full(len(y), given.labels.mean() if len(given.labels) else 0.5)
    return {
        "federated": figures.log_loss(y, scores),
        "alone": None if alone is None else figures.log_loss(y, alone.predict(given.test_rows)),
        "own_part": figures.log_loss(y, 0.5 * (1 + np.tanh(with_part / 2))),
        "constant": figures.log_loss(y, constant),
    }

"""What the same rows give without privacy: the same additive model, and LightGBM.

Outside the privacy guarantee: no noise anywhere. They exist to be compared with.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrepay.client.learning import ridge
from fedrepay.client.learning.folds import dealt, scarcest
from fedrepay.shared.arrays import F64, I64

_FOLDS = 5
_MOST_TREES = 600
_PATIENCE = 40


@dataclass(frozen=True)
class AdditiveModel:
    """Logistic regression on code-book rows; ``penalty`` is the λ that cross-validation chose.

    ``loss`` is its mean log-loss in cross-validation, NaN without one.
    """

    weights: F64
    intercept: float
    penalty: float
    loss: float = float("nan")

    def predict(self, rows: F64) -> F64:
        """Probability of label 1, shape (n,), of rows of shape (n, d)."""
        return _sigmoid(rows @ self.weights + self.intercept)


@dataclass(frozen=True)
class TreeModel:
    """LightGBM's booster."""

    booster: Any

    def predict(self, features: F64) -> F64:
        """Probability of label 1, shape (n,), of raw features of shape (n, f)."""
        return np.asarray(self.booster.predict(features), dtype=np.float64)


def ridge_logistic(
    rows: F64, y: NDArray[np.generic], seed: int, penalty: float | None = None, owner: I64 | None = None
) -> tuple[AdditiveModel | None, str | None]:
    """Ridge logistic regression to convergence, λ by 5-fold cross-validated log-loss.

    The intercept is not penalised. With fewer than five customers of a label there are fewer folds; with one,
    the strongest λ is taken.

    Args:
        rows: code-book rows x = C/S of norm about 1, shape (n, d).
        y: labels 0 or 1, shape (n,).
        seed: of the folds.
        penalty: λ; None chooses it by cross-validation.
        owner: the customer of each row, shape (n,), whose rows share a fold; None: every row is one.

    Returns:
        (model, None), or (None, reason) where there is nothing to fit.
    """
    ones = int(np.count_nonzero(y))
    if ones in (0, len(y)):
        return None, "no training rows" if len(y) == 0 else f"all training rows have label {int(ones > 0)}"
    owner = np.arange(len(y)) if owner is None else owner
    labels, none = y.astype(np.float64), np.zeros(len(y))
    with_ones, start, loss = beside_one(rows), None, float("nan")
    folds = min(_FOLDS, scarcest(y, owner))
    if penalty is None and folds > 1:
        fold_of = dealt(y, owner, folds, seed)
        tried = ridge.cross_validated(with_ones, labels, none, fold_of, ridge.PENALTIES, free=1)
        found, loss = ridge.chosen(tried, labels)
        penalty, start = found.penalty, found.weights
    penalty = ridge.PENALTIES[0] if penalty is None else penalty
    weights = ridge.fit(with_ones, labels, none, penalty, free=1, start=start)
    return AdditiveModel(weights[:-1], float(weights[-1]), penalty, loss), None


def beside_one(rows: F64) -> F64:
    """Rows (n, d) with a last column of ones, the intercept's: (n, d + 1)."""
    return np.column_stack([rows, np.ones(len(rows))])


def lightgbm_baseline(
    features: F64, y: NDArray[np.generic], seed: int
) -> tuple[TreeModel | None, str | None]:
    """Gradient-boosted trees on raw columns; the number of trees by 5-fold cross-validated log-loss.

    Args:
        features: raw numbers, NaN where missing, shape (n, f).
        y: labels 0 or 1, shape (n,).
        seed: of folds and sampling; the result is repeatable on one machine.

    Returns:
        (model, None), or (None, reason) where there is nothing to fit.
    """
    import lightgbm  # noqa: PLC0415 - slow to import

    labels = y.astype(np.int64)
    ones = int(labels.sum())
    folds = min(_FOLDS, ones, len(y) - ones)
    if folds < 2:
        return None, f"{ones} training rows of label 1 and {len(y) - ones} of label 0"
    parameters = {
        "objective": "binary",
        "metric": "binary_logloss",
        "learning_rate": 0.04,
        "num_leaves": 15,
        "min_data_in_leaf": 40,
        "lambda_l2": 5.0,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": 1,
        "verbosity": -1,
    }
    fold_of = dealt(labels, np.arange(len(y)), folds, seed)
    pairs = [(np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)) for fold in range(folds)]
    found: dict[str, Any] = lightgbm.cv(
        parameters,
        lightgbm.Dataset(features, labels, params={"verbosity": -1}, free_raw_data=False),
        num_boost_round=_MOST_TREES,
        folds=pairs,
        callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
    )
    trees = len(found["valid binary_logloss-mean"])
    data = lightgbm.Dataset(features, labels, params={"verbosity": -1}, free_raw_data=False)
    return TreeModel(lightgbm.train(parameters, data, num_boost_round=trees)), None


def _sigmoid(score: F64) -> F64:
    return 0.5 * (1 + np.tanh(score / 2))

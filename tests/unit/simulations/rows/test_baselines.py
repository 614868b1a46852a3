"""Baselines and figures, against independent implementations and small cases done by hand."""

import numpy as np
import pytest
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import roc_auc_score

from fedrepay.client.learning import ridge
from fedrepay.shared.arrays import F64, I64
from fedrepay.simulations.rows import baselines, figures


def data(n: int, seed: int = 0) -> tuple[F64, I64]:
    """One-hot rows of three features and labels that follow them."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 4, size=(n, 3))
    rows = np.hstack([np.eye(4)[codes].reshape(n, 12), np.ones((n, 1))]) / 2
    score = codes @ np.array([0.8, -0.5, 0.3]) - 1.5
    return rows, (rng.random(n) < 1 / (1 + np.exp(-score))).astype(np.int64)


def test_ridge_logistic_is_at_the_optimum_of_its_penalty() -> None:
    rows, y = data(600)
    model, reason = baselines.ridge_logistic(rows, y, 0)
    assert model is not None
    assert reason is None
    residual = model.predict(rows) - y
    assert np.abs(rows.T @ residual + model.penalty * model.weights).max() < 1e-6
    assert abs(residual.sum()) < 1e-6  # the intercept is not penalised


def test_ridge_logistic_finds_what_is_there_and_follows_its_seed() -> None:
    rows, y = data(2000)
    fresh, truth = data(4000, seed=1)
    first, again = (baselines.ridge_logistic(rows, y, 7)[0] for _ in range(2))
    assert first is not None
    assert again is not None
    assert np.array_equal(first.weights, again.weights)
    found = figures.auc(truth, first.predict(fresh))
    assert found is not None
    assert found > 0.72


def test_labels_without_a_pattern_get_the_strongest_penalty() -> None:
    rows, _ = data(400)
    model, _ = baselines.ridge_logistic(rows, np.random.default_rng(3).integers(0, 2, 400), 0)
    assert model is not None
    assert model.penalty == ridge.PENALTIES[0]


@pytest.mark.parametrize("ones", [1, 2, 4])
def test_scarce_labels_mean_fewer_folds_not_an_error(ones: int) -> None:
    rows, _ = data(60)
    y = (np.arange(60) < ones).astype(np.uint8)
    model, reason = baselines.ridge_logistic(rows, y, 0)
    assert reason is None
    assert model is not None
    assert np.isfinite(model.predict(rows)).all()


def test_nothing_to_fit_has_a_reason() -> None:
    rows, _ = data(10)
    assert baselines.ridge_logistic(rows[:0], np.zeros(0), 0) == (None, "no training rows")
    model, reason = baselines.ridge_logistic(rows, np.ones(10), 0)
    assert model is None
    assert reason == "all training rows have label 1"
    model_, reason = baselines.lightgbm_baseline(rows, np.r_[1, np.zeros(9)], 0)
    assert model_ is None
    assert reason == "1 training rows of label 1 and 9 of label 0"


def test_lightgbm_learns_and_is_repeatable() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(1500, 3))
    features[::50, 0] = np.nan
    y = (features[:, 1] * features[:, 2] + 0.3 * rng.normal(size=1500) > 0).astype(np.int64)
    first, again = (baselines.lightgbm_baseline(features[:1000], y[:1000], 1)[0] for _ in range(2))
    assert first is not None
    assert again is not None
    found = figures.auc(y[1000:], first.predict(features[1000:]))
    assert found is not None
    assert found > 0.9  # an interaction that no additive model sees
    assert np.array_equal(first.predict(features), again.predict(features))


@pytest.mark.parametrize("seed", range(5))
def test_auc_and_log_loss_agree_with_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y, score = rng.integers(0, 2, 200), rng.integers(1, 20, 200) / 20  # many ties
    assert figures.auc(y, score) == pytest.approx(roc_auc_score(y, score))
    assert figures.log_loss(y, score) == pytest.approx(sklearn_log_loss(y, score))


def test_one_class_has_no_auc() -> None:
    assert figures.auc(np.ones(5), np.arange(5.0)) is None
    assert figures.auc(np.ones(0), np.zeros(0)) is None


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert figures.log_loss(np.array([1]), np.array([0.0])) == pytest.approx(34.54, abs=0.01)


def test_calibration_by_hand() -> None:
    found = figures.calibration(np.array([0, 0, 1, 1]), np.array([0.1, 0.3, 0.6, 0.8]), bins=2)
    assert [bin_["rows"] for bin_ in found["bins"]] == [2, 2]
    assert found["bins"][0] == {"predicted": pytest.approx(0.2), "observed": 0.0, "rows": 2}
    assert found["ece"] == pytest.approx((0.2 + 0.3) / 2)
    assert len(figures.calibration(np.array([0, 1]), np.array([0.5, 0.5]))["bins"]) == 2

"""Ridge logistic regression by the chord method: at its minimum, equal to scikit-learn's, and sure to end."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from fedrepay.client.learning import ridge
from fedrepay.shared.arrays import F64, I64

PENALTIES = (30.0, 3.0, 0.3)


def sigmoid(score: F64) -> F64:
    return np.asarray(0.5 * (1 + np.tanh(score / 2)))


def sample(n: int, d: int, seed: int, *, rate: float = -1.0, size: float = 1.0) -> tuple[F64, F64, F64, I64]:
    """Rows, labels, offset and folds."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, size, (n, d)) * rng.uniform(0.1, 1, d)
    offset = rng.normal(0, 0.5, n)
    labels = (rng.random(n) < sigmoid(rate + offset + rows @ rng.normal(0, 1, d))).astype(float)
    return rows, labels, offset, rng.integers(0, 5, n)


def slope(rows: F64, labels: F64, offset: F64, weights: F64, penalty: float) -> F64:
    return np.asarray(rows.T @ (sigmoid(offset + rows @ weights) - labels) + penalty * weights)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("n", "d"), [(60, 4), (300, 40), (80, 120)])
def test_each_fit_is_at_the_minimum_of_its_own_rows(n: int, d: int, seed: int) -> None:
    rows, labels, offset, fold = sample(n, d, seed)
    found = list(ridge.cross_validated(rows, labels, offset, fold, PENALTIES))
    assert [each.penalty for each in found] == list(PENALTIES)
    for each in found:
        exact = ridge.fit(rows, labels, offset, each.penalty)
        assert np.abs(slope(rows, labels, offset, exact, each.penalty)).max() < 1e-7
        assert np.abs(rows @ (each.weights - exact)).max() < 3 * ridge.FOLDS_CLOSE
        assert np.abs(ridge.fit(rows, labels, offset, each.penalty, start=each.weights) - exact).max() < 1e-7
        for place in range(5):
            inside = fold != place
            without = ridge.fit(rows[inside], labels[inside], offset[inside], each.penalty)
            scores = offset[~inside] + rows[~inside] @ without
            assert np.abs(each.held_out[~inside] - scores).max() < 10 * ridge.FOLDS_CLOSE
            assert (
                np.abs(scores - (offset + rows @ exact)[~inside]).max() > 0.01
            )  # control: it is another fit


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
def test_a_free_column_is_scikit_learns_intercept(size: float, seed: int) -> None:
    rows, labels, offset, _ = sample(200, 6, seed, size=size)
    ones = np.column_stack([rows, np.ones(len(rows))])
    for penalty in (30.0, 0.1):
        other = LogisticRegression(solver="newton-cholesky", tol=1e-12, C=1 / penalty).fit(rows, labels)
        mine = ridge.fit(ones, labels, np.zeros_like(offset), penalty, free=1)
        assert mine == pytest.approx([*other.coef_[0], *other.intercept_], abs=1e-8)
        punished = ridge.fit(ones, labels, np.zeros_like(offset), penalty)
        assert abs(punished[-1] - mine[-1]) > 1e-6  # control: with its penalty the intercept is another


@pytest.mark.parametrize("seed", range(20))
def test_hard_cases_end(seed: int) -> None:
    """Few labels, far rows, hardly a penalty: derivatives of one column fit no other, and full steps would overshoot."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(12, 300))
    rows, _, _, fold = sample(n, int(rng.integers(1, 20)), seed, size=float(rng.choice([1.0, 3.0, 10.0])))
    ones = np.column_stack([rows, np.ones(n)])
    labels, fold = np.zeros(n), np.arange(n) % 2
    labels[: int(rng.integers(2, 5))] = 1
    offset = rng.normal(0, 3, n)
    for each in ridge.cross_validated(ones, labels, offset, fold, (100.0, 1.0, 0.01), free=1):
        bent = np.r_[np.full(ones.shape[1] - 1, each.penalty), 0.0]
        exact = ridge.fit(ones, labels, offset, each.penalty, free=1, start=each.weights)
        residual = sigmoid(offset + ones @ exact) - labels
        assert np.abs(ones.T @ residual + bent * exact).max() < 1e-5
        assert np.isfinite(each.held_out).all()


def test_a_fit_that_does_not_end_is_an_error() -> None:
    rows, labels, offset, _ = sample(50, 3, 0, size=1e5)
    with pytest.raises(ArithmeticError, match="no end"):
        ridge.fit(rows, labels, offset, 1e-6)
    assert np.isfinite(ridge.fit(rows / 1e5, labels, offset, 1.0)).all()  # control


def test_derivatives_are_shared_until_steps_stop_shrinking(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[bool] = []
    bends = ridge._bends

    def counted(*args: object, shared: bool) -> list[F64]:
        taken.append(shared)
        return bends(*args, shared=shared)  # type: ignore[arg-type]

    monkeypatch.setattr(ridge, "_bends", counted)
    rows, labels, offset, fold = sample(2000, 20, 0)
    assert len(list(ridge.cross_validated(rows, labels, offset, fold, (30.0, 10.0, 3.0)))) == 3
    assert all(taken)
    assert len(taken) <= 6  # Newton's own method takes them for every step, column and penalty

"""Figures on held-out rows: AUC, log-loss, calibration, bootstrap intervals.

They are computed by the driver from test rows, without noise: outside the privacy guarantee.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrepay.client.learning.ranking import weighted_aucs
from fedrepay.shared.arrays import F64

LEAST_OF_A_LABEL = 5
"""Fewer test rows of either label than this, and a member's own figures are null."""

LEVEL = 0.95
_REPEATS = 1000


def auc(y: NDArray[np.generic], score: F64) -> float | None:
    """Area under the ROC curve; None if only one label occurs.

    Args:
        y: labels 0 or 1, shape (n,).
        score: higher means label 1 is likelier, shape (n,); ties count one half.
    """
    found = float(weighted_aucs(y, score, np.ones((1, len(y))))[0])
    return None if np.isnan(found) else found


def log_loss(y: NDArray[np.generic], probability: F64) -> float:
    """Mean of −ln P(label), nats; probabilities of label 1 are kept 1e-15 away from 0 and 1.

    Args:
        y: labels 0 or 1, shape (n,), n ≥ 1.
        probability: of label 1, shape (n,).
    """
    kept = np.clip(probability, 1e-15, 1 - 1e-15)
    return float(-np.mean(np.where(y.astype(np.bool_), np.log(kept), np.log1p(-kept))))


def calibration(y: NDArray[np.generic], probability: F64, bins: int = 10) -> dict[str, Any]:
    """Expected calibration error and its bins of equally many rows, by predicted probability.

    Args:
        y: labels 0 or 1, shape (n,), n ≥ 1.
        probability: of label 1, shape (n,).
        bins: how many, at most.

    Returns:
        ``ece`` (mean over rows of |predicted − observed| of their bin) and ``bins``, each with the mean
        ``predicted`` probability, the ``observed`` share of label 1 and the ``rows``.
    """
    order = np.argsort(probability, kind="stable")
    found, error = [], 0.0
    for part in np.array_split(order, min(bins, len(order))):
        predicted, observed = float(probability[part].mean()), float(y[part].mean())
        found.append({"predicted": predicted, "observed": observed, "rows": len(part)})
        error += len(part) * abs(predicted - observed)
    return {"ece": error / len(order), "bins": found}


def compare(
    y: NDArray[np.generic],
    federated: F64,
    alone: F64 | None,
    seed: int,
    customers: NDArray[np.generic] | None = None,
) -> dict[str, Any]:
    """One member's AUC with the shared model and with its own, on its own test rows.

    Intervals are 95 % percentile bootstrap intervals over customers; the gain's is paired.

    Args:
        y: labels 0 or 1, shape (n,); n may be 0.
        federated: scores of the shared model, shape (n,).
        alone: scores of the member's own model, shape (n,), or None without one.
        seed: of the bootstrap.
        customers: ids, shape (n,); None if every row is a customer of its own.

    Returns:
        ``federated``, ``alone``, ``gain`` (federated − alone), each with ``…_interval`` [low, high], and
        ``reason``: why the figures are null, else None.
    """
    names = ("federated", "alone", "gain")
    figures: dict[str, Any] = {key: None for name in names for key in (name, f"{name}_interval")}
    ones = int(np.count_nonzero(y))
    if min(ones, len(y) - ones) < LEAST_OF_A_LABEL:
        reason = f"{ones} test rows of label 1 and {len(y) - ones} of label 0; {LEAST_OF_A_LABEL} of each are needed"
        return figures | {"reason": reason}
    weights = _bootstrap_weights(len(y), customers, seed)
    whole = np.ones((1, len(y)))
    points, samples = {}, {}
    for name, score in (("federated", federated), ("alone", alone)):
        if score is not None:
            points[name] = float(weighted_aucs(y, score, whole)[0])
            samples[name] = weighted_aucs(y, score, weights)
    if alone is not None:
        points["gain"] = points["federated"] - points["alone"]
        samples["gain"] = samples["federated"] - samples["alone"]
    tail = 50 * (1 - LEVEL)
    for name, point in points.items():
        low, high = np.nanpercentile(samples[name], [tail, 100 - tail])
        figures |= {name: point, f"{name}_interval": [float(low), float(high)]}
    return figures | {"reason": None}


def _bootstrap_weights(n: int, customers: NDArray[np.generic] | None, seed: int) -> F64:
    """How often each row is drawn, shape (repeats, n); rows of a customer are drawn together."""
    of = np.arange(n) if customers is None else np.unique(customers.astype(str), return_inverse=True)[1]
    groups = int(of.max()) + 1
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, groups, size=(_REPEATS, groups))
    counts = np.stack([np.bincount(row, minlength=groups) for row in drawn])
    weights: F64 = counts[:, of].astype(np.float64)
    return weights

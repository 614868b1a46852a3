"""Figures on held-out rows: AUC, log-loss, calibration.

They are computed by the driver from test rows, without noise: outside the privacy guarantee.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrepay.client.learning.ranking import weighted_aucs
from fedrepay.shared.arrays import F64


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

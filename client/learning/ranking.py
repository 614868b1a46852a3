"""How well scores rank rows: areas under the ROC curve, of many weightings of the same rows at a time."""

import numpy as np
from numpy.typing import NDArray

from fedrepay.shared.arrays import F64

_CHUNK = 50  # weightings at a time


def weighted_aucs(y: NDArray[np.generic], score: F64, weights: F64) -> F64:
    """Area under the ROC curve for each row of weights; NaN where a label has no weight.

    Args:
        y: labels 0 or 1, shape (n,).
        score: higher means label 1 is likelier, shape (n,); ties count one half.
        weights: of the rows, shape (m, n).

    Returns:
        shape (m,).
    """
    if not len(y):
        return np.full(len(weights), np.nan)
    order = np.argsort(score, kind="stable")
    ones = y[order].astype(np.float64)
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) > 0])  # first row of each tie
    result = np.full(len(weights), np.nan)
    for begin in range(0, len(weights), _CHUNK):
        part = weights[begin : begin + _CHUNK, order]
        positive = np.add.reduceat(part * ones, starts, axis=1)
        negative = np.add.reduceat(part * (1 - ones), starts, axis=1)
        wins = (positive * (np.cumsum(negative, axis=1) - negative / 2)).sum(axis=1)
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        np.divide(wins, pairs, out=result[begin : begin + _CHUNK], where=pairs > 0)
    return result

"""Who is left out together: whole customers, dealt evenly among those with and without an outcome of 1."""

import numpy as np
from numpy.typing import NDArray

from fedrepay.shared.arrays import I64


def dealt(y: NDArray[np.generic], owner: I64, folds: int, seed: int) -> I64:
    """The fold of each row, 0 … ``folds`` − 1, shape (n,).

    Args:
        y: labels 0 or 1, shape (n,).
        owner: the customer of each row, shape (n,); ``numpy.arange(n)`` where every row is one.
        folds: how many, at least 1.
        seed: of the deal.
    """
    people, place = np.unique(owner, return_inverse=True)
    has = np.bincount(place, weights=y) > 0
    rng = np.random.default_rng(seed)
    of = np.empty(len(people), dtype=np.int64)
    for each in (False, True):
        drawn = rng.permutation(np.flatnonzero(has == each))
        of[drawn] = np.arange(len(drawn)) % folds
    return of[place]


def scarcest(y: NDArray[np.generic], owner: I64) -> int:
    """Customers with a row of label 1 or customers without, whichever are fewer."""
    people, place = np.unique(owner, return_inverse=True)
    has = int(np.count_nonzero(np.bincount(place, weights=y, minlength=len(people))))
    return min(has, len(people) - has)

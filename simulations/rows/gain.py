"""A member's AUC on its own held-out customers: by how much two models differ, and what of it may be chance.

Two things are chance and independent of each other. *Which customers were held out*: the influence of each on the AUC
(DeLong, DeLong & Clarke-Pearson 1988), a customer's rows added up first (Obuchowski 1997). *Which records a model was
fitted to*: it is fitted again without each of up to ``GROUPS`` groups of customers, all else equal (delete-a-group
jackknife, Kott 2001). Drawing records with replacement would not do here: a model of 1,190 drawn records knows 750
customers, and its AUC falls by 0.03 for that alone (docs/evidence-of-gain.md). Degrees of freedom are Satterthwaite's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from fedrepay.client.learning.ranking import weighted_aucs
from fedrepay.shared.arrays import F64, I64

LEVEL = 0.95
GROUPS = 20
LEAST_CUSTOMERS = 5
"""Fewer held-out customers with or without label 1 than this, and a member has no figures."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """A model's AUC on held-out rows, (1 + groups,), and each customer's influence on it, (1 + groups, customers).

    First stands the model itself, then its fits without each group; a model that is held fixed, as a release is, has none.
    ``freedom`` is that of the held-out customers: the scarcer label's, less 1.
    """

    auc: F64
    influence: F64
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A figure with what may be chance in it: (variance, degrees of freedom) of each independent source."""

    value: float
    chance: tuple[tuple[float, float], ...]

    @property
    def variance(self) -> float:
        """Of all sources together."""
        return sum(variance for variance, _ in self.chance)

    def interval(self, comparisons: int = 1) -> list[float]:
        """[low, high] of level ``LEVEL``, for as many comparisons at once (Bonferroni): all of them hold together."""
        variance = self.variance
        if not variance:
            return [self.value, self.value]
        degrees = variance**2 / sum(each**2 / freedom for each, freedom in self.chance)
        reach = float(stdtrit(degrees, 1 - (1 - LEVEL) / (2 * comparisons))) * variance**0.5
        return [self.value - reach, self.value + reach]


def verdict(interval: Sequence[float]) -> str:
    """``gain`` above zero with the whole interval, ``lose`` below it, else ``unclear``."""
    return "gain" if interval[0] > 0 else "lose" if interval[1] < 0 else "unclear"


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, at least one."""
    count = len(estimates)
    chance = [(variance / count**2, freedom) for each in estimates for variance, freedom in each.chance]
    return Estimate(sum(each.value for each in estimates) / count, tuple(chance))


def too_few(y: NDArray[np.generic], owner: I64) -> str | None:
    """Why held-out rows are too few to judge by, else None."""
    of = [len(np.unique(owner[y == label])) for label in (0, 1)]
    if min(of) >= LEAST_CUSTOMERS:
        return None
    return (
        f"{of[1]} held-out customers of label 1 and {of[0]} of label 0; {LEAST_CUSTOMERS} of each are needed"
    )


def read(y: NDArray[np.generic], owner: I64, scores: F64, without: F64 | None = None) -> Ranking:
    """How a model ranks held-out rows.

    Args:
        y: their labels, 0 or 1, shape (n,), both of them.
        owner: whose rows they are, shape (n,).
        scores: the model's, shape (n,).
        without: those it gives when fitted without each group, shape (groups, n); None: it is held fixed.
    """
    people, place = np.unique(owner, return_inverse=True)
    given, whole = [scores] if without is None else [scores, *without], np.ones((1, len(y)))
    auc = np.array([weighted_aucs(y, each, whole)[0] for each in given])
    influence = [np.bincount(place, weights=_influence(y, each), minlength=len(people)) for each in given]
    fewest = min(len(np.unique(owner[y == label])) for label in (0, 1))
    return Ranking(auc, np.stack(influence), float(max(fewest - 1, 1)))


def difference(better: Ranking, base: Ranking) -> Estimate:
    """The AUC of one model less another's, on the same rows and, where both were fitted, without the same groups."""
    return level(replace(better, auc=better.auc - base.auc, influence=better.influence - base.influence))


def level(ranking: Ranking) -> Estimate:
    """The AUC, with chance by who was held out and by the records a model was fitted to.

    AUCs without a group differ for the held-out customers' sake too, which the first source has already: what their
    influence says of that is taken off the second.
    """
    held_out = (float(ranking.influence[0] @ ranking.influence[0]), ranking.freedom)
    groups = len(ranking.auc) - 1
    if not groups:
        return Estimate(float(ranking.auc[0]), (held_out,))
    spread = ranking.auc[1:] - ranking.auc[1:].mean()
    theirs = ranking.influence[1:] - ranking.influence[1:].mean(axis=0)
    fitted = (groups - 1) / groups * max(float((spread**2).sum() - (theirs**2).sum()), 0.0)
    return Estimate(float(ranking.auc[0]), (held_out, (fitted, float(groups - 1))))


def _influence(y: NDArray[np.generic], score: F64) -> F64:
    """What each row adds to the AUC's error, (n,): their squares add up to DeLong's variance."""
    out = np.empty(len(y))
    ones = y == 1
    for inside, sign in ((ones, 1), (~ones, -1)):
        others, here = np.sort(score[~inside]), score[inside]
        below, upto = (np.searchsorted(others, here, side) for side in ("left", "right"))
        won = (below + upto) / (2 * len(others))
        out[inside] = sign * (won - won.mean()) / np.sqrt(len(here) * max(len(here) - 1, 1))
    return out

"""What of a gain may be chance: of a mean over markets, and of one member.

A study's figures hang together. All lenders of a market share its shocks and are the same in all its draws of noise; all
members that use one release share its noise. Markets alone are drawn independently. So the interval of a mean rests on how
much markets differ, each with all its draws and members (the ratio estimator's variance between clusters: Cochran,
*Sampling Techniques*, 1977, chapter 6; Student's t with one degree less than there are markets). Members of all markets and draws as if
each were by itself would count one draw of noise as many; resampling a handful of markets cannot reach a 95 % interval's ends.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import stdtrit

from fedrepay.simulations.market.value import Worth
from fedrepay.simulations.rows.gain import LEVEL
from fedrepay.simulations.run.arguments import LEAST_REDRAWS

Figures = dict[str, Any]
Markets = Sequence[Sequence[Sequence[Figures]]]
"""Of each market, of each of its noise draws, its members' figures."""
Interval = tuple[float, float, float]
"""A figure and both ends of its 95 % interval."""


def ratio(markets: Markets, better: str, base: str, name: str) -> Interval | None:
    """Mean of ``better`` over mean of ``base``, less 1, with its 95 % interval.

    Args:
        markets: the members' figures; the same members count in both means.
        better: a way of choosing plans.
        base: another.
        name: the figure.

    Returns:
        the ratio less 1, and both ends of its interval; None where the base is not above 0. One market tells nothing of others: with
        one the interval is over its members, and holds the market and its draws of noise.
    """
    pairs = [
        [np.array([[each["ways"][way][name] for way in (better, base)] for each in draw]) for draw in market]
        for market in markets
    ]
    if len(pairs) > 1:
        found = [np.concatenate([each.reshape(-1, 2) for each in market]).sum(axis=0) for market in pairs]
        sums = np.array([each for market, each in zip(pairs, found, strict=True) if any(map(len, market))])
    else:
        sums = np.sum(pairs[0], axis=0)
    if not len(sums) or sums[:, 1].sum() <= 0:
        return None
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    return value - 1, *_around(value - 1, (sums[:, 0] - value * sums[:, 1]) / sums[:, 1].mean())


def mean(values: Sequence[float]) -> Interval:
    """The mean of independent values, at least one, with its 95 % interval."""
    given = np.asarray(values, np.float64)
    middle = float(given.mean())
    return middle, *_around(middle, given - middle)


def _around(middle: float, apart: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Both ends, from what each of the independent units adds; one unit says nothing of chance, and everything may be."""
    units = len(apart)
    if units == 1:
        return -np.inf, np.inf
    reach = float(stdtrit(units - 1, (1 + LEVEL) / 2)) * float(apart.std(ddof=1)) / units**0.5
    return middle - reach, middle + reach


def gain(better: Worth, base: Worth, redrawn: Sequence[float], comparisons: int) -> list[float] | None:
    """A member's [low, high]: value of ``better`` over value of ``base``, less 1, 95 % for so many members at once.

    Chance in it: which new accounts came (the influence of each on the ratio), and which records the own model was
    fitted to (it was fitted again to ``redrawn`` ones). The released model is held as it was released. Degrees of freedom are those of
    the records, the fewer: mixed ones (Satterthwaite's) promise too much so far out.

    Args:
        better: with the shared model.
        base: with the own model.
        redrawn: mean value with own models of other records of the same lender; where there are too few, None is returned.
        comparisons: how many members are judged (Bonferroni).
    """
    again = len(redrawn)
    if again < LEAST_REDRAWS:
        return None
    value, n = float(better.value.mean() / base.value.mean()), len(base.value)
    influence = (better.value - value * base.value) / base.value.mean()
    accounts = float(influence.var(ddof=1)) / n
    records = float(np.var(redrawn, ddof=1)) * (value / float(base.value.mean())) ** 2
    reach = float(stdtrit(again - 1, 1 - (1 - LEVEL) / (2 * comparisons))) * (accounts + records) ** 0.5
    return [value - 1 - reach, value - 1 + reach]

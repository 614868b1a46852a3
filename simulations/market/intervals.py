"""What of a gain may be chance: of a mean over markets, and of one member.

A study's figures hang together. All lenders of a market share its shocks; all members that use one release share its
noise. So a mean is resampled as it was drawn: markets with replacement, in each its noise draws, for each its members
(Davison & Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8; with replacement at every level, which
is the cautious choice). Resampling members of all markets and draws as if each were by itself counts one draw of noise as
many. Percentiles of a resample of few units are too narrow: they are taken further out, by Student's t (Hesterberg, "What
Teachers Should Know About the Bootstrap", *The American Statistician* 69, 2015: the expanded percentile interval).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtr, stdtrit

from fedrepay.shared.arrays import F64
from fedrepay.simulations.market.value import Worth
from fedrepay.simulations.rows.gain import Estimate
from fedrepay.simulations.run.arguments import LEAST_REDRAWS

Figures = dict[str, Any]
Markets = Sequence[Sequence[Sequence[Figures]]]
"""Of each market, of each of its noise draws, its members' figures."""
REPEATS = 4000


def ratio(markets: Markets, better: str, base: str, name: str, seed: int = 1) -> tuple[float, float, float]:
    """Mean of ``better`` over mean of ``base``, less 1, with its 95 % bootstrap interval.

    Args:
        markets: the members' figures; the same members count in both means. Every market has as many noise draws.
        better: a way of choosing plans.
        base: another.
        name: the figure.
        seed: of the resampling.

    Returns:
        the ratio less 1, and both ends of its interval. One market tells nothing of others: with one, or one draw, the interval
        holds it fixed.
    """
    draws = len(markets[0])
    given = [
        np.array([[each["ways"][better][name], each["ways"][base][name]] for each in draw]).reshape(-1, 2)
        for market in markets
        for draw in market
    ]
    sizes = np.array([len(each) for each in given]).reshape(len(markets), draws)
    pairs = np.zeros((*sizes.shape, sizes.max(), 2))
    for place, each in enumerate(given):
        pairs[place // draws, place % draws, : len(each)] = each
    whole = pairs.sum(axis=(0, 1, 2))
    ratios = np.concatenate([_resampled(pairs, sizes, seed, part) for part in range(REPEATS // _AT_ONCE)])
    low, high = np.percentile(ratios, 100 * _tails(len(markets) if len(markets) > 1 else int(sizes.max())))
    return float(whole[0] / whole[1] - 1), float(low), float(high)


def _tails(units: int) -> F64:
    """Which parts of a bootstrap distribution of so many units are the ends of a 95 % interval, (2,)."""
    reach = np.sqrt(units / (units - 1)) * stdtrit(units - 1, 0.975) if units > 1 else np.inf
    return np.array([ndtr(-reach), ndtr(reach)])


_AT_ONCE = 250


def _resampled(pairs: F64, sizes: F64, seed: int, part: int) -> F64:
    """Ratios less 1 of ``_AT_ONCE`` resamples, (n,), of pairs (markets, draws, members, 2), rows beyond ``sizes`` left out."""
    markets, draws, most, _ = pairs.shape
    rng = np.random.default_rng([seed, 42, part])
    market = rng.integers(0, markets, (_AT_ONCE, markets, 1))
    draw = rng.integers(0, draws, (_AT_ONCE, markets, draws))
    count = sizes[market, draw][..., None]
    member = (rng.random((_AT_ONCE, markets, draws, most)) * count).astype(np.int64)
    taken = pairs[market[..., None], draw[..., None], member] * (np.arange(most) < count)[..., None]
    total = taken.sum(axis=(1, 2, 3))
    return np.asarray(total[:, 0] / total[:, 1] - 1)


def gain(better: Worth, base: Worth, redrawn: Sequence[float], comparisons: int) -> list[float] | None:
    """A member's [low, high]: value of ``better`` over value of ``base``, less 1, 95 % for so many members at once.

    Chance in it: which new accounts came (the influence of each on the ratio), and which records the own model was
    fitted to (it was fitted again to ``redrawn`` ones). The released model is held as it was released.

    Args:
        better: with the shared model.
        base: with the own model.
        redrawn: mean value with own models of other records of the same lender; fewer than two: None is returned.
        comparisons: how many members are judged (Bonferroni).
    """
    again = len(redrawn)
    if again < LEAST_REDRAWS:
        return None
    value, n = float(better.value.mean() / base.value.mean()), len(base.value)
    influence = (better.value - value * base.value) / base.value.mean()
    accounts = float(influence.var(ddof=1)) / n
    records = float(np.var(redrawn, ddof=1)) * (value / float(base.value.mean())) ** 2
    chance = ((accounts, float(n - 1)), (records, float(again - 1)))
    return Estimate(value - 1, chance).interval(comparisons)

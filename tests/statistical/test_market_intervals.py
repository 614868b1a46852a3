"""The interval of a mean gain over markets holds the true gain as often as it says."""

import numpy as np
import pytest

from fedrepay.simulations.market import intervals
from fedrepay.simulations.market.intervals import Markets

TRUE, TIMES = 0.05, 160


def once(rng: np.random.Generator, markets: int, draws: int, members: int) -> Markets:
    """Gains with a part of their market, a part of their draw of noise, and a part of their own, as large as measured ones."""
    gains = (
        TRUE
        + rng.normal(0, 0.03, (markets, 1, 1))
        + rng.normal(0, 0.02, (markets, draws, 1))
        + rng.normal(0, 0.04, (markets, draws, members))
    )
    return [
        [
            [{"ways": {"shared": {"value": 1 + each}, "alone": {"value": 1.0}}} for each in draw]
            for draw in market
        ]
        for market in gains.tolist()
    ]


@pytest.mark.parametrize(("markets", "draws", "least"), [(10, 3, 0.93), (5, 2, 0.93)])
def test_an_interval_over_markets_holds_the_true_gain(markets: int, draws: int, least: float) -> None:
    rng = np.random.default_rng([5, markets])
    held = flat = 0
    for _ in range(TIMES):
        given = once(rng, markets, draws, 8)
        _, low, high = intervals.ratio(given, "shared", "alone", "value")
        held += low <= TRUE <= high
        each_by_itself = [[[one for market in given for draw in market for one in draw]]]
        _, low, high = intervals.ratio(each_by_itself, "shared", "alone", "value")
        flat += low <= TRUE <= high
    assert held / TIMES >= least
    assert flat / TIMES < 0.75  # the control: members as if each were by itself are far too sure

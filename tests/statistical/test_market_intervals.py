"""The interval of a mean gain holds the true gain as often as it says."""

import numpy as np
import pytest

from fedrepay.simulations.market import intervals
from fedrepay.simulations.market.intervals import Markets
from support.came_of import came_of

TRUE, TIMES = 0.05, 1000


def once(
    rng: np.random.Generator, markets: int, draws: int, members: int, shares: tuple[float, ...]
) -> Markets:
    """Gains with a part of their market, of its draw of noise, of the member in all draws, and of the member in one; unequal bases."""
    market, draw, member, rest = shares
    gains = (
        TRUE
        + rng.normal(0, market, (markets, 1, 1))
        + rng.normal(0, draw, (markets, draws, 1))
        + rng.normal(0, member, (markets, 1, members))
        + rng.normal(0, rest, (markets, draws, members))
    )
    bases = rng.lognormal(0, 0.3, (markets, 1, members)) + np.zeros((1, draws, 1))
    return [
        [
            [
                {"ways": {"shared": {"value": (1 + gain) * base}, "alone": {"value": base}}}
                for gain, base in zip(*each, strict=True)
            ]
            for each in zip(*pair, strict=True)
        ]
        for pair in zip(gains.tolist(), bases.tolist(), strict=True)
    ]


def holds(markets: Markets) -> bool:
    found = intervals.ratio(markets, "shared", "alone", "value")
    assert found is not None
    return found[1] <= TRUE <= found[2]


@pytest.mark.parametrize(
    "shares", [(0.03, 0.02, 0.04, 0.02), (0.03, 0.005, 0.01, 0.0), (0.005, 0.03, 0.02, 0.0)]
)
@pytest.mark.parametrize(("markets", "draws"), [(10, 3), (5, 2), (4, 2), (3, 2)])
def test_an_interval_over_markets_holds_the_true_gain(
    markets: int, draws: int, shares: tuple[float, ...]
) -> None:
    rng = np.random.default_rng([5, markets])
    held = flat = 0
    for _ in range(TIMES):
        given = once(rng, markets, draws, 8, shares)
        held += holds(given)
        flat += holds([[[one for market in given for draw in market for one in draw]]])
    assert 0.93 <= held / TIMES <= 0.975
    assert flat / TIMES < 0.8  # the control: members as if each were by itself are far too sure


@pytest.mark.parametrize("members", [3, 4, 8, 20])
def test_an_interval_over_members_holds_the_true_gain_of_their_market(members: int) -> None:
    rng = np.random.default_rng([6, members])
    held = sum(holds(once(rng, 1, 1, members, (0.0, 0.0, 0.04, 0.0))) for _ in range(TIMES))
    assert 0.93 <= held / TIMES <= 0.975


@pytest.mark.parametrize(("redraws", "members"), [(5, 3), (5, 20), (10, 20)])
def test_members_intervals_hold_all_at_once(redraws: int, members: int) -> None:
    """Accounts and other records as normal, in parts of one to nine and nine to one."""
    rng = np.random.default_rng([7, redraws, members])
    for part in (0.1, 0.5, 0.9):
        missed = 0
        for _ in range(150):
            accounts, own = np.sqrt(1 - part), np.sqrt(part)
            for _ in range(members):
                off = accounts * rng.normal() + own * rng.normal()
                low, high = _member(off, own * rng.normal(size=redraws), 300, accounts, members, rng)
                if not low <= 0 <= high:
                    missed += 1
                    break
        assert missed / 150 <= 0.09


def _member(
    off: float, redrawn: np.ndarray, n: int, accounts: float, members: int, rng: np.random.Generator
) -> list[float]:
    """The interval of a member whose true gain is 0 and whose figure is off by so many thousandths."""
    base = np.ones(n)
    spread = rng.normal(0, accounts * np.sqrt(n), n)
    better = base * (1 + 1e-3 * (off + spread - spread.mean()))
    found = intervals.gain(came_of(better), came_of(base), (1 + 1e-3 * redrawn).tolist(), members)
    assert found is not None
    return found

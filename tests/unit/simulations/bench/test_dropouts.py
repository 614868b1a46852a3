"""The model of drop-outs: without outages nothing is lost; with them, whoever has prepared before seldom costs an attempt."""

import numpy as np
import pytest

from fedrepay.simulations.bench import dropouts
from fedrepay.simulations.bench.dropouts import DropOuts, after, before


def void(way: object, size: int, work: float, runs: int) -> int:
    worlds = (DropOuts(size, work, np.random.default_rng((7, each))) for each in range(runs))
    return sum(way(world).void for world in worlds)  # type: ignore[operator]


def test_none_of_so_many_is_no_proof_of_never() -> None:
    low, high = dropouts._wilson(1.0, 2000)
    assert (round(low, 4), high) == (0.9981, 1.0)
    assert dropouts._wilson(0.5, 400) == pytest.approx((0.4512, 0.5488), abs=1e-4)


def test_members_that_never_vanish_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropouts, "RATE", 0.0)
    for way in (before, after):
        run = way(DropOuts(20, 60.0, np.random.default_rng(1)))
        assert (run.void, run.sums) == (0, dropouts.SUMS)


def test_who_has_prepared_seldom_costs_an_attempt() -> None:
    assert void(before, 50, 600.0, 60) > 10 * max(1, void(after, 50, 600.0, 60))


def test_a_member_that_is_away_when_it_is_asked_gets_the_message_late() -> None:
    world = DropOuts(2, 1.0, np.random.default_rng(1))
    world.away = {1: [(0.0, 300.0)]}
    assert world.ask([0, 1], np.full(2, 1.0), 3600.0) == {0, 1}
    assert world.now == 300.0 + 1.0 + dropouts.WIRE


def test_a_member_that_vanishes_at_work_has_lost_the_message() -> None:
    world = DropOuts(2, 1.0, np.random.default_rng(1))
    world.away = {1: [(dropouts.WIRE + 5.0, 400.0)]}
    assert world.ask([0, 1], np.full(2, 10.0), 900.0) == {0}
    assert world.now == 900.0

"""Tiers begin at a place in the release's own distribution, and discounts are known where it has seen enough of them."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding import borders as borders_module
from fedrepay.client.plans.deciding.borders import (
    LEAST_DISCOUNTS,
    NUDGED,
    TOP,
    Borders,
    borders,
    noise_deviation,
)
from fedrepay.shared.arrays import F64, I64
from support.market_accounts import market_book
from support.market_release import market_weights

BOOK = market_book()


def rows(n: int, discounted: float, seed: int = 1) -> F64:
    """Integer rows of n offers as members add them up, so many with a discount, (n, d)."""
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, len(block.labels), n) for block in BOOK.blocks[:-1]], axis=1)
    place = [block.name for block in BOOK.blocks].index("discount")
    has = rng.random(n) < discounted
    codes[:, place] = np.where(has, np.maximum(codes[:, place], 1), 0)
    return np.asarray(BOOK.rows(codes.astype(np.uint16)), np.float64)


def gram(of: F64, deviation: float = 0.0, seed: int = 2) -> I64:
    """The opened sum of these rows, a customer each, grid units: noise of this deviation on every entry."""
    whole = (of.T @ of)[np.triu_indices(of.shape[1])] * (1 << BOOK.weight_bits)
    return np.rint(whole + np.random.default_rng(seed).normal(0, deviation, len(whole))).astype(np.int64)


def square(opened: I64) -> F64:
    of = np.zeros((BOOK.dimension, BOOK.dimension))
    of[np.triu_indices(BOOK.dimension)] = opened
    return np.asarray(of + np.triu(of, 1).T)


def test_the_borders_are_places_in_the_distribution_of_the_offers() -> None:
    of, weights = rows(20_000, 0.3), market_weights(BOOK)
    found = borders(BOOK, weights, gram(of))
    names = [each.name for each in BOOK.schema.outcomes]
    for name, border, level in (("kept_90", found.self_cure, TOP), ("first_paid", found.nudge, NUDGED)):
        logit = of / BOOK.scale @ weights[names.index(name)]
        share = float((1 / (1 + np.exp(-logit)) < border).mean())
        assert share == pytest.approx(level, abs=0.08), name  # a normal law, roughly


def test_a_border_moves_with_the_distribution_and_not_with_a_constant() -> None:
    of, weights = rows(20_000, 0.3), market_weights(BOOK)
    lower = weights.copy()
    lower[:, -1] -= 1.0  # the same order of accounts, all of them less likely
    assert borders(BOOK, lower, gram(of)).self_cure < borders(BOOK, weights, gram(of)).self_cure


def test_without_a_gram_matrix_nobody_knows_of_discounts() -> None:
    assert Borders() == Borders(self_cure=0.6, nudge=0.4, discounts_known=False)


@pytest.mark.parametrize(
    ("offers", "share", "known"), [(20_000, 0.2, True), (20_000, 0.02, False), (2_000, 0.3, False)]
)
def test_few_discounts_are_not_known(offers: int, share: float, known: bool) -> None:  # noqa: FBT001
    assert (offers * share >= LEAST_DISCOUNTS) == known
    assert borders(BOOK, market_weights(BOOK), gram(rows(offers, share))).discounts_known is known


@pytest.mark.parametrize("deviation", [1e5, 1e6, 1e7])
@pytest.mark.parametrize("offers", [1, 5_000])
def test_the_noise_is_measured_in_the_sum_whatever_the_offers(deviation: float, offers: int) -> None:
    found = noise_deviation(BOOK, square(gram(rows(offers, 0.3), deviation)))
    assert found == pytest.approx(deviation, rel=0.05)


def known(seeds: int) -> int:
    """Of so many releases without a discount, how many would be said to know them."""
    of = rows(5_000, 0.0)
    return sum(
        borders(BOOK, market_weights(BOOK), gram(of, 1e7, seed)).discounts_known for seed in range(seeds)
    )


def test_noise_is_no_discount() -> None:
    assert known(25) == 0


def test_control_without_its_deviations_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(borders_module, "DEVIATIONS", 0.0)
    assert known(25) >= 3


def test_many_discounts_are_known_through_the_noise() -> None:
    assert borders(BOOK, market_weights(BOOK), gram(rows(20_000, 0.3), 2e6)).discounts_known


@pytest.mark.filterwarnings("error")
def test_a_sum_of_nothing_but_noise_gives_the_defaults_and_a_wild_one_no_warning() -> None:
    weights = market_weights(BOOK)
    size = BOOK.dimension * (BOOK.dimension + 1) // 2
    rng = np.random.default_rng(0)
    assert borders(BOOK, weights, np.zeros(size, np.int64)) == Borders()
    noise = rng.normal(0, 1e6, size).astype(np.int64)
    for corner in (-5, int(2e6)):
        assert borders(BOOK, weights, np.append(noise[:-1], corner)) == Borders()
    wild = borders(BOOK, weights * 1e6, gram(rows(5_000, 0.3), 1e6))
    assert 0 <= wild.nudge <= 1
    assert 0 <= wild.self_cure <= 1

"""Tiers begin at a place in the release's own distribution, and discounts are known where it has seen enough of them."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.borders import LEAST_DISCOUNTS, NUDGED, TOP, Borders, borders
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


def gram(of: F64) -> I64:
    whole = (of.T @ of).astype(np.int64)
    return np.asarray(whole[np.triu_indices(len(whole))])


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
    assert Borders().self_cure == 0.6, "without a Gram matrix"


@pytest.mark.parametrize(
    ("offers", "share", "known"), [(20_000, 0.2, True), (20_000, 0.02, False), (2_000, 0.3, False)]
)
def test_few_discounts_are_not_known(offers: int, share: float, known: bool) -> None:  # noqa: FBT001
    assert (offers * share >= LEAST_DISCOUNTS) == known
    assert borders(BOOK, market_weights(BOOK), gram(rows(offers, share))).discounts_known is known

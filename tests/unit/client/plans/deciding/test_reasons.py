"""Reasons: additive, of fixed meaning, strongest first; the counterfactual is the smallest change that is enough."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.reasons import CODE_OF, CODES, NAMES, NONE, Reasons
from fedrepay.client.plans.explaining.annotate import text
from fedrepay.client.plans.explaining.counterfactual import Counterfactual, counterfactual
from fedrepay.client.scoring.score import block_effects
from fedrepay.shared.arrays import F64, I64, U16
from fedrepay.shared.plans.catalogue import parse_catalogue
from support.market_accounts import market_book
from support.market_release import market_weights
from support.one_plan import one_plan

BOOK = market_book()
EFFECTS = block_effects(BOOK, market_weights(BOOK)[1])
BLOCKS = BOOK.blocks[:-1]
AVERAGE = [float(each.mean()) for each in EFFECTS[:-1]]
CATALOGUE = parse_catalogue(
    b'name = "t"\nversion = 1\ncurrency = "GBP"\n[[plans]]\nkind = "FULL"\n', "test.toml"
)
PLAN = one_plan()


def some_codes(seed: int, rows: int) -> U16:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, len(block.labels), rows) for block in BLOCKS], axis=1).astype(np.uint16)


def logits(codes: U16) -> F64:
    return np.asarray(sum(effect[codes[:, i]] for i, effect in enumerate(EFFECTS[:-1])))


def test_codes_have_their_fixed_meaning_and_every_column_of_the_market_one() -> None:
    assert [CODES[each] for each in ("R01", "R02", "R03", "R04")] == [
        "AFFORD_BUFFER",
        "OTHER_COMMITMENTS",
        "PAYDAY_ALIGNED",
        "KEPT_HISTORY",
    ]
    assert set(CODE_OF.values()) <= set(CODES)
    assert {name for block in BLOCKS for name in block.columns} <= set(CODE_OF)


@pytest.mark.parametrize("towards", [1.0, -1.0])
def test_parts_add_up_to_the_whole_difference_from_the_average(towards: float) -> None:
    reasons, codes = Reasons.of(BOOK, EFFECTS, AVERAGE, towards), some_codes(1, 50)
    parts = reasons.parts(codes)
    assert parts.sum(axis=1) == pytest.approx(towards * (logits(codes) - sum(AVERAGE)))


def test_against_a_reference_plan_only_what_knows_the_plan_is_compared_with_it() -> None:
    reasons = Reasons.of(BOOK, EFFECTS, AVERAGE, 1.0)
    mine, other = some_codes(2, 40), some_codes(3, 40)
    plan = {c.name for c in BOOK.schema.columns if c.role == "plan"}
    knows = np.array([bool(plan & set(block.columns)) for block in BLOCKS])
    other[:, ~knows] = mine[:, ~knows]  # the same account
    account = sum(EFFECTS[i][mine[:, i]] - AVERAGE[i] for i in np.flatnonzero(~knows))
    assert reasons.parts(mine, other).sum(axis=1) == pytest.approx(logits(mine) - logits(other) + account)


def test_a_cross_speaks_in_equal_parts_for_its_columns() -> None:
    reasons = Reasons.of(BOOK, EFFECTS, AVERAGE, 1.0)
    cross = next(i for i, block in enumerate(BLOCKS) if block.columns == ("headroom", "discount"))
    assert reasons.share[cross, NAMES.index("R01")] == 0.5
    assert reasons.share[cross, NAMES.index("R08")] == 0.5
    assert reasons.share.sum(axis=1) == pytest.approx(1.0)


def test_at_most_four_the_strongest_first_and_no_weak_ones() -> None:
    reasons, codes = Reasons.of(BOOK, EFFECTS, AVERAGE, 1.0), some_codes(4, 200)
    places, parts = reasons.top(codes)
    every = reasons.parts(codes)
    assert places.shape == (200, 4)
    assert (np.diff(np.abs(parts), axis=1) <= 0).all()
    assert np.abs(parts[:, 0]) == pytest.approx(np.abs(every).max(axis=1))
    rows, columns = np.nonzero(places != NONE)
    assert parts[rows, columns] == pytest.approx(every[rows, places[rows, columns]])
    assert (reasons.top(codes, least=1e9)[0] == NONE).all()


def test_words_of_one_reason() -> None:
    assert text(NAMES.index("R01"), 0.421) == "+R01 AFFORD_BUFFER (0.42)"
    assert text(NAMES.index("R02"), -0.3) == "−R02 OTHER_COMMITMENTS (0.30)"
    assert text(NONE, 0.0) is None


def test_twelve_pounds_lower_keeps_to_sixty() -> None:
    def predict(instalment: I64, _count: I64, _first: I64) -> F64:
        return np.asarray(0.56 + (8000 - instalment) / 1200 * 0.04)

    found = counterfactual(PLAN, 0.56, CATALOGUE, predict)
    assert found is not None
    assert found == Counterfactual("instalment", -1200, 6800, 14, 14, 0.60, found.kept)
    assert found.kept == pytest.approx(0.60)


def test_the_smallest_change_is_taken_and_its_term_pays_the_debt() -> None:
    seen: list[tuple[int, int]] = []

    def predict(instalment: I64, count: I64, _first: I64) -> F64:
        seen.extend(zip(instalment.tolist(), count.tolist(), strict=True))
        return np.where(instalment <= 7000, 0.9, 0.1)

    found = counterfactual(PLAN, 0.5, CATALOGUE, predict)
    assert found is not None
    assert (found.kind, found.change, found.target) == ("instalment", -1000, 0.55)
    assert all(each % 100 == 0 and each * count >= 90_000 > each * (count - 1) for each, count in seen)
    assert max(count for _, count in seen) <= 60
    assert seen[0][0] == 7900


def test_where_no_instalment_helps_the_nearest_date_does() -> None:
    def predict(_instalment: I64, _count: I64, first: I64) -> F64:
        return np.where((first == 20) | (first == 5), 0.8, 0.4)

    found = counterfactual(PLAN, 0.42, CATALOGUE, predict)
    assert found is not None
    assert (found.kind, found.change, found.first_due, found.instalment) == ("first_date", 6, 20, 8000)


def test_none_where_nothing_helps_or_nothing_is_left_to_reach() -> None:
    def never(instalment: I64, _count: I64, _first: I64) -> F64:
        return np.full(len(instalment), 0.3)

    assert counterfactual(PLAN, 0.3, CATALOGUE, never) is None
    assert counterfactual(PLAN, 0.97, CATALOGUE, lambda *a: np.full(len(a[0]), 1.0)) is None


@pytest.mark.parametrize(("kept", "target"), [(0.55, 0.60), (0.5499, 0.55), (0.60, 0.65), (0.15, 0.20)])
def test_the_next_round_five_per_cent(kept: float, target: float) -> None:
    found = counterfactual(PLAN, kept, CATALOGUE, lambda *a: np.full(len(a[0]), 0.99))
    assert found is not None
    assert found.target == target


def test_interest_that_runs_on_lengthens_the_term() -> None:
    charged = one_plan(count=13, interest=9_000, interest_per_day=50.0)
    counts: list[int] = []

    def predict(instalment: I64, count: I64, _first: I64) -> F64:
        for each, n in zip(instalment.tolist(), count.tolist(), strict=True):
            total = 90_000 + 50.0 * (14 + 365 / 12 * (n - 1) / 2)
            assert each * n >= total - 1e-6
        counts.extend(count.tolist())
        return np.zeros(len(count))

    assert counterfactual(charged, 0.5, CATALOGUE, predict) is None
    assert min(counts) == 13

"""Reasons: additive, of fixed meaning, strongest first; the counterfactual is the smallest change that is enough."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.grounds import Grounds
from fedrepay.client.plans.deciding.reasons import CODE_OF, CODES, NAMES, NONE, Reasons, reference_of
from fedrepay.client.plans.explaining.annotate import texts
from fedrepay.client.plans.explaining.counterfactual import Counterfactual, counterfactual
from fedrepay.client.scoring.score import block_effects
from fedrepay.shared.arrays import F64, I64, U16
from fedrepay.shared.plans.candidates import Debts, candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue
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
DAYS = np.arange(1, 46)


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
    without = {"product"}  # no code's words are about it
    assert {name for block in BLOCKS for name in block.columns} - set(CODE_OF) == without


def all_true(rows: int) -> Grounds:
    return Grounds(*(np.ones((rows, len(NAMES)), np.bool_),) * 2)


@pytest.mark.parametrize("towards", [1.0, -1.0])
def test_what_knows_the_plan_stands_against_the_reference_and_the_rest_against_the_average(
    towards: float,
) -> None:
    reasons = Reasons.of(BOOK, EFFECTS, AVERAGE, towards)
    mine, other = some_codes(2, 40), some_codes(3, 40)
    plan = {c.name for c in BOOK.schema.columns if c.role == "plan"}
    knows = np.array([bool(plan & set(block.columns)) for block in BLOCKS])
    other[:, ~knows] = mine[:, ~knows]  # the same account
    account = sum(EFFECTS[i][mine[:, i]] - AVERAGE[i] for i in np.flatnonzero(~knows))
    wanted = towards * (logits(mine) - logits(other) + account)
    assert reasons.parts(mine, other).sum(axis=1) == pytest.approx(wanted)


def test_a_cross_speaks_for_the_column_that_differs_and_in_both_orders_where_both_do() -> None:
    reasons = Reasons.of(BOOK, EFFECTS, AVERAGE, 1.0)
    place = next(i for i, block in enumerate(BLOCKS) if block.columns == ("headroom", "discount"))
    headroom, discount = NAMES.index("R01"), NAMES.index("R08")
    width = reasons.widths[place]
    mine, other = some_codes(1, 1), some_codes(1, 1)
    effect = EFFECTS[place].reshape(-1, width)

    def parts(now: tuple[int, int], then: tuple[int, int]) -> F64:
        for codes, (first, second) in ((mine, now), (other, then)):
            codes[0, place] = first * width + second
        return reasons.parts(mine, other)[0, [headroom, discount]]

    base = parts((1, 2), (1, 2))
    for now, then, wanted in (
        ((3, 2), (1, 2), [effect[3, 2] - effect[1, 2], 0]),
        ((1, 0), (1, 2), [0, effect[1, 0] - effect[1, 2]]),
        (
            (3, 0),
            (1, 2),
            [
                (effect[3, 2] - effect[1, 2] + effect[3, 0] - effect[1, 0]) / 2,
                (effect[1, 0] - effect[1, 2] + effect[3, 0] - effect[3, 2]) / 2,
            ],
        ),
    ):
        assert parts(now, then) - base == pytest.approx(np.array(wanted))


def test_at_most_four_the_strongest_first_and_no_weak_ones() -> None:
    reasons, codes, other = Reasons.of(BOOK, EFFECTS, AVERAGE, 1.0), some_codes(4, 200), some_codes(5, 200)
    places, parts = reasons.top(codes, other, all_true(200))
    every = reasons.parts(codes, other)
    assert places.shape == (200, 4)
    other_ = places == NAMES.index("R99")
    falls = np.diff(np.abs(parts), axis=1) <= 0
    assert (falls | other_[:, 1:]).all()
    assert not (other_[:, :-1] & (places[:, 1:] != NONE)).any(), "what says least stands last"
    assert other_.any()
    assert np.abs(parts).max(axis=1) == pytest.approx(np.abs(every).max(axis=1))
    rows, columns = np.nonzero(places != NONE)
    assert parts[rows, columns] == pytest.approx(every[rows, places[rows, columns]])
    assert (reasons.top(codes, other, all_true(200), least=1e9)[0] == NONE).all()


def test_what_is_not_true_goes_to_what_no_reason_names_and_the_sum_stays() -> None:
    reasons, codes, other = Reasons.of(BOOK, EFFECTS, AVERAGE, 1.0), some_codes(4, 50), some_codes(5, 50)
    nothing = Grounds(*(np.zeros((50, len(NAMES)), np.bool_),) * 2)
    places, parts = reasons.top(codes, other, nothing)
    assert (places[:, 0] == NAMES.index("R99")).all()
    assert parts[:, 0] == pytest.approx(reasons.parts(codes, other).sum(axis=1))
    assert not parts[:, 1:].any()


def test_the_reference_plan_is_the_first_in_instalments_that_the_debt_can_have() -> None:
    text = b'name = "t"\nversion = 1\ncurrency = "GBP"\n[[plans]]\nkind = "FULL"\n'
    text += b'[[plans]]\nkind = "INSTALMENT"\nn = [36, 3]\n[[plans]]\nkind = "REFER"\n'
    catalogue = parse_catalogue(text, "t.toml")
    debts = Debts(np.array([90_000, 3_000, 400]), np.zeros(3, np.int64), np.zeros(3), np.zeros(3, np.int64))
    found = reference_of(candidates(catalogue, arms(catalogue), debts))
    assert found.tolist() == [1, 2, 0]


def test_words_of_one_reason() -> None:
    place = np.array([NAMES.index("R01"), NAMES.index("R02"), NONE], np.int8)
    assert texts(place, np.array([0.421, -0.3, 0.0])).tolist() == [
        "+R01 AFFORD_BUFFER (0.42)",
        "−R02 OTHER_COMMITMENTS (0.30)",
        None,
    ]


def test_parts_are_rounded_as_text_rounds_them() -> None:
    halves = np.arange(1, 4_000) / 200  # 0.005, 0.015, …: a double lies above or below each
    part = np.concatenate([halves, np.nextafter(halves, 0), np.nextafter(halves, 99)]) * [[1.0], [-1.0]]
    written = texts(np.zeros(part.shape, np.int8), part)
    wanted = [f"{'+' if each > 0 else '−'}R01 AFFORD_BUFFER ({abs(each):.2f})" for each in part.ravel()]
    assert written.ravel().tolist() == wanted


def test_twelve_pounds_lower_keeps_to_sixty() -> None:
    def predict(instalment: I64, _count: I64, _first: I64) -> F64:
        return np.asarray(0.56 + (8000 - instalment) / 1200 * 0.04)

    found = counterfactual(PLAN, 0.56, CATALOGUE, predict, DAYS)
    assert found is not None
    assert found == Counterfactual("instalment", -1200, 6800, 14, 14, 0.60, found.kept)
    assert found.kept == pytest.approx(0.60)


def test_the_smallest_change_is_taken_and_its_term_pays_the_debt() -> None:
    seen: list[tuple[int, int]] = []

    def predict(instalment: I64, count: I64, _first: I64) -> F64:
        seen.extend(zip(instalment.tolist(), count.tolist(), strict=True))
        return np.where(instalment <= 7000, 0.9, 0.1)

    found = counterfactual(PLAN, 0.5, CATALOGUE, predict, DAYS)
    assert found is not None
    assert (found.kind, found.change, found.target) == ("instalment", -1000, 0.55)
    assert all(each % 100 == 0 and each * count >= 90_000 > each * (count - 1) for each, count in seen)
    assert max(count for _, count in seen) <= 60
    assert seen[0][0] == 7900


def test_where_no_instalment_helps_the_nearest_date_does() -> None:
    def predict(_instalment: I64, _count: I64, first: I64) -> F64:
        return np.where((first == 20) | (first == 5), 0.8, 0.4)

    found = counterfactual(PLAN, 0.42, CATALOGUE, predict, DAYS)
    assert found is not None
    assert (found.kind, found.change, found.first_due, found.instalment) == ("first_date", 6, 20, 8000)


def test_none_where_nothing_helps_or_nothing_is_left_to_reach() -> None:
    def never(instalment: I64, _count: I64, _first: I64) -> F64:
        return np.full(len(instalment), 0.3)

    assert counterfactual(PLAN, 0.3, CATALOGUE, never, DAYS) is None
    assert counterfactual(PLAN, 0.97, CATALOGUE, lambda *a: np.full(len(a[0]), 1.0), DAYS) is None


@pytest.mark.parametrize(("kept", "target"), [(0.55, 0.60), (0.5499, 0.55), (0.60, 0.65), (0.15, 0.20)])
def test_the_next_round_five_per_cent(kept: float, target: float) -> None:
    found = counterfactual(PLAN, kept, CATALOGUE, lambda *a: np.full(len(a[0]), 0.99), DAYS)
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

    assert counterfactual(charged, 0.5, CATALOGUE, predict, DAYS) is None
    assert min(counts) == 13

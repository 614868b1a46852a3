"""No cliff: what is asked of a customer moves with what they owe and have, and nobody who can pay is told a token."""

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.plans.catalogue import Catalogue
from support.judging import EXAMPLE
from support.market_accounts import Columns, market_book, random_accounts
from support.market_release import market_weights

TODAY = 20_800
POUND, LEAST, PART = 100, 500, 0.10
"""What moves, and what it may move at most: £5, or a tenth."""
STEPS = 40


def engine_with(catalogue: Catalogue) -> Engine:
    book = market_book()
    return Engine(book, market_weights(book), catalogue, Settings())


@cache
def engine() -> Engine:
    return engine_with(EXAMPLE)


def walked(seed: int, column: str, start: int) -> Columns:
    """One account again and again, a pound more each time in one column; it has an income form and nothing contradicts."""
    one = {name: each[:1] for name, each in random_accounts(1, seed).items()}
    rng = np.random.default_rng(seed)
    one |= {
        "income": np.array([float(rng.integers(60_000, 400_000))]),
        "surplus": np.array([float(rng.integers(-20_000, 60_000))]),
        "income_verified": np.array([rng.choice(["stated", "estimated", "verified"])], object),
        "apr": np.array([float(rng.choice([0.0, 0.1, 0.25, 0.6]))]),
        "fees": np.array([0.0]),
        "employment": np.array(["unknown"], object),
    }
    many = {name: np.repeat(each, STEPS) for name, each in one.items()}
    many["balance"] = np.full(STEPS, float(rng.integers(10_000, 2_900_000)))
    first = float(start) if column == "balance" else float(many[column][0])
    many[column] = first + POUND * np.arange(STEPS)
    many["customer"] = np.array([f"c{row}" for row in range(STEPS)], object)
    return many


def decided(columns: Columns, made: Engine | None = None) -> Batch:
    made = made or engine()
    columns = dict(columns)
    names = columns.pop("customer")
    return made.decide(made.accounts(names.tolist(), columns), today=TODAY)


def asked(batch: Batch) -> F64:
    """What the recommended plan takes of a month, NaN where a person decides or nothing is asked for."""
    arm, rows = batch.decisions.top[:, 0], np.arange(len(batch.decisions.code))
    plans = batch.judged.plans
    paying = np.isin(batch.decisions.code, [Decision.OFFER, Decision.REVIEW, Decision.TOKEN]) & (arm != NONE)
    return np.where(paying, plans.monthly[rows, np.maximum(arm, 0)].astype(float), np.nan)


def resting(batch: Batch) -> I64:
    return np.flatnonzero(np.isin(batch.decisions.code, [Decision.REVIEW, Decision.TOKEN]))


def moved_too_far(amounts: F64) -> int:
    """Steps of a pound that move what is asked by more than £5 and a tenth."""
    both = np.isfinite(amounts[:-1]) & np.isfinite(amounts[1:])
    gap = np.abs(np.diff(amounts))[both]
    return int((gap > np.maximum(LEAST, PART * np.maximum(amounts[:-1], amounts[1:])[both])).sum())


WALKS = {
    "seed": st.integers(0, 100_000),
    "column": st.sampled_from(["balance", "income", "surplus"]),
    "start": st.integers(1_000, 2_900_000),
}


@given(**WALKS)
@settings(max_examples=60)
def test_until_a_review_most_of_what_is_affordable_or_owed_is_asked_and_it_moves_with_it(
    seed: int, column: str, start: int
) -> None:
    batch = decided(walked(seed, column, start))
    amounts, rows = asked(batch), resting(batch)
    plans = batch.judged.plans
    least = np.minimum(plans.debts.bound, plans.debts.balance)[rows]
    review = batch.decisions.code[rows] == Decision.REVIEW
    assert (amounts[rows][review] >= 0.8 * least[review]).all()
    assert (plans.debts.bound[rows][~review] < EXAMPLE.smallest_instalment).all(), (
        "a token for who can pay more"
    )
    only = np.full(STEPS, np.nan)
    only[rows] = amounts[rows]
    assert moved_too_far(only) == 0


@given(seed=st.integers(0, 100_000))
@settings(max_examples=60)
def test_where_the_last_plan_that_clears_the_debt_ends_the_review_goes_on_from_it(seed: int) -> None:
    """Found by halving: the largest balance that some plan clears, and a pound more."""
    one = walked(seed, "balance", 10_000)
    low, high = 10_000, 2_900_000
    for _ in range(6):
        one["balance"] = np.round(np.linspace(low, high, STEPS) / POUND) * POUND
        code = decided(one).decisions.code
        clears = np.flatnonzero(code == Decision.OFFER)
        if not len(clears) or len(clears) == STEPS:
            return
        last = int(clears[-1])
        if last == STEPS - 1:
            return
        low, high = int(one["balance"][last]), int(one["balance"][last + 1])
        if high - low <= POUND:
            break
    one["balance"] = np.where(np.arange(STEPS) % 2 == 0, low, high).astype(float)
    amounts = asked(decided(one))
    assert moved_too_far(amounts[:2]) == 0, amounts[:2]


def test_without_a_plan_to_review_there_is_a_cliff_and_a_person_stands_at_it() -> None:
    """The control: the catalogue of before; where its plans end, its tokens began, and now a person looks."""
    before = EXAMPLE.model_copy(
        update={"plans": tuple(each for each in EXAMPLE.plans if each.kind != "REVIEW")}
    )
    one = walked(3, "balance", 10_000)
    one["balance"] = np.linspace(100_000, 2_900_000, STEPS).round()
    one |= {"surplus": np.full(STEPS, 33_500.0), "income": np.full(STEPS, 180_000.0)}
    with_review, without = decided(one), decided(one, engine_with(before))
    lost = (with_review.decisions.code == Decision.REVIEW) & (without.decisions.code == Decision.HUMAN)
    assert lost.any()
    assert not (without.decisions.code == Decision.TOKEN).any(), "nobody with £335 left a month is told £1"

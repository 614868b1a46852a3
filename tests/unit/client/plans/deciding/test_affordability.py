"""The bound on instalments: it holds as often as its level says, and there is none without an income form."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.affordability import income_known, lower_bound, sustainable
from fedrepay.client.plans.deciding.settings import CLASSES, Caution, Income
from fedrepay.shared.arrays import F64, I64

SETTINGS = Caution()
ACCOUNTS = 40_000


@pytest.mark.parametrize("known", CLASSES[1:])
def test_the_true_surplus_reaches_the_bound_as_often_as_the_level_says(known: str) -> None:
    rng = np.random.default_rng(1)
    given: Income = getattr(SETTINGS, known)
    income = np.exp(rng.normal(7, 0.4, ACCOUNTS))
    true = rng.normal(SETTINGS.usual_surplus, SETTINGS.usual_spread, ACCOUNTS)
    seen = true + rng.normal(0, given.error, ACCOUNTS)
    bound = lower_bound(SETTINGS, known, income, seen * income)
    holds = (true * income >= bound).mean()
    sigma = np.sqrt(given.level * (1 - given.level) / ACCOUNTS)
    assert abs(holds - given.level) < 4 * sigma
    naive = (true >= seen).mean()  # the control: what is stated, without any caution
    assert naive < given.level - 20 * sigma


def test_a_verified_income_allows_more_than_a_stated_one() -> None:
    income, surplus = np.full(3, 200_000.0), np.full(3, 30_000.0)
    known = np.array(CLASSES[1:], dtype=object)
    stated, estimated, verified = sustainable(SETTINGS, income, surplus, known, np.zeros(3))
    assert stated < estimated < verified < 30_000


@pytest.mark.parametrize(
    ("income", "surplus", "known"),
    [(np.nan, 5e4, "stated"), (2e5, np.nan, "stated"), (0.0, 5e4, "verified"), (2e5, 5e4, "none")],
)
def test_without_an_income_form_there_is_no_bound(income: float, surplus: float, known: str) -> None:
    found = sustainable(
        SETTINGS, np.array([income]), np.array([surplus]), np.array([known], dtype=object), np.zeros(1)
    )
    assert found.tolist() == [0]


@pytest.mark.parametrize("income", [0.0, 40_000.0, 156_000.0, 900_000.0])
@pytest.mark.parametrize("known", CLASSES[1:])
def test_a_pound_more_never_lowers_the_bound_and_moves_it_little(known: str, income: float) -> None:
    """No edge anywhere: by at most £5, or 10 %, whatever the surplus."""
    surplus = np.arange(-30_000.0, min(income, 150_000.0) + 30_001, 50)
    wide = len(surplus)

    def bound(of: F64) -> I64:
        classes = np.full(wide, known, dtype=object)
        return sustainable(SETTINGS, np.full(wide, income), of, classes, np.full(wide, 2_000.0))

    here, more = bound(surplus), bound(surplus + 100)
    step = more - here
    assert step.min() >= 0
    assert (step <= np.maximum(500, here // 10)).all()
    assert income == 0 or step.max() > 0


def test_a_proven_income_of_zero_is_known_and_leaves_no_room() -> None:
    income, surplus = np.zeros(4), np.array([-30_000.0, 0.0, np.nan, -30_000.0])
    known = np.array(["verified", "verified", "verified", "stated"], dtype=object)
    with np.errstate(all="raise"):
        assert sustainable(SETTINGS, income, surplus, known, np.zeros(4)).tolist() == [0, 0, 0, 0]
        assert lower_bound(SETTINGS, "verified", income[:2], surplus[:2]).max() <= 0
    assert income_known(income, surplus, known).tolist() == [True, True, True, False]


def test_a_level_is_never_below_what_is_wanted_where_little_is_left() -> None:
    """There every plan stands at its bound: of those with a small bound, so many can pay it as the level says."""
    rng = np.random.default_rng(2)
    for known in CLASSES[1:]:
        given: Income = getattr(SETTINGS, known)
        true = rng.normal(SETTINGS.usual_surplus, SETTINGS.usual_spread, 20 * ACCOUNTS)
        seen = true + rng.normal(0, given.error, len(true))
        for caution, enough in ((SETTINGS, True), (_bold(), False)):
            bound = lower_bound(caution, known, np.ones(len(true)), seen)
            few = (bound > 0) & (bound < 0.02)
            assert few.sum() > 1_000
            assert ((true[few] >= bound[few]).mean() >= 0.95) == enough, known


def _bold() -> Caution:
    """The control: levels that a mean over all surpluses would do with."""
    change = {"level": 0.91}
    return Caution(**{name: getattr(SETTINGS, name).model_copy(update=change) for name in CLASSES[1:]})


def test_promises_and_savings_come_off_and_nothing_is_below_zero() -> None:
    income, surplus = np.full(3, 200_000.0), np.full(3, 40_000.0)
    known = np.full(3, "verified", dtype=object)
    free, less, none = sustainable(SETTINGS, income, surplus, known, np.array([0.0, 5_000.0, 90_000.0]))
    assert (free - less, none) == (5_000, 0)
    saving = Caution(savings_share=0.02)
    assert free - sustainable(saving, income, surplus, known, np.zeros(3))[0] == 4_000


def test_a_higher_level_allows_less() -> None:
    income, surplus = np.array([200_000.0]), np.array([40_000.0])
    bounds = [
        lower_bound(Caution(stated=Income(error=0.065, level=level)), "stated", income, surplus)[0]
        for level in (0.5, 0.8, 0.95)
    ]
    assert bounds[0] > bounds[1] > bounds[2]


def test_no_setting_makes_the_bound_more_than_the_surplus_that_is_known() -> None:
    rich = Caution(usual_surplus=1.0, usual_spread=0.01, stated=Income(error=1.0, level=0.5))
    income, surplus = np.full(3, 200_000.0), np.array([-10_000.0, 0.0, 20_000.0])
    known = np.full(3, "stated", dtype=object)
    assert sustainable(rich, income, surplus, known, np.zeros(3)).tolist() == [0, 0, 20_000]

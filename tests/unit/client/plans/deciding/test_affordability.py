"""The bound on instalments: it holds as often as its level says, and there is none without an income form."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.affordability import lower_bound, sustainable
from fedrepay.client.plans.deciding.settings import CLASSES, Caution, Income

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

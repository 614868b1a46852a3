"""E[NPV] in closed form against a plain sum, month by month."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.shared.plans.candidates import Candidates, Debts, candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue
from fedrepay.shared.plans.kinds import KINDS
from fedrepay.shared.plans.money import DAYS_A_MONTH, Prices, no_plan_value, plan_value

TEXT = """
name = "tests"
version = 1
currency = "GBP"
rounding = 1
smallest_instalment = 1
token_amount = 1
[[plans]]
kind = "FULL"
first_due = [7]
[[plans]]
kind = "INSTALMENT"
n = [2, 3, 4, 5, 12, 24, 25, 60]
first_due = [7, 30]
[[plans]]
kind = "INSTALMENT"
n = [8, 26]
frequency = ["weekly"]
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.4]
[[plans]]
kind = "TOKEN"
n = [6]
[[plans]]
kind = "DORMANT"
dormant_months = [24]
"""


def plans(balance: int = 500_000, apr: float = 0.2) -> Candidates:
    made = parse_catalogue(TEXT.encode(), "tests")
    debts = Debts(np.array([balance]), np.array([0]), np.array([apr]), np.array([10_000]))
    return candidates(made, arms(made), debts)


def by_month(prices: Prices, of: Candidates, arm: int, first: float, kept: float) -> float:
    """The same in words: what comes in each month with the plan, and without it where it has not lived."""
    factor = (1 + prices.discount_rate) ** (-1 / 12)
    balance = float(of.debts.balance[0])
    no_plan = prices.no_plan_rate * balance
    total = float(of.total[0, arm])
    if not of.arms.pays[arm]:
        return sum(float(no_plan * factor**month) for month in range(1, prices.no_plan_months + 1))
    months = max(round(float(of.months[0, arm])), 1)
    start = float(of.arms.first_due[arm]) / DAYS_A_MONTH

    def alive(month: int) -> float:
        if month < 3:
            return float(first * (kept / first) ** (month / 3))
        return float(kept * prices.survival ** (month - 3))

    value = 0.0
    for month in range(months):
        value += alive(month) * total / months * factor ** (start + month)
    for month in range(
        1, prices.no_plan_months + 1
    ):  # what comes of itself, unless the plan lives or is paid
        gone = (
            alive(month - 1) if month <= months else alive(months - 1) * (KINDS[of.arms.kind[arm]] != "TOKEN")
        )
        value += (1 - gone) * no_plan * factor**month
    return value


@given(
    st.floats(0.001, 1),
    st.floats(0, 1),
    st.integers(80, 100).map(lambda percent: percent / 100),
    st.integers(0, 50).map(lambda percent: percent / 100),
    st.floats(0, 0.02),
    st.integers(0, 60),
)
def test_the_closed_form_is_the_sum_over_months(
    first: float, kept: float, survival: float, rate: float, no_plan: float, months: int
) -> None:
    of, prices = plans(), Prices(survival, rate, no_plan, months)
    shape = of.valid.shape
    found = plan_value(prices, of, np.full(shape, first), np.full(shape, kept))
    for arm, name in enumerate(of.arms.names):
        assert found[0, arm] == pytest.approx(by_month(prices, of, arm, first, kept), rel=1e-9), name


def test_no_plan_and_a_plan_nobody_keeps_are_worth_the_same() -> None:
    of, prices = plans(), Prices()
    nobody = plan_value(prices, of, np.zeros(of.valid.shape), np.zeros(of.valid.shape))
    assert nobody == pytest.approx(
        np.broadcast_to(no_plan_value(prices, of.debts.balance)[:, None], nobody.shape)
    )


def test_without_discounting_a_certain_plan_brings_all_that_is_paid() -> None:
    of, prices = plans(), Prices(survival=1.0, discount_rate=0.0, no_plan_rate=0.0)
    certain = np.ones(of.valid.shape)
    assert plan_value(prices, of, certain, certain) == pytest.approx(of.total.astype(float))

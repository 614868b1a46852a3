"""Dated instalments: golden cases, sums to the last minor unit, and cost over the first date."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.candidates import Debts, candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue
from fedrepay.shared.plans.schedule import (
    Plan,
    Schedule,
    cost_by_first_date,
    forgiven,
    plan_of,
    schedule,
    written,
)
from support.one_plan import one_plan

CATALOGUE = parse_catalogue(
    b"""
name = "test"
version = 1
currency = "GBP"
[[plans]]
kind = "FULL"
[[plans]]
kind = "INSTALMENT"
n = [3, 12, 48]
frequency = ["weekly", "biweekly", "monthly"]
interest_waiver = [0, 1]
fee_waiver = [0, 1]
first_due = [7, 30]
[[plans]]
kind = "INSTALMENT"
share = [0.5, 1]
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.2, 0.4]
fee_waiver = [0, 1]
[[plans]]
kind = "TOKEN"
n = [12]
[[plans]]
kind = "DORMANT"
dormant_months = [12]
""",
    "test.toml",
)
ARMS = arms(CATALOGUE)


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def plan(**changes: Any) -> Plan:
    golden = {"instalment": 4000, "count": 3, "principal": 10_000, "interest": 250, "interest_per_day": 5.5}
    return one_plan(**(golden | changes))


def starting(of: Plan, first: int) -> Schedule:
    """Its schedule where the nominal first date is this."""
    return schedule(of, first - of.nominal, Calendar())


def debts(balance: int, fees: int, apr: float, bound: int) -> Debts:
    return Debts(np.array([balance]), np.array([fees]), np.array([apr]), np.array([bound]))


def test_golden_monthly_from_the_31st() -> None:
    made = starting(plan(), day("2027-05-31"))
    assert [written(each) for each in made.dates.tolist()] == ["2027-05-31", "2027-06-30", "2027-07-31"]
    assert made.amounts.tolist() == [4000, 4000, 2250]


def test_golden_leap_year_and_year_end() -> None:
    dates = starting(plan(count=4, principal=16_000, interest=0), day("2027-11-30")).dates.tolist()
    assert [written(each) for each in dates] == ["2027-11-30", "2027-12-30", "2028-01-31", "2028-02-29"], (
        "30 January is a Sunday"
    )


@pytest.mark.parametrize(("frequency", "apart"), [("weekly", 7), ("biweekly", 14)])
def test_golden_weeks(frequency: str, apart: int) -> None:
    dates = starting(plan(frequency=frequency), 20_000).dates.tolist()
    assert dates == [20_000, 20_000 + apart, 20_000 + 2 * apart]


def test_rounding_up_ends_sooner() -> None:
    made = starting(plan(instalment=600, count=48, principal=24_100, interest=0), 20_000)
    assert len(made.amounts) == 41
    assert made.amounts[-1] == 100
    assert made.total == 24_100


def test_a_dormant_account_has_no_dates() -> None:
    made = starting(plan(kind="DORMANT", instalment=0, count=0, principal=0, interest=0), 20_000)
    assert not len(made.dates)
    assert cost_by_first_date(plan(kind="DORMANT", instalment=0, count=0)) == ()


def test_cost_is_a_line_in_the_first_date() -> None:
    costs = dict(cost_by_first_date(plan()))
    assert (costs[14], costs[16], costs[12]) == (10_250, 10_261, 10_239)
    assert list(costs) == list(range(1, 46))
    with pytest.raises(ArgumentError, match="first_due 46"):
        plan().at(46)


@given(
    balance=st.integers(1_000, 3_000_000),
    fees=st.floats(0, 0.5),
    apr=st.floats(0, 0.9),
    bound=st.integers(0, 100_000),
)
def test_every_candidate_is_paid_to_the_last_unit(balance: int, fees: float, apr: float, bound: int) -> None:
    made = candidates(CATALOGUE, ARMS, debts(balance, int(balance * fees), apr, bound))
    valid = np.flatnonzero(made.valid[0]).tolist()
    for one in (plan_of(made, 0, int(arm)) for arm in valid):
        dated = starting(one, 20_000)
        assert dated.total == one.total
        if one.pays:
            assert (dated.amounts[:-1] == one.instalment).all()
            assert 0 < dated.amounts[-1] <= one.instalment
            assert (np.diff(dated.dates) > 0).all()
            assert len(dated.amounts) <= one.count


def test_a_plan_in_plain_numbers_is_its_candidate() -> None:
    two = Debts(
        np.array([50_000, 90_000]), np.array([0, 5_000]), np.array([0.1, 0.3]), np.array([5_000, 9_000])
    )
    made = candidates(CATALOGUE, ARMS, two)
    for arm in range(len(ARMS.names)):
        one = plan_of(made, 1, arm)
        assert (one.name, one.instalment, one.total) == (
            ARMS.names[arm],
            made.instalment[1, arm],
            made.total[1, arm],
        )
        assert one.fees_saved == made.fees_saved[1, arm]
        assert one.interest_saved == made.interest_saved[1, arm]


def test_what_is_forgiven_is_the_balance_less_what_is_paid_and_waived() -> None:
    made = candidates(CATALOGUE, ARMS, debts(90_000, 5_000, 0.0, 9_000))
    settled = ARMS.is_kind("SETTLEMENT")
    assert (forgiven(made)[0, settled] == np.round(85_000 * ARMS.discount[settled])).all()
    assert not forgiven(made)[0, ~settled].any()

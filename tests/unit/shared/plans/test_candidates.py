"""Candidate plans: what each account would pay, against a plain calculation for one plan at a time."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.plans.deciding.objective import affordable
from fedrepay.shared.arrays import I64
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.candidates import Candidates, Debts, candidates
from fedrepay.shared.plans.catalogue import Arms, Catalogue, arms, parse_catalogue
from fedrepay.shared.plans.contract import Contract
from fedrepay.shared.plans.kinds import KINDS, LEAVES_A_REST
from fedrepay.shared.plans.schedule import plan_of, schedule

TEXT = """
name = "tests"
version = 1
currency = "GBP"
[[plans]]
kind = "FULL"
[[plans]]
kind = "INSTALMENT"
n = [2, 6, 12, 60]
interest_waiver = [0.0, 0.5, 1.0]
first_due = [7, 30]
[[plans]]
kind = "INSTALMENT"
share = [0.25, 1.0]
frequency = ["weekly", "biweekly", "monthly"]
fee_waiver = [0.0, 1.0]
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.2, 0.5]
[[plans]]
kind = "TOKEN"
n = [6]
[[plans]]
kind = "DORMANT"
dormant_months = [12, 24]
[[plans]]
kind = "REFER"
[[plans]]
kind = "REVIEW"
n = [12]
interest_waiver = [1.0]
[[plans]]
kind = "CATCH_UP"
n = [3, 12]
[[plans]]
kind = "EXTEND"
n = [12, 36]
interest_waiver = [0.0, 1.0]
[[plans]]
kind = "REDUCED"
n = [6]
interest_waiver = [1.0]
"""


def catalogue(**changed: int) -> Catalogue:
    head = "".join(f"{name} = {value}\n" for name, value in changed.items())
    return parse_catalogue((head + TEXT).encode(), "tests")


def of(
    *, balance: int = 120_000, fees: int = 0, apr: float = 0.0, bound: int = 10_000, **changed: int
) -> Candidates:
    made = catalogue(**changed)
    debts = Debts(np.array([balance]), np.array([fees]), np.array([apr]), np.array([bound]))
    return candidates(made, arms(made), debts)


def run(principal: int, period_rate: float, instalment: int) -> float:
    """Interest of a contract, instalment by instalment: the oracle."""
    owed, paid = float(principal), 0.0
    while owed > 1e-6:
        assert instalment > owed * period_rate or paid == 0, "the balance would grow"
        paid += min(owed, instalment)
        owed = (owed - min(owed, instalment)) * (1 + period_rate)
    return paid - principal


def arm(plans: Candidates, start: str) -> int:
    return next(i for i, name in enumerate(plans.arms.names) if name.startswith(start))


@given(
    st.integers(0, 5_000_000),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 200_000),
    st.sampled_from([1, 100, 500]),
)
def test_instalments_add_up_to_what_is_owed(
    balance: int, fee_part: float, apr: float, bound: int, rounding: int
) -> None:
    fees = int(balance * fee_part)
    plans = of(balance=balance, fees=fees, apr=apr, bound=bound, rounding=rounding)
    real = plans.valid & plans.arms.pays
    for place in np.flatnonzero(real[0]):
        count, instalment = int(plans.count[0, place]), int(plans.instalment[0, place])
        total = int(plans.total[0, place])
        assert instalment * (count - 1) < total <= instalment * count, plans.arms.names[place]
        rate = apr * (1 - plans.arms.interest_waiver[place]) * (KINDS[plans.arms.kind[place]] != "TOKEN")
        principal, each = int(plans.principal[0, place]), float(plans.arms.months_each[place])
        waited = principal * rate * plans.arms.first_due[place] / 365
        assert plans.interest[0, place] == pytest.approx(
            run(principal, rate * each / 12, instalment) + waited, abs=1.001
        )
        owed = (
            (balance - fees) * (1 - plans.arms.discount[place])
            + fees
            - math.floor(fees * plans.arms.fee_waiver[place])
        )
        if KINDS[plans.arms.kind[place]] not in LEAVES_A_REST:
            assert plans.principal[0, place] == math.ceil(owed)
        assert plans.principal[0, place] <= balance, "a balance never grows under a plan"


@given(st.integers(0, 5_000_000), st.floats(0, 1), st.integers(0, 200_000))
def test_a_share_of_the_bound_never_exceeds_it(balance: int, apr: float, bound: int) -> None:
    plans = of(balance=balance, apr=apr, bound=bound, rounding=1)
    by_share = plans.valid & (plans.arms.share > 0)
    assert (plans.monthly[by_share] <= bound).all()


def test_a_plan_of_equal_parts() -> None:
    plans = of(balance=120_000)
    place = arm(plans, "INSTALMENT n12")
    found = (plans.instalment[0, place], plans.count[0, place], plans.total[0, place], plans.months[0, place])
    assert found == (10_000, 12, 120_000, 12)


def test_interest_runs_from_the_offer_and_the_waiver_spares_its_part() -> None:
    plans = of(balance=365_000, apr=0.2)
    full, half, none = (
        arm(plans, f"INSTALMENT n12{waiver} day7") for waiver in ("", " interest-0.5", " interest-1")
    )
    assert plans.interest[0, full] == math.floor(
        run(365_000, 0.2 / 12, int(plans.instalment[0, full])) + 365_000 * 0.2 * 7 / 365
    )
    assert plans.interest[0, half] == math.floor(
        run(365_000, 0.1 / 12, int(plans.instalment[0, half])) + 365_000 * 0.1 * 7 / 365
    )
    assert plans.interest[0, none] == 0
    left = np.maximum(365_000 - int(plans.instalment[0, none]) * np.arange(1, 13), 0)
    assert plans.interest_saved[0, none] == math.floor(0.2 * (365_000 * 7 / 365 + left.sum() / 12)), (
        "as it is repaid"
    )
    assert plans.interest_saved[0, half] == plans.interest[0, half], "half of it is charged, half spared"
    assert plans.interest_per_day[0, full] == pytest.approx(200.0)
    moved = plan_of(plans, 0, full).at(30)
    assert moved.interest - plans.interest[0, full] == pytest.approx(23 * 200, abs=1)
    later = plan_of(plans, 0, arm(plans, "INSTALMENT n12 day30"))
    assert later.instalment * 11 < later.total <= later.instalment * 12, (
        "its instalment carries the longer wait"
    )


def test_rounding_up_needs_fewer_payments() -> None:
    plans = of(balance=60_200, rounding=100, longest_months=60)
    place = arm(plans, "INSTALMENT n60")
    assert (plans.instalment[0, place], plans.count[0, place]) == (1_100, 55)


def test_what_is_no_plan() -> None:
    plans = of(balance=9_000, smallest_instalment=500)
    assert not plans.valid[0, arm(plans, "INSTALMENT n60")], "1.50 a month is too little"
    assert plans.valid[0, arm(plans, "INSTALMENT n12")]
    small = of(balance=300, smallest_instalment=500)
    assert small.valid[0, arm(small, "FULL")], "a small debt can still be paid at once"
    assert not small.valid[0, arm(small, "INSTALMENT n2")]
    poor = of(balance=5_000_000, bound=1_000)
    assert not poor.valid[0, arm(poor, "INSTALMENT share1")], "it would take longer than the longest plan"
    short = of(balance=120_000, longest_months=6)
    assert [short.valid[0, arm(short, f"INSTALMENT n{n}")] for n in (2, 6, 12)] == [True, True, False]
    nothing = of(balance=0)
    assert not nothing.valid.any()


def test_token_dormant_and_referral() -> None:
    plans = of(balance=120_000, apr=0.3, token_amount=100)
    token, dormant, refer = (arm(plans, kind) for kind in ("TOKEN", "DORMANT", "REFER"))
    assert (plans.total[0, token], plans.count[0, token], plans.interest[0, token]) == (600, 6, 0)
    assert (plans.total[0, dormant], plans.months[0, dormant], plans.valid[0, dormant]) == (0, 12, True)
    assert plans.valid[0, refer]


def test_chosen_accounts_keep_their_candidates() -> None:
    made = catalogue()
    rng = np.random.default_rng(0)
    debts = Debts(rng.integers(0, 10**6, 9), np.zeros(9, np.int64), rng.random(9), rng.integers(0, 10**5, 9))
    of_arms: Arms = arms(made)
    whole, index = candidates(made, of_arms, debts), np.array([7, 2])
    part = whole.take(index)
    again = candidates(made, of_arms, part.debts)
    for name in ("valid", "instalment", "count", "principal", "interest", "months", "monthly", "total"):
        assert np.array_equal(getattr(part, name), getattr(again, name)), name


@given(
    balance=st.integers(1, 100_000),
    fees=st.integers(0, 20_000),
    apr=st.floats(0, 1),
    bound=st.integers(0, 200_000),
)
def test_no_payment_asks_for_more_than_the_whole(balance: int, fees: int, apr: float, bound: int) -> None:
    plans = of(balance=balance, fees=min(fees, balance), apr=apr, bound=bound)
    assert (plans.instalment <= plans.total)[plans.valid].all()
    assert (plans.principal <= balance)[plans.valid].all()


def test_a_settlement_by_share_of_a_small_debt_asks_for_the_debt() -> None:
    made = parse_catalogue(
        b'name = "t"\nversion = 1\ncurrency = "GBP"\n[[plans]]\nkind = "SETTLEMENT"\nshare = [1.0]\ndiscount = [0.2]\n',
        "tests",
    )
    debts = Debts(np.array([20_000]), np.array([0]), np.array([0.0]), np.array([50_000]))
    plans = candidates(made, arms(made), debts)
    assert (plans.instalment.item(), plans.monthly.item(), plans.count.item()) == (16_000, 16_000, 1)


@given(
    balance=st.integers(1_000, 500_000),
    bound=st.integers(1_000, 60_000),
    first=st.integers(18_000, 22_000),
    apr=st.floats(0, 0.5),
)
def test_an_affordable_plan_is_within_the_bound_in_every_calendar_month(
    balance: int, bound: int, first: int, apr: float
) -> None:
    plans = of(balance=balance, bound=bound, apr=apr)
    fine = np.flatnonzero(
        (affordable(plans) & plans.valid)[0] & plans.arms.is_kind("FULL", "INSTALMENT", "SETTLEMENT")
    )
    for place in fine:
        assert busiest_month(plans, int(place), first) <= bound


def busiest_month(plans: Candidates, place: int, first: int) -> int:
    """The most that falls due in one calendar month, from the dates themselves."""
    dated = schedule(plan_of(plans, 0, place), first, Calendar())
    months = dated.dates.astype("datetime64[D]").astype("datetime64[M]").astype(int)
    return int(np.bincount(months - months.min(), dated.amounts.astype(float)).max())


def test_an_average_month_would_let_a_fifth_week_through() -> None:
    """The control: 115 a week is 499 in an average month, and 575 in one with five pay days."""
    made = parse_catalogue(
        b'name = "t"\nversion = 1\ncurrency = "GBP"\n[[plans]]\nkind = "INSTALMENT"\nn = [52]\nfrequency = ["weekly"]\n',
        "tests",
    )
    debts = Debts(np.array([52 * 11_500]), np.array([0]), np.array([0.0]), np.array([50_000]))
    plans = candidates(made, arms(made), debts)
    assert (plans.instalment.item(), plans.monthly.item(), plans.worst_month.item()) == (
        11_500,
        49_834,
        57_500,
    )
    assert busiest_month(plans, 0, int(np.datetime64("2026-01-01", "D").astype(int))) == 57_500
    assert not affordable(plans).item()


WEEKS = b"""
name = "t"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [2, 3, 4, 5, 6, 12]
frequency = ["weekly", "biweekly", "monthly"]
"""


def beyond_any_month(balance: int, apr: float, monthly: Callable[[Candidates], I64]) -> list[str]:
    """Plans that are said to take more of a month than falls due in any, whatever day they begin on."""
    made = parse_catalogue(WEEKS, "tests")
    debts = Debts(np.array([balance]), np.array([0]), np.array([apr]), np.array([0]))
    plans = candidates(made, arms(made), debts)
    said = monthly(plans)
    return [
        plans.arms.names[place]
        for place in np.flatnonzero(plans.valid[0]).tolist()
        if said[0, place] > max(busiest_month(plans, place, first) for first in range(20_000, 20_031))
    ]


@given(balance=st.integers(1_000, 300_000), apr=st.floats(0, 0.5))
@settings(max_examples=30, deadline=None)
def test_no_plan_is_said_to_take_more_of_a_month_than_can_fall_due_in_one(balance: int, apr: float) -> None:
    assert beyond_any_month(balance, apr, lambda plans: plans.monthly) == []


def test_control_an_average_month_of_a_short_plan_is_more_than_all_of_it() -> None:
    found = beyond_any_month(
        10_000, 0.0, lambda plans: np.ceil(plans.instalment / plans.arms.months_each).astype(np.int64)
    )
    assert "INSTALMENT n3 weekly day14 portal" in found


def test_two_weeks_of_150_are_affordable_where_300_are() -> None:
    made = parse_catalogue(WEEKS, "tests")
    debts = Debts(np.array([30_000]), np.array([0]), np.array([0.0]), np.array([31_496]))
    plans = candidates(made, arms(made), debts)
    two, three = (arm(plans, f"INSTALMENT n{n} weekly") for n in (2, 3))
    assert (plans.monthly[0, two], plans.worst_month[0, two]) == (30_000, 30_000)
    assert affordable(plans)[0, [two, three]].all()
    assert not affordable(replaced(plans, bound=29_999))[0, two], "control"


def replaced(plans: Candidates, bound: int) -> Candidates:
    return replace(plans, debts=replace(plans.debts, bound=np.array([bound])))


@given(
    arrears=st.integers(1, 5_000),
    instalment=st.integers(1, 50_000),
    rounding=st.sampled_from([1, 100, 1_000]),
)
def test_no_payment_of_a_contract_asks_for_more_than_the_whole(
    arrears: int, instalment: int, rounding: int
) -> None:
    made = catalogue(rounding=rounding)
    runs = Contract(np.array([float(arrears)]), np.array([float(instalment)]), np.array([24.0]))
    debts = Debts(np.array([100_000]), np.array([0]), np.array([0.1]), np.array([30_000]), runs)
    plans = candidates(made, arms(made), debts)
    assert (plans.instalment <= plans.total)[plans.valid].all()
    caught = arm(plans, "CATCH_UP n3")
    if arrears < min(rounding, 300):  # control: rounded up it would be
        assert plans.instalment[0, caught] == instalment + arrears


def spared(plans: Candidates, row: int, place: int) -> float:
    """What the contract's rate charges on what is owed under the same payments, payment by payment: the oracle."""
    of, apr = plan_of(plans, row, place), float(plans.debts.apr[row])
    owed = float(plans.debts.balance[row] if of.kind in LEAVES_A_REST else of.principal)
    charged, to_pay = owed * apr * of.charged / 365, of.principal
    for _ in range(of.count):
        payment = min(of.instalment, to_pay)
        to_pay, owed = to_pay - payment, owed - payment
        charged += owed * apr * float(plans.arms.months_each[place]) / 12
    assert to_pay == 0
    return charged


def by_the_mean(plans: Candidates) -> I64:
    """As it was: half of what is paid, owed all the while."""
    rest = plans.arms.is_kind(*LEAVES_A_REST)
    owed = np.where(rest, plans.debts.balance[:, None] - plans.principal / 2, plans.principal / 2)
    years = plans.arms.months_each / 12 * np.where(rest, plans.count, plans.count - 1)
    whole = np.where(rest, plans.debts.balance[:, None], plans.principal)
    return np.asarray(plans.debts.apr[:, None] * (owed * years + whole * plans.dates.charged / 365)).astype(
        np.int64
    )


def beyond_the_truth(
    draws: int, rounding: int, saved: Callable[[Candidates], I64], under: float = 2.0
) -> list[tuple[str, float, int]]:
    """Plans that waive all interest and say that they spare more than they do, or less by more than so many minor units."""
    rng, made = np.random.default_rng(draws), catalogue(rounding=rounding)
    balance = rng.integers(1_000, 500_000, draws)
    bound = np.maximum(balance // rng.integers(1, 30, draws), 500)
    runs = Contract(balance / 20, balance / 15, np.full(draws, 24.0))
    debts = Debts(balance, np.zeros(draws, np.int64), rng.random(draws), bound, runs)
    plans = candidates(made, arms(made), debts)
    said, kinds = saved(plans), plans.arms.is_kind("REVIEW", "REDUCED", "TOKEN", "EXTEND", "INSTALMENT")
    waives = kinds & ((plans.arms.interest_waiver == 1) | plans.arms.is_kind("TOKEN"))
    return [
        (plans.arms.names[place], spared(plans, row, place), int(said[row, place]))
        for row, place in np.argwhere(plans.valid & waives).tolist()
        if not -under <= said[row, place] - spared(plans, row, place) <= 1e-6
    ]


@pytest.mark.parametrize("rounding", [1, 100, 1_000])
def test_what_is_said_to_be_spared_is_what_the_contract_would_charge(rounding: int) -> None:
    assert beyond_the_truth(200, rounding, lambda plans: plans.interest_saved) == []


def test_control_the_mean_overstates_what_a_review_that_clears_spares_and_a_rounded_plan() -> None:
    found = {
        name.split()[0] for name, truth, said in beyond_the_truth(200, 1_000, by_the_mean) if said > truth + 2
    }
    assert found >= {"REVIEW", "INSTALMENT"}


def largest_step(rounding: int, asked: Callable[[Candidates], I64]) -> tuple[int, float]:
    """The largest step of what a REVIEW asks as means grow by a penny: minor units, and as a part of what is asked."""
    made = catalogue(rounding=rounding, smallest_instalment=1, token_amount=1)
    bound = np.arange(500, 60_000)
    same = np.ones_like(bound)
    debts = Debts(same * 10**7, same * 0, np.full(len(bound), 0.2), bound)
    plans = candidates(made, arms(made), debts)
    of = asked(plans)
    assert (of <= bound).all()
    steps = np.diff(of)
    return int(steps.max()), float((steps / np.maximum(of[:-1], 1)).max())


@pytest.mark.parametrize("rounding", [1, 100, 500, 1_000, 5_000])
def test_a_penny_more_of_means_never_asks_for_much_more(rounding: int) -> None:
    most, part = largest_step(rounding, lambda plans: plans.instalment[:, arm(plans, "REVIEW")])
    assert most <= 500
    assert part <= 0.1


@pytest.mark.parametrize("rounding", [1_000, 5_000])
def test_control_rounded_as_other_plans_are_it_would(rounding: int) -> None:
    most, part = largest_step(rounding, lambda plans: plans.debts.bound // rounding * rounding)
    assert (most, part > 0.1) == (rounding, True)

"""First dates: the wish before the payday before the catalogue, on working days, within bounds, at the lesser cost."""

import calendar as months
import random
from datetime import date, timedelta

import numpy as np
import pytest

from fedrepay.shared.plans import schedule as schedule_module
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.candidates import Debts, candidates
from fedrepay.shared.plans.catalogue import Arms, Catalogue, arms, parse_catalogue
from fedrepay.shared.plans.due import due_dates
from fedrepay.shared.plans.first_dates import FIRST_DUE, FOLLOWS, FirstDates, first_dates
from fedrepay.shared.plans.schedule import plan_of, schedule, written

NAN = float("nan")
UK = Calendar("UK")


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))


def catalogue(first_due: str = "7, 21") -> Catalogue:
    text = f"""
name = "t"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [6]
first_due = [{first_due}]
[[plans]]
kind = "DORMANT"
dormant_months = [12]
"""
    return parse_catalogue(text.encode(), "t.toml")


def found(
    of: Arms, today: str, payday: float = NAN, wish: float = NAN, calendar: Calendar = UK
) -> FirstDates:
    return first_dates(
        of, day(today), np.array([payday]), np.array([wish]), [calendar], np.zeros(1, np.int64)
    )


def dates(today: str, payday: float = NAN, wish: float = NAN, first_due: str = "7, 21") -> list[str]:
    due = found(arms(catalogue(first_due)), today, payday, wish).due[0, :-1]
    return [written(int(each)) for each in day(today) + due]


@pytest.mark.parametrize(
    ("today", "payday", "wish", "falls"),
    [
        ("2027-01-04", NAN, NAN, ["2027-01-11", "2027-01-25"]),
        ("2027-01-04", 10, NAN, ["2027-01-14", "2027-02-15"]),  # 14 February is a Sunday
        ("2027-01-04", 3, NAN, ["2027-02-08", "2027-02-08"]),  # 7 January is too soon, 7 February a Sunday
        ("2027-01-04", 4, NAN, ["2027-01-08", "2027-02-08"]),  # three days before the catalogue's
        ("2027-01-04", 0, NAN, ["2027-02-04", "2027-02-04"]),  # paid today
        ("2027-01-04", 10, 20, ["2027-01-20", "2027-01-20"]),  # 20 February would be day 47
        ("2027-01-20", NAN, 31, ["2027-01-30", "2027-02-27"]),  # both month ends are Sundays
        ("2027-03-15", NAN, 29, ["2027-03-30", "2027-04-29"]),  # Easter Monday
        ("2027-12-13", NAN, 26, ["2027-12-29", "2028-01-26"]),
        ("2027-01-03", NAN, NAN, ["2027-01-11", "2027-01-25"]),  # Sundays
    ],
)
def test_golden_first_dates(today: str, payday: float, wish: float, falls: list[str]) -> None:
    assert dates(today, payday, wish) == falls


@pytest.mark.parametrize(
    ("today", "first_due", "falls"),
    [
        ("2027-05-30", "1", "2027-06-01"),  # the 31st is a bank holiday and ends its month
        ("2027-01-14", "45", "2027-02-27"),  # day 45 is a Sunday that ends its month
        ("2027-01-20", "45", "2027-03-06"),
        ("2027-01-21", "45", "2027-03-06"),  # a Sunday: the Monday would be day 46
    ],
)
def test_a_date_stays_within_the_days_that_a_plan_may_have(today: str, first_due: str, falls: str) -> None:
    assert dates(today, first_due=first_due) == [falls]


def test_what_is_followed_is_told_and_nothing_is_where_nothing_is_paid() -> None:
    of = arms(catalogue())
    names = [
        [FOLLOWS[code] for code in found(of, "2027-01-04", payday, wish).follows[0].tolist()]
        for payday, wish in ((NAN, NAN), (10, NAN), (10, 20))
    ]
    assert names == [
        ["catalogue"] * 3,
        ["payday", "payday", "catalogue"],
        ["wish", "wish", "catalogue"],
    ]
    assert found(of, "2027-01-04", 10).due[0, 2] == of.first_due[2]


def test_days_since_the_last_payday_go_by_the_calendar() -> None:
    of = arms(catalogue())
    after = [
        found(of, today, payday, wish).after_payday[0, :2].tolist()
        for today, payday, wish in (
            ("2027-04-01", 29, NAN),  # 30 April, a month of 30 days
            ("2027-04-01", 0, NAN),
            ("2027-04-01", 14, 10),
            ("2027-01-20", 11, NAN),  # a Sunday that ends its month: wages come before it
        )
    ]
    assert after == [[0, 0], [0, 0], [26, 25], [0, 0]]
    assert np.isnan(found(of, "2027-04-01").after_payday).all()


def test_waiting_for_a_payday_costs_nothing_and_the_same_date_costs_the_same() -> None:
    made = catalogue("7, 21, 30")
    of = arms(made)
    debts = Debts(np.array([90_000]), np.zeros(1, np.int64), np.array([0.4]), np.array([50_000]))
    plain = candidates(made, of, debts)
    moved = candidates(made, of, debts, found(of, "2027-01-04", 3))
    assert moved.first_due[0, :3].tolist() == [35, 35, 35]
    assert moved.dates.charged[0, :3].tolist() == [7, 7, 7]
    assert moved.interest[0, :3].tolist() == [plain.interest[0, 0]] * 3
    assert plain.interest[0, 2] > plain.interest[0, 0], "control: the catalogue's own dates differ in cost"
    sooner = candidates(made, of, debts, found(of, "2027-01-04", 4))
    assert sooner.first_due[0, 0] == 4
    assert sooner.interest[0, 0] < plain.interest[0, 0]


def test_another_date_adds_days_later_and_takes_away_only_days_that_cost() -> None:
    made = catalogue("7")
    of = arms(made)
    debts = Debts(np.array([90_000]), np.zeros(1, np.int64), np.array([0.4]), np.array([50_000]))
    plan = plan_of(candidates(made, of, debts, found(of, "2027-01-04", 3)), 0, 0)
    assert (plan.first_due, plan.nominal, plan.charged, plan.follows) == (35, 34, 7, "payday")
    day_ = plan.interest_per_day
    for first, more in ((35, 0), (36, 1), (45, 10), (20, 0), (7, 0), (5, -2)):
        assert plan.at(first).interest == round(plan.interest + more * day_)
        assert plan.at(first).at(first) == plan.at(first)
    assert plan.at(35) == plan
    assert max(plan.charged_until(each) - each for each in FIRST_DUE) == 0, (
        "never for days that are not waited"
    )


def test_later_instalments_keep_the_wished_day() -> None:
    """The 31st, moved to the 30th once: not the 30th ever after."""
    made = catalogue()
    of = arms(made)
    debts = Debts(np.array([90_000]), np.zeros(1, np.int64), np.zeros(1), np.array([50_000]))
    plan = plan_of(candidates(made, of, debts, found(of, "2027-01-20", wish=31)), 0, 0)
    falls = [written(each) for each in schedule(plan, day("2027-01-20"), UK).dates.tolist()]
    assert falls == ["2027-01-30", "2027-02-27", "2027-03-31", "2027-04-30", "2027-05-29", "2027-06-30"]


def open_day(of: date) -> date:
    """Modified following, a day at a time: the oracle (Sundays alone, where no place is known)."""
    ahead = back = of
    while ahead.weekday() == 6:
        ahead += timedelta(days=1)
    while back.weekday() == 6:
        back -= timedelta(days=1)
    return ahead if ahead.month == of.month else back


def slid(years: range, draws: int, seed: int) -> list[str]:
    """Monthly plans by wish or payday with a later instalment on another day than the wish, or the wage, has in its month."""
    made, wrong = catalogue("1, 14, 45"), []
    of, rng = arms(made), random.Random(seed)
    debts = Debts(np.array([150_000]), np.zeros(1, np.int64), np.zeros(1), np.array([50_000]))
    for draw in range(draws):
        today = date(rng.choice(years), 1, 1) + timedelta(days=rng.randrange(365))
        wish = rng.choice([1, 15, 28, 29, 30, 31])
        wage = today + timedelta(days=rng.randrange(32))
        ends = months.monthrange(wage.year, wage.month)[1] == wage.day
        by_wish = draw % 2 == 0
        anchor = wish if by_wish else 31 if ends else wage.day
        payday, wished = (NAN, wish) if by_wish else ((wage - today).days, NAN)
        moved = found(of, today.isoformat(), payday, wished, Calendar())
        plans = candidates(made, of, debts, moved)
        for arm in range(3):
            plan = plan_of(plans, 0, arm)
            falls = schedule(plan, day(today.isoformat()), Calendar()).dates.tolist()
            for each in (date.fromisoformat(written(one)) for one in falls):
                last = months.monthrange(each.year, each.month)[1]
                if each != open_day(each.replace(day=min(anchor, last))):
                    wrong.append(f"{today} {plan.name} keeps {anchor}: {each}")
    return wrong


def test_every_monthly_instalment_falls_on_the_day_that_was_wished_or_paid() -> None:
    assert slid(range(2024, 2041), 400, 1) == []


def test_control_by_the_first_dates_day_the_31st_is_the_28th_ever_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        schedule_module, "due_dates", lambda first, code, slots, _: due_dates(first, code, slots)
    )
    assert len(slid(range(2024, 2041), 400, 1)) > 20


@pytest.mark.parametrize(
    ("payday", "wish", "falls"),
    [
        (NAN, 31, ["2027-02-27", "2027-03-31", "2027-04-30"]),  # 28 February is a Sunday
        (NAN, 30, ["2027-02-27", "2027-03-30", "2027-04-30"]),
        (27, NAN, ["2027-02-27", "2027-03-31", "2027-04-30"]),  # paid at the month's end
        (26, NAN, ["2027-02-27", "2027-03-27", "2027-04-27"]),  # paid on the 27th
    ],
)
def test_golden_a_plan_that_begins_in_february(payday: float, wish: float, falls: list[str]) -> None:
    made = catalogue("14")
    debts = Debts(np.array([90_000]), np.zeros(1, np.int64), np.zeros(1), np.array([50_000]))
    of = arms(made)
    plan = plan_of(candidates(made, of, debts, found(of, "2027-02-01", payday, wish)), 0, 0)
    assert [written(each) for each in schedule(plan, day("2027-02-01"), UK).dates.tolist()[:3]] == falls
    assert plan.at(10).keeps == 0, "another date keeps its own day"

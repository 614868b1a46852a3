"""Golden cases of the two labels; each is also what the plain oracle says."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from fedrepay.shared.errors import DataError
from fedrepay.shared.plans.due import due_dates
from fedrepay.shared.plans.outcomes import MOST_MONEY, derive
from support.outcomes_oracle import DAY, EPOCH, Case, Pay, Reprofile, arrays, days, labels, later

FIRST = date(2025, 1, 15)
LATE = date(2026, 1, 1)
PLAN = Case(offered=date(2025, 1, 1), agreed=date(2025, 1, 3), first_due=FIRST)
"""Monthly instalments of 1000 from 15 January; three are judged within 90 days (15 January to 15 April)."""

DUE = [later(FIRST, "monthly", k) for k in range(4)]


def both(case: Case, as_of: date = LATE) -> tuple[int, int]:
    """(first_paid, kept_90)."""
    found = derive(*arrays([case]), (as_of - EPOCH).days)
    got = int(found.first_paid[0]), int(found.kept_90[0])
    assert got == labels(case, as_of)
    return got


def paid(*payments: tuple[date, int], case: Case = PLAN) -> Case:
    return replace(case, payments=tuple(Pay(i, on, amount) for i, (on, amount) in enumerate(payments)))


REST = [(each, 1000) for each in DUE[1:]]
ALL = [(each, 1000) for each in DUE]
GOOD = paid(*ALL)


def also(case: Case, *rows: Pay) -> Case:
    return replace(case, payments=(*case.payments, *rows))


def test_on_time() -> None:
    assert both(GOOD) == (1, 1)


def test_nothing_paid() -> None:
    assert both(PLAN) == (0, 0)


def test_day_7_late_is_in_time() -> None:
    assert both(paid((FIRST + 7 * DAY, 1000), *REST)) == (1, 1)


def test_day_8_late_is_not() -> None:
    assert both(paid((FIRST + 8 * DAY, 1000), *REST)) == (0, 1)


def test_early_money_counts_from_the_day_of_the_offer() -> None:
    assert both(paid((PLAN.offered, 1000), *REST)) == (1, 1)
    assert both(paid((PLAN.offered - DAY, 1000), *REST)) == (0, 0)


def test_partial_of_89_per_cent_is_missed_and_of_90_is_met() -> None:
    assert both(paid((FIRST, 899), *REST))[0] == 0
    assert both(paid((FIRST, 900), *REST))[0] == 1


def test_two_partial_payments_add_up() -> None:
    assert both(paid((FIRST, 450), (FIRST + 7 * DAY, 450), *REST))[0] == 1
    assert both(paid((FIRST, 450), (FIRST + 8 * DAY, 450), *REST))[0] == 0


def test_one_payment_told_twice_counts_once() -> None:
    half = paid((FIRST, 500))
    assert both(also(half, Pay(0, FIRST, 500)))[0] == 0
    assert both(also(half, Pay(1, FIRST, 500)))[0] == 1


def test_the_same_id_of_another_offer_is_another_payment() -> None:
    found = derive(*arrays([GOOD, replace(PLAN, payments=GOOD.payments[:1])]), (LATE - EPOCH).days)
    assert found.first_paid.tolist() == [1, 1]
    undone = also(PLAN, Pay(0, FIRST, -1000))
    found = derive(*arrays([GOOD, undone]), (LATE - EPOCH).days)
    assert found.first_paid.tolist() == [1, 0]


def test_reversed_before_the_7_days_are_over() -> None:
    assert both(also(GOOD, Pay(9, FIRST + 2 * DAY, 1000, reverses=0)))[0] == 0


def test_reversed_long_after_still_does_not_count() -> None:
    case = also(GOOD, Pay(9, FIRST + 80 * DAY, 1000, reverses=0))
    assert both(case) == (0, 0)
    assert both(case, FIRST + 80 * DAY)[0] == 0
    assert both(case, FIRST + 79 * DAY)[0] == 1  # nobody knew yet


def test_a_negative_amount_reverses_the_payment_of_its_own_id() -> None:
    assert both(also(GOOD, Pay(0, FIRST + 2 * DAY, -1000)))[0] == 0
    assert both(also(GOOD, Pay(77, FIRST + 2 * DAY, -1000))) == (1, 1)  # reverses nothing


def test_paid_again_after_a_reversal() -> None:
    case = also(GOOD, Pay(9, FIRST + 2 * DAY, 1000, reverses=0), Pay(10, FIRST + 5 * DAY, 1000))
    assert both(case) == (1, 1)


def test_an_overpayment_covers_the_next() -> None:
    assert both(paid((FIRST, 3000))) == (1, 1)
    assert both(paid((FIRST, 1900))) == (1, 1)  # the third alone is missed by day 90
    assert both(paid((FIRST, 1899))) == (1, 0)


def test_one_miss_caught_up_by_the_next_due_date_s_grace_is_no_break() -> None:
    assert both(paid((DUE[1] + 7 * DAY, 2000), (DUE[2], 1000))) == (0, 1)
    assert both(paid((DUE[1] + 8 * DAY, 2000), (DUE[2], 1000))) == (0, 0)


def test_a_miss_never_caught_up_makes_the_next_one_missed() -> None:
    assert both(paid((DUE[1], 1000), (DUE[2], 1000))) == (0, 0)


def test_two_misses_in_a_row_are_a_break_and_two_apart_are_not() -> None:
    weekly = replace(PLAN, frequency="weekly", count=20)
    dates = [later(FIRST, "weekly", k) for k in range(20)]
    pay = [(each, 1000) for each in dates]
    assert both(paid(*pay[:3], *pay[5:], (dates[6], 2000), case=weekly)) == (1, 0)
    apart = [*pay[:3], (dates[4], 2000), (dates[6], 2000), *pay[7:]]  # 3 and 5 are made up a week later
    late = [(on + 7 * DAY if amount == 2000 else on, amount) for on, amount in apart]
    assert both(paid(*late, case=weekly)) == (1, 1)


def test_a_break_is_not_undone_by_paying_everything_later() -> None:
    assert both(paid((DUE[2], 9000))) == (0, 0)


def test_arrears_of_exactly_one_and_a_half_instalments_are_a_break() -> None:
    assert both(paid((FIRST, 500), (DUE[1] + 8 * DAY, 2500))) == (0, 0)
    assert both(paid((FIRST, 1900), (DUE[2] + 8 * DAY, 1100)))[1] == 1  # arrears 1.1 and one miss


def test_the_break_counts_up_to_day_90_and_no_further() -> None:
    weekly = replace(PLAN, frequency="weekly", count=60)
    dates = [later(FIRST, "weekly", k) for k in range(60)]
    # the 12th falls due on day 77 and is judged on day 84; the 13th on day 91
    assert both(paid(*((each, 1000) for each in dates[:11]), case=weekly)) == (1, 1)
    assert both(paid(*((each, 1000) for each in dates[:10]), case=weekly)) == (1, 0)
    from_day_6 = replace(weekly, first_due=FIRST, frequency="biweekly")
    dates = [later(FIRST, "biweekly", k) for k in range(60)]
    assert both(paid(*((each, 1000) for each in dates[:5]), case=from_day_6)) == (1, 1)
    assert both(paid(*((each, 1000) for each in dates[:4]), case=from_day_6)) == (1, 0)


def test_an_agreed_reprofiling_is_no_break() -> None:
    missed = paid((DUE[0], 1000), (date(2025, 3, 20), 400))
    lower = Reprofile(date(2025, 2, 25), date(2025, 3, 20), 400)
    assert both(missed) == (1, 0)
    assert both(replace(missed, reprofiles=(lower,))) == (1, 1)


def test_a_break_before_the_reprofiling_stays_one() -> None:
    case = replace(PLAN, reprofiles=(Reprofile(date(2025, 2, 23), date(2025, 3, 20), 400),))
    paid_then = also(case, Pay(0, date(2025, 3, 20), 400))
    assert both(paid_then) == (0, 0)
    sooner = replace(paid_then, reprofiles=(replace(case.reprofiles[0], on=date(2025, 2, 22)),))
    assert both(sooner) == (0, 1)  # on the day the second one's grace ends


def test_misses_after_a_reprofiling_break_the_plan() -> None:
    weekly = Reprofile(date(2025, 1, 16), date(2025, 1, 20), 100)
    case = replace(PLAN, frequency="weekly", count=30, reprofiles=(weekly,))
    pay = [(later(weekly.next_due, "weekly", k), 100) for k in range(12)]
    assert both(paid((FIRST, 1000), *pay, case=case)) == (1, 1)
    assert both(paid((FIRST, 1000), *pay[:5], case=case)) == (1, 0)


def test_a_reprofiling_on_the_last_known_day_counts_and_one_after_it_does_not() -> None:
    delayed = replace(PLAN, reprofiles=(Reprofile(FIRST - 5 * DAY, FIRST + 20 * DAY, 1000),))
    assert both(delayed, FIRST + 7 * DAY) == (-1, -1)  # the first due date has moved
    assert both(delayed, FIRST + 27 * DAY) == (0, -1)
    lump = replace(PLAN, count=1, reprofiles=(Reprofile(FIRST + 90 * DAY, FIRST + 120 * DAY, 100),))
    assert both(lump, FIRST + 90 * DAY) == (0, 1)
    lump = replace(lump, reprofiles=(Reprofile(FIRST + 91 * DAY, FIRST + 120 * DAY, 100),))
    assert both(lump, FIRST + 91 * DAY) == (0, 0)


def test_an_instalment_due_on_the_day_of_the_reprofiling_is_replaced() -> None:
    # 1000 paid early for 15 February: it is carried over to the new instalments of 500
    case = paid((DUE[0], 2000), case=replace(PLAN, reprofiles=(Reprofile(DUE[1], DUE[1], 500),)))
    assert both(case) == (1, 1)


def test_a_reprofiling_before_the_first_due_date_moves_it() -> None:
    moved = Reprofile(FIRST, date(2025, 2, 20), 600)
    case = replace(PLAN, reprofiles=(moved,))
    assert both(paid((date(2025, 2, 27), 540), case=case))[0] == 1
    assert both(paid((date(2025, 2, 27), 539), case=case))[0] == 0
    assert both(paid((date(2025, 2, 28), 600), case=case))[0] == 0


@pytest.mark.parametrize(
    ("frequency", "first", "dates"),
    [
        ("weekly", "2025-01-31", ["2025-01-31", "2025-02-07", "2025-02-14", "2025-02-21"]),
        ("biweekly", "2025-01-31", ["2025-01-31", "2025-02-14", "2025-02-28", "2025-03-14"]),
        ("monthly", "2025-01-31", ["2025-01-31", "2025-02-28", "2025-03-31", "2025-04-30"]),
        ("monthly", "2024-01-30", ["2024-01-30", "2024-02-29", "2024-03-30", "2024-04-30"]),
        ("monthly", "2025-11-15", ["2025-11-15", "2025-12-15", "2026-01-15", "2026-02-15"]),
    ],
)
def test_due_dates(frequency: str, first: str, dates: list[str]) -> None:
    code = arrays([replace(PLAN, frequency=frequency)])[0].frequency
    found = due_dates(np.array([days(first)]), code, 4)
    assert found.tolist() == [[days(each) for each in dates]]


def test_a_monthly_plan_from_the_31st_is_judged_on_the_months_last_days() -> None:
    case = replace(PLAN, first_due=date(2025, 1, 31))
    seen = [(date(2025, 1, 31), 900), (date(2025, 3, 7), 1000)]  # 28 February and 7 days
    assert both(paid(*seen, case=case)) == (1, 1)
    assert both(paid(seen[0], (date(2025, 3, 8), 1000), case=case)) == (1, 0)


def test_a_lump_sum_is_kept_if_90_per_cent_is_cleared_by_day_90() -> None:
    lump = replace(PLAN, count=1)
    assert both(paid((FIRST, 1000), case=lump)) == (1, 1)
    assert both(paid((FIRST + 90 * DAY, 900), case=lump)) == (0, 1)
    assert both(paid((FIRST + 90 * DAY, 899), case=lump)) == (0, 0)
    assert both(paid((FIRST + 91 * DAY, 1000), case=lump)) == (0, 0)


def test_an_offer_not_agreed_is_0_and_matures_as_an_agreed_one_would() -> None:
    case = replace(GOOD, agreed=None)
    assert both(case, FIRST + 6 * DAY) == (-1, -1)
    assert both(case, FIRST + 7 * DAY) == (0, -1)
    assert both(case, FIRST + 90 * DAY) == (0, 0)


def test_agreed_on_day_14_is_in_time_and_on_day_15_is_not() -> None:
    assert both(replace(GOOD, agreed=PLAN.offered + 14 * DAY)) == (1, 1)
    assert both(replace(GOOD, agreed=PLAN.offered + 15 * DAY)) == (0, 0)


def test_known_on_the_day_it_matures_and_not_the_day_before() -> None:
    assert [both(GOOD, FIRST + each * DAY) for each in (6, 7, 89, 90)] == [(-1, -1), (1, -1), (1, -1), (1, 1)]


def test_nothing_is_known_before_the_14_days_are_over() -> None:
    soon = replace(GOOD, first_due=PLAN.offered, agreed=None)
    assert both(soon, PLAN.offered + 13 * DAY)[0] == -1
    assert both(soon, PLAN.offered + 14 * DAY)[0] == 0


def test_censored_before_it_matured_is_outside_for_good() -> None:
    assert both(replace(GOOD, censored=FIRST + 6 * DAY)) == (-1, -1)
    assert both(replace(GOOD, censored=FIRST + 7 * DAY)) == (1, -1)
    assert both(replace(PLAN, censored=FIRST + 89 * DAY)) == (0, -1)


def test_censored_on_or_after_the_day_changes_nothing() -> None:
    assert both(replace(GOOD, censored=FIRST + 90 * DAY)) == (1, 1)
    assert both(replace(PLAN, censored=FIRST + 200 * DAY)) == (0, 0)


def test_no_offers_have_no_labels() -> None:
    found = derive(*arrays([]), 20_000)
    assert found.first_paid.shape == found.kept_90.shape == (0,)


def test_sums_that_int64_cannot_hold_are_refused() -> None:
    with pytest.raises(DataError, match="minor units"):
        both(paid((FIRST, MOST_MONEY), (FIRST, MOST_MONEY)))

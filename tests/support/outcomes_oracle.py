"""Labels the slow way: one offer at a time, one day after the other, with calendar dates and fractions."""

from __future__ import annotations

import calendar
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction

import numpy as np

from fedrepay.shared.plans.kinds import FREQUENCIES
from fedrepay.shared.plans.outcomes import Offers, Payments, Reprofiles

EPOCH = date(1970, 1, 1)
DAY = timedelta(days=1)


def days(text: str) -> int:
    """Days since 1970-01-01 of an ISO date."""
    return (date.fromisoformat(text) - EPOCH).days


@dataclass(frozen=True)
class Pay:
    id: int
    on: date
    amount: int
    reverses: int | None = None


@dataclass(frozen=True)
class Reprofile:
    on: date
    next_due: date
    instalment: int


@dataclass(frozen=True)
class Case:
    """One offer with all that happened to it."""

    offered: date
    first_due: date
    instalment: int = 1000
    count: int = 12
    frequency: str = "monthly"
    agreed: date | None = None
    censored: date | None = None
    payments: tuple[Pay, ...] = ()
    reprofiles: tuple[Reprofile, ...] = ()


@dataclass
class _Schedule:
    start: date
    end: date
    base: int
    instalment: int
    due: list[tuple[date, int]] = field(default_factory=list)


def arrays(cases: list[Case]) -> tuple[Offers, Payments, Reprofiles]:
    """Cases as the vectorised code takes them."""

    def whole(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.array(values, dtype=np.int64)

    def day(value: date | None) -> int:
        return -1 if value is None else (value - EPOCH).days

    offers = Offers(
        whole(list(range(len(cases)))),
        whole([day(each.offered) for each in cases]),
        whole([day(each.agreed) for each in cases]),
        whole([day(each.first_due) for each in cases]),
        whole([each.instalment for each in cases]),
        whole([each.count for each in cases]),
        np.array([FREQUENCIES.index(each.frequency) for each in cases], np.uint8),
        whole([day(each.censored) for each in cases]),
    )
    paid = [(index, each) for index, case in enumerate(cases) for each in case.payments]
    payments = Payments(
        whole([index for index, _ in paid]),
        whole([each.id for _, each in paid]),
        whole([day(each.on) for _, each in paid]),
        whole([each.amount for _, each in paid]),
        whole([-1 if each.reverses is None else each.reverses for _, each in paid]),
    )
    agreed = [(index, each) for index, case in enumerate(cases) for each in case.reprofiles]
    return (
        offers,
        payments,
        Reprofiles(
            whole([index for index, _ in agreed]),
            whole([day(each.on) for _, each in agreed]),
            whole([day(each.next_due) for _, each in agreed]),
            whole([each.instalment for _, each in agreed]),
        ),
    )


def labels(case: Case, as_of: date) -> tuple[int, int]:
    """(first_paid, kept_90) of one offer."""
    reprofiles = sorted((each for each in case.reprofiles if each.on <= as_of), key=lambda each: each.on)
    first, amount = case.first_due, case.instalment
    for each in reprofiles:
        if each.on <= first:
            first, amount = each.next_due, each.instalment
    amount = min(amount, case.instalment * case.count)
    over = case.offered + 14 * DAY
    agreed = case.agreed is not None and case.agreed <= over

    def known(after: int, *, good: bool) -> int:
        on = max(first + after * DAY, over)
        if on > as_of or (case.censored is not None and case.censored < on):
            return -1
        return int(agreed and good)

    paid = _cleared(case, first + 7 * DAY, as_of) >= Fraction(9, 10) * amount
    end = first + 90 * DAY
    return known(7, good=paid), known(90, good=not _breaks(case, reprofiles, first, end, as_of))


def _cleared(case: Case, on: date, as_of: date) -> int:
    seen: dict[int, int] = {}
    undone = set()
    for each in case.payments:
        if each.on > as_of:
            continue
        if each.reverses is not None:
            undone.add(each.reverses)
        elif each.amount < 0:
            undone.add(each.id)
        elif case.offered <= each.on <= on and each.id not in seen:
            seen[each.id] = each.amount
    return sum(amount for key, amount in seen.items() if key not in undone)


def later(first: date, frequency: str, k: int) -> date:
    """The k-th due date after the first, k = 0 being the first."""
    if frequency != "monthly":
        return first + {"weekly": 7, "biweekly": 14}[frequency] * k * DAY
    year, month = divmod(first.year * 12 + first.month - 1 + k, 12)
    return date(year, month + 1, min(first.day, calendar.monthrange(year, month + 1)[1]))


def schedules(case: Case, reprofiles: list[Reprofile], as_of: date) -> list[_Schedule]:
    """The schedule agreed first and those that followed it; each ends where the next starts."""
    total = case.instalment * case.count
    found = [_schedule(case, date.min, 0, case.first_due, case.instalment, total)]
    for each in reprofiles:
        old = found[-1]
        old.end = each.on
        fell_due = old.base + sum(share for due, share in old.due if due < each.on)
        base = min(fell_due, _cleared(case, each.on - DAY, as_of))
        found.append(_schedule(case, each.on, base, each.next_due, each.instalment, total))
    return found


def _schedule(case: Case, start: date, base: int, first: date, instalment: int, total: int) -> _Schedule:
    made = _Schedule(start, date.max, base, instalment)
    left = total - base
    while left > 0 and len(made.due) < 200:
        share = min(left, instalment)
        made.due.append((later(first, case.frequency, len(made.due)), share))
        left -= share
    return made


def _breaks(case: Case, reprofiles: list[Reprofile], first: date, end: date, as_of: date) -> bool:
    judged = 0
    owed = 0
    for schedule in schedules(case, [each for each in reprofiles if each.on <= end], as_of):
        missed_before = False
        owed = schedule.base
        day = max(schedule.start, case.offered)
        while day <= end and day < schedule.end:
            overdue = schedule.base
            for due, share in schedule.due:
                if due + 7 * DAY > day:
                    break
                if due + 7 * DAY == day:
                    missed = _cleared(case, day, as_of) - overdue < Fraction(9, 10) * share
                    if missed and missed_before:
                        return True
                    missed_before = missed
                    judged += 1
                overdue += share
            owed = overdue
            if overdue - _cleared(case, day, as_of) >= Fraction(3, 2) * schedule.instalment:
                return True
            day += DAY
    return judged < 2 and _cleared(case, end, as_of) < Fraction(9, 10) * owed

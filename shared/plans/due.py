"""When instalments fall due: one rule for schedules, letters and labels."""

import numpy as np

from fedrepay.shared.arrays import I64, U8
from fedrepay.shared.plans.kinds import FREQUENCIES

DAYS_EACH = {"weekly": 7, "biweekly": 14}
"""Days between two instalments; monthly ones go by the calendar."""
LAST = 31
"""The day of the month that stands for its last one."""


def due_dates(first: I64, frequency: U8, slots: int, keeps: I64 | None = None) -> I64:
    """Due dates, (n, slots), days since 1970-01-01, of plans that start on ``first`` (n,).

    A monthly instalment falls on the day of the month that the plan keeps, or on the month's last day if it has none:
    31 January, 28 February, 31 March; and where it keeps the 31st, 28 February, 31 March.

    Args:
        first: first due dates, (n,).
        frequency: codes into ``FREQUENCIES``, (n,).
        slots: how many instalments.
        keeps: the day of the month, 1 … 31, which the first date is or stands for; 0 for the first date's own, as for all
            where None; (n,).
    """
    k = np.arange(slots)
    month, day = month_and_day(first)
    day = day if keeps is None else np.where(keeps > 0, keeps, day)
    monthly = in_months(month[:, None] + k, day[:, None])
    days = np.array([DAYS_EACH.get(name, 0) for name in FREQUENCIES])[frequency][:, None]
    return np.where(days > 0, first[:, None] + days * k, monthly)


def month_and_day(days: I64) -> tuple[I64, I64]:
    """The month, since 1970-01, and its day, from 1, of days since 1970-01-01."""
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return month, 1 + days - _starts(month)


def in_months(month: I64, day: I64) -> I64:
    """That day of each month, or its last one, days since 1970-01-01; shapes that broadcast."""
    return np.asarray(_starts(month) + np.minimum(day, days_in(month)) - 1)


def days_in(month: I64) -> I64:
    """How many days these months have, since 1970-01."""
    return np.asarray(_starts(month + 1) - _starts(month))


def _starts(month: I64) -> I64:
    return month.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)

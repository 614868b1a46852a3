"""When instalments fall due: one rule for schedules, letters and labels."""

import numpy as np

from fedrepay.shared.arrays import I64, U8
from fedrepay.shared.plans.kinds import FREQUENCIES

DAYS_EACH = {"weekly": 7, "biweekly": 14}
"""Days between two instalments; monthly ones go by the calendar."""


def due_dates(first: I64, frequency: U8, slots: int) -> I64:
    """Due dates, (n, slots), days since 1970-01-01, of plans that start on ``first`` (n,).

    A monthly instalment falls on the first one's day of the month, or on the month's last day if it has none:
    31 January, 28 February, 31 March.

    Args:
        first: first due dates, (n,).
        frequency: codes into ``FREQUENCIES``, (n,).
        slots: how many instalments.
    """
    k = np.arange(slots)
    month, day = month_and_day(first)
    monthly = in_months(month[:, None] + k, day[:, None])
    days = np.array([DAYS_EACH.get(name, 0) for name in FREQUENCIES])[frequency][:, None]
    return np.where(days > 0, first[:, None] + days * k, monthly)


def month_and_day(days: I64) -> tuple[I64, I64]:
    """The month, since 1970-01, and its day, from 1, of days since 1970-01-01."""
    month = days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return month, 1 + days - _starts(month)


def in_months(month: I64, day: I64) -> I64:
    """That day of each month, or its last one, days since 1970-01-01; shapes that broadcast."""
    starts = _starts(month)
    return np.asarray(starts + np.minimum(day, _starts(month + 1) - starts) - 1)


def _starts(month: I64) -> I64:
    return month.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)

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
    month = first.astype("datetime64[D]").astype("datetime64[M]")
    day = first - month.astype("datetime64[D]").astype(np.int64)
    months = month[:, None] + k
    starts = months.astype("datetime64[D]").astype(np.int64)
    lengths = (months + 1).astype("datetime64[D]").astype(np.int64) - starts
    monthly = starts + np.minimum(day[:, None], lengths - 1)
    days = np.array([DAYS_EACH.get(name, 0) for name in FREQUENCIES])[frequency][:, None]
    return np.where(days > 0, first[:, None] + days * k, monthly)

"""When a plan's first instalment falls due: on the day that the customer wished, or else a payday, never on a day without banks.

It is the first such day from ``EARLIER`` days before the catalogue's on, or the last one within ``FIRST_DUE`` where that
comes later; the catalogue's own day where neither is known. Then it is moved to a working day (``calendar.py``).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64, U8, Bool
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.catalogue import Arms
from fedrepay.shared.plans.due import LAST, days_in, in_months, month_and_day

FIRST_DUE = range(1, 46)
"""Days from the offer to the first instalment that a plan may have (docs/domain.md section 2)."""
EARLIER = 3
"""Days before the catalogue's day on which a payday or a wished day is not waited for another month."""
FOLLOWS = ("catalogue", "payday", "wish")
"""What a first date follows."""
PAYDAY, WISH = 1, 2
_MONTHS = np.arange(-1, 3)
"""From the month before the next payday's, or before today's."""
_REACH = np.arange(-62, 94)
"""Days from today that they lie in."""


@dataclass(frozen=True)
class FirstDates:
    """First dates of n accounts × P arms, days from the offer, (n, P) or (1, P) each.

    ``due`` the first instalment's; ``nominal`` before it was moved to a working day: later instalments go by it; ``keeps``
    the day of the month, 1 … 31, that monthly ones keep, 0 for that of ``nominal``: who wished the 31st and begins on
    28 February goes on with 31 March;
    ``charged`` for how many days until then interest runs; ``follows`` codes into ``FOLLOWS``; ``after_payday`` days since the
    last payday, NaN where paydays are not known.
    """

    due: I64
    nominal: I64
    keeps: I64
    charged: I64
    follows: U8
    after_payday: F64

    @staticmethod
    def plain(due: I64) -> "FirstDates":
        """Dates as given, (1, P): nobody's payday, and interest until each of them."""
        days = due[None, :]
        own = np.zeros_like(days)
        return FirstDates(days, days, own, days, own.astype(np.uint8), np.full(days.shape, np.nan))

    def take(self, index: npt.NDArray[np.integer] | Bool | slice, accounts: int) -> "FirstDates":
        """Those of the chosen ones of so many accounts."""
        if len(self.due) != accounts:
            return self
        return FirstDates(*(each[index] for each in vars(self).values()))

    def of_arms(self, arms: I64) -> "FirstDates":
        """Those of the chosen arms."""
        return FirstDates(*(each[:, arms] for each in vars(self).values()))


def first_dates(
    arms: Arms, today: int, payday: F64, wish: F64, calendars: Sequence[Calendar], place: I64
) -> FirstDates:
    """First dates of n accounts.

    What moves a date later than the catalogue has it costs no interest, an earlier one bears less. Arms that differ in
    their catalogue's day alone, and come to the same date, cost the same: the lesser.

    Args:
        arms: P of them.
        today: the day of the offer, days since 1970-01-01.
        payday: days to the next payday, 0 … 31, then every month on its day, on the last one where it ends its month: who
            is paid on 28 February may be paid on 31 March, and no instalment falls before the wage; NaN where not known, (n,).
        wish: the wished day of the month, 1 … 31; NaN for none, (n,).
        calendars: of the places where the accounts' debtors live.
        place: into ``calendars``, (n,).
    """
    days, at = np.unique(arms.first_due, return_inverse=True)
    moved = np.stack([_moved(each, today) for each in calendars])
    own = np.stack(
        [_own(days, each, working(where, today)) for each, where in zip(moved, calendars, strict=True)]
    )
    due, nominal = own[place, 0], own[place, 1]
    follows = np.zeros(due.shape, np.uint8)
    known = {PAYDAY: np.isfinite(payday), WISH: np.isfinite(wish)}
    of_paid, day_paid = month_and_day(today + np.where(known[PAYDAY], payday, 0).astype(np.int64))
    day_paid = np.where(day_paid == days_in(of_paid), LAST, day_paid)
    this, _ = month_and_day(np.array([today]))
    wished = np.where(known[WISH], wish, 1).astype(np.int64)
    targets = {
        PAYDAY: in_months(of_paid[:, None] + _MONTHS, day_paid[:, None]) - today,
        WISH: in_months(this[:, None] + _MONTHS, wished[:, None]) - today,
    }
    anchors = {PAYDAY: day_paid[:, None], WISH: wished[:, None]}
    keeps = np.zeros_like(due)
    for code, target in targets.items():
        falls = moved[place[:, None], target - _REACH[0]]
        which, found = _chosen(falls, days)
        found &= known[code][:, None]
        due = np.where(found, np.take_along_axis(falls, which, 1), due)
        nominal = np.where(found, np.take_along_axis(target, which, 1), nominal)
        keeps = np.where(found, anchors[code], keeps)
        follows[found] = code
    pays = arms.pays
    wage = np.minimum(targets[PAYDAY], moved[place[:, None], targets[PAYDAY] - _REACH[0]])
    after = np.where(pays, _since(wage, due)[:, at], _since(wage, days)[:, at])
    due, nominal = (np.where(pays, each[:, at], arms.first_due) for each in (due, nominal))
    return FirstDates(
        due,
        nominal,
        keeps[:, at] * pays,
        _charged(arms, due),
        (follows[:, at] * pays).astype(np.uint8),
        np.where(known[PAYDAY][:, None], after, np.nan),
    )


@lru_cache(64)
def _moved(calendar: Calendar, today: int) -> I64:
    """The working days that the days of ``_REACH`` are moved to, days from today; to be read, not written."""
    return calendar.moved(today + _REACH) - today


@lru_cache(64)
def working(calendar: Calendar, today: int) -> I64:
    """Working days among ``FIRST_DUE``, days from today; to be read, not written."""
    days = np.array(FIRST_DUE)
    return days[~calendar.closed(today + days)]


def _own(days: I64, moved: I64, open_: I64) -> I64:
    """The catalogue's days moved to working days, and what later instalments go by, (2, D)."""
    due = moved[days - _REACH[0]]
    inside = (due >= FIRST_DUE[0]) & (due <= FIRST_DUE[-1])
    at = np.minimum(np.searchsorted(open_, days), len(open_) - 1)
    due = np.where(inside, due, open_[at])
    return np.stack([due, np.where(inside, days, due)])


def _chosen(falls: I64, days: I64) -> tuple[I64, Bool]:
    """Which of K dates goes with each of the catalogue's days, and whether one does, (n, D)."""
    inside = ((falls >= FIRST_DUE[0]) & (falls <= FIRST_DUE[-1]))[:, :, None]
    fits = inside & (falls[:, :, None] >= days - EARLIER)
    last = falls.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    found = np.broadcast_to(inside.any(axis=1), (len(falls), len(days)))
    return np.where(fits.any(axis=1), fits.argmax(axis=1), last), found.copy()


def _charged(arms: Arms, due: I64) -> I64:
    """Days until the first instalment for which interest runs, (n, P)."""
    least = np.minimum(due, arms.first_due)
    for one, other in arms.but_for_the_day:  # equal dates stand side by side
        same = due[:, one] == due[:, other]
        least[:, one] = np.where(same, np.minimum(least[:, one], least[:, other]), least[:, one])
    return least


def _since(paydays: I64, due: I64) -> F64:
    """Days since the last of K paydays, (n, D), of days (n, D) or (D,)."""
    since = due[..., None, :] - paydays[:, :, None]
    return np.asarray(np.where(since >= 0, since, np.inf).min(axis=1))

"""Labels from dated payments: was the first instalment paid, and was the plan kept for 90 days.

Every member derives its labels with this code, so that they mean the same everywhere. An offer's labels
depend on rows of that offer alone. The definitions are the project's own (``docs/plans.md``, "From payments
to labels"); days are whole days since 1970-01-01, money is whole minor units, −1 is "none".
"""

from dataclasses import dataclass

import numpy as np

from fedrepay.shared.arrays import I8, I64, U8, Bool
from fedrepay.shared.errors import DataError
from fedrepay.shared.plans.due import DAYS_EACH, due_dates

AGREE_WITHIN = 14
"""Days from the offer in which it must be agreed."""
GRACE = 7
"""Days after a due date in which money still counts for that instalment."""
HORIZON = 90
"""Days after the first due date over which a plan is kept or broken."""
MOST_MONEY = 1 << 58
"""Bound on all payments of one call together, in minor units: sums stay exact."""

_SLOTS = HORIZON // min(DAYS_EACH.values()) + 1
_FAR = 1 << 20
"""Later than any day (the year 4840)."""


@dataclass(frozen=True)
class Offers:
    """Offers, (n,) each.

    ``offered_on`` ≤ ``first_due_on``; ``agreed_on`` and ``censored_on`` (moratorium, death, insolvency, sale)
    are −1 where there was none; ``count`` ≥ 1 instalments of ``instalment`` ≥ 1; ``frequency`` indexes
    ``FREQUENCIES``. An offer that nobody agreed to has the first due date it was offered with.
    """

    offer: I64
    offered_on: I64
    agreed_on: I64
    first_due_on: I64
    instalment: I64
    count: I64
    frequency: U8
    censored_on: I64


@dataclass(frozen=True)
class Payments:
    """Payments and their reversals, (m,) each.

    ``offer`` is the index of the offer, ``payment`` an id: the same id twice within one offer is one payment.
    A row is a reversal if ``reverses`` names a payment of the same offer, or if its amount is negative: then
    it reverses the payment of its own id. A reversal takes its payment back as a whole.
    """

    offer: I64
    payment: I64
    paid_on: I64
    amount: I64
    reverses: I64


@dataclass(frozen=True)
class Reprofiles:
    """Agreed re-profilings, (r,) each.

    From ``from_on`` on, what remains of the plan's total is due in instalments of ``instalment``, the next on
    ``next_due_on`` ≥ ``from_on``, as often as before. ``offer`` is the index of the offer.
    """

    offer: I64
    from_on: I64
    next_due_on: I64
    instalment: I64


@dataclass(frozen=True)
class Labels:
    """1, 0, or −1 for an offer outside the label's population, (n,) each."""

    first_paid: I8
    kept_90: I8


class _Cleared:
    """What has been cleared of each offer by a day; reversed and doubled payments are not in it."""

    def __init__(self, offers: Offers, payments: Payments, as_of: int) -> None:
        reversal = (payments.reverses >= 0) | (payments.amount < 0)
        target = np.where(payments.reverses >= 0, payments.reverses, payments.payment)
        ids, index = np.unique(np.concatenate([payments.payment, target]), return_inverse=True)
        of_payment, of_target = payments.offer * len(ids) + index.reshape(2, -1)
        in_time = payments.paid_on <= as_of
        undone = np.isin(of_payment, of_target[reversal & in_time])
        counts = in_time & ~reversal & ~undone & (payments.paid_on >= offers.offered_on[payments.offer])
        rows = np.flatnonzero(counts)
        rows = rows[np.unique(of_payment[rows], return_index=True)[1]]
        if payments.amount[rows].sum(dtype=np.float64) > MOST_MONEY:
            raise DataError(
                f"The payments add up to more than {MOST_MONEY} minor units.", "Check the currency's unit."
            )
        keys = payments.offer[rows] * _FAR + payments.paid_on[rows]
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._sums = np.concatenate([[0], np.cumsum(payments.amount[rows][order])])

    def by(self, offer: I64, day: I64) -> I64:
        """Money cleared on or before a day, of the shape both broadcast to."""
        start = np.searchsorted(self._keys, offer * _FAR)
        end = np.searchsorted(self._keys, offer * _FAR + np.minimum(day, _FAR - 1), side="right")
        return np.asarray(self._sums[end] - self._sums[start])


def derive(offers: Offers, payments: Payments, reprofiles: Reprofiles, as_of: int) -> Labels:
    """Derive both labels of every offer.

    ``first_paid``: at least 90 % of the first instalment is cleared by 7 days after its due date.
    ``kept_90``: no break in the 90 days from the first due date. A break is two missed instalments in a row,
    or arrears of 1.5 instalments. An instalment is missed if, 7 days after its due date, less than 90 % of it is
    cleared after all earlier ones. Where fewer than two instalments come to be judged in the 90 days, the plan is
    kept if 90 % of what was due is cleared at their end. Both are 0 for an offer not agreed within 14 days.

    A label is known on day 7 or 90 after the first due date, and not before the 14 days are over. Until then,
    and for good if the offer is censored before that day, it is −1. A payment counts from the day of the offer
    to ``as_of``; one that is reversed on or before ``as_of`` never counts. A re-profiling takes up what is
    overdue: instalments that fell due before it are missed only if their 7 days had ended too, and no row of
    misses goes on through it. Made on or before the first due date, it moves that date.

    Arrears count once an instalment's 7 days are over, and then need no test of their own: let I be the
    instalment and c ≤ (k − ½)·I what is cleared at the k+1-th date, so that arrears are 1.5·I. Then
    c < (k − 1 + 0.9)·I, so that instalment k was missed, and k + 1 is. The oracle in the tests asks both.

    Args:
        offers: n offers.
        payments: m payments and reversals.
        reprofiles: r agreed re-profilings; at most one an offer and day.
        as_of: the last day of which everything is known.

    Raises:
        DataError: sums that int64 cannot hold.
    """
    cleared = _Cleared(offers, payments, as_of)
    steps = _Steps(offers, reprofiles, as_of)
    rows = np.arange(len(offers.offer))
    first = 10 * cleared.by(rows, steps.first_due + GRACE) >= 9 * steps.first_amount
    agreed = (offers.agreed_on >= 0) & (offers.agreed_on <= offers.offered_on + AGREE_WITHIN)
    decided = offers.offered_on + AGREE_WITHIN

    def label(good: Bool, days: int) -> I8:
        known_on = np.maximum(steps.first_due + days, decided)
        censored = (offers.censored_on >= 0) & (offers.censored_on < known_on)
        return np.where((known_on <= as_of) & ~censored, agreed & good, -1).astype(np.int8)

    return Labels(label(first, GRACE), label(_kept(offers, cleared, steps), HORIZON))


class _Steps:
    """Re-profilings in order of their dates, and the first instalment as they leave it.

    ``first_due`` and ``first_amount`` are (n,); ``number`` (n,) counts each offer's re-profilings up to its last
    day that matters, and the j-th of offer i stands at ``start[i] + j`` in the sorted arrays.
    """

    def __init__(self, offers: Offers, reprofiles: Reprofiles, as_of: int) -> None:
        rows = np.flatnonzero(reprofiles.from_on <= as_of)
        rows = rows[np.lexsort([reprofiles.from_on[rows], reprofiles.offer[rows]])]
        n = len(offers.offer)
        self.from_on, self.next_due = reprofiles.from_on[rows], reprofiles.next_due_on[rows]
        self.instalment, offer = reprofiles.instalment[rows], reprofiles.offer[rows]
        self.start = np.searchsorted(offer, np.arange(n))
        self.first_due = offers.first_due_on.copy()
        self.first_amount = offers.instalment.copy()
        number = np.bincount(offer, minlength=n)
        for j in range(int(number.max(initial=0))):
            some = np.flatnonzero(number > j)
            at = self.start[some] + j
            moves = self.from_on[at] <= self.first_due[some]
            some, at = some[moves], at[moves]
            self.first_due[some], self.first_amount[some] = self.next_due[at], self.instalment[at]
        self.first_amount = np.minimum(self.first_amount, offers.instalment * offers.count)
        self.number = np.bincount(offer[self.from_on <= self.first_due[offer] + HORIZON], minlength=n)


def _kept(offers: Offers, cleared: _Cleared, steps: _Steps) -> Bool:
    """Which plans are not broken at the horizon, (n,): one schedule after the other, each until the next."""
    end_on = steps.first_due + HORIZON
    total = offers.instalment * offers.count
    anchor, instalment, base = offers.first_due_on.copy(), offers.instalment.copy(), np.zeros_like(total)
    broken = np.zeros(len(total), dtype=bool)
    number_judged, owed = np.zeros_like(total), np.zeros_like(total)
    for j in range(int(steps.number.max(initial=0)) + 1):
        rows = np.flatnonzero(steps.number >= j)
        goes_on = steps.number[rows] > j
        at = steps.start[rows[goes_on]] + j
        until = np.full(len(rows), _FAR)
        until[goes_on] = steps.from_on[at]
        due = due_dates(anchor[rows], offers.frequency[rows], _SLOTS)
        demanded = base[rows, None] + instalment[rows, None] * np.arange(_SLOTS + 1)
        demanded = np.minimum(demanded, total[rows, None])  # (rows, slots + 1), before and after each one
        share = np.diff(demanded)
        checked = due + GRACE
        judged = (share > 0) & (checked < until[:, None]) & (checked <= end_on[rows, None])
        missed = judged & (10 * (cleared.by(rows[:, None], checked) - demanded[:, :-1]) < 9 * share)
        broken[rows] |= (missed[:, 1:] & missed[:, :-1]).any(axis=1)
        number_judged[rows] += judged.sum(axis=1)
        owed[rows] = np.where(judged, demanded[:, 1:], base[rows, None]).max(axis=1)
        fell_due = np.where(due < until[:, None], demanded[:, 1:], base[rows, None]).max(axis=1)
        rows, fell_due, until = rows[goes_on], fell_due[goes_on], until[goes_on]
        base[rows] = np.minimum(fell_due, cleared.by(rows, until - 1))
        anchor[rows], instalment[rows] = steps.next_due[at], steps.instalment[at]
    few = 10 * cleared.by(np.arange(len(total)), end_on) >= 9 * owed
    return np.where(number_judged < 2, few, ~broken)

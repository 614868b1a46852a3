"""The dated instalments of one plan, and what it costs as the first date moves.

A plan's balance never grows (FCA PS24/2): interest is charged once, on the plan's own first date, and a day's
delay adds ``interest_per_day``; so a page can move the date without asking again. What moved the date to a payday, a
wished or a working day costs nothing (``first_dates.py``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.due import due_dates
from fedrepay.shared.plans.first_dates import FIRST_DUE, FOLLOWS
from fedrepay.shared.plans.interest import DAYS_A_YEAR
from fedrepay.shared.plans.kinds import CHANNELS, FREQUENCIES, KINDS


@dataclass(frozen=True)
class Plan:
    """One candidate of one account, in plain numbers; money in minor units.

    Attributes:
        name: the arm's name in the catalogue.
        kind: one of ``KINDS``.
        channel: one of ``CHANNELS``.
        frequency: one of ``FREQUENCIES``.
        human: whether a human makes the offer.
        instalment: each payment, but a smaller last one; 0 where nothing is paid.
        count: payments.
        principal: what of the debt is repaid.
        interest: charged under the plan.
        first_due: days from the offer to the first instalment.
        nominal: the same before it was moved to a working day; later instalments go by it.
        keeps: the day of the month that monthly ones keep, 0 for that of ``nominal``.
        charged: for how many days until the first instalment interest runs.
        follows: one of ``FOLLOWS``.
        dormant_months: months without collection.
        interest_per_day: what a day's delay of the first instalment adds.
        interest_saved: interest that the plan waives.
        fees_saved: fees that the plan waives.
        forgiven: what is forgiven of the debt itself.
    """

    name: str
    kind: str
    channel: str
    frequency: str
    human: bool
    instalment: int
    count: int
    principal: int
    interest: int
    first_due: int
    nominal: int
    keeps: int
    charged: int
    follows: str
    dormant_months: int
    interest_per_day: float
    interest_saved: int
    fees_saved: int
    forgiven: int

    @property
    def total(self) -> int:
        """All that is paid under the plan."""
        return self.principal + self.interest

    @property
    def rate(self) -> float:
        """The yearly rate that is charged under the plan."""
        return self.interest_per_day * DAYS_A_YEAR / self.principal if self.principal else 0.0

    @property
    def pays(self) -> bool:
        """Whether it has instalments."""
        return self.instalment > 0

    def at(self, first_due: int) -> "Plan":
        """The same plan with another first date, and the interest that goes with it.

        A later date than the plan's own adds each day, an earlier one takes away only days that bear interest.

        Raises:
            ArgumentError: days outside ``FIRST_DUE``.
        """
        if first_due not in FIRST_DUE:
            raise ArgumentError(
                f"first_due {first_due} is not from {FIRST_DUE[0]} to {FIRST_DUE[-1]} days.",
                "Choose a day in it.",
            )
        if first_due == self.first_due:
            return self
        charged = self.charged_until(first_due)
        moved = self.interest + self.interest_per_day * (charged - self.charged)
        return replace(
            self,
            first_due=first_due,
            nominal=first_due,
            keeps=0,
            charged=charged,
            follows=FOLLOWS[0],
            interest=max(round(moved), 0),
        )

    def charged_until(self, first_due: int) -> int:
        """For how many days interest runs until another first date."""
        return min(first_due, self.charged) + max(first_due - self.first_due, 0)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Dated instalments: ``dates``, days since 1970-01-01, and ``amounts``, minor units, (k,) each."""

    dates: I64
    amounts: I64

    @property
    def total(self) -> int:
        """All that is paid."""
        return int(self.amounts.sum())


def plan_of(plans: Candidates, row: int, arm: int) -> Plan:
    """One candidate as plain numbers."""
    return _plan(plans.take(slice(row, row + 1)), arm)


def forgiven(plans: Candidates) -> I64:
    """What each plan forgives of the debt itself, waived fees apart, minor units, (n, P)."""
    given = plans.debts.balance[:, None] - plans.fees_saved - plans.principal
    return np.where(plans.arms.discount > 0, np.maximum(given, 0), 0)


def _plan(one: Candidates, arm: int) -> Plan:
    arms = one.arms
    return Plan(
        name=arms.names[arm],
        kind=KINDS[arms.kind[arm]],
        channel=CHANNELS[arms.channel[arm]],
        frequency=FREQUENCIES[arms.frequency[arm]],
        human=bool(arms.human[arm]),
        instalment=int(one.instalment[0, arm]),
        count=int(one.count[0, arm]),
        principal=int(one.principal[0, arm]),
        interest=int(one.interest[0, arm]),
        first_due=int(one.dates.due[0, arm]),
        nominal=int(one.dates.nominal[0, arm]),
        keeps=int(one.dates.keeps[0, arm]),
        charged=int(one.dates.charged[0, arm]),
        follows=FOLLOWS[one.dates.follows[0, arm]],
        dormant_months=int(arms.dormant_months[arm]),
        interest_per_day=float(one.interest_per_day[0, arm]),
        interest_saved=int(one.interest_saved[0, arm]),
        fees_saved=int(one.fees_saved[0, arm]),
        forgiven=int(forgiven(one)[0, arm]),
    )


def schedule(plan: Plan, today: int, calendar: Calendar) -> Schedule:
    """The dated instalments of a plan: equal, the last one smaller, in all exactly ``plan.total``.

    Each falls on the nominal day (``due_dates``), moved to a working day of its month. Where rounding up makes fewer payments
    do, the plan ends sooner.

    Args:
        plan: the plan.
        today: the day of the offer, days since 1970-01-01.
        calendar: of the place where the debtor lives.
    """
    if not plan.pays or plan.total <= 0:
        return Schedule(np.zeros(0, np.int64), np.zeros(0, np.int64))
    payments = min(-(-plan.total // plan.instalment), plan.count)
    amounts = np.full(payments, plan.instalment, np.int64)
    amounts[-1] = plan.total - plan.instalment * (payments - 1)
    code = np.array([FREQUENCIES.index(plan.frequency)], np.uint8)
    nominal = due_dates(np.array([today + plan.nominal]), code, payments, np.array([plan.keeps]))[0]
    return Schedule(calendar.moved(nominal), amounts)


def cost_by_first_date(plan: Plan, days: Iterable[int] = FIRST_DUE) -> tuple[tuple[int, int], ...]:
    """(first_due, total) for each of these first dates, all that a plan may have where none are given."""
    return tuple((day, plan.at(day).total) for day in days) if plan.pays else ()


def written(day: int) -> str:
    """A day as YYYY-MM-DD."""
    return str(np.datetime64(day, "D"))

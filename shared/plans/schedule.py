"""The dated instalments of one plan, and what it costs as the first date moves.

A plan's balance never grows (FCA PS24/2): interest is charged once, on the plan's own first date, and a day's
delay adds ``interest_per_day``; so a page can move the date without asking again.
"""

from dataclasses import dataclass, replace

import numpy as np

from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.due import due_dates
from fedrepay.shared.plans.interest import DAYS_A_YEAR
from fedrepay.shared.plans.kinds import CHANNELS, FREQUENCIES, KINDS

FIRST_DUE = range(1, 46)
"""Days from the offer to the first instalment that a plan may have (docs/domain.md section 2)."""


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

        Raises:
            ArgumentError: days outside ``FIRST_DUE``.
        """
        if first_due not in FIRST_DUE:
            raise ArgumentError(
                f"first_due {first_due} is not from {FIRST_DUE[0]} to {FIRST_DUE[-1]} days.",
                "Choose a day in it.",
            )
        moved = self.interest + self.interest_per_day * (first_due - self.first_due)
        return replace(self, first_due=first_due, interest=max(round(moved), 0))


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
    given = plans.debts.balance[:, None] - plans.fees_saved() - plans.principal
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
        first_due=int(one.first_due[0, arm]),
        dormant_months=int(arms.dormant_months[arm]),
        interest_per_day=float(one.interest_per_day[0, arm]),
        interest_saved=int(one.interest_saved()[0, arm]),
        fees_saved=int(one.fees_saved()[0, arm]),
        forgiven=int(forgiven(one)[0, arm]),
    )


def schedule(plan: Plan, first_date: int) -> Schedule:
    """The dated instalments of a plan: equal, the last one smaller, in all exactly ``plan.total``.

    Where rounding up makes fewer payments do, the plan ends sooner.

    Args:
        plan: the plan.
        first_date: the day of the first instalment, days since 1970-01-01.
    """
    if not plan.pays or plan.total <= 0:
        return Schedule(np.zeros(0, np.int64), np.zeros(0, np.int64))
    payments = min(-(-plan.total // plan.instalment), plan.count)
    amounts = np.full(payments, plan.instalment, np.int64)
    amounts[-1] = plan.total - plan.instalment * (payments - 1)
    code = np.array([FREQUENCIES.index(plan.frequency)], np.uint8)
    return Schedule(due_dates(np.array([first_date]), code, payments)[0], amounts)


def cost_by_first_date(plan: Plan) -> tuple[tuple[int, int], ...]:
    """(first_due, total) for every first date that a plan may have; a straight line."""
    return tuple((day, plan.at(day).total) for day in FIRST_DUE) if plan.pays else ()


def written(day: int) -> str:
    """A day as YYYY-MM-DD."""
    return str(np.datetime64(day, "D"))

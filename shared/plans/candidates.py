"""Candidate plans of each account: the catalogue's arms with amounts, terms and costs, in minor units.

Interest is simple interest on a balance that falls by equal parts: the whole principal until the first
instalment, then ever less. So the cost is linear in the first date, and a plan's balance never grows (FCA PS24/2).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans.catalogue import Arms, Catalogue
from fedrepay.shared.plans.money import fees_left

DAYS_A_YEAR = 365.0
MOST_PAYMENTS = 60
ENDLESS = 10_000.0
"""Stands for more payments than any plan may have."""
EPSILON = 1e-9
"""So that the last bit of a quotient never costs a whole payment or a minor unit."""


@dataclass(frozen=True)
class Debts:
    """What candidates need of n accounts, (n,) each; money in minor units.

    ``balance`` owed, fees included; ``fees`` the part of it that is fees; ``apr`` the yearly rate that runs
    without a waiver, 0 … 1; ``bound`` the affordability bound a month (0 where there is none).
    """

    balance: I64
    fees: I64
    apr: F64
    bound: I64


@dataclass(frozen=True)
class Candidates:
    """n accounts × P arms.

    ``valid``: the plan exists for the account; ``instalment`` of each payment but a smaller last one,
    ``count`` payments, ``principal`` what of the debt is repaid, ``interest`` charged under the plan, all (n, P).
    """

    arms: Arms
    debts: Debts
    valid: Bool
    instalment: I64
    count: I64
    principal: I64
    interest: I64

    def take(self, index: npt.NDArray[np.integer] | Bool) -> "Candidates":
        """The candidates of the chosen accounts."""
        debts = self.debts
        return Candidates(
            self.arms,
            Debts(debts.balance[index], debts.fees[index], debts.apr[index], debts.bound[index]),
            self.valid[index],
            self.instalment[index],
            self.count[index],
            self.principal[index],
            self.interest[index],
        )

    @cached_property
    def total(self) -> I64:
        """All that is paid under the plan, (n, P)."""
        return self.principal + self.interest

    @cached_property
    def months(self) -> F64:
        """How long the plan runs, months, (n, P)."""
        return np.where(
            self.arms.is_kind("DORMANT"), self.arms.dormant_months, self.count * self.arms.months_each
        )

    @cached_property
    def monthly(self) -> I64:
        """What the plan takes of an average month's income, rounded up, (n, P)."""
        return np.ceil(self.instalment / self.arms.months_each).astype(np.int64)

    @property
    def worst_month(self) -> I64:
        """The most that falls due in one calendar month, minor units, (n, P): five weeks, or three fortnights."""
        at_once = self.instalment * np.minimum(self.count, self.arms.most_a_month)
        return np.asarray(np.minimum(at_once, self.total))

    @property
    def interest_per_day(self) -> F64:
        """What a day's delay of the first instalment costs, minor units, (n, P)."""
        rate = self.debts.apr[:, None] * (1 - self.arms.interest_waiver) / DAYS_A_YEAR
        return np.asarray(self.principal * rate * self.arms.pays)

    def interest_saved(self) -> I64:
        """Interest the waiver spares, minor units, (n, P)."""
        waived = self.arms.interest_waiver
        full = self._interest_at(self.debts.apr[:, None] * np.ones_like(waived))
        return np.asarray(np.maximum(np.floor(full).astype(np.int64) - self.interest, 0) * self.arms.pays)

    @cached_property
    def fees(self) -> I64:
        """Fees charged under the plan, minor units, (n, P)."""
        return np.minimum(fees_left(self.debts.fees[:, None], self.arms.fee_waiver), self.principal)

    def fees_saved(self) -> I64:
        """Fees the plan waives, minor units, (n, P)."""
        owed = self.debts.fees[:, None]
        return np.asarray((owed - fees_left(owed, self.arms.fee_waiver)) * self.arms.pays)

    def _interest_at(self, rate: F64) -> F64:
        years = _years(self.arms, self.count)
        return np.asarray(self.principal * rate * years)


def _years(arms: Arms, count: I64) -> F64:
    """For how long the average unit of principal is owed, years, (n, P)."""
    return np.asarray(arms.first_due / DAYS_A_YEAR + arms.months_each / 12 * (count - 1) / 2)


def candidates(catalogue: Catalogue, arms: Arms, debts: Debts) -> Candidates:
    """All candidates of n accounts; the same every time.

    An instalment is a share of the bound in the month in which most fall due, rounded down, or principal and interest ÷ n, rounded up; the number of
    payments is what it takes, so that rounding up may need fewer than n; a single payment is the whole and no more.
    Interest is rounded down.

    Args:
        catalogue: rounding, smallest instalment, longest term, token amount.
        arms: its arms, P.
        debts: the accounts, n.
    """
    paying, by_share, token = arms.pays, arms.share > 0, arms.is_kind("TOKEN")
    step = catalogue.rounding
    fees = fees_left(debts.fees[:, None], arms.fee_waiver)
    principal = np.ceil((debts.balance - debts.fees)[:, None] * (1 - arms.discount) + fees)
    rate = debts.apr[:, None] * (1 - arms.interest_waiver)
    most = np.ceil(principal * (1 + rate * _years(arms, np.maximum(arms.n, 1))))
    given = np.floor(debts.bound[:, None] * arms.share / arms.most_a_month / step) * step
    by_term = np.minimum(np.ceil(most / np.maximum(arms.n, 1) / step) * step, most)
    instalment = np.where(token, catalogue.token_amount, np.where(by_share, given, by_term))
    principal = np.where(token, np.minimum(principal, instalment * arms.n), principal)
    rate = np.where(token, 0.0, rate)
    needed = _payments(arms, principal, rate, instalment)
    needed = np.where(by_share, needed, np.minimum(needed, arms.n))
    count = np.asarray(needed * paying, np.int64)
    fits = (count <= MOST_PAYMENTS) & (count * arms.months_each <= catalogue.longest_months + 1e-9)
    worth = (instalment >= catalogue.smallest_instalment) | token | (count == 1)
    many = ~arms.is_kind("INSTALMENT") | (count >= 2)
    owed = debts.balance[:, None] > 0
    exists = fits & worth & many & (principal > 0) & (count >= 1)
    interest = np.floor(principal * rate * _years(arms, count) + EPSILON)
    instalment = np.where(count == 1, principal + interest, instalment)  # what one payment asks, and no more
    return Candidates(
        arms,
        debts,
        (exists | ~paying) & owed,
        (instalment * paying).astype(np.int64),
        count,
        (principal * paying).astype(np.int64),
        (interest * paying).astype(np.int64),
    )


def _payments(arms: Arms, principal: F64, rate: F64, instalment: F64) -> F64:
    """How few instalments repay principal and interest, at most ``ENDLESS``, (n, P).

    The least N with N·a ≥ p + ⌊interest(N)⌋, interest(N) = p·r·(first/365 + (years between)·(N − 1)/2).
    """
    grows = principal * rate * arms.months_each / 24  # half a period's interest
    left = instalment - grows
    owed = principal * (1 + rate * arms.first_due / DAYS_A_YEAR) - grows - 1 + EPSILON
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        enough = np.where(left > 0, owed / left, np.inf)
    return np.asarray(np.clip(np.floor(enough) + 1, 0, ENDLESS))

"""Candidate plans of each account: the catalogue's arms with amounts, terms and costs, in minor units.

Interest runs on what is still owed (``interest.py``). So the cost is linear in the first date, and a plan's balance
never grows (FCA PS24/2): where an instalment would not exceed the interest, there is no such plan.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans import contract as contracts
from fedrepay.shared.plans.catalogue import Arms, Catalogue
from fedrepay.shared.plans.contract import Contract
from fedrepay.shared.plans.first_dates import FirstDates
from fedrepay.shared.plans.interest import DAYS_A_YEAR, level_instalment, repaid, waiting
from fedrepay.shared.plans.kinds import CONTRACT, LEAVES_A_REST
from fedrepay.shared.plans.money import fees_left

MOST_PAYMENTS = 60


@dataclass(frozen=True)
class Debts:
    """What candidates need of n accounts, (n,) each; money in minor units.

    ``balance`` owed, fees included; ``fees`` the part of it that is fees; ``apr`` the yearly rate that runs
    without a waiver; ``bound`` the affordability bound a month (0 where there is none); ``contract`` what is known
    of a contract that still runs, None where of none.
    """

    balance: I64
    fees: I64
    apr: F64
    bound: I64
    contract: Contract | None = None

    def take(self, index: npt.NDArray[np.integer] | Bool | slice) -> "Debts":
        """The chosen accounts."""
        runs = self.contract
        return Debts(
            self.balance[index],
            self.fees[index],
            self.apr[index],
            self.bound[index],
            None if runs is None else runs.take(index),
        )


@dataclass(frozen=True)
class Candidates:
    """n accounts × P arms.

    ``valid``: the plan exists for the account; ``clears`` (of plans that repay): within the longest term, however small
    its instalments; ``instalment`` of each payment but a smaller last one, ``count`` payments, ``principal`` what of the
    debt is repaid, ``interest`` charged under the plan, all (n, P); ``dates`` of the first instalment.
    """

    arms: Arms
    debts: Debts
    valid: Bool
    clears: Bool
    instalment: I64
    count: I64
    principal: I64
    interest: I64
    dates: FirstDates

    @property
    def first_due(self) -> I64:
        """Days to the first instalment, (n, P) or (1, P)."""
        return self.dates.due

    def take(self, index: npt.NDArray[np.integer] | Bool | slice) -> "Candidates":
        """The candidates of the chosen accounts."""
        return Candidates(
            self.arms,
            self.debts.take(index),
            self.valid[index],
            self.clears[index],
            self.instalment[index],
            self.count[index],
            self.principal[index],
            self.interest[index],
            self.dates.take(index, len(self.valid)),
        )

    def within(self, debts: Debts, arms: I64, others: "Candidates") -> "Candidates":
        """The same accounts' candidates within other bounds: the ``others`` in place of some arms, (m,)."""

        def put(mine: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> npt.NDArray[Any]:
            found = mine.copy()
            found[:, arms] = theirs
            return found

        return Candidates(
            self.arms,
            debts,
            put(self.valid, others.valid),
            put(self.clears, others.clears),
            put(self.instalment, others.instalment),
            put(self.count, others.count),
            put(self.principal, others.principal),
            put(self.interest, others.interest),
            self.dates,
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
        """What the plan takes of a month: an average one, rounded up, but no more than can fall due in any, (n, P)."""
        average = np.ceil(self.instalment / self.arms.months_each).astype(np.int64)
        return np.asarray(np.minimum(average, self.worst_month))

    @cached_property
    def worst_month(self) -> I64:
        """The most that falls due in one calendar month, minor units, (n, P): of five weeks or three fortnights, as many as are paid."""
        at_once = self.instalment * np.minimum(self.count, self.arms.most_a_month)
        return np.asarray(np.minimum(at_once, self.total))

    @cached_property
    def rate(self) -> F64:
        """The yearly rate that is charged under the plan, (n, P)."""
        return _rate(self.arms, self.debts)

    @property
    def interest_per_day(self) -> F64:
        """What a day's delay of the first instalment costs, minor units, (n, P)."""
        return np.asarray(self.principal * self.rate / DAYS_A_YEAR * self.arms.pays)

    @cached_property
    def interest_saved(self) -> I64:
        """Interest at the contract's rate that the plan spares, minor units, rounded down, (n, P).

        It is what that rate would charge until the first instalment and for the months after each one, on what is owed
        then under the same payments; a debt that rests is owed until its review, a month after the last of them.
        """
        waived, apr = self.arms.interest_waiver, self.debts.apr[:, None]
        rest = self.arms.is_kind(*LEAVES_A_REST)
        whole = (
            self.count * self._owed - self.principal
        )  # owed after each instalment, summed: the last one pays the rest
        owed = whole - self.instalment * (self.count * (self.count - 1) / 2)
        flat = apr * owed * self.arms.months_each / 12 + waiting(self._owed, apr, self.dates.charged)
        with np.errstate(divide="ignore", invalid="ignore"):
            part = np.where(waived < 1, self.interest * waived / (1 - waived), flat)
        spared = np.floor(np.where(rest, flat, part)).astype(np.int64)
        spares = self.arms.pays & ~self.arms.is_kind("CATCH_UP")
        return np.asarray(np.maximum(spared, 0) * spares)

    @property
    def _owed(self) -> F64:
        rest = self.arms.is_kind(*LEAVES_A_REST)
        return np.where(rest, self.debts.balance[:, None], self.principal)

    @cached_property
    def fees(self) -> I64:
        """Fees charged under the plan, minor units, (n, P)."""
        return np.minimum(fees_left(self.debts.fees[:, None], self.arms.fee_waiver), self.principal)

    @cached_property
    def fees_saved(self) -> I64:
        """Fees the plan waives, minor units, (n, P)."""
        owed = self.debts.fees[:, None]
        return np.asarray((owed - fees_left(owed, self.arms.fee_waiver)) * self.arms.pays)


def _rate(arms: Arms, debts: Debts) -> F64:
    rests = arms.is_kind(*LEAVES_A_REST, "CATCH_UP")
    return np.asarray(debts.apr[:, None] * (1 - arms.interest_waiver) * ~rests)


def candidates(catalogue: Catalogue, arms: Arms, debts: Debts, dates: FirstDates | None = None) -> Candidates:
    """All candidates of n accounts; the same every time.

    An instalment is a share of the bound in the month in which most fall due, rounded down, or the level instalment of
    n, rounded up; the number of payments is what it takes, so that rounding up may need fewer than n; a single payment
    is the whole and no more. Interest is rounded down.

    Args:
        catalogue: rounding, smallest instalment, longest term, token amount.
        arms: its arms, P.
        debts: the accounts, n.
        dates: of each account's first instalment; the catalogue's days, whoever it is, where None.
    """
    dates = dates or FirstDates.plain(arms.first_due)
    paying, by_share = arms.pays, arms.share > 0
    step = catalogue.rounding
    fees = fees_left(debts.fees[:, None], arms.fee_waiver)
    principal = np.ceil((debts.balance - debts.fees)[:, None] * (1 - arms.discount) + fees)
    rate = _rate(arms, debts)
    period, wait = rate * arms.months_each / 12, waiting(principal, rate, dates.charged)
    given = np.floor(debts.bound[:, None] * arms.share / arms.most_a_month / step) * step
    level = level_instalment(principal, period, np.maximum(arms.n, 1), wait)
    by_term = np.minimum(np.ceil(level / step) * step, np.ceil(principal + wait))
    instalment = np.where(by_share, given, by_term)
    count, interest, falls = repaid(principal, period, wait, instalment)
    long = catalogue.longest_months + 1e-9
    owed = debts.balance[:, None] > 0
    clears = falls & (count <= MOST_PAYMENTS) & (count * arms.months_each <= long) & (principal > 0) & owed
    clears &= arms.is_offer
    worth = (instalment >= catalogue.smallest_instalment) | (count == 1)
    many = ~arms.is_kind("INSTALMENT") | (count >= 2)
    instalment = np.where(count == 1, principal + interest, instalment)  # what one payment asks, and no more
    found = Candidates(
        arms,
        debts,
        np.asarray(clears & worth & many),
        np.asarray(clears),
        (instalment * arms.is_offer).astype(np.int64),
        np.asarray(count * arms.is_offer, np.int64),
        (principal * arms.is_offer).astype(np.int64),
        np.asarray(interest * arms.is_offer, np.int64),
        dates,
    )
    found.valid[:, ~paying] = owed
    _rests(catalogue, found, principal)
    if debts.contract is not None and arms.is_kind(*CONTRACT).any():
        contracts.fill(catalogue, found, debts.contract)
    np.minimum(
        found.instalment, found.principal + found.interest, out=found.instalment
    )  # however it was rounded up
    return found


def _rests(catalogue: Catalogue, found: Candidates, owed: F64) -> None:
    """Fill in what is asked while a debt rests: a token, or what is affordable until the review."""
    arms, bound = found.arms, found.debts.bound[:, None]
    review = contracts.all_affordable(catalogue, bound)
    for kind in ("TOKEN", "REVIEW"):
        here = arms.is_kind(kind)
        asked = np.broadcast_to(catalogue.token_amount if kind == "TOKEN" else review, owed.shape)
        most = np.minimum(asked, owed)[:, here]
        principal = np.minimum(most * arms.n[here], owed[:, here])
        with np.errstate(divide="ignore", invalid="ignore"):
            count = np.where(most > 0, np.ceil(principal / most), 0)
        enough = asked[:, here] >= (1 if kind == "TOKEN" else catalogue.smallest_instalment)
        found.valid[:, here] = (principal > 0) & enough & (found.debts.balance > 0)[:, None]
        found.instalment[:, here], found.principal[:, here] = most, principal
        found.count[:, here] = count

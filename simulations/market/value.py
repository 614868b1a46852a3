"""What a way of choosing plans is truly worth, per eligible account, against the market's truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.decide import best
from fedrepay.client.plans.deciding.judged import Cases, judge
from fedrepay.client.plans.deciding.need import payable
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.rules.masks import RulesVerdict
from fedrepay.simulations.market.models import Heads
from fedrepay.simulations.market.people import NewAccounts
from fedrepay.simulations.market.truth import Outcome

NO_PLAN = -1


@dataclass(frozen=True)
class Worth:
    """What came of choosing, one entry an account, (n,).

    ``arm`` chosen or ``NO_PLAN``; ``value`` and ``uplift`` (over no plan) in parts of the balance; ``first`` and ``kept``
    probabilities; ``affordable`` whether the plan is truly affordable; ``offered`` whether a real plan was offered.
    """

    arm: I64
    value: F64
    uplift: F64
    first: F64
    kept: F64
    affordable: Bool
    offered: Bool
    balance: F64

    def weighted(self, name: str) -> float:
        """Mean of ``first`` or ``kept`` per eligible account, each account counting with its balance."""
        values: F64 = getattr(self, name)
        return float((values * self.balance).sum() / self.balance.sum())


def together(found: Sequence[Worth]) -> Worth:
    """Several as one."""
    return Worth(**{name: np.concatenate([getattr(each, name) for each in found]) for name in vars(found[0])})


def choose(settings: Settings, accounts: NewAccounts, plans: Candidates, heads: Heads, within: Bool) -> I64:
    """The arm the optimiser picks for each account, (n,), or ``NO_PLAN``; the same for every model.

    Args:
        settings: prices, λ, and what is waived.
        accounts: the accounts.
        plans: their candidates.
        heads: P(first payment) and P(kept at 90 days).
        within: which candidates are affordable, (n, P).
    """
    n, p = plans.valid.shape
    empty = np.full(n, -1, np.int32)
    verdict = RulesVerdict(
        (),
        np.full((n, p), -1, np.int32),
        empty,
        empty,
        np.zeros((n, 0), bool),
        empty,
        np.zeros(n, bool),
        np.ones(n, bool),
    )
    cases = Cases(
        np.arange(n).astype(str).astype(object),
        ~np.isnan(accounts.columns["income"].astype(float)),
        np.zeros(n, bool),
    )
    every, seen = np.ones(p, bool), Borders(discounts_known=True)  # a consortium that has offered many
    judged = judge(settings.value, plans, cases, *heads, verdict, every, within, settings.relief, seen)
    return with_rests(plans, within, best(judged).astype(np.int64), payable(judged, judged.why))


def with_rests(plans: Candidates, within: Bool, arm: I64, payable: Bool) -> I64:
    """What is affordable until a review, or else a token, for accounts without any plan that clears the debt.

    Args:
        plans: the candidates, n × P.
        within: which are affordable, (n, P).
        arm: chosen until now, (n,).
        payable: who could pay a plan that clears the debt, (n,).
    """
    for kind in ("REVIEW", "TOKEN"):
        for place in np.flatnonzero(plans.arms.is_kind(kind))[:1]:
            rests = (arm == NO_PLAN) & ~payable & plans.valid[:, place] & within[:, place]
            arm = np.where(rests, place, arm)
    return arm


def worth(accounts: NewAccounts, plans: Candidates, truth: Outcome, arm: I64) -> Worth:
    """The true worth of chosen arms."""
    at, none = np.arange(len(arm)), arm == NO_PLAN
    balance = plans.debts.balance.astype(float)
    value = np.where(none, truth.no_plan, truth.value[at, arm]) / balance
    left = accounts.debtors.surplus - accounts.debtors.promised
    offered = ~none & ~plans.arms.is_kind("TOKEN")[arm]
    return Worth(
        arm=arm,
        value=value,
        uplift=value - truth.no_plan / balance,
        first=np.where(none, 0.0, truth.first[at, arm]),
        kept=np.where(none, 0.0, truth.kept[at, arm]),
        affordable=~offered | (plans.monthly[at, arm] <= left),
        offered=offered,
        balance=balance,
    )

"""Every candidate judged by itself: rules, affordability, cost and waiver as masks, then money.

None of these is ever a price. A plan must bring more than no plan; a settlement must score above every plan without a
discount, a likely self-curer never gets one, and nobody does where the release has seen too few to know what they do.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.objective import affordable, contact_cost, score
from fedrepay.client.plans.deciding.relief import as_waived, otherwise_extended, waived_part, within_cost
from fedrepay.client.plans.deciding.settings import Relief, Value
from fedrepay.shared.arrays import F64, I32, U8, Bool, Objects
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.kinds import CONTRACT
from fedrepay.shared.plans.money import no_plan_value, plan_value
from fedrepay.shared.plans.schedule import forgiven
from fedrepay.shared.rules.masks import RulesVerdict

NONE = -1
"""No plan, no rule."""


class Why(IntEnum):
    """Why a candidate is, or is not, offered; the first that holds."""

    OK = 0
    NO_SUCH_PLAN = 1  # too small an instalment, too long, nothing owed
    RULE = 2  # the rule's place stands in ``Judged.blocked``
    UNAFFORDABLE = 3
    TERMS = 4  # the consortium's terms keep this kind out of the model, or the model never learned it
    NO_GAIN = 5  # brings no more than no plan
    NO_DISCOUNT_FOR_SELF_CURE = 6  # a plan without a discount does as well
    CAP = 7  # the member's caps for the batch
    PROTECTED = 8  # collection rests (``safeguards.py``); which fact says so stands in the facts alone
    NOT_DUE = 9  # the contract still runs: only arrears are due, or nothing
    COST = 10  # bears more interest than ``relief.most_cost`` of the debt
    RELIEF = 11  # another part of the interest is waived for this account (``relief.py``)
    UNSURE = 12  # the release has seen too few such discounts to know what they do
    PAYS_MORE = 13  # a token, a pause or advice in place of a plan, for somebody who can pay an instalment
    OUT_OF_BOUNDS = 14  # an amount lies outside the schema's bounds, and money is not worked out from a bound


@dataclass(frozen=True, eq=False)
class Cases:
    """What a decision must know of n accounts beside their plans, (n,) each.

    ``names`` identifies accounts (text), ``income_known`` there is an income form, ``hardship`` no work, ``protected``
    collection rests whatever the packs say (``safeguards.py``), ``outside`` an amount lies outside the schema's bounds
    (``outside.py``), ``due`` the whole balance is, ``able`` the smallest instalment is within the bound, ``idle`` nothing is overdue and nothing shows that what falls due cannot be paid, ``trifle`` no more
    is owed than the member writes off.
    """

    names: Objects
    income_known: Bool
    hardship: Bool
    protected: Bool | np.bool_ = np.False_
    outside: Bool | np.bool_ = np.False_
    due: Bool | np.bool_ = np.True_
    able: Bool | np.bool_ = np.False_
    idle: Bool | np.bool_ = np.False_
    trifle: Bool | np.bool_ = np.False_

    def column(self, name: str) -> Bool:
        """One of the flags, (n,)."""
        flag: Bool | np.bool_ = getattr(self, name)
        return np.asarray(flag if flag.shape else np.full(len(self.names), flag))


@dataclass(frozen=True, eq=False)
class Judged:
    """n accounts × P candidates, each judged by itself.

    ``first`` and ``kept`` are P(first payment) and P(kept at 90 days); ``value`` is E[NPV] with no-plan cash and
    ``no_plan`` (n,) that of no plan, minor units; ``score`` parts of the balance; ``verdict`` what the rules say;
    ``waived`` (n,) the part of the interest that is waived (``relief.py``); ``borders`` of the tiers; ``why`` codes of ``Why``,
    ``bare`` the same without any rule pack: what a person is needed for without a law, no law takes away.
    """

    plans: Candidates
    cases: Cases
    first: F64
    kept: F64
    value: F64
    no_plan: F64
    score: F64
    affordable: Bool
    verdict: RulesVerdict
    waived: F64
    borders: Borders
    why: U8
    bare: U8

    @property
    def blocked(self) -> I32:
        """The place in ``verdict.rules`` of the rule that forbids each candidate, or −1, (n, P)."""
        return self.verdict.blocked

    @property
    def human(self) -> Bool:
        """Accounts that rules give to a human, or of which the packs given leave a matter uncovered, (n,)."""
        return np.asarray((self.verdict.human != NONE) | self.uncovered)

    @property
    def uncovered(self) -> Bool:
        """Accounts that could get something, of which the packs given leave a matter uncovered, (n,)."""
        return np.asarray(self.verdict.uncovered.any(axis=1) & ~self.cases.protected)

    @property
    def stop(self) -> Bool:
        """Accounts whose collection rules or safeguards stop, (n,)."""
        return np.asarray((self.verdict.stop != NONE) | self.cases.protected)

    @property
    def allowed(self) -> Bool:
        """Candidates that may be offered, (n, P)."""
        return np.asarray(self.why == Why.OK)

    @property
    def offers(self) -> Bool:
        """Candidates that may be offered and are ranked by score, (n, P)."""
        return np.asarray(self.allowed & self.plans.arms.is_offer)


def judge(
    value: Value,
    plans: Candidates,
    cases: Cases,
    first: F64,
    kept: F64,
    verdict: RulesVerdict,
    known: Bool,
    within: Bool | None = None,
    relief: Relief | None = None,
    borders: Borders | None = None,
) -> Judged:
    """Judge every candidate by itself.

    Args:
        value: prices and λ.
        plans: the candidates, n × P.
        cases: what else is known of the accounts.
        first: P(first payment) per eligible offer, (n, P).
        kept: P(kept at 90 days) per eligible offer, (n, P).
        verdict: what the rules say of the accounts and candidates.
        known: arms that a model has learned, (P,) or (n, P); only these kinds of ``OFFERS`` may be offered.
        within: which candidates are affordable, (n, P); by default those within the bound.
        relief: what is waived whatever it costs.
        borders: of the tiers, and whether discounts are known.
    """
    relief, borders = relief or Relief(), borders or Borders()
    within = affordable(plans) if within is None else within
    offers, waits = plans.arms.is_offer, plans.arms.is_kind(*CONTRACT)
    costs = ~within_cost(relief, plans) & plans.arms.pays
    due = cases.column("due")[:, None]
    not_due = np.where(waits, due, ~due & (offers | plans.arms.is_kind("REVIEW")))
    pays_more = cases.column("able")[:, None] & plans.arms.is_kind("TOKEN", "DORMANT", "REFER")
    worth = plan_value(value.prices, plans, first, kept)
    no_plan = no_plan_value(value.prices, plans.debts.balance)
    given = value.lambda_given * forgiven(plans)
    gain = worth - contact_cost(value, plans.arms) - given > no_plan[:, None]
    spared = _protected(cases, plans)

    def checked(barred: Bool) -> tuple[U8, F64]:
        """Why each candidate is not offered where some are barred by rules, and the part of the interest waived then."""
        fits = plans.clears & within & ~costs & ~barred & ~spared & ~not_due & known
        waived = waived_part(relief, plans, fits)
        other = (offers & ~as_waived(plans, waived)) | otherwise_extended(
            relief, plans, plans.valid & within & ~barred
        )
        why = np.zeros(plans.valid.shape, np.uint8)
        for wrong, code in reversed(
            (
                (cases.column("outside")[:, None], Why.OUT_OF_BOUNDS),
                (~plans.valid, Why.NO_SUCH_PLAN),
                (barred, Why.RULE),
                (spared, Why.PROTECTED),
                (not_due, Why.NOT_DUE),
                (pays_more, Why.PAYS_MORE),
                (~within, Why.UNAFFORDABLE),
                (costs, Why.COST),
                (other, Why.RELIEF),
                (offers & ~known, Why.TERMS),
                (offers & ~gain, Why.NO_GAIN),
                (plans.arms.discount > 0 if not borders.discounts_known else np.False_, Why.UNSURE),
            )
        ):
            np.copyto(why, np.uint8(code), where=wrong)
        return why, waived

    why, waived = checked(verdict.blocked != NONE)
    bare = why if not verdict.rules else checked(np.zeros(plans.valid.shape, np.bool_))[0]
    judged = Judged(
        plans=plans,
        cases=cases,
        first=first,
        kept=kept,
        value=worth,
        no_plan=no_plan,
        score=score(value, plans, first, kept, worth),
        affordable=within,
        verdict=verdict,
        waived=waived,
        borders=borders,
        why=why,
        bare=bare.copy(),
    )
    why[_needless_discounts(judged)] = Why.NO_DISCOUNT_FOR_SELF_CURE
    return judged


def _protected(cases: Cases, plans: Candidates) -> Bool:
    """Plans that reach a protected account, (n, P)."""
    reaches = ~plans.arms.is_kind("NO_OFFER")
    return np.asarray(np.broadcast_to(cases.protected, (plans.valid.shape[0],))[:, None] & reaches)


def _needless_discounts(judged: Judged) -> Bool:
    """Discounts that bring no more than the best plan without one, or that go to a likely self-curer, (n, P)."""
    discount = judged.plans.arms.discount > 0
    if not discount.any():
        return np.zeros(judged.why.shape, np.bool_)
    best, kept = _undiscounted(judged)
    return np.asarray(
        judged.allowed
        & discount
        & ((judged.score <= best[:, None]) | (kept >= judged.borders.self_cure)[:, None])
    )


def _undiscounted(judged: Judged) -> tuple[F64, F64]:
    """Score (−∞ where there is none) and P(kept) of the best allowed plan without a discount, (n,) each."""
    masked = np.where(judged.offers & ~(judged.plans.arms.discount > 0), judged.score, -np.inf)
    arm = masked.argmax(axis=1)
    rows = np.arange(len(arm))
    best = masked[rows, arm]
    return best, np.where(np.isfinite(best), judged.kept[rows, arm], 0.0)

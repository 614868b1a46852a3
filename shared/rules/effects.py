"""What one rule does: which accounts it touches, which of their plans it blocks, what it demands."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import I64, Bool
from fedrepay.shared.plans.kinds import CHANNELS, COLLECTING, CONTACTING, FREE, KINDS
from fedrepay.shared.rules.columns import NO_BOUND, PlanColumns
from fedrepay.shared.rules.facts import NONE, FactTable
from fedrepay.shared.rules.pack import Rule
from fedrepay.shared.rules.parameters import (
    Affordability,
    ChannelConsent,
    ContactCap,
    CostCap,
    FeeCap,
    InterestFreeze,
    Moratorium,
    Notice,
    QuietHours,
    Retention,
    SpecialCategoryHuman,
    StopCollection,
    TermCap,
)
from fedrepay.shared.rules.ternary import Ternary, all_hold, is_between, is_true

Index = npt.NDArray[np.intp] | slice
Numbers = npt.NDArray[Any]
Amount = Callable[[Index, Index], Numbers]
ROUNDING = 1
"""Interest is compared to the minor unit."""
TICKS_A_YEAR = 365 * 312
"""Of which days, and half thirteenths of a month, are whole numbers."""


@dataclass(frozen=True, eq=False)
class Effect:
    """Blocks ``plans`` of accounts ``when``; with ``amount`` only those whose amount exceeds ``limit``.

    ``when`` (n,), ``plans`` (P,), ``amount(rows, columns)`` a part of an (n, P) table, ``limit`` (n,).
    """

    when: Ternary
    plans: Bool
    amount: Amount | None = None
    limit: Numbers | None = None


@dataclass(frozen=True, eq=False)
class RuleEffect:
    """All that one rule does to n accounts × P plans."""

    effects: tuple[Effect, ...] = ()
    human: Ternary | None = None
    stop: Ternary | None = None
    notice: Ternary | None = None
    retention: tuple[Ternary, int] | None = None


def outcome(rule: Rule, applies: Ternary, table: FactTable, plans: PlanColumns) -> RuleEffect:
    """Evaluate one rule.

    Args:
        rule: of a pack in force.
        applies: (n,) whether the pack applies to the account.
        table: the accounts' facts.
        plans: their candidates.
    """
    when = applies & all_hold(rule.applies_to, table)
    contacting = of_kinds(plans, CONTACTING)
    match rule.parameters:
        case ContactCap() as cap:
            return RuleEffect((Effect(when & _capped(cap, table), contacting & _on(plans, cap.channels)),))
        case QuietHours() as quiet:
            closed = ~is_between("contact_minute", quiet.opens, quiet.closes - 1, table)
            if quiet.unless is not None:
                closed &= ~is_true(quiet.unless, table)
            return RuleEffect((Effect(when & closed, contacting & _on(plans, quiet.channels)),))
        case ChannelConsent() as consent:
            return RuleEffect(
                tuple(
                    Effect(when & ~is_true(f"consent_{each}", table), contacting & _on(plans, (each,)))
                    for each in consent.channels
                )
            )
        case FeeCap() as fee:
            return RuleEffect((_fees(fee, when, contacting, table, plans),))
        case InterestFreeze(allowed="none"):
            nothing = np.zeros(table.accounts, np.int64)
            return RuleEffect((Effect(when, contacting, _part(plans.interest), nothing),))
        case InterestFreeze():
            return RuleEffect((_contract_rate(when, contacting, table, plans),))
        case CostCap() as cost:
            return RuleEffect((_cost(cost, when, of_kinds(plans, COLLECTING), table, plans),))
        case TermCap() as term:
            return RuleEffect((_term(term, when, of_kinds(plans, COLLECTING), table, plans),))
        case Affordability() as afford:
            known = plans.bound != NO_BOUND
            limit = np.where(known, plans.bound, NONE)
            when = Ternary(when.yes & known, when.maybe)
            weighed = of_kinds(plans, COLLECTING) & ~of_kinds(plans, afford.spares)
            return RuleEffect((Effect(when, weighed, _part(plans.monthly), limit),))
        case Moratorium() as pause:
            when &= is_between(pause.day, 0, pause.days, table)
            return RuleEffect((Effect(when, of_kinds(plans, COLLECTING)),), human=when, stop=when)
        case StopCollection() as stop:
            kinds = COLLECTING if stop.blocks == "collecting" else CONTACTING
            human = None if stop.rests else when
            return RuleEffect((Effect(when, of_kinds(plans, kinds)),), human=human, stop=when)
        case SpecialCategoryHuman(machine_plans="block"):
            return RuleEffect((Effect(when, contacting & ~plans.human),), human=when)
        case SpecialCategoryHuman():
            return RuleEffect(human=when)
        case Notice() as notice:
            return _notice(notice, when, contacting, table, plans)
        case Retention() as keep:
            return RuleEffect(retention=(when, keep.days))


def of_kinds(plans: PlanColumns, kinds: tuple[str, ...]) -> Bool:
    """(P,) whether a plan is of one of the kinds."""
    return _among(KINDS, kinds)[plans.kind]


def _on(plans: PlanColumns, channels: tuple[str, ...]) -> Bool:
    return _among(CHANNELS, channels)[plans.channel]


@cache
def _among(names: tuple[str, ...], some: tuple[str, ...]) -> Bool:
    """Which names are among some, (len(names),)."""
    return np.array([each in some for each in names], np.bool_)


def _part(values: Numbers) -> Amount:
    def take(rows: Index, columns: Index) -> Numbers:
        return values[rows][:, columns]

    return take


def _capped(cap: ContactCap, table: FactTable) -> Ternary:
    if cap.counts is not None:
        return is_between(cap.counts, cap.most, None, table)
    return is_between(cap.since or "", 0, (cap.pause_days or 0) - 1, table)


def _fees(fee: FeeCap, when: Ternary, contacting: Bool, table: FactTable, plans: PlanColumns) -> Effect:
    nothing = np.zeros(table.accounts, np.int64)
    if fee.method == "none":
        return Effect(when, contacting, _part(plans.fees), nothing)
    if fee.method == "authorised":
        return Effect(when & ~is_true("fees_authorised", table), contacting, _part(plans.fees), nothing)
    base, known = table.read("collection_cost_actual" if fee.method == "cost" else "balance")
    charged, charges_known = table.read("collection_costs_charged")
    known = known & charges_known
    cap = base.astype(np.int64) if fee.method == "cost" else scale(fee, base.astype(np.int64))
    limit = np.where(known, np.maximum(cap - charged.astype(np.int64), 0), 0)
    return Effect(Ternary(when.yes & known, when.maybe), contacting, _part(plans.fees), limit)


def scale(fee: FeeCap, principal: I64) -> I64:
    """The most a scale allows on a principal, minor units, rounded down; (n,) → (n,)."""
    total = np.zeros_like(principal)
    begun = 0
    for edge, basis_points in fee.bands:
        total += np.clip(principal - begun, 0, edge - begun) * basis_points
        begun = edge
    total += np.maximum(principal - begun, 0) * (fee.above or 0)
    return np.clip(total // 10_000, fee.lowest, fee.highest)


def _term(term: TermCap, when: Ternary, collecting: Bool, table: FactTable, plans: PlanColumns) -> Effect:
    limit = np.full(table.accounts, float(term.most_months))
    if term.counts_agreement:
        run, known = table.read("agreement_months")
        limit = np.where(known, limit - run, NONE)
        when = Ternary(when.yes & known, when.maybe)
    return Effect(when, collecting, _part(plans.months), limit)


def _cost(cost: CostCap, when: Ternary, collecting: Bool, table: FactTable, plans: PlanColumns) -> Effect:
    """Interest and fees above the caps; where the principal is not known, above nothing."""
    balance, known = table.read("balance")
    principal = np.where(known, balance, 0).astype(np.int64)

    def above(rows: Index, columns: Index) -> Numbers:
        charged = plans.interest[rows][:, columns] + plans.fees[rows][:, columns]
        owed = principal[rows][:, None]
        most = np.full_like(charged, np.iinfo(np.int64).max)
        if cost.most_share is not None:
            most = np.minimum(most, owed * cost.most_share // 10_000)
        if cost.most_rate is not None:
            most = np.minimum(most, at_rate(owed, cost.most_rate, plans, rows, columns))
        return np.asarray(charged - most)

    return Effect(
        Ternary(when.yes & known, when.maybe), collecting, above, np.zeros(table.accounts, np.int64)
    )


def at_rate(owed: I64, rate: int, plans: PlanColumns, rows: Index, columns: Index) -> I64:
    """What a rate brings at most under each plan, minor units, rounded down; (n, 1) principals → (n, P).

    The time is whole ticks of 1 ÷ (365 × 312) year: days until the first instalment, then half of the months from the
    first to the last, in thirteenths (a week is 3, a fortnight 6, a month 13). All is in whole numbers. A plan whose
    instalment is not known counts as one payment.
    """
    first = plans.first_due_days[rows][:, columns]
    instalment, total = plans.instalment[rows][:, columns], plans.total[rows][:, columns]
    count = np.maximum(-(-total // np.maximum(instalment, 1)), 1)
    thirteenths = np.floor(13 * plans.months[rows][:, columns] + 1e-6).astype(np.int64)
    between = np.where(instalment > 0, thirteenths - -(-thirteenths // count), 0)
    ticks = first * 312 + between * 365
    whole, part = np.divmod(owed * rate, 10_000 * TICKS_A_YEAR)
    return np.asarray(whole * ticks + part * ticks // (10_000 * TICKS_A_YEAR))


def _contract_rate(when: Ternary, contacting: Bool, table: FactTable, plans: PlanColumns) -> Effect:
    """Interest above what the contract's rate brings over the plan's own months.

    Plans may bear what level monthly payments would (the annuity); those paid at once, and those that ask for no
    money, simple interest on the whole balance; both from the first due date on, and until it simple interest.
    """
    apr, rate_known = table.read("apr")
    balance, balance_known = table.read("balance")
    known = rate_known & balance_known
    rate, owed = np.where(known, apr, 0.0), np.where(known, balance, 0).astype(np.float64)
    level = ~of_kinds(plans, (*FREE, "FULL"))

    def above(rows: Index, columns: Index) -> Numbers:
        months = np.maximum(plans.months[rows][:, columns], plans.dormant_months[columns])
        yearly = rate[rows][:, None]
        simple = yearly * months / 12.0
        count, monthly = np.maximum(months, 1.0), yearly / 12.0
        with np.errstate(divide="ignore", invalid="ignore"):
            annuity = count * monthly / (1.0 - (1.0 + monthly) ** -count) - 1.0
        late = plans.first_due_days[rows][:, columns] / 365.0
        share = np.where(level[columns] & (yearly > 0), annuity, simple) + yearly * late
        most = np.floor(owed[rows][:, None] * share) + ROUNDING * known[rows][:, None]
        return np.asarray(plans.interest[rows][:, columns] - most)

    return Effect(
        Ternary(when.yes & known, when.maybe), contacting, above, np.zeros(table.accounts, np.int64)
    )


def _notice(
    notice: Notice, when: Ternary, contacting: Bool, table: FactTable, plans: PlanColumns
) -> RuleEffect:
    if not notice.required:
        return RuleEffect()
    if notice.fees_after_days is None:
        return RuleEffect(notice=when)
    running = when & ~is_between("notice_age_d", notice.fees_after_days + 1, None, table)
    nothing = np.zeros(table.accounts, np.int64)
    absent = when & is_between("notice_age_d", None, NONE, table)
    return RuleEffect((Effect(running, contacting, _part(plans.fees), nothing),), notice=absent)

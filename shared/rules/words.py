"""Rules in plain words: what one blocks or demands, and which facts it needs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fedrepay.shared.files import Part
from fedrepay.shared.rules.pack import Pack, Rule
from fedrepay.shared.rules.parameters import (
    Affordability,
    ChannelConsent,
    Condition,
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


def iso(day: int | None, absent: str = "no date") -> str:
    """A day since 1970-01-01 as YYYY-MM-DD."""
    return absent if day is None else str(np.datetime64(day, "D"))


def demands(rule: Rule) -> str:
    """What the rule does, from its parameters; the person who changes one sees whether it means what it says."""
    return _DEMANDS[type(rule.parameters)](rule.parameters)


def needs(pack: Pack, rule: Rule) -> tuple[str, ...]:
    """Facts the rule reads, its pack's conditions included, in the order they are read."""
    own: tuple[str, ...] = ()
    match rule.parameters:
        case ContactCap() as cap:
            own = (cap.counts or cap.since or "",)
        case QuietHours() as quiet:
            own = ("contact_minute", *((quiet.unless,) if quiet.unless else ()))
        case ChannelConsent() as consent:
            own = tuple(f"consent_{each}" for each in consent.channels)
        case FeeCap() as fee:
            charged = "collection_costs_charged"
            own = {
                "none": (),
                "authorised": ("fees_authorised",),
                "cost": ("collection_cost_actual", charged),
                "scale": ("balance", charged),
            }[fee.method]
        case CostCap():
            own = ("balance",)
        case InterestFreeze(allowed="contract_rate"):
            own = ("apr", "balance")
        case TermCap(counts_agreement=True):
            own = ("agreement_months",)
        case Moratorium() as pause:
            own = (pause.day,)
        case Notice(required=True, fees_after_days=int()):
            own = ("notice_age_d",)
        case _:
            pass
    conditions = [condition.fact for condition in (*pack.applies_to, *rule.applies_to)]
    return tuple(dict.fromkeys(("jurisdiction", *conditions, *own)))


def applies(conditions: Sequence[Condition]) -> str:
    """Conditions in words; empty text without any."""
    return " and ".join(_condition(each) for each in conditions)


def covers(pack: Pack) -> str:
    """Which matters the pack covers, and for whom."""
    if not pack.covers:
        return "Covers no matter alone: another pack has to, or a person decides."
    parts = (
        ", ".join(each.matters) + (f" where {only}" if (only := applies(each.applies_to)) else "")
        for each in pack.covers
    )
    return f"Covers {'; '.join(parts)}."


def _condition(condition: Condition) -> str:
    if condition.is_ is not None:
        return f"{condition.fact} is {'yes' if condition.is_ else 'no'}"
    if condition.one_of:
        return f"{condition.fact} is {_any(condition.one_of)}"
    low, high = condition.at_least, condition.at_most
    if low is not None and high is not None:
        return f"{condition.fact} is {low:g} … {high:g}"
    return f"{condition.fact} is {f'at least {low:g}' if low is not None else f'at most {high:g}'}"


def _any(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _contact_cap(cap: ContactCap) -> str:
    if cap.counts is not None:
        return f"Blocks a plan offered by {_any(cap.channels)} once {cap.counts} has reached {cap.most}."
    last = (cap.pause_days or 0) - 1
    return f"Blocks a plan offered by {_any(cap.channels)} while {cap.since} is 0 … {last}."


def _quiet_hours(quiet: QuietHours) -> str:
    times = f"before {_clock(quiet.opens)} or from {_clock(quiet.closes)} in the debtor's zone"
    unless = f" unless {quiet.unless}" if quiet.unless else ""
    return f"Blocks a plan offered by {_any(quiet.channels)} {times}{unless}."


def _fee_cap(fee: FeeCap) -> str:
    steps = ", ".join(f"{points / 100:g} % up to {edge / 100:,.2f}" for edge, points in fee.bands)
    return (
        "Blocks a plan "
        + {
            "none": "that charges any fee.",
            "authorised": "that charges a fee unless fees are authorised.",
            "cost": "whose fees, with those charged before, exceed what collecting has cost.",
            "scale": (
                f"whose fees, with those charged before, exceed {steps}, {(fee.above or 0) / 100:g} % above; "
                f"at least {(fee.lowest or 0) / 100:,.2f}, at most {(fee.highest or 0) / 100:,.2f}."
            ),
        }[fee.method]
    )


def _interest_freeze(freeze: InterestFreeze) -> str:
    if freeze.allowed == "none":
        return "Blocks a plan that charges any interest."
    return "Blocks a plan whose interest is above what the contract's rate brings."


def _cost_cap(cost: CostCap) -> str:
    share = None if cost.most_share is None else f"exceed {cost.most_share / 100:g} % of the principal"
    rate = None if cost.most_rate is None else f"come to more than {cost.most_rate / 100:g} % of it a year"
    return f"Blocks a plan that asks for money whose interest and fees {' or '.join(filter(None, (share, rate)))}."


def _term_cap(term: TermCap) -> str:
    more = ", counting the agreement it changes" if term.counts_agreement else ""
    return f"Blocks a plan of more than {term.most_months} months{more}."


def _stop_collection(stop: StopCollection) -> str:
    which = "asks for money" if stop.blocks == "collecting" else "reaches the debtor"
    return f"Stops collection, and blocks every plan that {which}."


def _human(human: SpecialCategoryHuman) -> str:
    if human.machine_plans == "block":
        return "A human decides; blocks every plan that no human offers."
    return "A human reviews the decision; blocks no plan."


def _notice(notice: Notice) -> str:
    if not notice.required:
        return f"Records that the notice {notice.notice} is not due."
    days = notice.fees_after_days
    which = "no plan" if days is None else f"a plan that charges a fee until day {days + 1} after it"
    return f"The debtor gets the notice {notice.notice}; blocks {which}."


_DEMANDS: dict[type[Part], Callable[[Any], str]] = {
    ContactCap: _contact_cap,
    QuietHours: _quiet_hours,
    ChannelConsent: lambda consent: (
        f"Blocks a plan offered by {_any(consent.channels)} without consent to that channel."
    ),
    FeeCap: _fee_cap,
    InterestFreeze: _interest_freeze,
    TermCap: _term_cap,
    CostCap: _cost_cap,
    Affordability: lambda afford: (
        "Blocks a plan that asks for more a month than the affordability bound"
        + (f", but for {_any(afford.spares)}." if afford.spares else ".")
    ),
    Moratorium: lambda pause: (
        f"Stops collection, and blocks every plan that asks for money, while {pause.day} is 0 … {pause.days}."
    ),
    StopCollection: _stop_collection,
    SpecialCategoryHuman: _human,
    Notice: _notice,
    Retention: lambda keep: f"The record is kept no longer than {keep.days} days.",
}

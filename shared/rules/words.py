"""Rules in plain words: what one blocks or demands, and which facts it needs."""

from collections.abc import Sequence

import numpy as np

from fedrepay.shared.rules.pack import Pack, Rule
from fedrepay.shared.rules.parameters import (
    Affordability,
    ChannelConsent,
    Condition,
    ContactCap,
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
    match rule.parameters:
        case ContactCap(counts=str(counts), most=most, channels=channels):
            return f"Blocks a plan offered by {_any(channels)} once {counts} has reached {most}."
        case ContactCap(since=since, pause_days=pause, channels=channels):
            return f"Blocks a plan offered by {_any(channels)} while {since} is 0 … {(pause or 0) - 1}."
        case QuietHours() as quiet:
            unless = f" unless {quiet.unless}" if quiet.unless else ""
            return (
                f"Blocks a plan offered by {_any(quiet.channels)} before {_clock(quiet.opens)} or from "
                f"{_clock(quiet.closes)} in the debtor's zone{unless}."
            )
        case ChannelConsent() as consent:
            return f"Blocks a plan offered by {_any(consent.channels)} without consent to that channel."
        case FeeCap(method="none"):
            return "Blocks a plan that charges any fee."
        case FeeCap(method="authorised"):
            return "Blocks a plan that charges a fee unless fees are authorised."
        case FeeCap(method="cost"):
            return "Blocks a plan whose fees, with those charged before, exceed what collecting has cost."
        case FeeCap() as fee:
            steps = [f"{points / 100:g} % up to {edge / 100:,.2f}" for edge, points in fee.bands]
            return (
                "Blocks a plan whose fees, with those charged before, exceed "
                f"{', '.join(steps)}, {(fee.above or 0) / 100:g} % above; at least {(fee.lowest or 0) / 100:,.2f}, "
                f"at most {(fee.highest or 0) / 100:,.2f}."
            )
        case InterestFreeze(allowed="none"):
            return "Blocks a plan that charges any interest."
        case InterestFreeze():
            return "Blocks a plan whose interest is above what the contract's rate brings."
        case TermCap() as term:
            more = ", counting the agreement it changes" if term.counts_agreement else ""
            return f"Blocks a plan of more than {term.most_months} months{more}."
        case Affordability() as afford:
            return f"Blocks a plan ({_any(afford.kinds)}) that asks for more a month than the affordability bound."
        case Moratorium() as pause_of:
            return (
                f"Stops collection, and blocks every plan that asks for money, while {pause_of.day} is "
                f"0 … {pause_of.days}."
            )
        case StopCollection(blocks="collecting"):
            return "Stops collection, and blocks every plan that asks for money."
        case StopCollection():
            return "Stops collection, and blocks every plan that reaches the debtor."
        case SpecialCategoryHuman(machine_plans="block"):
            return "A human decides; blocks every plan that no human offers."
        case SpecialCategoryHuman():
            return "A human reviews the decision; blocks no plan."
        case Notice(required=False) as notice:
            return f"Records that the notice {notice.notice} is not due."
        case Notice(fees_after_days=int(days)) as notice:
            return (
                f"The debtor gets the notice {notice.notice}; blocks a plan that charges a fee until day "
                f"{days + 1} after it."
            )
        case Notice() as notice:
            return f"The debtor gets the notice {notice.notice}; blocks no plan."
        case Retention() as keep:
            return f"The record is kept no longer than {keep.days} days."


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

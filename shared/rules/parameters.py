"""The closed set of rule kinds, one model each: what a rule of a pack can say (docs/domain.md section 5)."""

from typing import Annotated, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from fedrepay.shared.files import Part
from fedrepay.shared.plans.kinds import Kind
from fedrepay.shared.rules.facts import FACTS

Matter = Literal["conduct", "contact", "cost", "automated_decision"]
MATTERS: tuple[Matter, ...] = get_args(Matter)
"""What law must have been looked at before a machine may offer a plan.

``conduct``: how a debtor in difficulty is treated: forbearance, pressure, disputes, advisers, pauses. ``contact``: when,
how often and by which channel. ``cost``: what interest and fees may be charged. ``automated_decision``: what a machine may
decide alone, and what the debtor is told of it.
"""
Channel = Literal["sms", "email", "call", "portal", "letter"]
Money = Annotated[int, Field(ge=0, le=10**13)]
BasisPoints = Annotated[int, Field(ge=0, le=10_000)]
Days = Annotated[int, Field(ge=0, le=36_500)]


def _minute(value: object) -> object:
    """``"HH:MM"`` as a minute of the day, 00:00 to 24:00."""
    if not isinstance(value, str):
        return value  # refused by the field's own type
    hours, colon, minutes = value.partition(":")
    if not (colon and hours.isdecimal() and minutes.isdecimal() and len(hours) == len(minutes) == 2):
        raise ValueError("a time is HH:MM")
    if int(minutes) > 59:
        raise ValueError("minutes are 00 … 59")
    return int(hours) * 60 + int(minutes)


Minute = Annotated[int, Field(ge=0, le=1440), BeforeValidator(_minute)]
Channels = Annotated[tuple[Channel, ...], Field(min_length=1)]


class Condition(Part):
    """One fact compared; exactly one of ``is``, ``one_of``, or a range."""

    fact: str
    is_: Annotated[bool | None, Field(alias="is")] = None
    one_of: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        fact = FACTS.get(self.fact)
        if fact is None:
            raise ValueError(f"fact {self.fact} is not one of {', '.join(sorted(FACTS))}")
        ranged = self.at_least is not None or self.at_most is not None
        if [self.is_ is not None, bool(self.one_of), ranged].count(True) != 1:
            raise ValueError(f"{self.fact}: give exactly one of is, one_of, or at_least/at_most")
        wanted = {"bool": self.is_ is not None, "category": bool(self.one_of)}.get(fact.type, ranged)
        if not wanted:
            raise ValueError(f"{self.fact} is a {fact.type}: bool takes is, category one_of, numbers a range")
        strange = set(self.one_of) - set(fact.categories)
        if strange:
            raise ValueError(f"{self.fact}: {', '.join(sorted(strange))} not in {', '.join(fact.categories)}")
        for bound in (self.at_least, self.at_most):
            if bound is not None and not fact.low <= bound <= fact.high:
                raise ValueError(f"{self.fact}: {bound:g} is outside {fact.low:g} … {fact.high:g}")
        return self


class ContactCap(Part):
    """No further contact on ``channels`` once ``counts`` has reached ``most``, or for ``pause_days`` days.

    Days are counted with the day of ``since`` as the first.
    """

    kind: Literal["contact_cap"]
    channels: Channels
    counts: Literal["calls_7d", "unanswered_attempts_today"] | None = None
    most: Annotated[int, Field(ge=0, le=10_000)] | None = None
    since: Literal["days_since_conversation"] | None = None
    pause_days: Annotated[int, Field(ge=1, le=3650)] | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        counted, paused = (self.counts, self.most), (self.since, self.pause_days)
        if not (None not in counted and paused == (None, None)) and not (
            None not in paused and counted == (None, None)
        ):
            raise ValueError("give counts and most, or since and pause_days")
        return self


class QuietHours(Part):
    """Contact on ``channels`` from ``opens`` until before ``closes`` (debtor's zone) unless ``unless`` is true."""

    kind: Literal["quiet_hours"]
    channels: Channels
    opens: Minute
    closes: Minute
    unless: Literal["night_consent"] | None = None

    @model_validator(mode="after")
    def _is_a_day(self) -> Self:
        if self.opens >= self.closes:
            raise ValueError("opens must be before closes")
        return self


class ChannelConsent(Part):
    """Each of ``channels`` only with the debtor's consent to it."""

    kind: Literal["channel_consent"]
    channels: Channels


class FeeCap(Part):
    """What fees a plan may charge, counting those already charged.

    ``none``: none at all. ``authorised``: only where agreement or law expressly allows them. ``cost``: no more
    than collecting has cost. ``scale``: shares of the principal by bands, between ``lowest`` and ``highest``.
    """

    kind: Literal["fee_cap"]
    method: Literal["none", "authorised", "cost", "scale"]
    bands: Annotated[tuple[tuple[Money, BasisPoints], ...], Field(max_length=16)] = ()
    above: BasisPoints | None = None
    lowest: Money | None = None
    highest: Money | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        given = (bool(self.bands), self.above is not None, self.lowest is not None, self.highest is not None)
        if set(given) != {self.method == "scale"}:
            raise ValueError(
                "bands, above, lowest and highest go with method scale, all four, and only with it"
            )
        edges = [edge for edge, _ in self.bands]
        if edges != sorted(set(edges)) or 0 in edges:
            raise ValueError("bands must rise: [[up to, basis points], …]")
        if (self.lowest or 0) > (self.highest or 0):
            raise ValueError("lowest is above highest")
        return self


class InterestFreeze(Part):
    """Interest under a plan: ``none``, or no more than the ``contract_rate`` brings."""

    kind: Literal["interest_freeze"]
    allowed: Literal["none", "contract_rate"]


class CostCap(Part):
    """What a plan charges in all, interest and fees: basis points of the principal, in all or a year.

    ``most_share`` bounds it whatever the plan's length. ``most_rate`` bounds it for the time an average unit of the
    principal is owed: until the first instalment all of it, then ever less by equal parts. At least one of the two.
    """

    kind: Literal["cost_cap"]
    most_share: Annotated[int, Field(ge=0, le=100_000)] | None = None
    most_rate: Annotated[int, Field(ge=0, le=200_000)] | None = None

    @model_validator(mode="after")
    def _caps_something(self) -> Self:
        if self.most_share is None and self.most_rate is None:
            raise ValueError("give most_share, most_rate or both")
        return self


class TermCap(Part):
    """A plan runs at most ``most_months``; with ``counts_agreement`` together with what it replaces."""

    kind: Literal["term_cap"]
    most_months: Annotated[int, Field(ge=1, le=600)]
    counts_agreement: bool = False


class Affordability(Part):
    """Plans that ask for money, but those of kinds ``spares``, ask for no more a month than the affordability bound."""

    kind: Literal["affordability"]
    spares: tuple[Kind, ...] = ()


class Moratorium(Part):
    """Nothing that collects on days 0 … ``days`` of the count ``day`` (−1: no moratorium)."""

    kind: Literal["moratorium"]
    day: Literal["moratorium_day", "mental_health_crisis_day"]
    days: Days


class SpecialCategoryHuman(Part):
    """A human decides: with ``block`` only a human may make the offer, with ``review`` a human reviews it."""

    kind: Literal["special_category_human"]
    machine_plans: Literal["block", "review"]


class Notice(Part):
    """A notice the debtor must get.

    With ``fees_after_days`` no fee before that many whole days have passed since its receipt. With
    ``required = false`` the pack only records that none is due.
    """

    kind: Literal["notice"]
    notice: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    required: bool = True
    fees_after_days: Days | None = None


class Retention(Part):
    """Keep the decision's record no longer than ``days``."""

    kind: Literal["retention"]
    days: Annotated[int, Field(ge=1, le=36_500)]


class StopCollection(Part):
    """Collection stops: plans that ask for money are blocked, or with ``contacting`` all that reach the debtor.

    A stop ends offers and letters, never the hand-over: a person looks at the case, unless ``rests`` says that it only has
    to be left alone (an agreement that is being kept).
    """

    kind: Literal["stop_collection"]
    blocks: Literal["collecting", "contacting"] = "collecting"
    rests: bool = False


Parameters = Annotated[
    ContactCap
    | QuietHours
    | ChannelConsent
    | FeeCap
    | InterestFreeze
    | CostCap
    | TermCap
    | Affordability
    | Moratorium
    | SpecialCategoryHuman
    | Notice
    | Retention
    | StopCollection,
    Field(discriminator="kind"),
]

SPEAKS_OF: dict[str, tuple[Matter, ...]] = {
    "contact_cap": ("contact",),
    "quiet_hours": ("contact",),
    "channel_consent": ("contact",),
    "fee_cap": ("cost",),
    "interest_freeze": ("cost",),
    "cost_cap": ("cost",),
    "term_cap": ("conduct",),
    "affordability": ("conduct",),
    "moratorium": ("conduct",),
    "special_category_human": ("conduct", "automated_decision"),
    "notice": MATTERS,
    "retention": (),
    "stop_collection": ("conduct", "contact"),
}
"""Matters that a rule of each kind can be about: a pack covers none of which it has no rule."""


class Covers(Part):
    """Matters that a pack covers, for accounts to which it applies and of which every condition here holds."""

    matters: Annotated[tuple[Matter, ...], Field(min_length=1)]
    applies_to: Annotated[tuple[Condition, ...], Field(max_length=8)] = ()

"""A member's settings for decisions: its prices, its weights λ, its bounds; one TOML file, shown in every report."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from fedrepay.shared.errors import CatalogueError
from fedrepay.shared.files import Part, parse_toml, read_bytes
from fedrepay.shared.plans.calendar import knows
from fedrepay.shared.plans.kinds import KINDS
from fedrepay.shared.plans.money import Prices
from fedrepay.shared.rules.facts import RESTRICTED

CLASSES = ("none", "stated", "estimated", "verified")
"""How an income is known; ``none`` is no income form at all."""

Rate = Annotated[float, Field(ge=0, le=1)]
Number = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]

_CONTACT_COST = {
    "sms": 5,
    "email": 1,
    "call": 250,
    "portal": 0,
    "letter": 90,
}
_COMPLAINT_RATE: dict[str, float] = {
    **dict.fromkeys(KINDS, 0.0),
    "FULL": 0.004,
    "INSTALMENT": 0.002,
    "SETTLEMENT": 0.003,
    "TOKEN": 0.001,
}
_HOURS = {
    "REQUESTED": 24,
    "DATE_CHANGES": 48,
    "CONTRADICTION": 48,
    "LOW_CONFIDENCE": 72,
    "RULE": 24,
    "UNKNOWN_FACT": 48,
    "UNCOVERED": 48,
    "OUT_OF_BOUNDS": 48,
    "VULNERABLE": 24,
    "PROTECTED": 24,
    "PAUSE": 72,
    "WRITE_OFF": 72,
    "NO_PLAN": 72,
}


def _completed(defaults: Mapping[str, float]) -> BeforeValidator:
    """A table of which a file may change some entries: the others keep their defaults, unknown ones are refused."""

    def complete(given: object) -> object:
        if not isinstance(given, dict):
            return given
        unknown = sorted(str(name) for name in given if name not in defaults)
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is none of {', '.join(defaults)}")
        return {**defaults, **given}

    return BeforeValidator(complete)


def _known(region: str) -> str:
    """Refuse a region whose bank holidays are not known; "" is none."""
    if region and not knows(region):
        raise ValueError(f"{region} is no region with holidays of its own; write it as GB-SCT (ISO 3166-2)")
    return region


class Value(Part):
    """What a plan is worth: E[NPV] + λf·P(first payment) − contact − λc·P(complaint) + λs·P(kept at 90 days) − λg·forgiven.

    λ are in parts of the balance, so that they weigh alike in every currency; contact costs are minor units.
    ``complaint_rate`` stands in for a complaint head until there is one. Of both tables a file may change some entries.
    """

    lambda_first: Number = 0.05
    lambda_complaint: Number = 0.10
    lambda_sustained: Number = 0.0
    lambda_given: Number = 0.1
    survival: Annotated[float, Field(gt=0, le=1)] = 0.964
    discount_rate: Rate = 0.10
    no_plan_rate: Annotated[float, Field(ge=0, le=0.2)] = 0.0035
    no_plan_months: Annotated[int, Field(ge=0, le=60)] = 24
    contact_cost: Annotated[dict[str, Annotated[int, Field(ge=0)]], _completed(_CONTACT_COST)] = _CONTACT_COST
    complaint_rate: Annotated[dict[str, Rate], _completed(_COMPLAINT_RATE)] = _COMPLAINT_RATE

    @property
    def prices(self) -> Prices:
        """The constants of money."""
        return Prices(self.survival, self.discount_rate, self.no_plan_rate, self.no_plan_months)


class Income(Part):
    """How far an income of one class can be trusted.

    ``error`` is the standard deviation of the known surplus around the true one, as a part of income;
    ``level`` the one-sided confidence of the bound: where little is left, so many of the plans are truly affordable and no
    more (``simulations/market/caution_levels.py`` fitted the defaults). The posterior mixes the known surplus with what is usual
    (``usual_surplus`` ± ``usual_spread`` of income among the member's accounts).
    """

    error: Annotated[float, Field(ge=0, le=1)]
    level: Annotated[float, Field(ge=0.5, lt=1)]


class Caution(Part):
    """The hard bound on instalments: a lower confidence bound of what is left after the essentials."""

    usual_surplus: Annotated[float, Field(ge=-1, le=1)] = 0.09
    usual_spread: Annotated[float, Field(gt=0, le=1)] = 0.12
    savings_share: Annotated[float, Field(ge=0, le=0.2)] = 0.0
    stated: Income = Income(error=0.065, level=0.96)
    estimated: Income = Income(error=0.045, level=0.965)
    verified: Income = Income(error=0.015, level=0.96)


class Relief(Part):
    """What is waived whatever it costs the member, as parts of a year's interest and of the debt.

    ``most_rate``: the highest yearly rate that may go on under a plan; ``most_cost``: the most interest a plan may bear, as
    a part of what it repays; ``write_off_below``: a debt of no more than this (minor units) is proposed for writing off.
    """

    most_rate: Annotated[float, Field(ge=0, le=1)] = 0.15
    most_cost: Annotated[float, Field(ge=0, le=1)] = 0.5
    write_off_below: Annotated[int, Field(ge=0)] = 0


class Handover(Part):
    """When a human takes over, and how soon."""

    date_changes_90d: Annotated[int, Field(ge=1)] = 3
    least_confidence: Rate = 0.0
    hours: Annotated[dict[str, Annotated[int, Field(ge=1, le=720)]], _completed(_HOURS)] = _HOURS


def _open(column: str) -> str:
    """A column whose groups may decide who gets a plan: no restricted fact, in any spelling."""
    if column.strip().lower() in RESTRICTED:
        raise ValueError("is a restricted fact, for rules only")
    return column


class BatchCaps(Part):
    """What one batch may use in all; None is no cap. ``group_floor`` is the least share of each group with a plan."""

    agents: Annotated[int, Field(ge=0)] | None = None
    discounts: Annotated[int, Field(ge=0)] | None = None  # minor units forgiven
    contacts: Annotated[int, Field(ge=0)] | None = None
    group_column: Annotated[str, AfterValidator(_open)] | None = None
    group_floor: Rate = 0.0


class Settings(Part):
    """Everything a member decides about its own recommendations."""

    value: Value = Value()
    affordability: Caution = Caution()
    relief: Relief = Relief()
    handover: Handover = Handover()
    caps: BatchCaps = BatchCaps()
    packs: tuple[str, ...] = ()
    exploration: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    contact_minute: Annotated[int, Field(ge=0, lt=1440)] = 600
    language: Literal["en", "zh"] = "en"
    region: Annotated[str, AfterValidator(_known)] = ""


def parse_settings(data: bytes, source: str) -> Settings:
    """Check the bytes of a settings file.

    Raises:
        CatalogueError: naming file, field and bound; all that is wrong at once.
    """
    return parse_toml(data, source, Settings, CatalogueError, "docs/plans.md explains each setting.")


def load_settings(path: Path | None) -> tuple[Settings, bytes]:
    """Read settings (or take the defaults); returns them with the sha256 of the file's bytes.

    Raises:
        CatalogueError: unreadable or wrong.
    """
    if path is None:
        return Settings(), hashlib.sha256(b"").digest()
    data = read_bytes(path, CatalogueError)
    return parse_settings(data, str(path)), hashlib.sha256(data).digest()

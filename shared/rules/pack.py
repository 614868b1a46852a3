"""A rule pack: law of one place as data, with citation, version and dates; a TOML file checked by pydantic.

Every pack is a template, not legal advice, and has to say so.
"""

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from fedrepay.shared.errors import ArgumentError, RuleError
from fedrepay.shared.files import Part, content_of, fitted, read_bytes
from fedrepay.shared.plans.kinds import Kind
from fedrepay.shared.rules.columns import NO_BOUND
from fedrepay.shared.rules.facts import EU, FACTS
from fedrepay.shared.rules.parameters import SPEAKS_OF, Channel, Condition, Covers, Parameters

DISCLAIMER = "A template, not legal advice."
MOST_BYTES = 1_000_000
_PACKS = Path(__file__).parent / "packs"
_REMEDY = "See `fedrepay rules check --help`."

Id = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Text = Annotated[str, Field(min_length=1, max_length=2000)]
Version = Annotated[int, Field(ge=1, le=10**9)]
Amount = Annotated[int, Field(ge=0, le=10**13)]
Share = Annotated[float, Field(ge=0, le=1)]
FactValue = bool | int | float | str


def _day(value: object) -> object:
    """TOML's own date, or an ISO text, as a day since 1970-01-01."""
    if isinstance(value, int | float):
        return value  # a day already, or refused by the field's own type
    if len(str(value)) != 10:
        raise ValueError("a date is YYYY-MM-DD")
    return int(np.datetime64(str(value), "D").astype(np.int64))


Day = Annotated[int, BeforeValidator(_day), Field(ge=-36_500, le=100_000)]


class Rule(Part):
    """One rule: where it stands, when it applies, what it demands."""

    id: Id
    version: Version
    article: Text
    text: Text
    checked: bool
    note: Text | None = None
    applies_to: Annotated[tuple[Condition, ...], Field(max_length=8)] = ()
    parameters: Parameters

    @property
    def kind(self) -> str:
        """One of the closed set of kinds."""
        return self.parameters.kind


class CasePlan(Part):
    """The plan of a case; money in minor units. ``bound`` absent: affordability is not known."""

    kind: Kind = "INSTALMENT"
    channel: Channel = "letter"
    human: bool = False
    discount: Share = 0.0
    interest_waiver: Share = 0.0
    fee_waiver: Share = 0.0
    dormant_months: Annotated[int, Field(ge=0, le=36)] = 0
    first_due_days: Annotated[int, Field(ge=0, le=366)] = 0
    instalment: Amount = 0
    monthly: Amount = 0
    total: Amount = 0
    months: Annotated[float, Field(ge=0, le=1200)] = 1.0
    fees: Amount = 0
    interest: Amount = 0
    bound: Annotated[int, Field(ge=NO_BOUND, le=10**13)] = NO_BOUND


class Expected(Part):
    """What a case says comes out; what is left out is not compared. An empty id: no rule does."""

    blocked: str | None = None
    human: str | None = None
    stop: str | None = None
    notices: tuple[str, ...] | None = None
    unknown: bool | None = None
    retention_days: int | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("says nothing: give blocked, human, stop, notices, unknown or retention_days")
        return self


class Base(Part):
    """What all cases share."""

    facts: dict[str, FactValue] = Field(default_factory=dict)
    plan: dict[str, bool | int | float | str] = Field(default_factory=dict)


class Case(Part):
    """One tested boundary: facts and a plan that differ from the base, and what must come out."""

    name: Text
    day: Day | None = None
    facts: dict[str, FactValue] = Field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    plan: dict[str, bool | int | float | str] = Field(default_factory=dict)
    expect: Expected


class Pack(Part):
    """A whole pack. ``sha256`` is of the file's bytes; dates are days since 1970-01-01, both inclusive.

    Without ``covers`` its rules hold, but it covers no matter: another pack has to.
    """

    id: Id
    jurisdiction: str
    version: Version
    title: Text
    citation: Text
    template: Literal[True]
    disclaimer: Literal["A template, not legal advice."]
    effective_from: Day | None = None
    effective_to: Day | None = None
    applies_to: Annotated[tuple[Condition, ...], Field(max_length=8)] = ()
    covers: Annotated[tuple[Covers, ...], Field(max_length=8)] = ()
    rules: Annotated[tuple[Rule, ...], Field(max_length=64)]
    base: Base = Base()
    cases: Annotated[tuple[Case, ...], Field(max_length=256)] = ()
    sha256: str

    def in_force(self, today: int) -> bool:
        """Whether the pack applies on a day; without dates it always does."""
        begun = self.effective_from is None or self.effective_from <= today
        return begun and (self.effective_to is None or today <= self.effective_to)

    @property
    def places(self) -> tuple[str, ...]:
        """Jurisdictions the pack applies in."""
        return EU if self.jurisdiction == "EU" else (self.jurisdiction,)

    def plan_of(self, case: Case) -> CasePlan:
        """The base's plan with what the case changes."""
        return CasePlan.model_validate_json(json.dumps(self.base.plan | case.plan))

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        known = ("EU", *FACTS["jurisdiction"].categories)
        if not self.rules:
            raise ValueError("rules: a pack has at least one")
        if self.jurisdiction not in known:
            raise ValueError(f"jurisdiction {self.jurisdiction} is not one of {', '.join(known)}")
        if None not in (self.effective_from, self.effective_to) and not self.in_force(
            self.effective_from or 0
        ):
            raise ValueError("effective_to is before effective_from")
        for what, names in (
            ("rules", [rule.id for rule in self.rules]),
            ("cases", [case.name for case in self.cases]),
        ):
            doubled = sorted({name for name in names if names.count(name) > 1})
            if doubled:
                raise ValueError(f"{what}: twice: {', '.join(doubled)}")
        spoken = {matter for rule in self.rules for matter in SPEAKS_OF[rule.kind]}
        hollow = sorted({matter for each in self.covers for matter in each.matters} - spoken)
        if hollow:
            raise ValueError(f"covers: no rule here is about {', '.join(hollow)}")
        ids = {rule.id for rule in self.rules} | {""}
        for case in self.cases:
            self._check_case(case, ids)
        return self

    def _check_case(self, case: Case, ids: set[str]) -> None:
        named = {*case.facts, *case.unknown, *self.base.facts}
        if not named <= set(FACTS):
            raise ValueError(f"cases.{case.name}: no such fact: {', '.join(sorted(named - set(FACTS)))}")
        expected = case.expect
        cited = {each for each in (expected.blocked, expected.human, expected.stop) if each is not None}
        if not cited | set(expected.notices or ()) <= ids:
            raise ValueError(f"cases.{case.name}.expect names a rule the pack does not have")
        try:
            self.plan_of(case)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise ValueError(f"cases.{case.name}.plan.{place}: {first['msg']}") from error


def parse_pack(content: bytes, source: str) -> Pack:
    """Check the bytes of a pack.

    Args:
        content: TOML in UTF-8.
        source: the file's name, for errors.

    Raises:
        RuleError: naming file, field and bound; all that is wrong at once.
    """
    if len(content) > MOST_BYTES:
        raise RuleError(f"{source} has {len(content)} bytes; the bound is {MOST_BYTES}.", _REMEDY)
    entries = content_of(content, source, RuleError, _REMEDY)
    if "sha256" in entries:
        raise RuleError(f"{source}: sha256 is computed from the file, not written in it.", _REMEDY)
    entries["sha256"] = sha256(content).hexdigest()
    return fitted(entries, source, Pack, RuleError, _REMEDY)


def load_pack(path: Path) -> Pack:
    """Read and check a pack's file; raises RuleError if it cannot be read or is wrong."""
    return parse_pack(read_bytes(path, RuleError), str(path))


def builtin_names() -> tuple[str, ...]:
    """The packs that ship with the package, sorted."""
    return tuple(sorted(each.stem for each in _PACKS.glob("*.toml")))


def builtin_path(name: str) -> Path:
    """Where a built-in lies; raises ArgumentError if there is none of that name."""
    there = builtin_names()
    if name not in there:
        raise ArgumentError(f"No built-in rule pack is called {name}.", f"There are {', '.join(there)}.")
    return _PACKS / f"{name}.toml"


def load_builtin(names: Sequence[str] | None = None) -> tuple[Pack, ...]:
    """Packs that ship with the package, in the order named; all without names.

    Raises:
        ArgumentError: there is none of that name.
    """
    return tuple(load_pack(builtin_path(name)) for name in (builtin_names() if names is None else names))

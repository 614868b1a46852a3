"""Random accounts and plans near the rules' boundaries, for the masks and for the oracle alike."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.resources import files
from math import isnan
from typing import Any

import numpy as np

from fedrepay.shared.plans.kinds import CHANNELS, KINDS
from fedrepay.shared.rules.columns import NO_BOUND, PlanColumns
from fedrepay.shared.rules.facts import FACTS, Column, FactTable
from fedrepay.shared.rules.masks import RulesVerdict, evaluate
from fedrepay.shared.rules.pack import Pack, builtin_names, parse_pack
from fedrepay.shared.rules.parameters import MATTERS

EDGES: dict[str, list[float]] = {
    "calls_7d": [0, 6, 7, 8],
    "days_since_conversation": [-1, 0, 6, 7, 8],
    "unanswered_attempts_today": [0, 5, 6, 7],
    "contact_minute": [0, 479, 480, 720, 1259, 1260, 1319, 1320, 1439],
    "dpd": [0, 1, 30, 31, 60, 61, 400],
    "balance": [0, 10_000, 26_666, 26_667, 250_000, 500_000, 1_000_000, 20_000_000, 200_000_000],
    "collection_costs_charged": [0, 0, 1, 4_000, 37_500],
    "collection_cost_actual": [0, 1, 4_000, 50_000],
    "apr": [0, 0.12, 0.199, 3.91],
    "agreement_months": [0, 0, 12, 60],
    "arrears": [0, 1, 50_000],
    "contractual_instalment": [0, 10_000],
    "term_left": [0, 1, 24],
    "notice_age_d": [-1, 0, 13, 14, 15, 90],
    "persi_day": [-1, -1, 0, 30, 31],
    "moratorium_day": [-1, -1, -1, 0, 1, 60, 61],
    "mental_health_crisis_day": [-1, -1, -1, 0, 30, 31],
}
PLACES = ["US", "UK", "NL", "PT", "CN", "DE"]


def raw_packs() -> list[dict[str, Any]]:
    """The built-in packs as plain TOML, for the oracle."""
    folder = files("fedrepay.shared.rules") / "packs"
    return [tomllib.loads((folder / f"{name}.toml").read_text()) for name in builtin_names()]


def evaluated(
    packs: Sequence[Pack], facts: Mapping[str, Column], plans: PlanColumns, today: int
) -> RulesVerdict:
    """What packs say of facts as they come."""
    return evaluate(packs, FactTable(facts, plans.shape[0]), plans, today)


def covering_text(jurisdiction: str, matters: Sequence[str] = MATTERS, where: str = "") -> str:
    """A pack of a member's own that covers matters and asks for nothing but a notice; ``where``: a condition in TOML."""
    only = f", applies_to = [{where}]" if where else ""
    return f"""
id = "own-{jurisdiction.lower()}"
jurisdiction = "{jurisdiction}"
version = 1
title = "Own"
citation = "A law"
template = true
disclaimer = "A template, not legal advice."
covers = [{{ matters = {json.dumps(list(matters))}{only} }}]
[[rules]]
id = "tell"
version = 1
article = "Art 1"
text = "The debtor is told."
checked = false
parameters = {{ kind = "notice", notice = "told" }}
"""


def covering(jurisdiction: str, matters: Sequence[str] = MATTERS, where: str = "") -> Pack:
    """The same, read."""
    return parse_pack(covering_text(jurisdiction, matters, where).encode(), "own.toml")


@dataclass
class World:
    """The same accounts and plans twice: as columns, and one at a time."""

    facts: dict[str, np.ndarray[Any, Any]]
    plans: PlanColumns

    def account(self, row: int) -> dict[str, Any]:
        return {name: column[row] for name, column in self._lists.items() if column[row] is not None}

    @cached_property
    def _lists(self) -> dict[str, list[Any]]:
        """Plain values by fact, None where not known."""
        plain: dict[str, list[Any]] = {}
        for name, column in self.facts.items():
            kind = FACTS[name].type
            make: Any = {"bool": bool, "category": str, "int": int, "number": float}[kind]
            lost = [each is None or (isinstance(each, float) and isnan(each)) for each in column]
            plain[name] = [
                None if gone else make(each) for each, gone in zip(column.tolist(), lost, strict=True)
            ]
        return plain

    def plan(self, row: int, column: int) -> dict[str, Any]:
        one: dict[str, Any] = {}
        for each in fields(self.plans):
            values = getattr(self.plans, each.name)
            place = (row, column) if values.ndim == 2 else row if each.name == "bound" else column
            one[each.name] = values[place].item()
        one["kind"], one["channel"] = KINDS[one["kind"]], CHANNELS[one["channel"]]
        one["bound"] = None if one["bound"] == NO_BOUND else one["bound"]
        return one


def world(rng: np.random.Generator, accounts: int, plans: int, *, unknown: float = 0.02) -> World:
    """Accounts whose facts sit on and beside every boundary; each fact is unknown with this probability."""
    facts: dict[str, np.ndarray[Any, Any]] = {}
    for fact in FACTS.values():
        lost = rng.random(accounts) < unknown
        if fact.type == "category":
            pool = PLACES if fact.name == "jurisdiction" else list(fact.categories)
            column: Any = rng.choice(pool, accounts).astype(object)
            column[lost] = None
        else:
            if fact.type == "bool":
                column = (rng.random(accounts) < (0.5 if "consent" in fact.name else 0.15)).astype(float)
            else:
                column = rng.choice(np.array(EDGES[fact.name], float), accounts)
            column[lost] = np.nan
        facts[fact.name] = column
    shape = (accounts, plans)
    months = rng.choice([0.5, 1.0, 12.0, 48.0, 60.0, 60.5, 61.0], shape)
    kind = rng.integers(0, len(KINDS), plans).astype(np.uint8)
    monthly = rng.choice([0, 100, 5_000, 5_001], shape).astype(np.int64)
    rate, owed = np.nan_to_num(facts["apr"]), np.nan_to_num(facts["balance"])
    near = owed[:, None] * rate[:, None] * months / 24.0 * rng.choice([0, 0.5, 1.0, 1.2, 2.0, 2.2], shape)
    caps = owed[:, None] + rng.choice([-4_000, -1, 0, 1], shape)  # of what is owed, all or a penny more
    near = np.where(rng.random(shape) < 0.1, np.maximum(caps, 0), near)
    first = rng.integers(1, 46, shape)
    daily = np.floor(owed[:, None] * 0.008 * first + 1e-6) + rng.choice(
        [0, 1], shape
    )  # 0.8 % a day, or a penny more
    near = np.where(rng.random(shape) < 0.1, daily, near)
    columns = PlanColumns(
        kind=kind,
        channel=((rng.integers(0, len(CHANNELS)) + np.arange(plans)) % len(CHANNELS)).astype(np.uint8),
        human=rng.random(plans) < 0.3,
        discount=rng.choice([0, 0.3], plans).astype(float),
        interest_waiver=rng.choice([0, 0.5, 1.0], plans),
        fee_waiver=rng.choice([0, 1.0], plans),
        dormant_months=np.where(kind == KINDS.index("DORMANT"), 12, 0).astype(np.int64),
        first_due_days=first,
        instalment=monthly,
        monthly=monthly,
        total=(monthly * months).astype(np.int64),
        months=months,
        fees=rng.choice(
            [0, 0, 0, 1, 1_500, 1_501, 4_000, 4_001, 37_500, 37_501, 62_501, 677_500, 677_501], shape
        ).astype(np.int64),
        interest=near.astype(np.int64),
        bound=rng.choice([NO_BOUND, -50, 0, 5_000, 5_000, 5_000], accounts).astype(np.int64),
    )
    return World(facts, columns)

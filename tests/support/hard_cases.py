"""Sixty hard accounts: what each is, what it gets under three sets of packs, who looks at it, and the sentence that says why.

`python -m support.hard_cases` (in `tests`) writes docs/hard-cases.md again; a test compares it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.handover import minute_text
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.explaining.because import because
from fedrepay.client.plans.explaining.messages import money
from fedrepay.shared.plans.schedule import Plan, plan_of
from fedrepay.shared.rules.pack import builtin_names, load_builtin
from support.judging import EXAMPLE
from support.market_accounts import market_book
from support.market_release import market_weights

PAGE = Path(__file__).parents[2] / "docs" / "hard-cases.md"
TODAY = int(np.datetime64("2026-11-02", "D").astype(int))
UK = ("uk-fca", "uk-breathing-space", "uk-adm")
SETS: dict[str, tuple[str, ...]] = {"UK packs": UK, "every pack": builtin_names(), "no pack": ()}

BASE: dict[str, Any] = {
    "income": 180_000,
    "surplus": 30_000,
    "other_plans": 0,
    "priority_arrears": 0,
    "balance": 150_000,
    "fees": 2_500,
    "median_income": 156_000,
    "days_to_payday": 10,
    "income_verified": "verified",
    "apr": 0.25,
    "known_creditors": 2,
    "employment": "working",
    "dpd": 60,
    "promises_12m": 2,
    "kept_ratio_12m": 0.5,
    "broken_plans_24m": 0,
    "days_since_payment": 60,
    "portal_logins_30d": 1,
    "response_rate": 0.3,
    "stage": "late",
    "product": "card",
}
FACTS: dict[str, Any] = {
    "jurisdiction": "UK",
    "debt_type": "card",
    "vulnerability_driver": "none",
    "moratorium_day": -1,
    "mental_health_crisis_day": -1,
    "collection_costs_charged": 2_500,
    "collection_cost_actual": 3_000,
    **dict.fromkeys(
        (
            *("health_data", "adviser_engaged", "dispute", "time_barred", "deceased"),
            *("insolvent", "contact_refused", "dormant", "agreement_kept"),
        ),
        0,
    ),
}


@dataclass(frozen=True)
class Case:
    """One account: ``what`` it is in words, and what differs from the base."""

    name: str
    what: str
    columns: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    beside: dict[str, Any] = field(default_factory=dict)


def _case(name: str, what: str, **changed: Any) -> Case:
    known = {key: value for key, value in changed.items() if key in BASE}
    beside = {key: value for key, value in changed.items() if key in ("human_requested", "date_changes_90d")}
    facts = {key: value for key, value in changed.items() if key not in (*known, *beside)}
    return Case(name, what, known, facts, beside)


RUNS = {"contractual_instalment": 25_000, "arrears": 50_000, "term_left": 60}
LOAN = {
    "balance": 1_200_000,
    "fees": 0,
    "apr": 0.06,
    "stage": "early",
    "product": "loan",
    "debt_type": "consumer",
}
CASES = (
    _case("plain", "£1,500 on a card at 25 %, £300 left of £1,800 a month, verified"),
    # people
    _case("dispute", "the debt is disputed", dispute=1),
    _case("adviser", "a debt adviser acts for the person", adviser_engaged=1),
    _case("died", "the person has died", deceased=1),
    _case("died-dispute", "the person has died, and the debt is disputed", deceased=1, dispute=1),
    _case("insolvent", "insolvency is open", insolvent=1),
    _case("insolvent-respite", "insolvency within a breathing space", insolvent=1, moratorium_day=20),
    _case("time-barred", "the debt is time-barred", time_barred=1),
    _case("refused", "the person asked not to be contacted", contact_refused=1),
    _case("respite-first", "first day of a breathing space", moratorium_day=1),
    _case("respite-last", "day 60 of it", moratorium_day=60),
    _case("respite-over", "day 61: it is over", moratorium_day=61),
    _case("crisis", "mental-health crisis treatment", mental_health_crisis_day=0),
    _case("crisis-over", "31 days after it ended", mental_health_crisis_day=31),
    _case("health", "data about health is held", health_data=1),
    _case("life-event", "a life event makes the person vulnerable", vulnerability_driver="life_event"),
    _case("capability", "low capability", vulnerability_driver="capability"),
    _case("respite-unknown", "whether there is a breathing space is not known", moratorium_day=np.nan),
    _case("dormant", "an agreed pause is running", dormant=1),
    _case("kept", "an agreed plan is running and kept", agreement_kept=1),
    _case("kept-asked", "the same, and the person asked for somebody", agreement_kept=1, human_requested=1),
    _case("asked", "the person asked for somebody", human_requested=1),
    _case("two-dates", "the date was changed twice", date_changes_90d=2),
    _case("three-dates", "the date was changed three times", date_changes_90d=3),
    # means
    _case("nothing-left", "nothing is left of the income", surplus=0),
    _case("deficit", "£200 short each month", surplus=-20_000),
    _case("deficit-no-work", "£200 short each month, and no work", surplus=-20_000, employment="not_working"),
    _case("no-income", "proven income of nothing", income=0, surplus=-50_000, employment="not_working"),
    _case("no-form", "no income form", income=np.nan, surplus=np.nan, income_verified="none"),
    _case("stated", "£600 left, only stated", surplus=60_000, income_verified="stated"),
    _case("arrears-first", "rent arrears take all that is left", priority_arrears=31_000),
    _case(
        "other-plans",
        "£40 promised elsewhere, £250 of priority arrears",
        other_plans=4_000,
        priority_arrears=25_000,
    ),
    _case("more-than-income", "more left than comes in", surplus=250_000),
    _case("little", "£12 left each month", surplus=1_900),
    # the debt
    _case("zero", "nothing is owed", balance=0, fees=0),
    _case("three-pounds", "£3 is owed", balance=300, fees=0),
    _case(
        "two-million",
        "£2m, and £10,000 left each month",
        balance=200_000_000,
        income=2_000_000,
        surplus=1_000_000,
        fees=0,
    ),
    _case(
        "cliff-under",
        "£6,400: just within 60 months of what is affordable",
        balance=640_000,
        apr=0.0,
        surplus=15_500,
        fees=0,
    ),
    _case("cliff-over", "£12,500: more than any plan clears", balance=1_250_000, surplus=15_500, fees=0),
    _case("apr-0", "no interest runs", apr=0.0),
    _case("apr-60", "60 % a year", apr=0.6),
    _case("apr-70", "70 % a year", apr=0.7),
    _case("apr-1200", "1,200 % a year: beyond what the model knows", apr=12.0),
    _case("fees", "fees above what collecting has cost", fees=9_000, collection_costs_charged=9_000),
    _case("fees-above", "fees above the balance", balance=2_000, fees=2_500),
    _case(
        "self-curer",
        "a small debt, much left, every promise kept",
        balance=30_000,
        surplus=100_000,
        kept_ratio_12m=1.0,
        promises_12m=6,
    ),
    _case(
        "broken", "four broken plans, no promise kept", broken_plans_24m=4, kept_ratio_12m=0.0, promises_12m=6
    ),
    _case("charged-off", "charged off long ago", stage="charged_off", dpd=600, apr=0.0),
    # what a contract is
    _case("in-time", "not a day late", dpd=0, stage="early"),
    _case("catch-up", "a loan two instalments behind, which are affordable", **LOAN, **RUNS, surplus=40_000),
    _case("extend", "the same; only the instalment itself is affordable", **LOAN, **RUNS, surplus=27_500),
    _case("reduced", "the same; half the instalment is affordable", **LOAN, **RUNS, surplus=15_000),
    _case(
        "before-late",
        "not late, and the instalment is no longer affordable",
        **LOAN,
        **{**RUNS, "arrears": 0},
        surplus=15_000,
        dpd=0,
    ),
    _case(
        "arrears-unknown",
        "late under a running contract, by how much is not known",
        **LOAN,
        contractual_instalment=25_000,
        surplus=40_000,
    ),
    # where
    _case("mortgage", "a mortgage", balance=15_000_000, product="other", debt_type="mortgage"),
    _case("utility", "an energy bill", product="energy", debt_type="utility"),
    _case("business", "a business's debt", debt_type="business"),
    _case(
        "nl",
        "the Netherlands, no 14-day letter yet",
        jurisdiction="NL",
        notice_age_d=-1,
        collection_costs_charged=0,
    ),
    _case(
        "pt-persi",
        "Portugal, 70 days late, not in PERSI",
        jurisdiction="PT",
        dpd=70,
        persi_day=-1,
        persi_proposal_made=0,
    ),
    _case("nowhere", "where the person lives is not known", jurisdiction=None),
)


def engine(packs: tuple[str, ...]) -> Engine:
    """Decides with made-up weights, the example catalogue and the default settings."""
    book = market_book()
    return Engine(book, market_weights(book), EXAMPLE, Settings(), load_builtin(packs))


def decided(packs: tuple[str, ...]) -> tuple[Engine, Batch]:
    """All cases under some packs; each is a customer of its own."""
    made = engine(packs)
    rows = [{**BASE, **each.columns} for each in CASES]
    columns = {name: _column([row[name] for row in rows]) for name in BASE}
    every = {**FACTS, **{name: None for each in CASES for name in each.facts}}
    facts = {
        name: _column([each.facts.get(name, FACTS.get(name)) for each in CASES], missing=True)
        for name in every
    }
    accounts = made.accounts([each.name for each in CASES], columns, facts)
    names = ("human_requested", "date_changes_90d")
    accounts.beside.update(
        {name: np.array([float(each.beside.get(name, 0)) for each in CASES]) for name in names}
    )
    return made, made.decide(accounts, today=TODAY)


def page() -> str:
    """docs/hard-cases.md."""
    made = {name: decided(packs) for name, packs in SETS.items()}
    head = Path(__file__).with_name("hard_cases_head.md").read_text("utf-8")
    lines = [
        "| Case | What it is | UK packs | Who looks, by when | Why | Every pack | No pack |",
        "|---|---|---|---|---|---|---|",
    ]
    for row, case in enumerate(CASES):
        cells = [f"`{case.name}`", case.what]
        for name, (_, batch) in made.items():
            if name == "UK packs":
                cells += [_outcome(batch, row), _person(batch, row), because(batch, row, EXAMPLE.currency)]
            else:
                cells.append(_short(batch, row))
        lines.append(f"| {' | '.join(cells)} |")
    return head + "\n".join(lines) + "\n"


def _column(values: list[Any], *, missing: bool = False) -> Any:
    if any(isinstance(each, str) for each in values):
        return np.array(values, object)
    return np.array([np.nan if missing and each is None else float(each) for each in values])


def _outcome(batch: Batch, row: int) -> str:
    code = Decision(int(batch.decisions.code[row])).name
    plans = [plan_of(batch.judged.plans, row, int(arm)) for arm in batch.decisions.top[row] if arm != NONE]
    shown = "; or ".join(_plan(each) for each in plans)
    if not shown or code == "REFER":
        return code
    return f"{code}: {shown}" if code != "HUMAN" else f"HUMAN; proposed: {shown}"


def _plan(plan: Plan) -> str:
    if not plan.pays:
        return f"{plan.kind} {plan.dormant_months} months" if plan.dormant_months else plan.kind
    often = "" if plan.frequency == "monthly" else f" {plan.frequency}"
    return f"{plan.kind} {money('en', EXAMPLE.currency, plan.instalment)} × {plan.count}{often}, in all {money('en', EXAMPLE.currency, plan.total)}"


def _person(batch: Batch, row: int) -> str:
    due = int(batch.handed.due[row])
    if batch.decisions.code[row] != Decision.HUMAN:
        return "–"
    return f"a person ({_code(batch, row)}), {minute_text(due)} UTC"


def _code(batch: Batch, row: int) -> str:
    return HANDOFFS[int(batch.decisions.handoff[row])]


def _short(batch: Batch, row: int) -> str:
    code = Decision(int(batch.decisions.code[row])).name
    return f"HUMAN ({_code(batch, row)})" if code == "HUMAN" else code


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")

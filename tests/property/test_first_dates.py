"""No due date that is written anywhere is a Sunday or a bank holiday, dates differ with paydays, and months hold the bound."""

from collections import defaultdict
from datetime import date, timedelta
from functools import cache
from typing import Any

import holidays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.plans.batch_io.output import table_of
from fedrepay.client.plans.deciding import engine as engine_module
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.objective import affordable
from fedrepay.client.plans.deciding.rule_inputs import plan_columns
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.client.plans.explaining.explain import explain
from fedrepay.client.plans.explaining.messages import messages
from fedrepay.shared.arrays import I64
from fedrepay.shared.plans import first_dates as first_dates_module
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.catalogue import Arms, parse_catalogue
from fedrepay.shared.plans.first_dates import FirstDates
from fedrepay.shared.plans.schedule import plan_of, schedule
from fedrepay.shared.rules.facts import FactTable
from fedrepay.shared.rules.masks import evaluate
from fedrepay.shared.rules.pack import load_builtin
from support.market_accounts import market_book, random_accounts
from support.market_release import market_weights

CATALOGUE = b"""
name = "all sorts"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [3, 12, 24]
first_due = [1, 14, 45]
[[plans]]
kind = "INSTALMENT"
share = [0.5, 1.0]
frequency = ["weekly", "biweekly"]
[[plans]]
kind = "FULL"
[[plans]]
kind = "REVIEW"
n = [6]
interest_waiver = [1.0]
[[plans]]
kind = "TOKEN"
n = [12]
[[plans]]
kind = "REFER"
"""
EPOCH = date(1970, 1, 1)
PLACES = {"UK": "GB", "NL": "NL", "PT": "PT", "US": "US", "CN": "CN", "DE": "DE", "": None}
ACCOUNTS = 40
days = st.integers(20_454, 22_279)  # 2026 to 2030


@cache
def engine(region: str = "") -> Engine:
    catalogue = parse_catalogue(CATALOGUE, "c.toml")
    book = market_book()
    return Engine(book, market_weights(book), catalogue, Settings(region=region))


def decided(made: Engine, today: int, seed: int = 1) -> Batch:
    """Accounts of all places, a third of them with a wish, a third with no payday known."""
    own, rng = random_accounts(ACCOUNTS, seed), np.random.default_rng(seed)
    names = own.pop("customer").tolist()
    places = rng.choice(list(PLACES), ACCOUNTS).astype(object)
    accounts = made.accounts(
        names, own, {"jurisdiction": np.array([each or None for each in places], object)}
    )
    wish = np.where(rng.random(ACCOUNTS) < 0.33, rng.integers(1, 32, ACCOUNTS), np.nan)
    accounts.beside["wished_day"] = wish
    accounts.values["days_to_payday"][rng.random(ACCOUNTS) < 0.33] = np.nan
    return made.decide(accounts, today=today)


@cache
def holidays_of(country: str, region: str, year: int) -> frozenset[date]:
    of = holidays.country_holidays(country)
    kinds = tuple({"public", "bank"} & set(of.supported_categories))
    found = set(holidays.country_holidays(country, years=year, categories=kinds))
    parts = [region.partition("-")[2]] if region.startswith(country) else of.subdivisions
    if region.startswith(country):
        found = set()
    for part in parts:
        found |= set(holidays.country_holidays(country, subdiv=part, years=year, categories=kinds))
    return frozenset(found)


def free(day: date, place: str | None, region: str) -> bool:
    """The oracle: by Python's own dates and the package, day by day."""
    country = PLACES[place or ""] or region.partition("-")[0]
    return day.weekday() == 6 or bool(country and day in holidays_of(country, region, day.year))


def written(made: Engine, batch: Batch, today: int, rows: range) -> list[tuple[str | None, date]]:
    """(place, day) of every due date in output rows, explanations and their letters."""
    places = [None if each is None else str(each) for each in batch.facts.columns["jurisdiction"]]
    table = table_of(made, batch, verify(made, batch.accounts, today))
    of = dict(zip(batch.accounts.names, places, strict=True))
    start = EPOCH + timedelta(days=today)
    found = [
        (of[name], start + timedelta(days=int(due)))
        for name, due, kind in zip(table["account"], table["first_due_days"], table["kind"], strict=True)
        if kind not in ("REFER", "DORMANT", "NO_OFFER")
    ]
    for row in rows:
        said = explain(made, batch, today=today, versions={}, row=row)
        changed = said.content["counterfactual"]
        if changed is not None:
            found.append((places[row], start + timedelta(days=changed["first_due"])))
        for plan in said.content["plans"]:
            found += [(places[row], date.fromisoformat(each)) for each, _ in plan["schedule"]]
            found += [(places[row], start + timedelta(days=each)) for each, _ in plan["cost_by_first_due"]]
        found += [(places[row], each) for each in in_letter(said.letter or "")]
    return found


def in_letter(text: str) -> list[date]:
    months = messages()["form"]["months"]["en"].split(" ")
    words = text.replace(",", " ").replace(".", " ").split()
    return [
        date(int(words[at + 1]), months.index(word) + 1, int(words[at - 1]))
        for at, word in enumerate(words)
        if word in months and words[at - 1].isdigit() and at > 1 and words[at - 2] == "on"
    ]


@settings(max_examples=12, deadline=None)
@given(today=days, seed=st.integers(0, 99), region=st.sampled_from(["", "GB-SCT", "DE-BY"]))
def test_no_due_date_that_is_written_is_a_day_without_banks(today: int, seed: int, region: str) -> None:
    made = engine(region)
    batch = decided(made, today, seed)
    found = written(made, batch, today, range(6))
    assert len(found) > 60
    assert not [(place, str(each)) for place, each in found if free(each, place, region)]


def test_control_by_nominal_days_some_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calendar, "moved", lambda _, nominal: nominal)
    monkeypatch.setattr(Calendar, "closed", lambda _, nominal: np.zeros(nominal.shape, np.bool_))
    found = written(engine(), decided(engine(), 20_900), 20_900, range(12))
    assert len([each for place, each in found if free(each, place, "")]) > 20


def test_the_letter_s_dates_are_found() -> None:
    made = engine()
    batch = decided(made, 20_900)
    letters = [
        explain(made, batch, today=20_900, versions={}, row=row).letter or "" for row in range(ACCOUNTS)
    ]
    assert sum(len(in_letter(each)) for each in letters) > 10
    assert any("The first date follows your payday." in each for each in letters)
    assert any("The first date follows your wish." in each for each in letters)


def firsts(batch: Batch) -> dict[str, set[int]]:
    """First dates of one arm by what they follow."""
    dates, found = batch.judged.plans.dates, defaultdict(set)
    follows = np.broadcast_to(dates.follows, batch.judged.plans.valid.shape)
    due = np.broadcast_to(dates.due, batch.judged.plans.valid.shape)
    for row in range(ACCOUNTS):
        found[str(int(follows[row, 1]))].add(int(due[row, 1]))
    return found


def test_first_dates_differ_with_payday_and_wish() -> None:
    found = firsts(decided(engine(), 20_900))
    assert len(found["1"]) > 5
    assert len(found["2"]) > 5
    assert len(found["0"]) <= 3, "the catalogue's day, and where it is a holiday the next"


def test_control_without_the_rule_all_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def as_it_was(of: Arms, *_: Any) -> FirstDates:
        return FirstDates.plain(of.first_due)

    monkeypatch.setattr(engine_module, "dates_of", as_it_was)
    assert firsts(decided(engine(), 20_900)) == {"0": {14}}


def busiest(plans: Candidates, row: int, arm: int, today: int, calendar: Calendar) -> int:
    dated = schedule(plan_of(plans, row, arm), today, calendar)
    months = dated.dates.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64)
    return int(np.bincount(months - months.min(), dated.amounts.astype(float)).max())


def over(today: int, seed: int) -> int:
    """How many affordable plans take more than the bound of some calendar month."""
    batch = decided(engine(), today, seed)
    plans, places = batch.judged.plans, batch.facts.columns["jurisdiction"]
    fine = affordable(plans) & plans.valid & plans.arms.is_kind("FULL", "INSTALMENT", "REVIEW")
    return sum(
        busiest(plans, int(row), int(arm), today, Calendar(places[row] or "")) > plans.debts.bound[row]
        for row, arm in zip(*np.nonzero(fine), strict=True)
    )


@settings(max_examples=15, deadline=None)
@given(today=days, seed=st.integers(0, 99))
def test_the_bound_holds_in_every_calendar_month_with_dates_moved(today: int, seed: int) -> None:
    assert over(today, seed) == 0


def test_control_moved_on_without_regard_to_the_month_it_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def following(calendar: Calendar, nominal: I64) -> I64:
        return calendar._searched(nominal, 1)

    monkeypatch.setattr(Calendar, "moved", following)
    assert sum(over(today, 1) for today in range(20_900, 20_930, 3)) > 10


def above_the_contract(today: int, seed: int) -> int:
    """How many plans a rule on the contract's rate forbids where everybody lives in Portugal."""
    made = engine()
    batch = decided(made, today, seed)
    whole = {"jurisdiction": "PT", "debt_type": "consumer", "persi_day": 5.0, "persi_proposal_made": 1.0}
    columns = {
        name: np.full(ACCOUNTS, value, object if isinstance(value, str) else None)
        for name, value in whole.items()
    }
    facts = FactTable({**made.facts(batch.accounts).columns, **columns}, ACCOUNTS)
    plans = batch.judged.plans
    verdict = evaluate(load_builtin(["pt"]), facts, plan_columns(plans), today)
    of = [place for place, rule in enumerate(verdict.rules) if rule.rule == "no-rate-increase"]
    return int((np.isin(verdict.blocked, of) & plans.valid).sum())


@settings(max_examples=10, deadline=None)
@given(today=days, seed=st.integers(0, 99))
def test_interest_is_never_above_the_contract_s_until_the_real_first_date(today: int, seed: int) -> None:
    assert above_the_contract(today, seed) == 0


def test_control_interest_for_days_that_are_not_waited_is_above_it(monkeypatch: pytest.MonkeyPatch) -> None:
    charged = first_dates_module._charged
    monkeypatch.setattr(first_dates_module, "_charged", lambda of, due: charged(of, due) + 60)
    assert above_the_contract(20_900, 1) > 10

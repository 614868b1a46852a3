"""Known facts that end automatic offers everywhere: under all packs of every place and under none, with controls."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io import output
from fedrepay.client.plans.deciding import engine
from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.safeguards import FOR_A_PERSON, PAUSES, RESTING, Safeguards, safeguards
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.client.plans.explaining.explain import explain
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules.facts import FACTS, RESTRICTED, FactTable
from fedrepay.shared.rules.pack import load_builtin
from support.market_accounts import CATALOGUE, market_book, random_accounts
from support.market_release import market_weights
from support.rules_world import covering

N, TODAY = 80, 20_800
HARMLESS: dict[str, float] = {
    **dict.fromkeys(("moratorium_day", "mental_health_crisis_day", "days_since_conversation"), -1.0),
    **dict.fromkeys(("consent_portal", "fees_authorised", "automated_decision_basis"), 1.0),
    **dict.fromkeys(("persi_proposal_made",), 1.0),
    "collection_cost_actual": 1e7,
    "persi_day": 10.0,
    "notice_age_d": 30.0,
}
PLACES = ("UK", "US", "NL", "PT", "CN", "DE")


@cache
def desk(*, ruled: bool) -> Engine:
    book = market_book()
    own = tuple(covering(place) for place in ("CN", "EU"))  # what the shipped packs do not cover there
    packs = (*load_builtin(), *own) if ruled else ()
    return Engine(book, market_weights(book), load_catalogue(CATALOGUE)[0], Settings(), packs)


def decided(place: str, facts: dict[str, Any] | None = None, *, ruled: bool = True) -> Batch:
    """Accounts of one place with all facts known and harmless, but for those given."""
    made = desk(ruled=ruled)
    columns = random_accounts(N, 1)
    names = columns.pop("customer")
    known: dict[str, Any] = {
        name: np.full(N, HARMLESS.get(name, 0.0))
        for name, fact in FACTS.items()
        if fact.type != "category" and name not in ("dpd", "apr", "balance", "contact_minute")
    }
    for name, value in {
        "jurisdiction": place,
        "debt_type": "card",
        "vulnerability_driver": "none",
        **(facts or {}),
    }.items():
        known[name] = np.full(N, value, object if isinstance(value, str) else None)
    return made.decide(made.accounts(names.tolist(), columns, known), today=TODAY)


def automatic(batch: Batch) -> int:
    return int((batch.decisions.code < Decision.HUMAN).sum())


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("fact", "value"),
    [
        *((name, 1.0) for name in (*FOR_A_PERSON, *RESTING, "health_data")),
        ("vulnerability_driver", "life_event"),
        *((name, float(last)) for name, last in PAUSES.items()),
    ],
)
def test_no_machine_decides_where_a_fact_forbids_it(place: str, fact: str, value: float | str) -> None:
    assert automatic(decided(place)) == N, "control: harmless facts"
    batch = decided(place, {fact: value})
    assert automatic(batch) == 0
    if fact in ("health_data", "vulnerability_driver"):
        return  # a person decides, with proposals
    assert (batch.decisions.top < 0).all()
    for row in (0, 1):
        assert explain(desk(ruled=True), batch, today=TODAY, versions={}, row=row).letter is None


@pytest.mark.parametrize("fact", [*FOR_A_PERSON, *RESTING, "health_data"])
def test_it_needs_no_pack(fact: str) -> None:
    assert automatic(decided("UK", ruled=False)) == N, "control"
    assert automatic(decided("UK", {fact: 1.0}, ruled=False)) == 0


@pytest.mark.parametrize("fact", list(PAUSES))
def test_a_pause_needs_no_pack(fact: str) -> None:
    assert automatic(decided("UK", {fact: -1.0}, ruled=False)) == N, "control"
    assert automatic(decided("UK", {fact: 1.0}, ruled=False)) == 0


def test_without_the_safeguards_disputed_debts_get_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(facts: FactTable) -> Safeguards:
        return Safeguards(*np.zeros((3, facts.accounts), np.bool_))

    monkeypatch.setattr(engine, "safeguards", nothing)
    for fact in ("dispute", "time_barred", "deceased", "insolvent"):
        assert (decided("CN", {fact: 1.0}).decisions.code == Decision.OFFER).any()


def test_who_looks_at_it_and_what_is_said() -> None:
    disputed, asleep, paused = (
        decided("CN", {"dispute": 1.0}),
        decided("CN", {"dormant": 1.0}),
        decided("UK", {"moratorium_day": 60.0}),
    )
    assert {HANDOFFS[each] for each in disputed.decisions.handoff} == {"PROTECTED"}
    assert (disputed.handed.due == TODAY * 1440 + 600 + 24 * 60).all()
    assert set(asleep.decisions.code) == {Decision.NONE}, "a running dormancy is left alone"
    assert {HANDOFFS[each] for each in paused.decisions.handoff} == {"PROTECTED"}, (
        "a rule's stop ends no hand-over"
    )
    for batch in (disputed, asleep):
        table = output.table_of(desk(ruled=True), batch, verify(desk(ruled=True), batch.accounts, TODAY))
        assert all("PROTECTED" in each for each in table["why_not"])
        said = " ".join(str(each) for name in ("why_not", "handoff_reason") for each in table[name])
        assert not any(name in said for name in RESTRICTED)


def test_days_of_a_pause_and_what_is_not_known() -> None:
    days = np.array([-1.0, 0.0, 60.0, 61.0, np.nan])
    assert safeguards(FactTable({"moratorium_day": days}, 5)).rests.tolist() == [
        False,
        True,
        True,
        False,
        False,
    ]
    unknown = safeguards(FactTable({"dispute": np.array([1.0, 0.0, np.nan])}, 3))
    assert unknown.person.tolist() == [True, False, False]
    assert not safeguards(FactTable({}, 3)).rests.any()

"""One decision explained: whole, true to the engine's numbers, without restricted facts."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io import recommend
from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.judged import Why
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.explaining.changed import predictor
from fedrepay.client.plans.explaining.explain import Explanation, explain
from fedrepay.client.plans.explaining.messages import messages
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.plans.schedule import plan_of
from fedrepay.shared.rules.facts import RESTRICTED
from fedrepay.shared.rules.pack import load_builtin
from fedrepay.shared.rules.parameters import MATTERS
from support.market_accounts import CATALOGUE, market_book, random_accounts
from support.market_release import market_weights

EXAMPLE = Path(recommend.__file__).with_name("example_catalogue.toml")
N, TODAY = 60, 20_800
VERSIONS = {"release": "3", "rules_hash": "ab" * 32}


@cache
def engine(language: str = "en", *, rules: bool = False, catalogue: Path = CATALOGUE) -> Engine:
    book = market_book()
    settings = Settings.model_validate({"language": language, "affordability": {"savings_share": 0.02}})
    packs = load_builtin(["uk-fca"]) if rules else []
    return Engine(book, market_weights(book), load_catalogue(catalogue)[0], settings, packs)


def decided(made: Engine, facts: dict[str, Any] | None = None) -> Batch:
    columns = random_accounts(N, 1)
    names = columns.pop("customer")
    return made.decide(made.accounts(names.tolist(), columns, facts), today=TODAY)


def row_of(batch: Batch, decision: Decision) -> int:
    return int(np.flatnonzero(batch.decisions.code == decision)[0])


@cache
def offered() -> tuple[Engine, Batch, int, Explanation]:
    made = engine()
    batch = decided(made)
    row = row_of(batch, Decision.OFFER)
    return made, batch, row, explain(made, batch, today=TODAY, versions=VERSIONS, row=row)


def test_everything_a_case_worker_needs_stands_in_it() -> None:
    _, batch, row, found = offered()
    text = "\n".join(found.lines("en"))
    for needed in (
        f"Account {batch.accounts.names[row]}",
        "Decision: offer a plan",
        "Facts used",
        "Affordable a month: £",
        "Schedule: 20",
        "Total by first date: +8 £",
        "Score ",
        "E[NPV]",
        "Reasons",
        "What would change it",
        "Why not the others",
        "release: 3",
        f"rules_hash: {'ab' * 32}",
        "not legal advice",
        "Letter to the customer",
        "Dear customer,",
    ):
        assert needed in text
    assert "{" not in text


def test_numbers_are_those_of_the_engine() -> None:
    _, batch, row, found = offered()
    judged, arm = batch.judged, int(batch.decisions.top[row, 0])
    shown = found.content["plans"][0]
    assert shown["total"] == judged.plans.total[row, arm] == sum(each for _, each in shown["schedule"])
    assert shown["p_kept"] == pytest.approx(judged.kept[row, arm], abs=1e-6)
    assert len(found.content["plans"]) == (batch.decisions.top[row] >= 0).sum()
    costs = dict(shown["cost_by_first_due"])
    assert costs[shown["first_due"]] == shown["total"]
    assert found.content["bound"]["bound"] == judged.plans.debts.bound[row]


def test_score_parts_add_up() -> None:
    _, _, _, found = offered()
    for plan in found.content["plans"]:
        part = plan["score"]
        whole = part["npv"] + part["first"] - part["contact"] - part["complaint"] + part["sustained"]
        assert part["score"] == pytest.approx(whole - part["caps"], abs=1e-8)
        assert part["caps"] == pytest.approx(0, abs=1e-8)


def test_the_bound_follows_from_what_is_shown() -> None:
    made, batch, row, found = offered()
    bound = found.content["bound"]
    left = bound["lower_bound"] - bound["promised"] - bound["savings"]
    assert max(left, 0) == pytest.approx(bound["bound"], abs=2)
    assert bound["class"] == batch.accounts.values["income_verified"][row]
    assert bound["level"] == getattr(made.settings.affordability, bound["class"]).level


def test_every_plan_is_shown_or_counted_once() -> None:
    made, _, _, found = offered()
    counted = sum(each["count"] for each in found.content["why_not"])
    assert counted + len(found.content["plans"]) == len(made.arms.names)
    assert {each["why"] for each in found.content["why_not"]} <= {each.name for each in Why}


def test_a_blocked_plan_cites_rule_article_and_version() -> None:
    made = engine(rules=True)
    batch = decided(made, {"jurisdiction": np.full(N, "UK", object), "debt_type": np.full(N, "card", object)})
    found = explain(made, batch, today=TODAY, versions=VERSIONS)
    rules = [each["rule"] for each in found.content["why_not"] if each["why"] == "RULE"]
    assert rules
    text = "\n".join(found.lines("en"))
    for rule in rules:
        assert (
            f"{rule['pack']} {rule['pack_version']}, {rule['rule']} {rule['version']}, {rule['article']}"
            in text
        )


@pytest.mark.parametrize(
    ("place", "debt", "lost"),
    [
        ("UK", "card", ["automated_decision"]),
        ("UK", "mortgage", list(MATTERS)),
        ("US", "card", list(MATTERS)),
    ],
)
def test_matters_that_no_pack_covers_are_named(place: str, debt: str, lost: list[str]) -> None:
    made = engine(rules=True)
    facts = {"jurisdiction": np.full(N, place, object), "debt_type": np.full(N, debt, object)}
    found = explain(made, decided(made, facts), today=TODAY, versions=VERSIONS)
    assert found.content["decision"] == "HUMAN"
    assert found.content["rules"]["uncovered"] == lost
    assert found.content["handover"]["reason"].endswith(f"covered by no pack given: {', '.join(lost)}")
    for language in ("en", "zh"):
        words = [messages()["matter"][each][language] for each in lost]
        assert all(each in "\n".join(found.lines(language)) for each in words)
    bare = engine()
    without = explain(bare, decided(bare, facts), today=TODAY, versions=VERSIONS)
    assert without.content["rules"]["uncovered"] == [], "no pack given: nothing is checked"


def test_restricted_facts_and_health_show_no_value() -> None:
    made = engine(rules=True)
    facts: dict[str, Any] = {
        "jurisdiction": np.full(N, "UK", object),
        "debt_type": np.full(N, "card", object),
    }
    facts["vulnerability_driver"] = np.full(N, "life_event", object)
    facts["health_data"] = np.ones(N)
    facts["dispute"] = np.zeros(N)
    found = explain(made, decided(made, facts), today=TODAY, versions=VERSIONS)
    shown = found.content["facts"]
    for name in ("vulnerability_driver", "health_data", "dispute"):
        assert name in RESTRICTED
        assert shown[name] == "restricted"
    assert shown["jurisdiction"] == "UK"
    text = "\n".join(found.lines("en"))
    assert "health_data: restricted: see record" in text
    assert "life_event" not in text + json.dumps(found.to_json())


def test_a_person_s_case_says_why_and_when() -> None:
    made = engine()
    columns = random_accounts(N, 1)
    names = columns.pop("customer")
    columns["surplus"] = columns["income"] + 1
    accounts = made.accounts(names.tolist(), columns)
    batch = made.decide(accounts, today=TODAY)
    row = row_of(batch, Decision.HUMAN)
    found = explain(made, batch, today=TODAY, versions={}, row=row)
    assert found.content["handover"]["code"] == "CONTRADICTION"
    assert "To a person: CONTRADICTION, what is known" in "\n".join(found.lines("en"))
    assert "转人工：CONTRADICTION，已知的客户信息相互矛盾" in "\n".join(found.lines("zh"))
    assert found.letter is not None
    assert "contradict" not in found.letter


def test_without_an_income_form_it_is_asked_for() -> None:
    made = engine("zh", catalogue=EXAMPLE)
    batch = decided(made)
    row = row_of(batch, Decision.REFER)
    found = explain(made, batch, today=TODAY, versions={}, row=row)
    assert found.content["bound"] is None
    assert "先索取收入表" in "\n".join(found.lines("zh"))
    assert found.letter is not None
    assert "收入" in found.letter


def test_it_is_fit_for_json_and_the_same_every_time() -> None:
    made, batch, row, found = offered()
    again = explain(made, batch, today=TODAY, versions=VERSIONS, row=row)
    assert json.dumps(found.to_json()) == json.dumps(again.to_json())
    assert json.loads(json.dumps(found.to_json()))["letter"] == found.letter


def test_changed_plans_are_scored_as_candidates_are() -> None:
    """The model behind the counterfactual gives unchanged plans their own probability, and the catalogue's others theirs."""
    made, batch, row, _ = offered()
    plans, tried = batch.judged.plans, 0
    for arm in np.flatnonzero(plans.valid[row] & plans.arms.is_kind("INSTALMENT", "SETTLEMENT"))[
        ::4
    ].tolist():
        plan = plan_of(plans, row, arm)
        predict = predictor(made, batch, row, arm, plan)
        kept = predict(np.array([plan.instalment]), np.array([plan.count]), np.array([plan.first_due]))
        assert kept[0] == pytest.approx(batch.judged.kept[row, arm])
        tried += 1
    assert tried > 5


def test_the_change_that_is_named_reaches_what_it_says() -> None:
    made, batch, _, _ = offered()
    named = 0
    for row in np.flatnonzero(batch.decisions.code == Decision.OFFER)[:12].tolist():
        found = explain(made, batch, today=TODAY, versions={}, row=row).content["counterfactual"]
        if found is not None:
            arm = int(batch.decisions.top[row, 0])
            plan = plan_of(batch.judged.plans, row, arm)
            ask = np.array([found["instalment"]]), np.array([found["count"]]), np.array([found["first_due"]])
            assert predictor(made, batch, row, arm, plan)(*ask)[0] >= found["target"] - 1e-9
            assert found["target"] > batch.judged.kept[row, arm]
            named += 1
    assert named


def test_a_long_schedule_is_cut_for_readers_only() -> None:
    made, batch, _, _ = offered()
    cut = 0
    for row in np.flatnonzero(batch.decisions.code == Decision.OFFER)[:6]:
        found = explain(made, batch, today=TODAY, versions=VERSIONS, row=int(row))
        shown = [each for each in found.lines("en") if each.strip().startswith("Schedule: ")]
        for line, plan in zip(shown, found.content["plans"], strict=True):
            dates = [day for day, _ in plan["schedule"]]
            assert dates[0] in line
            assert dates[-1] in line
            assert all(day in line for day in dates) == (len(dates) <= 12)
            cut += len(dates) > 12
    assert cut


def test_a_pause_that_is_proposed_has_its_letter_ready_and_says_what_it_rests_on() -> None:
    made = engine(catalogue=EXAMPLE)
    batch = decided(made)
    dormant = batch.judged.plans.arms.is_kind("DORMANT")
    row = int(np.flatnonzero(dormant[batch.decisions.top[:, 0]] & (batch.decisions.top[:, 0] >= 0))[0])
    found = explain(made, batch, today=TODAY, versions={}, row=row)
    assert found.content["handover"]["code"] == "PAUSE"
    assert found.draft is not None
    assert "not a demand for payment" in found.draft
    assert "look at your account in person" in str(found.letter), "until then, this"
    text = "\n".join(found.lines("en"))
    assert "This rests on the affordability bound" in text
    assert "If nobody decides by then: nothing is asked of the customer" in text
    assert offered()[3].draft is None

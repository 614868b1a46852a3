"""What is known of a person: facts for rules, one bound, nothing of it in the output."""

import json
import stat
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from fedrepay.client.plans.batch_io import blocks, customers
from fedrepay.client.plans.batch_io.batch_files import facts_of
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.client.scoring.score_file import rejects_of
from fedrepay.shared.rules.facts import RESTRICTED
from support.desk import ACCOUNTS, Desk, write_csv
from support.market_accounts import random_accounts
from support.rules_world import covering_text


def test_facts_reach_the_rules_and_stay_out_of_the_output(desk: Desk) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    own["jurisdiction"] = np.full(ACCOUNTS, "UK", dtype=object)
    own["moratorium_day"] = np.full(ACCOUNTS, -1)
    own["mental_health_crisis_day"] = np.full(ACCOUNTS, -1)
    own["moratorium_day"][:50] = 10
    write_csv(desk.accounts, own)
    settings = desk.folder / "settings.toml"
    settings.write_text('packs = ["uk-breathing-space", "own.toml"]\n')
    (desk.folder / "own.toml").write_text(covering_text("UK"))
    result = desk.recommend(settings=settings)
    assert result.code == 0, result.err
    assert desk.recommend("bare.csv", batch="b2").code == 0
    calm = desk.folder / "calm.csv"
    write_csv(calm, {**own, "moratorium_day": np.full(ACCOUNTS, -1)})
    assert desk.recommend("control.csv", batch="b3", accounts=calm).code == 0
    paused = {f"c{i:05d}" for i in range(50)}
    ruled, bare, control = (
        {row["account"]: row for row in desk.rows(out) if row["rank"] == 1}
        for out in ("out.csv", "bare.csv", "control.csv")
    )
    assert {ruled[name]["decision"] for name in paused} == {"HUMAN"}, "a stop ends offers, never the person"
    assert {bare[name]["decision"] for name in paused} == {"HUMAN"}, "no pack: the pause holds all the same"
    assert any(control[name]["decision"] == "OFFER" for name in paused), "control: without it they get offers"
    assert all("uk-breathing-space" in ruled[name]["why_not"] for name in paused)
    rest = set(ruled) - paused
    assert {name: ruled[name]["decision"] for name in rest} == {
        name: control[name]["decision"] for name in rest
    }
    facts = facts_of(desk.folder / "out.csv")
    assert stat.S_IMODE(facts.stat().st_mode) == 0o600
    assert not RESTRICTED & set(desk.rows()[0])
    with duckdb.connect() as connection:
        kept = connection.execute(f"SELECT count(*) FROM '{facts}' WHERE moratorium_day = 10").fetchone()
    assert kept == (50,)


def test_who_has_no_income_form_is_asked_for_one_also_where_a_rule_wants_affordable_plans(desk: Desk) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    own["jurisdiction"] = np.full(ACCOUNTS, "UK", dtype=object)
    own["debt_type"] = np.full(ACCOUNTS, "card", dtype=object)
    own["vulnerability_driver"] = np.full(ACCOUNTS, "none", dtype=object)
    for name in ("adviser_engaged", "dispute", "health_data", "collection_costs_charged"):
        own[name] = np.zeros(ACCOUNTS)
    own["collection_cost_actual"] = np.full(ACCOUNTS, 1e7)
    write_csv(desk.accounts, own)
    settings = desk.folder / "settings.toml"
    settings.write_text('packs = ["uk-fca", "uk-adm"]\n')
    assert desk.recommend(settings=settings).code == 0
    first = [row for row in desk.rows() if row["rank"] == 1]
    assert {row["decision"] for row in first if row["bound"] is None} == {"REFER"}
    assert any(row["decision"] == "OFFER" for row in first)
    assert all("CONC 7.3.10R" in row["why_not"] for row in first if row["bound"] is None)


def of_three_accounts(desk: Desk) -> None:
    own = random_accounts(3 * ACCOUNTS, seed=3)
    for name in own:
        if name not in ("balance", "fees"):
            own[name] = np.repeat(own[name][::3], 3)
    write_csv(
        desk.accounts, {**own, "account": np.array([f"k{i:04d}" for i in range(3 * ACCOUNTS)], dtype=object)}
    )


def over_bound(desk: Desk, bounds: dict[str, int]) -> int:
    """Customers (three accounts each, in order) whose automatic plans take more of a month than they have."""
    asked: dict[int, int] = {}
    for row in desk.rows():
        if row["rank"] == 1 and row["decision"] == "OFFER":
            customer = int(row["account"][1:]) // 3
            asked[customer] = asked.get(customer, 0) + row["monthly"]
    return sum(each > bounds[f"c{3 * customer:05d}"] for customer, each in asked.items())


def test_plans_on_all_accounts_of_a_customer_stay_within_one_bound(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    single = random_accounts(3 * ACCOUNTS, seed=3)
    write_csv(desk.accounts, {name: each[::3] for name, each in single.items()})
    assert desk.recommend().code == 0
    bounds = {row["account"]: row["bound"] for row in desk.rows() if row["bound"] is not None}
    of_three_accounts(desk)
    assert desk.recommend("out.csv", "--replace", batch="b2").code == 0
    assert over_bound(desk, bounds) == 0
    offer = next(row for row in desk.rows() if row["decision"] == "OFFER" and row["rank"] == 1)
    shown = json.loads(desk.recommend(None, "--explain", offer["account"], "--json").out)
    assert shown["bound"]["bound"] == offer["bound"]
    assert shown["plans"][0]["name"] == offer["plan"], "alone it is decided as in the batch"
    assert 0 < shown["bound"]["part"] < 1
    assert "% of what is left" in desk.recommend(None, "--explain", offer["account"]).out
    monkeypatch.setattr(customers, "divided", lambda _, accounts: accounts)
    assert desk.recommend("out.csv", "--replace", batch="b3").code == 0
    assert over_bound(desk, bounds) > 20, "control: each account for itself"


def test_a_wrong_restricted_fact_is_named_without_its_value(desk: Desk) -> None:
    own = random_accounts(3, seed=3)
    own["vulnerability_driver"] = np.array(["none", "bipolar", "none"], dtype=object)
    own["debt_type"] = np.array(["gift", "card", "card"], dtype=object)
    write_csv(desk.accounts, own)
    assert desk.recommend().code == 0
    rejects = rejects_of(desk.folder / "out.csv").read_text()
    assert "vulnerability_driver,restricted" in rejects
    assert "bipolar" not in rejects
    assert "debt_type,gift" in rejects, "control: what is not restricted is shown"
    write_csv(desk.accounts, {name: each[1:2] for name, each in own.items()})
    alone = desk.recommend("two.csv", batch="b2")
    assert alone.code == 4
    assert "vulnerability_driver" in alone.err
    assert "bipolar" not in alone.out + alone.err


def test_the_hash_in_the_output_does_not_give_a_restricted_fact_away(desk: Desk) -> None:
    own = random_accounts(5, seed=3)
    shown: dict[str, tuple[list[str], list[str]]] = {}
    for fact, value in (
        ("dispute", "no"),
        ("dispute", "yes"),
        ("debt_type", "card"),
        ("debt_type", "business"),
    ):
        write_csv(desk.accounts, {**own, fact: np.full(5, value, dtype=object)})
        out = f"{fact}-{value}.csv"
        assert desk.recommend(out, batch=out).code == 0
        plain = {row["account"]: row["input_hash"] for row in desk.rows(out)}
        kept = [row["input_hash"] for row in desk.rows(facts_of(Path(out)).name)]
        shown[out] = list(plain.values()), kept
    assert shown["dispute-no.csv"][0] == shown["dispute-yes.csv"][0]
    assert not set(shown["dispute-no.csv"][1]) & set(shown["dispute-yes.csv"][1]), (
        "the record tells them apart"
    )
    assert not set(shown["debt_type-card.csv"][0]) & set(shown["debt_type-business.csv"][0]), "control"


def test_what_is_known_of_a_person_on_one_account_holds_on_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_three_accounts(desk)
    lines = desk.accounts.read_text().splitlines()
    known = {
        **dict.fromkeys(("deceased", "contact_refused", "insolvent", "adviser_engaged"), ("yes", "")),
        **dict.fromkeys(("health_data", "dispute", "agreement_kept"), ("yes", "no")),
        "vulnerability_driver": ("health", "none"),
        "moratorium_day": ("60", "-1"),
        "mental_health_crisis_day": ("0", "-1"),
    }
    for place, line in enumerate(lines[1:]):
        customer, other = place // 3, place % 3 > 0
        cells = [
            values[other] if customer == each else ("-1" if name.endswith("_day") else "")
            for each, (name, values) in enumerate(known.items())
        ]
        lines[place + 1] = ",".join([line, *cells])
    desk.accounts.write_text("\n".join([f"{lines[0]},{','.join(known)}", *lines[1:]]) + "\n")

    def spared(out: str) -> dict[str, int]:
        """Of the three accounts of each customer: how many get no automatic offer, and more get one without facts."""
        assert desk.recommend(out).code == 0
        first = sorted((row for row in desk.rows(out) if row["rank"] == 1), key=lambda row: row["account"])
        return {
            name: sum(
                row["handoff_code"] in ("PROTECTED", "VULNERABLE") or "PROTECTED" in row["why_not"]
                for row in first[3 * each : 3 * each + 3]
            )
            for each, name in enumerate(known)
        }

    of_one_debt = ("dispute", "agreement_kept")
    assert spared("out.csv") == {name: 1 if name in of_one_debt else 3 for name in known}
    monkeypatch.setattr(customers, "spread", lambda _, facts: facts)
    assert spared("control.csv") == dict.fromkeys(known, 1)


@pytest.mark.parametrize(("fact", "last"), [("moratorium_day", 60.0), ("mental_health_crisis_day", 30.0)])
def test_the_strictest_day_of_a_pause_holds_on_all_accounts_and_one_that_ended_says_nothing(
    fact: str, last: float
) -> None:
    of = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3])
    days = np.array([last, np.nan, -1, 9000, np.nan, -1, last + 1, np.nan, 5, 0])
    found = customers.spread(of, {fact: days})[fact]
    assert found[:4].tolist() == [last] * 4
    assert np.isnan(found[4]), "−1 elsewhere does not say that it is none here"
    assert found[5] == -1
    assert found[6] == last + 1
    assert np.isnan(found[7]), "an ended pause elsewhere does not say that none runs here"
    assert found[8:].tolist() == [0, 0]


def test_nothing_is_asked_of_whom_a_person_decides_about_in_the_summary_either(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    write_csv(desk.accounts, {**own, "human_requested": np.ones(ACCOUNTS, int)})

    def asked(batch: str) -> int:
        said = json.loads(desk.recommend(f"{batch}.csv", "--json", batch=batch).out)
        return sum(each["accounts"] for each in said["verifying"].values())

    assert asked("b1") == 0
    assert {row["verify"] for row in desk.rows("b1.csv")} == {None}

    def unmasked(*given: Any, people: object) -> Any:
        return verify(*given)

    monkeypatch.setattr(blocks, "verify", unmasked)
    assert asked("b2") > ACCOUNTS / 4, "control"

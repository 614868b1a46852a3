"""One person in several rows: refused ones count, spellings are one person, and one bound is divided."""

from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io import accounts as accounts_module
from fedrepay.client.plans.batch_io import customers
from fedrepay.client.plans.batch_io.recommend import load
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.scoring.score_file import rejects_of
from support.desk import Desk, Row, write_csv
from support.hard_cases import BASE, FACTS


def write(desk: Desk, *rows: dict[str, Any]) -> None:
    full = [
        {"customer": "ann", "account": f"a{at}", **BASE, **FACTS, **row} for at, row in enumerate(rows, 1)
    ]
    names = dict.fromkeys(name for row in full for name in row)
    write_csv(desk.accounts, {name: np.array([row.get(name) for row in full], object) for name in names})


def decided(desk: Desk, *rows: dict[str, Any]) -> dict[str, Row]:
    write(desk, *rows)
    result = desk.recommend("out.csv", "--replace", batch=f"b{len(list(desk.folder.iterdir()))}{rows!r:.60}")
    assert result.code == 0, result.err
    return {row["account"]: row for row in desk.rows() if row["rank"] == 1}


@pytest.mark.parametrize("wrong", [{"income": "abc"}, {"stage": "closed"}, {"balance": -5}, {"arrears": "x"}])
@pytest.mark.parametrize(
    "fact",
    [
        {"deceased": 1},
        {"adviser_engaged": 1},
        {"contact_refused": 1},
        {"moratorium_day": 3},
        {"mental_health_crisis_day": 0},
        {"vulnerability_driver": "health"},
        {"health_data": 1},
    ],
    ids=lambda each: next(iter(each)),
)
def test_what_a_refused_row_says_of_a_person_holds_on_their_others(
    desk: Desk, fact: dict[str, Any], wrong: dict[str, Any]
) -> None:
    found = decided(desk, {}, {**fact, **wrong}, {"customer": "bob"})
    assert found["a1"]["handoff_code"] in ("PROTECTED", "VULNERABLE")
    assert found["a3"]["decision"] == "OFFER", "control: another person, with the same figures"


@pytest.mark.parametrize(
    "cell", [{"deceased": "ja"}, {"moratorium_day": "day 5"}, {"balance": "abc"}, {"account": ""}], ids=str
)
def test_where_a_row_of_a_person_cannot_be_read_a_person_looks_at_the_others(
    desk: Desk, cell: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = decided(desk, {}, cell, {"customer": "bob"})
    assert (found["a1"]["decision"], found["a1"]["handoff_code"]) == ("HUMAN", "CONTRADICTION")
    assert "another row of this customer cannot be read" in found["a1"]["handoff_reason"]
    assert found["a1"]["bound"] == 0, "the others' part of the bound is not known"
    assert found["a3"]["decision"] == "OFFER"
    assert "day 5" not in rejects_of(desk.folder / "out.csv").read_text()
    monkeypatch.setattr(accounts_module, "_of_people", lambda whole, *_: whole)
    (desk.folder / "batches.jsonl").unlink()
    assert decided(desk, {}, cell)["a1"]["decision"] == "OFFER", "control: the row alone is refused"


@pytest.mark.parametrize("other", [" ann", "ann ", "Ann", "ANN", "ann\u00a0", "a\u200bnn", "ａｎｎ"])
def test_an_id_in_another_spelling_is_the_same_person(
    desk: Desk, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = decided(desk, {}, {"customer": other, "deceased": 1})
    assert found["a1"]["handoff_code"] == "PROTECTED"
    monkeypatch.setattr(customers, "folded", lambda name: name)
    (desk.folder / "batches.jsonl").unlink()
    assert decided(desk, {}, {"customer": other, "deceased": 1})["a1"]["decision"] == "OFFER", "control"


def test_ids_that_differ_in_leading_zeros_are_told(desk: Desk) -> None:
    write(desk, {"customer": "17"}, {"customer": "017"}, {"customer": "18"})
    told = desk.recommend()
    assert "2 rows are of customers whose ids differ only in spelling" in " ".join(told.err.split())
    write(desk, {"customer": "17"}, {"customer": "19"})
    assert "differ only in spelling" not in desk.recommend("o.csv", batch="b2").err, "control"


def parts(desk: Desk, *rows: dict[str, Any]) -> tuple[Engine, Accounts, int]:
    """The engine, the accounts with their parts, and what one account alone would have a month."""
    write(desk, *rows)
    job = desk.job()
    engine = load(job).engine
    found, _, _ = accounts_module.read_accounts(engine.book, job.accounts, None)
    alone, _ = engine.debts(found.values, engine.facts(found))
    return engine, customers.divided(engine, found), int(alone.bound[0])


def bounds(engine: Engine, accounts: Accounts) -> list[int]:
    debts, _ = engine.debts(accounts.values, engine.facts(accounts), accounts.part)
    return [int(each) for each in debts.bound]


RUNNING = {"stage": "early", "product": "loan", "dpd": 0, "contractual_instalment": 10_000, "arrears": 0}


@pytest.mark.parametrize(
    "idle",
    [
        {"balance": 0, "fees": 0},
        {"dispute": 1},
        {"agreement_kept": 1},
        {"dormant": 1},
        {"stage": "early", "dpd": 0},
    ],
    ids=str,
)
def test_what_asks_for_nothing_takes_nothing_of_the_bound(desk: Desk, idle: dict[str, Any]) -> None:
    engine, found, whole = parts(desk, {}, {"balance": 900_000, **idle})
    assert bounds(engine, found) == [whole, 0]
    engine, found, whole = parts(desk, {}, {"balance": 900_000})
    assert bounds(engine, found)[0] < whole / 2, "control: one that asks does"


def test_a_contract_that_is_kept_takes_its_instalment_first(desk: Desk) -> None:
    engine, found, whole = parts(desk, {}, {"balance": 900_000, **RUNNING})
    assert bounds(engine, found) == [whole - 10_000, 10_000]
    engine, found, whole = parts(desk, {}, {"balance": 900_000, **RUNNING, "contractual_instalment": 90_000})
    first, second = bounds(engine, found)
    assert second > 0, "one that cannot be kept asks like the others"
    assert whole - 1 <= first + second <= whole


def test_a_bound_too_small_for_all_serves_as_many_as_it_can(desk: Desk) -> None:
    rows = [{"balance": 30_000, "fees": 0, "surplus": 5_500}] * 5
    engine, found, whole = parts(desk, *rows)
    smallest = engine.catalogue.smallest_instalment
    assert smallest <= whole < 5 * smallest, "control: divided evenly nobody would get a smallest instalment"
    each = bounds(engine, found)
    assert sum(part >= smallest for part in each) == whole // smallest
    assert sum(each) <= whole


@pytest.mark.parametrize("seed", range(30))
def test_parts_never_sum_to_more_than_the_bound(desk: Desk, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        {
            "surplus": int(5_500 * (1 + seed % 7)),
            "balance": int(rng.choice([0, 40, 700, 30_000, 900_000])),
            "fees": 0,
            "dpd": int(rng.choice([0, 30])),
            "stage": str(rng.choice(["early", "charged_off"])),
            "contractual_instalment": (None, 500, 12_000)[rng.integers(3)],
            "arrears": (None, 0, 3_000)[rng.integers(3)],
            "dispute": int(rng.integers(2)),
        }
        for _ in range(6)
    ]
    engine, found, whole = parts(desk, *rows)
    assert sum(bounds(engine, found)) <= whole


def test_accounts_that_state_different_means_contradict_each_other(desk: Desk) -> None:
    for name, value in {
        "income": 190_000,
        "surplus": 40_000,
        "other_plans": 5_000,
        "priority_arrears": 100,
    }.items():
        found = decided(desk, {}, {name: value}, {"customer": "bob"}, {"customer": "bob", "balance": 9_000})
        assert [found[each]["handoff_code"] for each in ("a1", "a2")] == ["CONTRADICTION"] * 2, name
        assert "different incomes" in found["a1"]["handoff_reason"]
        assert found["a3"]["decision"] == "OFFER", "control: the same means on both"
        assert found["a1"]["bound"] + found["a2"]["bound"] <= found["a3"]["bound"] + found["a4"]["bound"]
        (desk.folder / "batches.jsonl").unlink()


def test_the_last_instalment_of_a_contract_takes_no_more_than_is_owed(desk: Desk) -> None:
    engine, found, whole = parts(desk, {}, {"balance": 200, "fees": 0, **RUNNING, "term_left": 1})
    assert bounds(engine, found) == [whole - 200, 200]


def test_what_is_proposed_for_writing_off_asks_for_nothing(desk: Desk) -> None:
    rows = [{"balance": 450, "fees": 0}] * 4 + [{"balance": 200_000}]
    engine, found, whole = parts(desk, *rows)
    assert bounds(engine, found)[-1] < whole, "the control: without a line for writing off they ask"
    engine.settings = engine.settings.model_copy(
        update={"relief": engine.settings.relief.model_copy(update={"write_off_below": 500})}
    )
    found, _, _ = accounts_module.read_accounts(engine.book, desk.accounts, None)
    assert bounds(engine, customers.divided(engine, found)) == [0, 0, 0, 0, whole]


def test_who_asked_for_somebody_on_one_account_asked_on_all(desk: Desk) -> None:
    found = decided(
        desk, {"human_requested": 1}, {"human_requested": 0}, {"customer": "bob", "human_requested": 0}
    )
    assert [found[name]["handoff_code"] for name in ("a1", "a2")] == ["REQUESTED", "REQUESTED"]
    assert found["a3"]["decision"] == "OFFER", "control: another person"

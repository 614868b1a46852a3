"""`fedrepay member recommend` as a collections analyst uses it: a file of accounts, a catalogue of one's own."""

import json
import stat
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from fedrepay.client.plans.deciding import engine as engine_module
from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.plans.files import customers
from fedrepay.client.plans.files.batch_files import facts_of, record_of
from fedrepay.client.plans.files.output import COLUMNS
from fedrepay.client.plans.files.recommend import Job, decide_one, load, recommend_file
from fedrepay.client.plans.limits import limits as limits_module
from fedrepay.client.scoring.recommend import rejects_of
from fedrepay.shared.errors import DataError
from fedrepay.shared.rules.facts import RESTRICTED
from fedrepay.shared.schema import codebook
from support.command import Result, fedrepay
from support.market_accounts import Columns, random_accounts
from support.market_release import write_release
from support.schemas import column, schema

ACCOUNTS = 200
CATALOGUE = """
name = "mine"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [3, 6, 12, 24, 36]
first_due = [7, 21]
[[plans]]
kind = "INSTALMENT"
share = [0.5, 1.0]
interest_waiver = [0.0, 1.0]
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.2]
[[plans]]
kind = "TOKEN"
n = [6]
[[plans]]
kind = "DORMANT"
dormant_months = [12]
[[plans]]
kind = "REFER"
"""
Row = dict[str, Any]


@dataclass
class Desk:
    folder: Path

    @property
    def accounts(self) -> Path:
        return self.folder / "accounts.csv"

    def job(self, **changed: Any) -> Job:
        given: dict[str, Any] = {
            "release": self.folder / "release",
            "accounts": self.accounts,
            "catalogue": self.folder / "mine.toml",
            **changed,
        }
        return Job(**given)

    def recommend(
        self, out: str | None = "out.csv", *options: object, batch: str = "b1", **changed: Any
    ) -> Result:
        given: dict[str, object] = {
            "release": self.folder / "release",
            "accounts": self.accounts,
            "catalogue": self.folder / "mine.toml",
            "batch-id": batch,
            "out": None if out is None else self.folder / out,
            "today": "2026-01-05",
            **changed,
        }
        named = [each for name, value in given.items() if value is not None for each in (f"--{name}", value)]
        return fedrepay("member", "recommend", *named, *options)

    def rows(self, out: str = "out.csv") -> list[Row]:
        with duckdb.connect() as connection:
            found = connection.execute(f"SELECT * FROM '{self.folder / out}'")
            names = [each[0] for each in found.description or ()]
            return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def left(self) -> list[str]:
        own = {"release", "accounts.csv", "mine.toml"}
        return sorted(path.name for path in self.folder.iterdir() if path.name not in own)


def write_csv(path: Path, columns: Columns) -> None:
    def cell(value: object) -> str:
        return "" if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)

    lines = [",".join(columns)]
    lines += [",".join(map(cell, row)) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    write_release(folder)
    return folder


@pytest.fixture
def desk(tmp_path: Path, release: Path) -> Desk:
    (tmp_path / "release").symlink_to(release)
    (tmp_path / "mine.toml").write_text(CATALOGUE)
    write_csv(tmp_path / "accounts.csv", random_accounts(ACCOUNTS, seed=3))
    return Desk(tmp_path)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MOST_PAIRS", 700)


# --- an analyst's run ---


def test_two_hundred_accounts_and_a_catalogue_of_ones_own(desk: Desk) -> None:
    result = desk.recommend()
    assert result.code == 0, result.err
    assert "200 accounts written" in result.err
    assert "No rule pack: nothing is checked against any law" in result.err
    assert "nobody is spared for it: dispute, adviser_engaged, time_barred" in result.err
    rows = desk.rows()
    assert list(rows[0])[: len(COLUMNS) + 1] == ["batch_id", *COLUMNS]
    assert {row["account"] for row in rows} == {f"c{i:05d}" for i in range(ACCOUNTS)}
    by_account: dict[str, list[Row]] = {}
    for row in rows:
        by_account.setdefault(row["account"], []).append(row)
    for each in by_account.values():
        assert [row["rank"] for row in each] == list(range(1, len(each) + 1))
        assert len({row["decision"] for row in each}) == 1
    offers = [row for row in rows if row["decision"] == "OFFER"]
    assert {row["decision"] for row in rows} >= {"OFFER", "TOKEN", "DORMANT", "REFER"}
    for row in offers:
        assert row["monthly"] <= row["bound"]
        assert row["instalment"] * (row["count"] - 1) < row["total"] <= row["instalment"] * row["count"]
        assert row["total"] == row["interest"] + round(row["total"] - row["interest"])
    no_form = [row for row in rows if row["bound"] is None]
    assert no_form
    assert {row["decision"] for row in no_form} == {"REFER"}
    assert all(row["why_not"] for row in rows if row["rank"] == 1)


def test_own_column_names_go_through_a_mapping(desk: Desk) -> None:
    assert desk.recommend("plain.csv").code == 0
    own = random_accounts(ACCOUNTS, seed=3)
    own["Konto"] = own.pop("customer")
    own["saldo_pounds"] = own.pop("balance") / 100
    write_csv(desk.folder / "own.csv", own)
    others = ", ".join(name for name in own if name not in ("Konto", "saldo_pounds"))
    mapping = desk.folder / "own.toml"
    mapping.write_text(
        f'sql = """SELECT _row, Konto AS customer, ROUND(CAST(saldo_pounds AS DOUBLE) * 100) AS balance, {others} FROM data"""'
    )
    result = desk.recommend("mapped.csv", accounts=desk.folder / "own.csv", mapping=mapping)
    assert result.code == 0, result.err
    assert (desk.folder / "mapped.csv").read_bytes() == (desk.folder / "plain.csv").read_bytes()


def test_bad_rows_go_to_rejects_and_the_others_are_decided(desk: Desk) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    own["jurisdiction"] = np.full(ACCOUNTS, "UK", dtype=object)
    own["dispute"] = np.full(ACCOUNTS, "no", dtype=object)
    own["balance"] = own["balance"].astype(object)
    own["balance"][4] = "lots"
    own["stage"][5] = "lost"
    own["customer"][7] = own["customer"][6]
    own["jurisdiction"][8] = "Atlantis"
    own["dispute"][9] = "perhaps"
    write_csv(desk.accounts, own)
    result = desk.recommend("out.csv", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["rejected"] == 5
    lines = rejects_of(desk.folder / "out.csv").read_text().splitlines()[1:]
    found = {(int(row), name, value) for _, row, name, value, *_ in (line.split(",") for line in lines)}
    assert found == {
        (5, "balance", "lots"),
        (6, "stage", "lost"),
        (8, "account", "c00006"),
        (9, "jurisdiction", "Atlantis"),
        (10, "dispute", "restricted"),
    }
    assert len({row["account"] for row in desk.rows()}) == ACCOUNTS - 5


def test_an_account_column_tells_a_customers_accounts_apart(desk: Desk) -> None:
    own = random_accounts(6, seed=3)
    own["customer"][:] = "c1"
    write_csv(desk.accounts, {**own, "account": np.array([f"k{i}" for i in range(6)], dtype=object)})
    assert desk.recommend().code == 0
    assert {row["account"] for row in desk.rows()} == {f"k{i}" for i in range(6)}


# --- the same input, the same bytes ---


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_same_input_is_the_same_bytes_whatever_the_chunks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text("exploration = 0.1\n")
    assert desk.recommend(f"one.{suffix}", settings=settings).code == 0
    monkeypatch.setattr(engine_module, "MOST_PAIRS", 700)
    assert desk.recommend(f"two.{suffix}", settings=settings).code == 0
    assert desk.rows(f"one.{suffix}") == desk.rows(f"two.{suffix}")
    assert desk.rows(facts_of(Path(f"one.{suffix}")).name) == desk.rows(facts_of(Path(f"two.{suffix}")).name)
    assert desk.recommend(f"three.{suffix}", settings=settings).code == 0
    for out in (Path(f"two.{suffix}"), facts_of(Path(f"two.{suffix}"))):
        again = desk.folder / out.name.replace("two", "three")
        assert (desk.folder / out).read_bytes() == again.read_bytes()


def test_a_batch_is_decided_once(desk: Desk) -> None:
    out = desk.folder / "out.csv"
    assert desk.recommend().code == 0
    first, when = out.read_bytes(), out.stat().st_mtime_ns
    again = desk.recommend()
    assert again.code == 0
    assert "stands in" in again.err
    assert out.stat().st_mtime_ns == when
    later = desk.recommend(today=None)
    assert later.code == 0, "on a later day it is still the batch of its own day"
    assert "stands in" in later.err
    out.unlink()
    assert desk.recommend().code == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize("changed", ["accounts", "catalogue", "settings", "today"])
def test_a_batch_id_with_other_inputs_is_refused(desk: Desk, changed: str) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text("")
    assert desk.recommend(settings=settings).code == 0
    before = (desk.folder / "out.csv").read_bytes()
    if changed == "accounts":
        write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    elif changed == "catalogue":
        (desk.folder / "mine.toml").write_text(CATALOGUE.replace("[0.2]", "[0.3]"))
    elif changed == "settings":
        settings.write_text("exploration = 0.05\n")
    result = desk.recommend(settings=settings, today="2026-01-06" if changed == "today" else "2026-01-05")
    assert result.code == 2
    assert "Batch b1 was written" in result.err
    assert changed in result.err
    assert (desk.folder / "out.csv").read_bytes() == before
    assert desk.recommend(settings=settings, batch="b2").code == 0, "a new id is a new batch"


def test_an_interrupted_run_leaves_nothing_half_written(desk: Desk, small_chunks: None) -> None:
    job = desk.job()
    before = desk.left()

    def interrupt(done: int, _: int) -> None:
        if done > 50:
            assert any((desk.folder / "out.csv.parts").iterdir()), "chunks are there already"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_file(job, load(job), desk.folder / "out.csv", "b1", interrupt)
    assert desk.left() == before
    assert desk.recommend().code == 0


def test_what_a_killed_run_left_is_cleared_away(desk: Desk) -> None:
    parts = desk.folder / "out.csv.parts"
    parts.mkdir()
    (parts / "000099.rows.parquet").write_text("half")
    (desk.folder / "out.csv.partial").write_text("half")
    assert desk.recommend().code == 0
    assert desk.left() == ["out.csv", "out.csv.batch.json", "out.csv.facts.parquet"]


def test_a_damaged_record_is_named(desk: Desk) -> None:
    assert desk.recommend().code == 0
    record_of(desk.folder / "out.csv").write_text("{")
    result = desk.recommend()
    assert result.code == 5
    assert "is damaged" in result.err


# --- rules and facts ---


def test_facts_reach_the_rules_and_stay_out_of_the_output(desk: Desk) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    own["jurisdiction"] = np.full(ACCOUNTS, "UK", dtype=object)
    own["moratorium_day"] = np.full(ACCOUNTS, -1)
    own["mental_health_crisis_day"] = np.full(ACCOUNTS, -1)
    own["moratorium_day"][:50] = 10
    write_csv(desk.accounts, own)
    settings = desk.folder / "settings.toml"
    settings.write_text('packs = ["uk-breathing-space"]\n')
    result = desk.recommend(settings=settings)
    assert result.code == 0, result.err
    assert desk.recommend("control.csv").code == 0
    paused = {f"c{i:05d}" for i in range(50)}
    ruled, control = (
        {row["account"]: row for row in desk.rows(out) if row["rank"] == 1}
        for out in ("out.csv", "control.csv")
    )
    assert {ruled[name]["decision"] for name in paused} == {"NONE"}
    assert any(control[name]["decision"] == "OFFER" for name in paused), "without the pack they get offers"
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
    for name in ("adviser_engaged", "dispute", "collection_costs_charged"):
        own[name] = np.zeros(ACCOUNTS)
    own["collection_cost_actual"] = np.full(ACCOUNTS, 1e7)
    write_csv(desk.accounts, own)
    settings = desk.folder / "settings.toml"
    settings.write_text('packs = ["uk-fca"]\n')
    assert desk.recommend(settings=settings).code == 0
    first = [row for row in desk.rows() if row["rank"] == 1]
    assert {row["decision"] for row in first if row["bound"] is None} == {"REFER"}
    assert any(row["decision"] == "OFFER" for row in first)
    assert all("CONC 7.3.10R" in row["why_not"] for row in first if row["bound"] is None)


def test_limits_of_the_batch_hold_and_their_prices_are_shown(desk: Desk) -> None:
    catalogue = desk.folder / "letters.toml"
    catalogue.write_text(
        CATALOGUE.replace("first_due = [7, 21]", 'first_due = [7, 21]\nchannel = ["letter"]')
    )
    settings = desk.folder / "settings.toml"
    settings.write_text('[budgets]\ncontacts = 10\ngroup_column = "branch"\ngroup_floor = 0.2\n')
    own = random_accounts(ACCOUNTS, seed=3)
    own["branch"] = np.array(["north", "south"], dtype=object)[np.arange(ACCOUNTS) % 2]
    write_csv(desk.accounts, own)
    assert desk.recommend("control.csv", catalogue=catalogue).code == 0
    result = desk.recommend("out.csv", "--json", catalogue=catalogue, settings=settings)
    assert result.code == 0, result.err
    summary = json.loads(result.out)

    def letters(out: str) -> int:
        return sum(
            row["decision"] == "OFFER" and row["channel"] == "letter"
            for row in desk.rows(out)
            if row["rank"] == 1
        )

    assert letters("control.csv") > 10
    assert letters("out.csv") <= 10
    assert summary["limits_used"]["contacts"] == letters("out.csv")
    assert summary["limits_prices"]["contacts"] > 0
    record = json.loads(record_of(desk.folder / "out.csv").read_text())
    assert record["limits_prices"] == summary["limits_prices"]
    settings.write_text("[budgets]\ndiscounts = 0\ncontacts = 0\nagents = 0\n")
    none = desk.recommend("none.csv", catalogue=catalogue, settings=settings)
    assert none.code == 0, none.err
    assert letters("none.csv") == 0
    settings.write_text('[budgets]\ngroup_column = "region"\ngroup_floor = 0.2\n')
    lost = desk.recommend("lost.csv", catalogue=catalogue, settings=settings)
    assert lost.code == 3
    assert "region" in lost.err


def test_a_pack_of_ones_own_stands_beside_the_settings(desk: Desk) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text('packs = ["nowhere.toml"]\n')
    result = desk.recommend(settings=settings)
    assert result.code != 0
    assert "nowhere.toml" in result.err


# --- one decision, and what verifying would bring ---


def test_one_decision_is_explained_to_a_case_worker(desk: Desk) -> None:
    assert desk.recommend().code == 0
    offer = next(row for row in desk.rows() if row["decision"] == "OFFER" and row["rank"] == 1)
    shown = desk.recommend(None, "--explain", offer["account"])
    assert shown.code == 0, shown.err
    assert f"Account {offer['account']}" in shown.out
    assert offer["plan"] in shown.out
    content = json.loads(desk.recommend(None, "--explain", offer["account"], "--json").out)
    assert content["decision"] == "OFFER"
    assert content["plans"][0]["name"] == offer["plan"]
    assert content["plans"][0]["total"] == offer["total"]
    lost = desk.recommend(None, "--explain", "nobody")
    assert (lost.code, "holds no account nobody" in lost.err) == (4, True)


def test_what_verifying_stated_incomes_would_bring(desk: Desk) -> None:
    result = desk.recommend("out.csv", "--json", "--verifying")
    found = json.loads(result.out)["verifying"]
    assert found["accounts"] == int((random_accounts(ACCOUNTS, seed=3)["income_verified"] == "stated").sum())
    assert found["plans_then"] > found["plans_now"] > 0
    assert found["value_then"] > found["value_now"] > 0
    stated = {row["account"] for row in desk.rows() if row["decision"] == "OFFER" and row["rank"] == 1} & set(
        random_accounts(ACCOUNTS, seed=3)["customer"][
            random_accounts(ACCOUNTS, seed=3)["income_verified"] == "stated"
        ]
    )
    assert found["plans_now"] == len(stated)


# --- what is refused ---


def test_a_release_without_a_guarantee_needs_a_word(desk: Desk, tmp_path: Path) -> None:
    write_release(tmp_path / "bare", not_private="no noise")
    result = desk.recommend(release=tmp_path / "bare")
    assert result.code == 9
    assert "no noise" in result.err
    accepted = desk.recommend("out.csv", "--unprotected", release=tmp_path / "bare")
    assert accepted.code == 0
    assert "NOT PRIVATE" in accepted.err


def test_a_release_of_another_kind_is_refused(desk: Desk, tmp_path: Path) -> None:
    other = codebook.build(schema(column("a"), column("b")).encode())
    write_release(tmp_path / "other", other)
    result = desk.recommend(release=tmp_path / "other")
    assert result.code == 9
    assert "lacks the outcome first_paid" in result.err


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"out": "out.txt"}, 2, "neither .csv nor .parquet"),
        ({"today": "yesterday"}, 2, "no date"),
        ({"batch-id": None}, 2, "--batch-id"),
        ({"out": None}, 2, "--out FILE or --explain"),
        ({"catalogue": "nowhere.toml"}, 3, "cannot be read"),
        ({"accounts": "nowhere.csv"}, 2, "cannot be read"),
    ],
)
def test_wrong_options_end_with_their_codes(
    desk: Desk, changed: dict[str, Any], code: int, words: str
) -> None:
    before = desk.left()
    result = desk.recommend(**changed)
    assert result.code == code, result.err
    assert words in result.err
    assert desk.left() == before


def test_an_output_that_is_an_input_is_refused(desk: Desk) -> None:
    before = desk.accounts.read_bytes()
    result = desk.recommend("accounts.csv")
    assert result.code == 2
    assert "would overwrite" in result.err
    assert desk.accounts.read_bytes() == before


# --- the engine for a single account ---


def test_one_account_alone_is_decided_as_in_the_file(desk: Desk) -> None:
    assert desk.recommend().code == 0
    first = {row["account"]: row for row in desk.rows() if row["rank"] == 1}
    own = random_accounts(ACCOUNTS, seed=3)
    of = load(desk.job()).engine
    for row in range(0, ACCOUNTS, 9):
        alone = {each.name: own[each.name][row : row + 1] for each in of.encoder.account_columns}
        batch = of.decide(of.accounts([own["customer"][row]], alone), today=20_458)
        written = first[own["customer"][row]]
        assert Decision(batch.decisions.code[0]).name == written["decision"]
        assert of.arms.names[batch.decisions.top[0, 0]] == written["plan"]
        assert batch.judged.score[0, batch.decisions.top[0, 0]] == written["score"]
    of.close()


def test_a_wrong_value_of_a_single_account_is_named(desk: Desk) -> None:
    of, own = load(desk.job()).engine, random_accounts(1)
    columns = {each.name: own[each.name] for each in of.encoder.account_columns}
    with pytest.raises(DataError, match=r"stage, account k1: 'lost' must be one of early"):
        of.accounts(["k1"], {**columns, "stage": np.array(["lost"], dtype=object)})
    with pytest.raises(DataError, match="The column balance is missing"):
        of.accounts(["k1"], {name: each for name, each in columns.items() if name != "balance"})


# --- several accounts of one customer ---


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
    assert desk.recommend(batch="b2").code == 0
    assert over_bound(desk, bounds) == 0
    offer = next(row for row in desk.rows() if row["decision"] == "OFFER" and row["rank"] == 1)
    shown = json.loads(desk.recommend(None, "--explain", offer["account"], "--json").out)
    assert shown["bound"]["bound"] == offer["bound"]
    assert shown["plans"][0]["name"] == offer["plan"], "alone it is decided as in the batch"
    assert 0 < shown["bound"]["share"] < 1
    assert "% of what is left, by balance" in desk.recommend(None, "--explain", offer["account"]).out
    monkeypatch.setattr(customers, "shares", lambda of, _: np.ones(len(of)))
    assert desk.recommend(batch="b3").code == 0
    assert over_bound(desk, bounds) > 20, "control: each account for itself"


# --- what is restricted, what is missing, what differs ---


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
    alone = desk.recommend("two.csv")
    assert alone.code == 4
    assert "vulnerability_driver" in alone.err
    assert "bipolar" not in alone.out + alone.err


def test_a_batch_without_its_facts_is_decided_again(desk: Desk) -> None:
    facts = facts_of(desk.folder / "out.csv")
    assert desk.recommend().code == 0
    before = facts.read_bytes()
    facts.unlink()
    assert "stands in" not in desk.recommend().err
    assert facts.read_bytes() == before


def test_a_crash_between_the_files_is_mended_by_running_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, out = desk.job(today=date(2026, 1, 5)), desk.folder / "out.csv"
    recommend_file(job, load(job), desk.folder / "whole.csv", "b2")
    replace = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if Path(target) == facts_of(out):
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            recommend_file(job, load(job), out, "b2")
    assert (out.exists(), facts_of(out).exists(), record_of(out).exists()) == (True, False, False)
    assert not recommend_file(job, load(job), out, "b2").done_before
    assert out.read_bytes() == (desk.folder / "whole.csv").read_bytes()
    assert facts_of(out).read_bytes() == facts_of(desk.folder / "whole.csv").read_bytes()
    assert recommend_file(job, load(job), out, "b2").done_before


def test_explain_shows_the_batch_s_decision_also_under_limits(desk: Desk) -> None:
    catalogue = desk.folder / "letters.toml"
    catalogue.write_text(
        CATALOGUE.replace("first_due = [7, 21]", 'first_due = [7, 21]\nchannel = ["letter"]')
    )
    settings = desk.folder / "settings.toml"
    settings.write_text("[budgets]\ncontacts = 3\ndiscounts = 0\n")
    own = random_accounts(40, seed=3)
    own["human_requested"] = (np.arange(40) % 10 == 0).astype(int)
    write_csv(desk.accounts, own)
    assert desk.recommend(catalogue=catalogue, settings=settings).code == 0
    first = {row["account"]: row for row in desk.rows() if row["rank"] == 1}
    job = desk.job(catalogue=catalogue, settings=settings, today=date(2026, 1, 5))
    loaded = load(job)
    limited = 0
    for name, row in first.items():
        batch, _ = decide_one(job, loaded, name, "b1")
        arm = int(batch.decisions.top[0, 0])
        assert Decision(batch.decisions.code[0]).name == row["decision"]
        assert (None if arm < 0 else loaded.engine.arms.names[arm]) == row["plan"]
        limited += "BUDGET" in (row["why_not"] or "")
    assert limited
    asked = [row for row in first.values() if row["handoff_code"] == "REQUESTED"]
    assert any(row["plan"] for row in asked), "a case worker keeps the proposals"
    assert not any("BUDGET" in row["why_not"] for row in asked)


def test_exploration_asks_for_the_batch_that_it_draws_by(desk: Desk) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text("exploration = 0.1\n")
    result = desk.recommend(None, "--explain", "c00001", batch="", settings=settings)
    assert result.code == 2
    assert "--batch-id" in result.err
    assert desk.recommend(None, "--explain", "c00001", settings=settings).code == 0


def test_a_mapping_in_another_currency_is_refused(desk: Desk) -> None:
    mapping = desk.folder / "own.toml"
    mapping.write_text('currency = "EUR"\nsql = """SELECT * FROM data"""\n')
    result = desk.recommend(mapping=mapping)
    assert result.code == 3
    assert "offers plans in GBP" in result.err
    mapping.write_text('currency = "GBP"\nsql = """SELECT * FROM data"""\n')
    assert desk.recommend(mapping=mapping).code == 0


def test_exploration_stays_within_the_limits_of_the_batch(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = desk.folder / "letters.toml"
    catalogue.write_text(
        CATALOGUE.replace("first_due = [7, 21]", 'first_due = [7, 21]\nchannel = ["letter", "portal"]')
    )
    settings = desk.folder / "settings.toml"
    settings.write_text("exploration = 0.1\n[budgets]\ncontacts = 0\n")
    write_csv(desk.accounts, random_accounts(600, seed=3))

    def letters(out: str) -> int:
        assert desk.recommend(out, catalogue=catalogue, settings=settings).code == 0
        return sum(row["channel"] == "letter" for row in desk.rows(out) if row["decision"] == "OFFER")

    assert letters("out.csv") == 0
    drawn = [row["propensity"] for row in desk.rows() if row["rank"] == 1]
    assert min(drawn) < 0.1, "it explores"
    monkeypatch.setattr(limits_module, "_more", lambda used, choice: np.zeros((len(choice), 1), np.bool_))
    assert letters("control.csv") > 0


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
        assert desk.recommend(out).code == 0
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
    facts = ("deceased", "contact_refused", "dispute", "vulnerability_driver")
    for place, line in enumerate(lines[1:]):
        customer, first = place // 3, place % 3 == 0
        named = {facts[customer]: "health" if customer == 3 else "yes"} if first and customer < 4 else {}
        lines[place + 1] = ",".join([line, *(named.get(each, "") for each in facts)])
    desk.accounts.write_text("\n".join([f"{lines[0]},{','.join(facts)}", *lines[1:]]) + "\n")

    def spared(out: str) -> list[int]:
        assert desk.recommend(out).code == 0
        first = sorted((row for row in desk.rows(out) if row["rank"] == 1), key=lambda row: row["account"])
        return [
            sum(row["decision"] == "HUMAN" for row in first[3 * each : 3 * each + 3]) for each in range(4)
        ]

    assert spared("out.csv") == [3, 3, 1, 3], "a dispute is about one debt"
    monkeypatch.setattr(customers, "spread", lambda _, known: known)
    assert spared("control.csv") == [1, 1, 1, 1]


def test_days_of_a_pause_fill_only_what_is_not_known() -> None:
    of = np.array([0, 0, 0, 1, 1])
    found = customers.spread(of, {"moratorium_day": np.array([10.0, np.nan, -1.0, np.nan, -1.0])})
    assert found["moratorium_day"].tolist()[:3] == [10, 10, -1]
    assert np.isnan(found["moratorium_day"][3])

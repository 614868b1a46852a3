"""`fedrepay simulate` on the debt market, and what a member and a compliance officer do with what came of it."""

import json
import re
import stat
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pytest

from fedrepay.client.data.reading.table import load_mapping, read_table
from fedrepay.client.learning import make_learner, monotone
from fedrepay.client.learning.contribution import gradient, gram
from fedrepay.client.plans.batch_io.batch_files import facts_of
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.client.scoring.release_file import load
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import Opening
from fedrepay.shared.arrays import F64
from fedrepay.shared.rules.facts import FACTS
from fedrepay.shared.rules.parameters import MATTERS
from fedrepay.shared.schema import bins
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.market import lenders, people, records, tables
from support import rules_oracle

if TYPE_CHECKING:
    from fedrepay.client.learning.base import Model

COMMAND = (sys.executable, "-m", "fedrepay")
SMALL = ("--scale", "0.05", "--rounds", "3", "--epsilon", "4")
FIVE = ("simulate", *SMALL, "--members", "5", "--accounts", "40")
BARE = ("simulate", *SMALL, "--members", "3", "--accounts", "20", "--mode", "none")
PACKS = ("uk-fca", "uk-breathing-space", "uk-adm")
CONSUMER = ("consumer", "card")
"""Debts that ``uk-fca`` speaks of."""
TODAY = date(2026, 11, 2)
ACCOUNTS = 1000
MONOTONE = {"headroom": 1, "instalment_share": -1, "kept_ratio_12m": 1}
Row = dict[str, Any]


def fedrepay(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one protected run of five lenders."""
    out = tmp_path_factory.mktemp("runs") / "five"
    done = fedrepay(*FIVE, "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((out / "metrics.json").read_text())
    return out


@dataclass(frozen=True)
class Killed:
    """The folder of a run that was killed and run again, and each member's openings at its death."""

    out: Path
    openings: dict[str, tuple[Opening, ...]]
    log: str


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    out = tmp_path_factory.mktemp("runs") / "three"
    log = out / "transcript" / "messages.jsonl"
    process = subprocess.Popen([*COMMAND, *BARE, "--out", str(out)], stderr=subprocess.DEVNULL)
    while process.poll() is None and (not log.exists() or log.read_text().count('"round"') < 5):
        time.sleep(0.01)  # until the first sum is complete and the second is under way
    assert process.poll() is None, "it ended before it could be killed"
    process.kill()
    process.wait()
    before = {name: openings(out, name) for name in members(out)}
    left = log.read_text()
    again = fedrepay(*BARE, "--out", out)
    assert again.returncode == 0, again.stderr
    return Killed(out, before, left)


def members(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "members").iterdir())


def openings(out: Path, name: str) -> tuple[Opening, ...]:
    return MemberStore(out / "members" / name, time.time).openings(1)


# --- figures and folders ---


def test_the_documented_figures_are_there(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    market = metrics["market"]
    ways = {"own", "own_affordable", "alone", "shared", "perfect", "oracle"}
    for name in ("value", "uplift", "first_paid", "kept_90"):
        assert ways <= set(market[name]), name
        assert all(np.isfinite(each) for each in market[name].values())
    assert set(market["members"]) == {"m01", "m02", "m03", "m04", "m05"}
    for member in market["members"].values():
        assert ways <= set(member["ways"])
        assert {"value", "uplift", "first_paid", "kept_90"} <= set(member["ways"]["shared"])
    assert 0 < market["affordable_share"] <= 1
    assert set(market["affordable_by_class"]) == {"none", "stated", "estimated", "verified"}
    value = market["value"]
    assert value["oracle"] >= max(each for way, each in value.items() if way != "own")
    assert metrics["privacy"]["epsilon"] == 4
    assert metrics["privacy"]["epsilon_spent"] <= 4
    assert {"market", "seconds", "peak_rss_mb"} <= set(metrics["outside_the_guarantee"])
    assert "<script" not in (finished / "report.html").read_text()


def test_the_lenders_tables_and_the_members_stores_are_their_own(finished: Path) -> None:
    for path in (
        *(finished / name for name in ("market", "accounts", "members")),
        *(finished / "members").iterdir(),
    ):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700, path
    for path in (finished / "members").glob("*/*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_same_command_again_has_nothing_to_do_and_other_arguments_are_refused(finished: Path) -> None:
    before = (finished / "transcript" / "messages.jsonl").read_bytes()
    again = fedrepay(*FIVE, "--out", finished)
    assert again.returncode == 0
    assert "finished already" in " ".join(again.stderr.split())
    other = fedrepay(*FIVE, "--out", finished, "--market", "complement")
    assert other.returncode == 2
    assert "preset" in other.stderr
    assert (finished / "transcript" / "messages.jsonl").read_bytes() == before


# --- the sums ---


def from_own_tables(out: Path) -> dict[str, Any]:
    """Each member's rows, read from its own tables through its own mapping."""
    found = {}
    for folder in sorted((out / "market").iterdir()):
        mapping = load_mapping(folder / tables.MAPPING)
        table, findings = read_table(records.book(), None, mapping, need_outcome=True)
        assert not findings.refused
        found[folder.name] = snapshot(records.book(), table, b"")[0]
    return found


def test_a_killed_run_resumes_to_the_plain_sums_of_the_members_own_tables(killed: Killed) -> None:
    book, data = records.book(), from_own_tables(killed.out)
    release = load(killed.out / "release", unprotected=True).release
    assert sorted(data) == members(killed.out)
    assert len(release.sums) == 3
    learner = make_learner("dp-newton", book, 3)
    state: Model = learner.start()
    for index, opened in enumerate(release.sums):
        of = [gradient(each, state.weights) if index else gram(each) for each in data.values()]
        assert np.array_equal(opened, np.sum(of, axis=0)), f"sum {index}, bit for bit"
        state = learner.step(index, state, opened, ())
    size = book.dimension
    assert [len(each) for each in release.sums] == [size * (size + 1) // 2, *(2 * size,) * 2]
    assert release.weights == pytest.approx(monotone.project(book, state.weights), abs=1e-9)


def test_a_killed_run_opens_no_sum_twice(killed: Killed) -> None:
    log = (killed.out / "transcript" / "messages.jsonl").read_text()
    assert log.startswith(killed.log)
    assert not re.search('"(hello|introduce)"', log[len(killed.log) :]), "it goes on in its epoch"
    assert any(killed.openings.values()), "it was killed after a first opening"
    for name, before in killed.openings.items():
        after = openings(killed.out, name)
        assert [each.round for each in after] == [0, 1, 2]
        for old, new in zip(before, after, strict=False):
            assert (old.round, old.attempt, old.sum) == (new.round, new.attempt, new.sum)
            assert old.values in (None, new.values)
    metrics = json.loads((killed.out / "metrics.json").read_text())
    assert metrics["resumed"]
    assert metrics["rounds"] == 3
    assert metrics["attempts"] <= 4, "at most the attempt that was interrupted is made again"


def steps(book: CodeBook, weights: F64) -> F64:
    """Every step between neighbouring bins of a monotone column, positive where it is the right way."""
    found = []
    for layout, block, columns in zip(bins.layouts(book.schema), book.blocks, book.slices, strict=False):
        for head in weights:
            effects = block.matrix @ head[columns] / book.scale
            table = effects.reshape([len(side.labels) for side in layout.sides])
            for axis, side in enumerate(layout.sides):
                if side.column in MONOTONE:
                    known = np.moveaxis(table, axis, 0)[: len(side.labels) - side.has_missing]
                    found.append(MONOTONE[side.column] * np.diff(known, axis=0).ravel())
    return np.concatenate(found)


def unprojected(out: Path) -> F64:
    """The weights of a run without noise before they were made monotone."""
    release = load(out / "release", unprotected=True).release
    learner = make_learner("dp-newton", records.book(), 3)
    state: Model = learner.start()
    for index, opened in enumerate(release.sums):
        state = learner.step(index, state, opened, ())
    return state.weights


def test_the_release_is_monotone_where_sense_demands_it(finished: Path, killed: Killed) -> None:
    book = records.book()
    assert {each.name for each in book.schema.columns if each.monotone} == set(MONOTONE)
    for out in (finished, killed.out):
        weights = load(out / "release", unprotected=True).release.weights
        assert steps(book, weights).min() > -1e-12
    assert steps(book, unprojected(killed.out)).min() < -0.01, "control: what was learned is not"


# --- plans for a lender's new accounts ---


SPARING = ("moratorium_day", "mental_health_crisis_day", "adviser_engaged", "dispute")
"""Facts that end every automatic offer, packs or none."""


@dataclass(frozen=True)
class Desk:
    """One lender's desk: what `member recommend` wrote under the packs, and without packs and sparing facts."""

    folder: Path

    def rows(self, name: str) -> list[Row]:
        return read(self.folder / f"{name}.parquet")

    def facts(self) -> dict[str, Row]:
        """What rules knew of each account, None where they did not."""
        found = {}
        for row in read(facts_of(self.folder / "ruled.parquet")):
            found[row["account"]] = {name: plain(name, row[name]) for name in FACTS if name in row}
        return found


def read(path: Path) -> list[Row]:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM '{path}'")
        names = [each[0] for each in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def plain(name: str, value: Any) -> Any:
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return None
    return {"bool": bool, "int": int, "number": float, "category": str}[FACTS[name].type](value)


@pytest.fixture(scope="module")
def desk(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    lender = lenders.lenders("mixed", 1, (400,) * 5)[1]
    new = people.draw(lender.book, ACCOUNTS, np.random.default_rng(5))
    accounts = tables.write_accounts(new, lender.name, folder / "new", seed=5)
    assert fedrepay("member", "catalogue", "init", folder / "mine.toml").returncode == 0
    (folder / "ruled.toml").write_text(f"packs = {json.dumps(PACKS)}\n")
    (folder / "bare.toml").write_text("")
    mapping = accounts.with_name(tables.MAPPING)
    blind = folder / "new" / "blind.toml"
    told = [line for line in mapping.read_text().splitlines() if not any(fact in line for fact in SPARING)]
    blind.write_text("\n".join(told))
    for name in ("ruled", "bare"):
        done = fedrepay(
            *("member", "recommend", "--release", finished / "release", "--accounts", accounts),
            *("--mapping", mapping if name == "ruled" else blind, "--catalogue", folder / "mine.toml"),
            *("--settings", folder / f"{name}.toml", "--batch-id", name, "--today", TODAY),
            *("--out", folder / f"{name}.parquet"),
        )
        assert done.returncode == 0, done.stderr
    return Desk(folder)


def test_every_account_is_decided_and_every_plan_is_within_bound_and_rules(desk: Desk) -> None:
    packs = files("fedrepay.shared.rules") / "packs"
    raw = [tomllib.loads((packs / f"{name}.toml").read_text()) for name in PACKS]
    facts, rows = desk.facts(), desk.rows("ruled")
    assert len(facts) == len({row["account"] for row in rows}) == ACCOUNTS
    assert {row["decision"] for row in rows} >= {"OFFER", "TOKEN", "REFER", "HUMAN"}
    for row in rows:
        if row["kind"] is None:
            continue
        bound = row["bound"] or 0  # without an income form it is 0
        answer = rules_oracle.judge(raw, facts[row["account"]], {**row, "bound": bound}, TODAY)
        assert (answer.blocked, answer.stop) == (None, None), row
        if row["decision"] != "HUMAN":
            assert (answer.human, answer.unknown, answer.covered) == (None, False, set(MATTERS)), row
        if row["kind"] in ("FULL", "INSTALMENT", "SETTLEMENT"):
            assert row["monthly"] <= bound, row


def test_who_needs_care_or_breathing_space_never_gets_an_automatic_offer(desk: Desk) -> None:
    facts = desk.facts()
    careful = {name for name, known in facts.items() if known["vulnerability_driver"] != "none"}
    paused = {
        name
        for name, known in facts.items()
        if 0 <= known["moratorium_day"] <= 60
        or 0 <= known["mental_health_crisis_day"] <= 30
        or (known["adviser_engaged"] and known["debt_type"] in CONSUMER)
    }
    ruled, bare = ({row["account"]: row["decision"] for row in desk.rows(name)} for name in ("ruled", "bare"))
    assert len(careful) > 20
    assert len(paused) > 10
    assert {ruled[name] for name in careful - paused} == {"HUMAN"}
    assert {ruled[name] for name in paused} <= {"HUMAN", "NONE"}
    collecting = [row for row in desk.rows("ruled") if row["account"] in paused and row["kind"] is not None]
    assert not [row for row in collecting if row["kind"] not in ("DORMANT", "REFER", "NO_OFFER")]
    assert "OFFER" in {bare[name] for name in paused}, "control: without packs and facts they get offers"


def test_a_changed_rule_finds_every_decision_it_touches(desk: Desk) -> None:
    text = (files("fedrepay.shared.rules") / "packs" / "uk-fca.toml").read_text()
    strict = re.sub(
        r'(id = "cost-based-charges"\nversion = )1(.*?method = )"cost"',
        r'\g<1>2\g<2>"none"',
        text,
        flags=re.DOTALL,
    )
    assert strict != text
    mine = desk.folder / "mine-fca.toml"
    mine.write_text(strict.replace("version = 2", "version = 3", 1))
    done = fedrepay("rules", "diff", "uk-fca", mine, "--decisions", desk.folder / "ruled.parquet", "--json")
    assert done.returncode == 0, done.stderr
    touched = json.loads(done.stdout)["touched"]
    facts = desk.facts()
    expected = {
        (row["account"], row["rank"])
        for row in desk.rows("ruled")
        if row["kind"] is not None and row["fees"] > 0 and facts[row["account"]]["debt_type"] in CONSUMER
    }
    assert 0 < len(expected) < len(desk.rows("ruled")), "some are touched, others not"
    assert {(each["account"], each["rank"]) for each in touched} == expected
    assert {(each["change"], each["rule"], each["old_version"], each["new_version"]) for each in touched} == {
        ("newly blocked", "cost-based-charges", 1, 2)
    }

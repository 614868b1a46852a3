"""`fedrepay member check-data --for recommend`: what a batch would refuse, read at a bound and give to a person."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.shared.schema import codebook
from support.command import Result, fedrepay
from support.desk import ACCOUNTS, Desk, write_csv
from support.market_accounts import SCHEMA, Columns, random_accounts


def hard() -> Columns:
    """The first accounts each wrong in their own way, by facts and by columns."""
    own: Columns = random_accounts(ACCOUNTS, seed=3)
    for name in ("jurisdiction", "debt_type", "vulnerability_driver"):
        own[name] = np.full(ACCOUNTS, {"jurisdiction": "UK", "debt_type": "card"}.get(name, "none"), object)
    for name in ("dispute", "human_requested"):
        own[name] = np.full(ACCOUNTS, "no", object)
    own["date_changes_90d"] = np.zeros(ACCOUNTS)
    own["apr"][0], own["income"][1], own["dpd"][2] = 12.0, -9900.0, 2000.0
    own["dispute"][3], own["human_requested"][4], own["vulnerability_driver"][5] = "yes", "yes", "health"
    own["date_changes_90d"][6], own["fees"][7] = 9, own["balance"][7] + 1
    own["jurisdiction"][8], own["dispute"][9], own["customer"][10] = "Atlantis", "perhaps", "c00009"
    own["vulnerability_driver"][11] = "bipolar"
    return own


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    found = tmp_path / "schema" / SCHEMA.name
    found.parent.mkdir()
    found.write_bytes(SCHEMA.read_bytes())
    assert fedrepay("schema", "build", found).code == 0
    assert codebook.load(found)
    return found


def check(schema: Path, data: Path, *more: object) -> Result:
    return fedrepay("member", "check-data", "--for", "recommend", "--schema", schema, "--data", data, *more)


def test_it_says_what_the_batch_then_does(desk: Desk, schema: Path) -> None:
    write_csv(desk.accounts, hard())
    result = check(schema, desk.accounts, "--json")
    assert result.code == 0, result.err
    said: dict[str, Any] = json.loads(result.out)
    done = desk.recommend("out.csv", "--json")
    assert done.code == 0, done.err
    made = json.loads(done.out)
    assert (said["usable"], said["rows"] - said["usable"]) == (made["accounts"], made["rejected"])
    assert said["rows"] - said["usable"] == 5
    assert said["outside"] == made["outside"] == {"apr": 1, "dpd": 1}
    assert said["not_known"] == made["not_known"]
    first = [row for row in desk.rows() if row["rank"] == 1]
    of_plans = ("PAUSE", "NO_PLAN", "WRITE_OFF")  # what no file alone can tell
    codes = [row["handoff_code"] for row in first if row["handoff_code"] not in (None, *of_plans)]
    assert said["handed"] == {code: codes.count(code) for code in sorted(set(codes))}
    assert set(said["handed"]) == {
        *("OUT_OF_BOUNDS", "PROTECTED", "REQUESTED", "VULNERABLE", "DATE_CHANGES", "CONTRADICTION"),
    }
    assert "bipolar" not in result.out
    wrong = {(each["column"], each["effect"]) for each in said["findings"]}
    assert {("income", "dropped"), ("apr", "clipped"), ("jurisdiction", "dropped")} <= wrong


def test_it_is_shown_and_nothing_is_written(desk: Desk, schema: Path) -> None:
    write_csv(desk.accounts, hard())
    before = desk.left()
    shown = check(schema, desk.accounts)
    assert shown.code == 0
    words = " ".join(shown.out.split())
    assert "195 of 200 accounts can be decided." in words
    assert "Outside what the model knows, accounts: apr 1, dpd 1." in words
    assert "OUT_OF_BOUNDS 1" in words
    assert "nobody is spared for it: adviser_engaged" in words
    assert "Accepted" in words
    assert desk.left() == before


def test_a_file_of_which_nothing_can_be_decided_is_refused(desk: Desk, schema: Path) -> None:
    own = hard()
    write_csv(desk.accounts, {name: each[1:2] for name, each in own.items()})
    assert check(schema, desk.accounts).code == 4
    write_csv(desk.accounts, {name: each for name, each in own.items() if name != "balance"})
    assert check(schema, desk.accounts).code == 4
    assert check(schema, desk.folder / "nowhere.csv").code == 4


@pytest.mark.parametrize("wrong", [("--for", "fun"), ("--split", "column:stage"), ("--folder", "member")])
def test_options_that_do_not_go_together_are_refused(
    desk: Desk, schema: Path, wrong: tuple[str, str]
) -> None:
    assert check(schema, desk.accounts, *wrong).code == 2

"""What commands give to machines is JSON, and says what the screen says."""

import json
from pathlib import Path
from typing import Any

import pytest

from support.command import fedrepay

SCHEMA = """
name = "loans"
version = 1
[public]
n_max = 1000
prior = 0.3
[[columns]]
name = "balance"
role = "account"
type = "number"
bounds = [0, 100]
edges = [10, 20]
outside = "clip"
missing = "bin"
[[columns]]
name = "paid"
role = "outcome"
type = "integer"
good = 1
"""


def asked(*words: object) -> Any:
    done = fedrepay(*words, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_a_schema_and_a_catalogue(tmp_path: Path) -> None:
    schema = tmp_path / "loans.toml"
    schema.write_text(SCHEMA)
    assert asked("schema", "check", schema)["schema"] is None
    built = asked("schema", "build", schema)
    checked = asked("schema", "check", schema)
    assert checked["schema"] == built["schema"]
    assert "balance" in [each["name"] for each in checked["blocks"]]
    accounts = tmp_path / "accounts.csv"
    accounts.write_text("balance,paid\n5,1\n")
    assert asked("schema", "init", accounts, "--out", tmp_path / "draft.toml")["to_confirm"] > 0
    asked("member", "catalogue", "init", tmp_path / "mine.toml")
    plans = asked("member", "catalogue", "check", tmp_path / "mine.toml")["plans"]
    assert any(each["affordable"] for each in plans)


def test_a_member_before_it_joins(tmp_path: Path) -> None:
    made = asked("member", "init", "bank-a", "--folder", tmp_path / "m")
    entry = json.loads((tmp_path / "m" / "entry.json").read_text())
    assert made["signing"] == entry["signing"]
    words = ["abandon"] * 11 + ["about"]
    said = asked("member", "approve-roster", *words, "--folder", tmp_path / "m")
    assert said == {"approved": " ".join(words), "roster": None}
    mapping = tmp_path / "mine.toml"
    mapping.write_text('sql = "SELECT balance FROM data"\n')
    where = ("--folder", tmp_path / "m", "--mapping", mapping)
    signed = asked("member", "override-mapping", *where, "--reason", "branch totals are published")
    assert Path(signed["override"]).is_file()


@pytest.mark.parametrize("words", [("check",), ("explain",), ("test",)])
def test_a_rule_pack(words: tuple[str, ...]) -> None:
    said = asked("rules", *words, "us-fed")
    assert (said["pack"], said["disclaimer"]) == ("us-fed", "A template, not legal advice.")
    assert said.get("failed", 0) == 0
    assert said.get("rules") or said.get("cases")

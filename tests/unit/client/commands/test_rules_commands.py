"""`fedrepay rules check|explain|test|diff`, as a compliance officer types them."""

import json
import stat
from pathlib import Path
from typing import Any

import duckdb
import pytest

from fedrepay.client.plans.batch_io.rules_diff import COLUMNS, compare, facts_of
from fedrepay.shared.errors import ArgumentError, DataError
from fedrepay.shared.rules.pack import builtin_names, builtin_path, load_builtin, load_pack
from support.command import fedrepay
from support.decisions import write_decisions
from support.disk import fill_disk

US: dict[str, Any] = {
    "jurisdiction": "US",
    "debt_type": "card",
    "calls_7d": 0,
    "days_since_conversation": -1,
    "contact_minute": 600,
    "fees_authorised": True,
    "adviser_engaged": False,
    "contact_refused": False,
    "dispute": False,
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The built-in US pack with one rule changed: six calls instead of seven."""
    text = builtin_path("us-fed").read_text()
    text = text.replace("\nversion = 2\ntitle", "\nversion = 3\ntitle", 1)
    text = text.replace('days"\nversion = 1\n', 'days"\nversion = 2\n', 1).replace("most = 7", "most = 6")
    path = tmp_path / "my-us-fed.toml"
    path.write_text(text)
    return path


@pytest.fixture
def decisions(tmp_path: Path) -> Path:
    return write_decisions(
        tmp_path / "decisions.parquet",
        [
            {"account": "a5", "channel": "call"},
            {"account": "a6", "channel": "call"},
            {"account": "a6", "channel": "letter", "rank": 2},
            {"account": "a7", "channel": "call"},
            {"account": "uk", "channel": "call"},
        ],
        [
            {"account": "uk", **US, "jurisdiction": "UK", "calls_7d": 6},
            {"account": "a7", **US, "calls_7d": 7},
            {"account": "a6", **US, "calls_7d": 6},
            {"account": "a5", **US, "calls_7d": 5},
        ],
    )


@pytest.mark.parametrize("name", builtin_names())
def test_check_and_explain_show_every_rule_with_the_template_notice(name: str) -> None:
    (pack,) = load_builtin([name])
    for command in ("check", "explain"):
        shown = fedrepay("rules", command, name)
        assert shown.code == 0, shown.err
        assert "A template, not legal advice." in shown.out
        assert all(rule.id in shown.out and rule.article in shown.out for rule in pack.rules)
        assert shown.out.count("Not checked against the source") == (
            sum(not rule.checked for rule in pack.rules) if command == "explain" else 0
        )
    assert pack.sha256 in fedrepay("rules", "check", name).out


def test_explain_of_one_rule_names_source_facts_and_what_it_blocks() -> None:
    shown = fedrepay("rules", "explain", "us-fed", "hours")
    assert "12 CFR 1006.6(b)(1)(i)" in shown.out
    assert "before 08:00 or from 21:00 in the debtor's zone" in shown.out
    assert "contact_minute: minute of the day of the contact in the debtor's zone" in shown.out
    assert "calls_7d" not in shown.out
    restricted = fedrepay("rules", "explain", "uk-adm", "health-data-human")
    assert "health_data: data about health is held or used in this case (restricted)" in restricted.out
    wrong = fedrepay("rules", "explain", "us-fed", "nope")
    assert wrong.code == 2
    assert "no rule nope" in wrong.err
    assert "calls-7-in-7-days" in wrong.err


def test_a_pack_that_is_no_file_and_no_builtin_is_refused() -> None:
    refused = fedrepay("rules", "check", "moon")
    assert refused.code == 2
    assert "neither a file nor a built-in pack" in refused.err
    assert "us-fed" in refused.err
    assert fedrepay("rules", "check", "moon.toml").code == 3


def test_a_wrong_pack_is_refused_with_exit_code_3(mine: Path) -> None:
    mine.write_text(mine.read_text().replace("most = 6", "most = -6"))
    refused = fedrepay("rules", "check", mine)
    assert refused.code == 3
    assert "RuleError" in refused.err
    assert "rules.calls-7-in-7-days.parameters.contact_cap.most" in refused.err
    assert str(mine) in refused.err


@pytest.mark.parametrize("name", builtin_names())
def test_test_passes_for_each_builtin(name: str) -> None:
    result = fedrepay("rules", "test", name)
    assert result.code == 0, result.out + result.err
    assert "FAIL" not in result.out
    assert "cases passed" in result.out


def test_test_fails_where_a_changed_rule_breaks_a_case(mine: Path) -> None:
    failed = fedrepay("rules", "test", mine)
    assert failed.code == 3
    assert "FAIL the 7th call; blocked: 'calls-7-in-7-days', expected ''" in failed.out
    assert "1 of 23 cases of pack us-fed failed: the 7th call" in failed.err
    mine.write_text(mine.read_text().partition("[base.facts]")[0])
    without = fedrepay("rules", "test", mine)
    assert without.code == 3
    assert "has no cases" in without.err


def test_diff_finds_every_decision_a_changed_rule_touches(mine: Path, decisions: Path) -> None:
    found = compare(load_builtin(["us-fed"])[0], load_pack(mine), decisions)
    (one,) = found.touched
    assert (one.account, one.rank, one.change, one.rule) == ("a6", 1, "newly blocked", "calls-7-in-7-days")
    assert (one.old_version, one.new_version, one.article) == (1, 2, "12 CFR 1006.14(b)(2)(i)(A)")
    assert (found.decisions, found.accounts) == (5, 4)
    back = compare(load_pack(mine), load_builtin(["us-fed"])[0], decisions)
    assert [(each.account, each.change) for each in back.touched] == [("a6", "newly allowed")]
    assert not compare(load_builtin(["us-fed"])[0], load_builtin(["us-fed"])[0], decisions).touched


def test_diff_reads_csv_and_prints_no_fact(mine: Path, decisions: Path, tmp_path: Path) -> None:
    csv = tmp_path / "decisions.csv"
    duckdb.sql(f"COPY (FROM '{decisions}') TO '{csv}' (HEADER)")
    facts_of(csv).write_bytes(facts_of(decisions).read_bytes())
    for file in (decisions, csv):
        shown = fedrepay("rules", "diff", "us-fed", mine, "--decisions", file)
        assert shown.code == 0, shown.err
        assert "A template, not legal advice." in shown.out
        assert "a6" in shown.out
        assert "1 → 2" in shown.out
        assert "1 newly blocked; 1 of 4 accounts, 5 decisions with a plan, 0 without." in shown.out
        assert "600" not in shown.out, "no fact is shown"


def test_diff_as_json_and_to_a_file_that_others_cannot_read(
    mine: Path, decisions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "touched.csv"
    result = fedrepay("rules", "diff", "us-fed", mine, "--decisions", decisions, "--json", "--out", out)
    assert result.code == 0, result.err
    said = json.loads(result.out)
    assert [each["account"] for each in said["touched"]] == ["a6"]
    assert said["new"]["sha256"] == load_pack(mine).sha256
    assert said["disclaimer"] == "A template, not legal advice."
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert out.read_text().splitlines()[1].startswith("a6,1,OFFER,INSTALMENT,call,newly blocked,us-fed")
    before = out.read_bytes()
    fill_disk(monkeypatch, at=out.name)
    full = fedrepay("rules", "diff", mine, "us-fed", "--decisions", decisions, "--out", out)
    assert full.code == 5
    assert out.read_bytes() == before
    for wrong, says in (
        (tmp_path / "x.txt", "neither"),
        (decisions, "overwrite"),
        (facts_of(decisions), "over"),
    ):
        kept = fedrepay("rules", "diff", "us-fed", mine, "--decisions", decisions, "--out", wrong)
        assert kept.code == 2
        assert says in kept.err


def test_diff_with_a_day_looks_at_dates(mine: Path, decisions: Path) -> None:
    mine.write_text(mine.read_text().replace("effective_from = 2021-11-30", "effective_from = 2027-01-01"))
    for day, touched, lost in (("2026-12-31", ["a7"], {"a5", "a6", "a7"}), ("2027-01-01", ["a6"], set())):
        result = fedrepay("rules", "diff", "us-fed", mine, "--decisions", decisions, "--day", day, "--json")
        found = json.loads(result.out)["touched"]
        assert [each["account"] for each in found if "cover" not in each["change"]] == touched
        assert {each["account"] for each in found if each["change"] == "no longer covered"} == lost
    wrong = fedrepay("rules", "diff", "us-fed", mine, "--decisions", decisions, "--day", "soon")
    assert wrong.code == 2
    assert "--day soon is no date" in wrong.err


def test_a_fact_that_is_not_known_blocks_and_says_so(tmp_path: Path) -> None:
    facts = {**US, "account": "x", "calls_7d": None}
    other = {**US, "account": "y"}
    file = write_decisions(
        tmp_path / "d.parquet",
        [{"account": "x", "channel": "call"}, {"account": "y", "channel": "call"}],
        [facts, other],
    )
    (pack,) = load_builtin(["us-fed"])
    (without,) = [pack.model_copy(update={"rules": pack.rules[1:], "version": 2})]
    found = compare(without, pack, file)
    assert [(each.account, each.change, each.unknown) for each in found.touched] == [
        ("x", "newly blocked", True),
        ("x", "newly for a human", True),
    ]


def test_decisions_without_a_plan_are_counted_and_rows_keep_their_numbers(mine: Path, tmp_path: Path) -> None:
    plan = {name: None for name in COLUMNS if name not in ("account", "rank", "decision", "bound")}
    for suffix in ("parquet", "csv"):
        file = write_decisions(
            tmp_path / f"d.{suffix}",
            [
                {"account": "h", "decision": "HUMAN", **plan},
                {"account": "x", "channel": "call", "bound": None},
                {"account": "y", "channel": "call"},
            ],
            [{**US, "account": name, "calls_7d": 6} for name in "hxy"],
        )
        found = compare(load_builtin(["us-fed"])[0], load_pack(mine), file)
        assert [each.account for each in found.touched] == ["x", "y"]
        assert (found.decisions, found.accounts, found.without_plan) == (2, 2, 1)
    bad = write_decisions(
        tmp_path / "bad.parquet",
        [{"account": "h", **plan}, {"account": "x", "months": None}],
        [{**US, "account": name} for name in "hx"],
    )
    with pytest.raises(DataError, match=r"bad\.parquet, row 2: months is empty or no double"):
        compare(load_pack(mine), load_pack(mine), bad)


@pytest.mark.parametrize("column", COLUMNS)
def test_decisions_without_a_column_are_refused(tmp_path: Path, column: str) -> None:
    file = write_decisions(tmp_path / "d.parquet", [{"account": "x"}], [{**US, "account": "x"}], drop=column)
    (pack,) = load_builtin(["us-fed"])
    with pytest.raises(DataError, match=f"d.parquet lacks the columns {column}"):
        compare(pack, pack, file)


def test_decisions_and_facts_that_cannot_be_are_refused(tmp_path: Path) -> None:
    (pack,) = load_builtin(["us-fed"])
    one, facts = {"account": "x"}, {**US, "account": "x"}
    for changes, rows, says in (
        ({"kind": "GIFT"}, [facts], "row 1: kind 'GIFT' is none of FULL"),
        ({"channel": "fax"}, [facts], "row 1: channel 'fax' is none of sms"),
        ({}, [facts, facts], "has an account twice"),
        ({}, [{**facts, "account": "y"}], "has no facts of account x"),
        ({}, [{**facts, "calls_7d": -3}], "calls_7d, account 0: -3.0 is not whole, from 0"),
    ):
        file = write_decisions(tmp_path / "d.parquet", [one | changes], rows)
        with pytest.raises(DataError, match=says):
            compare(pack, pack, file)
    facts_of(file).unlink()
    with pytest.raises(ArgumentError, match=r"d\.parquet\.facts\.parquet is missing"):
        compare(pack, pack, file)
    with pytest.raises(DataError, match=r"none\.parquet: not a readable file"):
        compare(pack, pack, tmp_path / "none.parquet")


def test_check_and_explain_say_which_matters_a_pack_covers_and_for_whom() -> None:
    for command in ("check", "explain"):
        shown = " ".join(fedrepay("rules", command, "uk-fca").out.split())
        assert "Covers conduct, contact; cost where debt_type is consumer or card." in shown
        shown = " ".join(fedrepay("rules", command, "uk-breathing-space").out.split())
        assert "Covers no matter alone" in shown


def test_diff_finds_a_matter_that_is_no_longer_covered(decisions: Path, tmp_path: Path) -> None:
    narrow = tmp_path / "narrow.toml"
    text = builtin_path("us-fed").read_text()
    assert '["contact", "cost"]' in text
    narrow.write_text(text.replace('["contact", "cost"]', '["contact"]'))
    (pack,) = load_builtin(["us-fed"])
    found = compare(pack, load_pack(narrow), decisions)
    assert {(each.account, each.change, each.rule) for each in found.touched} == {
        (name, "no longer covered", "covers cost") for name in ("a5", "a6", "a7")
    }
    back = compare(load_pack(narrow), pack, decisions)
    assert {each.change for each in back.touched} == {"newly covered"}
    shown = fedrepay("rules", "diff", "us-fed", narrow, "--decisions", decisions)
    assert "4 no longer covered; 3 of 4 accounts" in shown.out


OWN = """
id = "own"
jurisdiction = "US"
version = {version}
title = "Own"
citation = "A law"
template = true
disclaimer = "A template, not legal advice."
covers = [{{ matters = ["conduct", "contact", "cost", "automated_decision"] }}]
[[rules]]
id = "told"
version = 1
article = "Article 1"
text = "t"
checked = false
parameters = {{ kind = "notice", notice = "told" }}
"""
STOP = """
[[rules]]
id = "rests"
version = 1
article = "Article 2"
text = "t"
checked = false
applies_to = [{ fact = "calls_7d", at_least = 6 }]
parameters = { kind = "stop_collection", blocks = "collecting", rests = RESTS }
"""


@pytest.mark.parametrize("rests", ["true", "false"])
def test_diff_finds_what_is_newly_stopped_where_no_plan_is_blocked(tmp_path: Path, rests: str) -> None:
    """A referral asks for no money, so no rule blocks it; that the debt rests changes the decision all the same."""
    free = {"kind": "REFER", "instalment": 0, "monthly": 0, "total": 0, "months": 0.0}
    file = write_decisions(
        tmp_path / "d.parquet",
        [{"account": "a5", **free}, {"account": "a6", **free}],
        [{**US, "account": "a5", "calls_7d": 5}, {**US, "account": "a6", "calls_7d": 6}],
    )
    also = rests == "false"  # without a rest a person decides besides
    was, now = tmp_path / "was.toml", tmp_path / "now.toml"
    was.write_text(OWN.format(version=1))
    now.write_text(OWN.format(version=2) + STOP.replace("RESTS", rests))
    changes = [
        [(each.account, each.change, each.rule, each.article) for each in compare(*packs, file).touched]
        for packs in ((load_pack(was), load_pack(now)), (load_pack(now), load_pack(was)))
    ]
    assert changes == [
        [
            ("a6", change, "rests", "Article 2")
            for change in (("newly for a human",) * also + ("newly stopped",))
        ],
        [
            ("a6", change, "rests", "Article 2")
            for change in (("no longer for a human",) * also + ("no longer stopped",))
        ],
    ]
    assert not compare(load_pack(now), load_pack(now), file).touched, "control"


def test_diff_finds_a_notice_that_is_new(decisions: Path, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN.format(version=1))
    told = load_pack(path)
    silent = told.model_copy(update={"rules": ()})
    found = {(each.account, each.change, each.article) for each in compare(silent, told, decisions).touched}
    assert found == {(name, "newly told", "Article 1") for name in ("a5", "a6", "a7")}
    assert {each.change for each in compare(told, silent, decisions).touched} == {"no longer told"}

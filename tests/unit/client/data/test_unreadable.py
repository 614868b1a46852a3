"""One unreadable cell drops its own row, by a rule of that row, counted at the member."""

from pathlib import Path

import pytest

from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.client.data.mappings.mapping import Mapping, UnreadableError, load_mapping
from fedrepay.client.data.reading import tolerant
from fedrepay.client.data.reading.columns import MAPPED
from fedrepay.client.data.reading.findings import Findings
from fedrepay.client.data.reading.table import Table
from support.dated_files import BOOK as DATED
from support.dated_files import CASH, DEALS
from support.dated_files import read as read_dated
from support.mixing import BOOK, KEYS, files, mapping, others

PLAIN = {
    "cast": "SELECT _row, who, late, date_diff('day', CAST(seen AS DATE), DATE '2025-08-31') AS a FROM data",
    "twice": "SELECT _row, who, late, year(CAST(seen AS DATE)) - 2000 + month(CAST(seen AS DATE)) AS a FROM data",
    "strptime": "SELECT _row, who, late, day(strptime(seen, '%Y-%m-%d')) AS a FROM data",
    "where": "SELECT _row, who, late, a FROM data WHERE CAST(seen AS DATE) > DATE '2025-01-01'",
    "sort": "SELECT _row, who, late, day(CAST(seen AS DATE)) AS a FROM data ORDER BY a DESC",
}
TOGETHER = {
    "group": "SELECT who, max(late) AS late, max(day(CAST(seen AS DATE))) AS a FROM data GROUP BY who",
    "with": "WITH d AS (SELECT who, late, day(CAST(seen AS DATE)) AS a FROM data) SELECT * FROM d",
    "window": "SELECT who, late, max(day(CAST(seen AS DATE))) OVER (PARTITION BY who) AS a FROM data",
}


def rows(folder: Path, bad: dict[int, str], customers: int = 40) -> None:
    lines = [f"c{i},{i % 2},5,{bad.get(i, '2025-07-' + str(10 + i % 9))}" for i in range(customers)]
    (folder / "data.csv").write_text("\n".join(["who,late,a,seen", *lines]) + "\n")


def read(folder: Path, sql: str) -> tuple[Table, Findings]:
    (folder / "m.toml").write_text(f"{KEYS}sql = '''{sql}'''\n[tables]\ndata = \"data.csv\"\n")
    return read_contributed(BOOK, None, load_mapping(folder / "m.toml"), draws=(0.5,))


@pytest.mark.parametrize("name", PLAIN)
def test_a_cell_that_an_expression_cannot_read_drops_its_row_and_is_shown(name: str, tmp_path: Path) -> None:
    rows(tmp_path, {})
    whole, _ = read(tmp_path, PLAIN[name])
    rows(tmp_path, {7: "31/07/2025", 30: "soon"})
    table, findings = read(tmp_path, PLAIN[name])
    assert others(table) == [each for each in others(whole) if each[0] not in ("c7", "c30")]
    (found,) = findings.groups
    assert found.effect == "dropped"
    assert found.rows is not None
    assert sorted(found.rows.tolist()) == [8, 31]
    assert found.bound.startswith("what `")
    assert findings.dropped == 2
    if name != "where":
        assert {each.value for each in found} == {"31/07/2025", "soon"}


@pytest.mark.parametrize("name", TOGETHER)
def test_a_cell_inside_a_join_or_group_drops_its_customer(name: str, tmp_path: Path) -> None:
    rows(tmp_path, {})
    whole, _ = read(tmp_path, TOGETHER[name])
    rows(tmp_path, {7: "31/07/2025", 30: "soon"})
    table, findings = read(tmp_path, TOGETHER[name])
    assert others(table) == [each for each in others(whole) if each[0] not in ("c7", "c30")]
    (found,) = findings.groups
    assert (found.column, found.effect) == ("(customer)", "dropped")
    assert found.rows is not None
    assert found.rows.tolist() == [8, 31]


def test_control_as_it_stands_one_cell_ends_the_whole_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(tmp_path, {7: "31/07/2025"})
    monkeypatch.setattr(tolerant, "create", lambda open_, sql: open_.sql(sql).create(MAPPED) or [])
    monkeypatch.setattr("fedrepay.client.data.checking.contributed.MOST_UNREADABLE", 0)
    with pytest.raises(UnreadableError, match="Could not convert a cell of the column seen"):
        read(tmp_path, PLAIN["cast"])


def test_too_many_unreadable_customers_are_told_and_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(tmp_path, dict.fromkeys(range(6), "soon"))
    monkeypatch.setattr("fedrepay.client.data.checking.contributed.MOST_UNREADABLE", 5)
    with pytest.raises(UnreadableError, match="More than 5 customers have such cells") as caught:
        read(tmp_path, TOGETHER["group"])
    assert "TRY_CAST" in caught.value.remedy


def test_an_expression_guarded_by_where_or_case_is_not_read(tmp_path: Path) -> None:
    rows(tmp_path, {7: "31/07/2025"})
    guarded = "CASE WHEN seen LIKE '____-%' THEN day(CAST(seen AS DATE)) END"
    _, findings = read(tmp_path, f"SELECT _row, who, late, {guarded} AS a FROM data")
    assert findings.groups == ()
    _, findings = read(tmp_path, f"{PLAIN['cast']} WHERE seen LIKE '____-%'")
    assert findings.groups == ()


def test_an_alias_that_another_expression_reads_keeps_its_value(tmp_path: Path) -> None:
    rows(tmp_path, {})
    table, findings = read(tmp_path, "SELECT who, late, CAST(late AS INT) + 1 AS b, b * 30 AS a FROM data")
    assert [each.column for each in findings.groups] == ["b"], "not a column of the schema, and said so"
    table, findings = read(
        tmp_path, "SELECT who, CAST(late AS INT) AS late, CAST(late AS INT) * 30 AS a FROM data"
    )
    assert findings.groups == ()
    assert {each[1] for each in others(table)} == {0, 2}


def test_unread_dates_and_amounts_of_outcomes_drop_their_offer(tmp_path: Path) -> None:
    deals = [*DEALS]
    deals[1] = deals[1].replace("15.01.2026", "2026-01-15")  # strptime of the mapping cannot read it
    read_dated(tmp_path, deals=deals, cash=[*CASH, "A2,b8,2026-02-30,5,"])
    table, findings = read_contributed(DATED, None, load_mapping(tmp_path / "mine.toml"), draws=(0.5,))
    assert table.extra["offer_id"].tolist() == ["A3", "A5"]
    assert {(Path(each.file).name, each.column, each.effect) for each in findings.groups} == {
        ("deals.csv", "first_due_on", "dropped"),
        ("cash.csv", "paid_on", "dropped"),
    }


def test_most_rows_dropped_is_a_refusal_and_a_where_says_it_is_meant(tmp_path: Path) -> None:
    bad = dict.fromkeys(range(21), "soon")
    rows(tmp_path, bad)
    _, findings = read(tmp_path, PLAIN["cast"])
    (refused,) = [each for each in findings.groups if each.fatal]
    assert "21 of 40 would be dropped" in refused.bound
    assert "WHERE" in refused.bound
    _, findings = read(tmp_path, f"{PLAIN['cast']} WHERE seen <> 'soon'")
    assert findings.groups == ()
    rows(tmp_path, dict.fromkeys(range(20), "soon"))
    _, findings = read(tmp_path, PLAIN["cast"])
    assert not [each for each in findings.groups if each.fatal], "half of them may"


def test_where_no_row_is_left_the_file_is_refused(tmp_path: Path) -> None:
    rows(tmp_path, {}, customers=0)
    _, findings = read(tmp_path, PLAIN["cast"])
    assert [each.bound for each in findings.groups if each.fatal] == ["a table with at least one row"]


def test_a_bad_row_more_leaves_all_others_as_they_are(tmp_path: Path) -> None:
    """Where a cell is bad does not decide how the others are computed."""
    how: Mapping = mapping(tmp_path, "SELECT who, late, CAST(a AS DOUBLE) / 3 AS a FROM data")
    files(tmp_path, more=False)
    before, _ = read_contributed(BOOK, None, how, draws=())
    files(tmp_path, more=False, data=["x,acc-x,off-x,0,none,north,1"])
    after, findings = read_contributed(BOOK, None, how, draws=())
    assert others(before) == others(after)
    assert before.values["a"].tobytes() == after.values["a"].tobytes()
    assert findings.dropped == 1

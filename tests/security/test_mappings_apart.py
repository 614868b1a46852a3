"""A mapping may put together rows of one customer only: what mixes is refused, and without the checks moves the sums."""

from pathlib import Path

import duckdb
import pytest

from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.client.data.mappings import rowwise
from fedrepay.client.data.mappings.mapping import Mapping
from fedrepay.client.data.reading.findings import Group
from fedrepay.shared.errors import MappingError
from support.mixing import BOOK, KEYS, files, mapping, moved, others, unchecked

MIXING = {
    "anti": "SELECT d.who, d.late, d.a FROM data d ANTI JOIN paid p ON d.branch = p.branch",
    "semi": "SELECT d.who, d.late, d.a FROM data d SEMI JOIN paid p ON d.branch = p.branch",
    "asof": "SELECT d.who, d.late, p.a FROM data d ASOF LEFT JOIN paid p "
    "ON CAST(d.day AS INT) + 46 >= CAST(p.day AS INT)",
    "comma": "SELECT d.who, d.late, p.a FROM data d, paid p WHERE d.branch = p.branch",
    "cross": "SELECT d.who, d.late, p.a FROM data d CROSS JOIN paid p WHERE p.branch <> 'none'",
    "inequality": "SELECT d.who, d.late, p.a FROM data d LEFT JOIN paid p ON CAST(d.day AS INT) < CAST(p.day AS INT)",
    "same branch": "SELECT d.who, d.late, p.a FROM data d LEFT JOIN paid p ON d.branch = p.branch",
    "using branch": "SELECT d.who, d.late, p.a FROM data d LEFT JOIN paid p USING (branch)",
    "natural": "SELECT e.who, e.late, p.a FROM (SELECT who, late, branch FROM data) e "
    "NATURAL JOIN (SELECT branch, a FROM paid) p",
    "positional": "SELECT d.who, d.late, p.a FROM data d POSITIONAL JOIN "
    "(SELECT * FROM paid UNION ALL SELECT * FROM paid) p",
    "right": "SELECT d.who, d.late, p.a FROM paid p RIGHT JOIN data d ON p.branch = d.branch",
    "keys of two kinds": "SELECT d.who, d.late, p.a FROM data d LEFT JOIN (SELECT branch AS acc, a FROM paid) p "
    "ON d.branch = p.acc",
    "renamed to a key": "WITH p AS (SELECT branch AS who, a FROM paid), e AS (SELECT who AS id, late, branch AS who "
    "FROM data) SELECT e.id AS who, e.late, p.a FROM e LEFT JOIN p ON e.who = p.who",
    "or": "SELECT d.who, d.late, p.a FROM data d LEFT JOIN paid p ON d.who = p.who OR d.branch = p.branch",
    "query": "SELECT who, late, q.m AS a FROM data, query('SELECT avg(CAST(a AS DOUBLE)) - 20 AS m FROM data') q",
    "row": "SELECT who, late, (CAST(late AS INT) + _row) % 2 * 60 AS a FROM data",
    "row in a table": "WITH d AS (SELECT _row AS n, * FROM data) SELECT who, late, (CAST(late AS INT) + n) % 2 * 60 AS a FROM d",
    "count over": "SELECT who, late, CASE WHEN count(*) OVER () > 300 THEN '5' ELSE '55' END AS a FROM data",
    "row number": "SELECT who, late, (row_number() OVER (ORDER BY _row) + CAST(late AS INT)) % 2 * 60 AS a FROM data",
    "over branch": "SELECT who, late, max(CAST(a AS INT)) OVER (PARTITION BY branch) - 50 AS a FROM data",
    "lag": "SELECT who, late, lag(a, 3, '5') OVER (PARTITION BY late ORDER BY _row) AS a FROM data",
    "group by branch": "WITH m AS (SELECT branch, max(CAST(a AS INT)) - 50 AS a FROM data GROUP BY branch) "
    "SELECT d.who, d.late, m.a FROM data d JOIN m ON d.branch = m.branch",
    "group by an alias": "SELECT max(who) AS who, max(late) AS late, max(CAST(a AS INT)) - 50 AS a, branch AS acc_ "
    "FROM data GROUP BY acc_",
    "subquery": "SELECT who, late, CAST(a AS INT) - (SELECT max(CAST(a AS INT)) FROM data) + 59 AS a FROM data",
    "exists": "SELECT who, late, a FROM data WHERE NOT EXISTS (SELECT 1 FROM paid p WHERE p.branch = data.branch)",
    "all": "SELECT who, late, a FROM data WHERE CAST(a AS INT) + 31 > ALL (SELECT CAST(a AS INT) FROM data)",
    "in": "SELECT who, late, a FROM data WHERE branch NOT IN (SELECT branch FROM paid)",
    "limit": "SELECT who, late, a FROM data ORDER BY a DESC LIMIT 150",
    "offset": "SELECT who, late, a FROM data ORDER BY _row OFFSET 150",
    "distinct": "SELECT DISTINCT ON (branch) who, late, a FROM data ORDER BY branch, _row",
    "except": "SELECT who, late, a FROM data WHERE branch IN (SELECT branch FROM data EXCEPT SELECT branch FROM paid)",
    "unmatched group": "SELECT min(d.who) AS who, min(d.late) AS late, max(CAST(d.a AS INT)) - 50 AS a "
    "FROM data d LEFT JOIN paid p ON d.who = p.who AND p.branch = 'west' GROUP BY p.acc, d.branch",
    "qualify": "SELECT who, late, a FROM data QUALIFY rank() OVER (PARTITION BY branch ORDER BY CAST(a AS INT) DESC) < 7",
}
ONLY_REFUSED = {
    "customer is a branch": "SELECT branch AS who, late, a FROM data",
    "union": "SELECT who, late, a FROM data UNION ALL SELECT who, late, a FROM data",
    "sample": "SELECT who, late, a FROM data USING SAMPLE 10%",
    "tablesample": "SELECT who, late, a FROM data TABLESAMPLE 10%",
    "group by all": "SELECT who, late, max(a) AS a FROM data GROUP BY ALL",
    "rollup": "SELECT who, max(late) AS late, max(a) AS a FROM data GROUP BY ROLLUP (who)",
    "recursive": "WITH RECURSIVE r AS (SELECT who, late, a FROM data UNION ALL SELECT who, late, a FROM r WHERE false) "
    "SELECT * FROM r",
    "random": "SELECT who, late, random() AS a FROM data",
    "today": "SELECT who, late, date_diff('day', DATE '2020-01-01', today()) AS a FROM data",
    "current date": "SELECT who, late, year(current_date) AS a FROM data",
    "age": "SELECT who, late, year(age(DATE '2020-01-01')) AS a FROM data",
    "statistics": "SELECT who, late, length(stats(a)) AS a FROM data",
    "setting": "SELECT who, late, length(current_setting('threads')) AS a FROM data",
    "range": "SELECT who, late, a FROM data JOIN range(3) r(i) ON data.who = r.i",
    "system table": "SELECT d.who, d.late, t.estimated_size AS a FROM data d JOIN duckdb_tables t ON d.who = t.table_name",
    "whole row": "SELECT who, late, length(CAST(data AS VARCHAR)) AS a FROM data",
    "rowid": "SELECT who, late, rowid AS a FROM data",
    "lambda": "SELECT who, late, list_transform([a], x -> x)[1] AS a FROM data",
    "columns": "SELECT COLUMNS('who|late|a') FROM data",
    "first": "SELECT who, max(late) AS late, first(a) AS a FROM data GROUP BY who",
    "nobody's": "SELECT 'c1' AS who, 0 AS late, rate AS a FROM rates",
    "lateral": "SELECT d.who, d.late, t.a FROM data d, LATERAL (SELECT max(p.a) AS a FROM paid p WHERE p.who = d.who) t",
    "public": "SELECT d.who, d.late, r.rate AS a FROM data d JOIN rates r ON d.branch = r.branch",
}
FEW = ("positional", "lag", "limit", "offset", "distinct", "group by an alias", "unmatched group", "qualify")
"""Where one customer moves some other rows, not all."""
APART = {
    "plain": "SELECT _row, who, late, a FROM data ORDER BY _row",
    "star": "SELECT * EXCLUDE (acc, off, branch, day) FROM data",
    "join": "SELECT d._row, d.who, d.late, p.a FROM data d JOIN paid p ON d.who = p.who AND CAST(p.a AS INT) > 5",
    "by account": "SELECT d.who, d.late, p.a FROM data d LEFT JOIN paid p ON CAST(p.acc AS VARCHAR) = d.acc",
    "using": "SELECT who, late, p.a FROM data d LEFT JOIN (SELECT who, a FROM paid) p USING (who)",
    "group": "WITH p AS (SELECT who AS id, sum(CAST(a AS INT)) AS s, arg_max(a, day ORDER BY day, _row) AS l FROM paid "
    "GROUP BY who) SELECT d.who, d.late, p.s AS a FROM data d JOIN p ON p.id = d.who",
    "group by place": "SELECT who, max(late) AS late, max(CAST(a AS INT)) AS a FROM data GROUP BY 1 HAVING count(*) > 0",
    "group by account": "SELECT max(who) AS who, max(late) AS late, median(CAST(a AS INT)) AS a FROM data GROUP BY acc",
    "window": "SELECT who, late, sum(CAST(a AS INT)) OVER (PARTITION BY who ORDER BY day, _row) AS a FROM data "
    "QUALIFY row_number() OVER (PARTITION BY who ORDER BY day, _row) = 1",
    "functions": "SELECT 'k' || upper(trim(who)) AS who, late, CASE WHEN a LIKE '1%' THEN NULL ELSE "
    "greatest(round(CAST(a AS DOUBLE) / 3), 2) END AS a FROM data WHERE branch IN ('north', 'south')",
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    files(tmp_path, more=False)
    return tmp_path


def faults(folder: Path, sql: str, head: str = KEYS) -> list[str]:
    how = mapping(folder, sql, head)
    columns = {name: path.read_text().partition("\n")[0].split(",") for name, path in how.tables.items()}
    columns = {name: ["_row", *each] for name, each in columns.items()}
    with duckdb.connect() as connection:
        found = rowwise.checked(connection, how, columns, "who", dated=False)
    return [each.said for each in found.faults]


@pytest.mark.parametrize("name", [*MIXING, *ONLY_REFUSED])
def test_what_could_mix_customers_is_refused(name: str, here: Path) -> None:
    assert len(faults(here, {**MIXING, **ONLY_REFUSED}[name])) == 1


@pytest.mark.parametrize("name", APART)
def test_what_keeps_them_apart_is_let_through_and_moves_by_at_most_delta(name: str, here: Path) -> None:
    assert faults(here, APART[name]) == []
    how = mapping(here, APART[name])
    before, after = (unchecked(here, how, more=more) for more in (False, True))
    assert len(before.codes) >= 100
    assert others(before) == [each for each in others(after) if each[0] != "kONE-MORE"]
    assert moved(before, after) <= 1


@pytest.mark.parametrize("name", MIXING)
def test_control_without_the_check_one_customer_moves_others_by_many_delta(name: str, here: Path) -> None:
    how = mapping(here, MIXING[name])
    before, after = (unchecked(here, how, more=more) for more in (False, True))
    assert others(before) != others(after)
    assert moved(before, after) > (0.5 if name in FEW else 4)


@pytest.mark.parametrize("name", MIXING)
def test_halves_see_what_the_list_would_miss(name: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files(here, more=True)
    how = mapping(here, MIXING[name])
    monkeypatch.setattr(
        rowwise,
        "checked",
        lambda *_args, **_kw: rowwise.CheckedSelects((), frozenset({("data", "who")}), together=False),
    )
    _, findings = read_contributed(BOOK, None, how)
    assert [
        each.bound for each in findings.groups if "made of its own customer's rows alone" in each.bound
    ], name


@pytest.mark.parametrize("name", APART)
def test_halves_find_nothing_where_customers_are_apart(name: str, here: Path) -> None:
    table, findings = read_contributed(BOOK, None, mapping(here, APART[name]))
    assert not [each for each in findings.groups if each.fatal]
    assert len(table.codes) >= 100


def test_a_public_table_is_one_that_the_mapping_declares_and_holds_no_key(here: Path) -> None:
    sql = ONLY_REFUSED["public"]
    assert "`public`" in faults(here, sql)[0]
    assert faults(here, sql, KEYS + 'public = ["rates"]\n') == []
    how = mapping(here, sql, KEYS + 'public = ["rates"]\n')
    assert not [each for each in read_contributed(BOOK, None, how)[1].groups if each.fatal]
    lookup = "SELECT d.who, d.late, t.rate AS a FROM data d JOIN (VALUES ('north', 3), ('south', 40)) t(b, rate) ON t.b = d.branch"
    assert faults(here, lookup) == []
    assert "it holds the key acc" in faults(here, MIXING["same branch"], KEYS + 'public = ["paid"]\n')[0]


def test_a_pivot_is_no_select(here: Path) -> None:
    with pytest.raises(MappingError, match="exactly one SELECT"):
        mapping(here, "PIVOT (SELECT who, late, a FROM data) ON late USING max(a)")


def test_without_declared_keys_nothing_can_be_joined(here: Path) -> None:
    assert "equality of two keys" in faults(here, APART["join"], "")[0]
    assert faults(here, APART["plain"], "") == []


def test_where_each_row_is_a_customer_nothing_may_look_at_two(here: Path) -> None:
    how = mapping(here, "SELECT late, max(a) OVER (PARTITION BY who) AS a FROM data")
    columns = {"data": ["_row", "who", "late", "a"]}
    with duckdb.connect() as connection:
        (fault,) = rowwise.checked(connection, how, columns, None, dated=False).faults
    assert "names no customer" in fault.said


def refused(folder: Path, how: Mapping) -> list[Group]:
    return [each for each in read_contributed(BOOK, None, how, draws=())[1].groups if each.fatal]


def test_a_key_of_two_customers_is_refused(tmp_path: Path) -> None:
    how = mapping(tmp_path, APART["by account"])
    files(tmp_path, more=False)
    assert refused(tmp_path, how) == []
    files(tmp_path, more=False, data=["c-new,acc7,off-n,0,5,north,1"])
    (found,) = refused(tmp_path, how)
    assert found.column == "keys"
    assert "1 accounts or offers belong to several (rows 8, 301" in found.bound


def test_rows_with_an_empty_key_meet_nobody(tmp_path: Path) -> None:
    """Two customers' empty account numbers are not one account."""
    how = mapping(tmp_path, "SELECT max(who) AS who, max(late) AS late, count(*) AS a FROM data GROUP BY acc")
    files(tmp_path, more=False, data=["x1,,off-x,0,5,north,1", 'x2,"",off-y,0,5,north,1'])
    table, findings = read_contributed(BOOK, None, how, draws=())
    assert {"x1", "x2"}.isdisjoint(table.customers)
    (told,) = [each for each in findings.groups if each.column == "acc"]
    assert told.rows is not None
    assert (told.rows.tolist(), told.effect) == ([301, 302], "dropped")


def test_an_override_turns_refusals_into_words(here: Path) -> None:
    how = mapping(here, MIXING["over branch"])
    assert [each.column for each in refused(here, how)] == ["(mapping: sql)"]
    table, findings = read_contributed(BOOK, None, how, override=b"d" * 32)
    assert not [each for each in findings.groups if each.fatal]
    assert len(table.codes) == 300
    assert {each.column for each in findings.groups if each.kind == "warn"} == {"(mapping: sql)", "a"}


def test_draws_come_from_the_system_s_entropy(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def zeros(size: int) -> bytes:
        asked.append(size)
        return bytes(size)

    monkeypatch.setattr("fedrepay.client.data.checking.halves.os.urandom", zeros)
    read_contributed(BOOK, None, mapping(here, APART["plain"]), draws=(0.5,))
    assert asked == [16]

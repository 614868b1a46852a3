"""Whatever mapping is let through: one more customer moves no other's row, and random parts make the whole."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.client.data.reading.table import read_table
from support.mixing import BOOK, MORE, mapping, others

CELLS = st.sampled_from(["", "0", "7", "15", "55", "none", "1e3", "-4"])
NUMBER = "CAST({} AS DOUBLE)"
SCALARS = st.recursive(
    st.sampled_from(["{t}.a", "{t}.day", "3", "NULL"]).map(NUMBER.format),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda each: f"({' '.join(each)})"),
        st.tuples(inner, inner).map(lambda each: f"coalesce({', '.join(each)})"),
        st.tuples(inner, inner).map(lambda each: f"greatest({', '.join(each)})"),
        st.tuples(inner, inner, inner).map(
            lambda each: f"CASE WHEN {each[0]} > 9 THEN {each[1]} ELSE {each[2]} END"
        ),
        inner.map(lambda each: f"round(abs({each}), 1)"),
        inner.map(lambda each: f"TRY_CAST({each} AS INTEGER)"),
    ),
    max_leaves=5,
)
SUMS = st.sampled_from(["sum", "min", "max", "count", "avg", "median"])
KEY = st.sampled_from(["who", "acc"])


@st.composite
def selects(draw: st.DrawFn) -> str:
    """A SELECT of the kinds that docs/mappings.md allows."""
    here, there = draw(SCALARS).format(t="d"), draw(SCALARS).format(t="p")
    key, join, total = draw(KEY), draw(st.sampled_from(["JOIN", "LEFT JOIN"])), draw(SUMS)
    over = f"max({here}) OVER (PARTITION BY d.{key} ORDER BY d._row)"
    where = draw(st.sampled_from(["", "WHERE d.branch = 'north'", f"WHERE {here} > 3"]))
    on = f"d.{key} = p.{key}" + draw(st.sampled_from(["", " AND p.day > d.day", f" AND {there} < 40"]))
    grouped = (
        f"WITH p AS (SELECT {key}, {total}({there}) AS t FROM paid p GROUP BY {key}) "
        f"SELECT d.who, d.late, CAST(p.t AS DOUBLE) + {here} AS a FROM data d {join} p ON d.{key} = p.{key} {where}"
    )
    shapes = (
        f"SELECT d.who, d.late, {here} AS a FROM data d {where}",
        f"SELECT d.who, d.late, {over} AS a FROM data d {where}",
        f"SELECT d.who, d.late, {here} - {there} AS a FROM data d {join} paid p ON {on} {where}",
        f"SELECT who, d.late, {there} AS a FROM data d {join} paid p USING (who) {where}",
        f"SELECT max(d.who) AS who, max(d.late) AS late, {total}({here}) AS a FROM data d {where} GROUP BY d.{key}",
        f"SELECT d.who, d.late, r.rate AS a FROM data d {join} rates r ON r.branch = d.branch {where}",
        grouped,
    )
    return draw(st.sampled_from(shapes))


ROWS = st.lists(
    st.tuples(st.integers(0, 7), CELLS, st.sampled_from(["north", "south", ""]), CELLS), max_size=14
)
HEAD = 'keys = {customer = ["who"], account = ["acc"]}\npublic = ["rates"]\n'


def write(
    folder: Path, data: list[tuple[int, str, str, str]], paid: list[tuple[int, str, str, str]], *, more: bool
) -> None:
    for name, rows in (("data", data), ("paid", paid)):
        lines = [
            f"c{n},acc{n},off{i},{i % 2},{a},{branch},{day}" for i, (n, a, branch, day) in enumerate(rows)
        ]
        own = [f"{MORE},acc-m,off-{name}{i},0,{a},north,{i}" for i, a in enumerate(("99", "7")) if more]
        (folder / f"{name}.csv").write_text("\n".join(["who,acc,off,late,a,branch,day", *own, *lines]) + "\n")
    (folder / "rates.csv").write_text("branch,rate\nnorth,3\nsouth,40\n")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(selects(), ROWS, ROWS)
def test_one_more_customer_moves_no_other_row(
    tmp_path: Path,
    sql: str,
    data: list[tuple[int, str, str, str]],
    paid: list[tuple[int, str, str, str]],
) -> None:
    data = [(0, "5", "north", "1"), (1, "30", "south", "2"), *data]
    how = mapping(tmp_path, sql, HEAD)
    found = []
    for more in (False, True):
        write(tmp_path, data, paid, more=more)
        table, findings = read_contributed(BOOK, None, how, draws=(0.5,))
        about = [each.bound for each in findings.groups if each.fatal]
        assert not [each for each in about if "alone" in each or "allowed" in each or "key" in each], (
            sql,
            about,
        )
        assert not [each for each in findings.groups if each.column.startswith("(mapping")], (sql, about)
        found.append(others(table))
    assert found[0] == found[1], sql


def test_control_a_mixing_select_fails_this_property(tmp_path: Path) -> None:
    how = mapping(tmp_path, "SELECT d.who, d.late, max(CAST(d.a AS DOUBLE)) OVER () AS a FROM data d", HEAD)
    found = []
    for more in (False, True):
        write(tmp_path, [(0, "5", "north", "1"), (1, "30", "south", "2")], [], more=more)
        found.append(others(read_table(BOOK, None, how, need_outcome=True)[0]))
    assert found[0] != found[1]

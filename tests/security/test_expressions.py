"""A derived column comes from outside: what could reach another row or another file must not run."""

import os
from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.client.data.reading.columns import derive
from fedrepay.client.data.reading.files import opened, sandbox
from fedrepay.shared.errors import SchemaError
from fedrepay.shared.schema.columns import Column
from fedrepay.shared.schema.expressions import checked

COLUMNS = ("a", "b")

RUNS_IN_DUCKDB = [
    # another row, or all of them
    "sum(a) OVER ()",
    "lag(a) OVER (ORDER BY b)",
    "row_number() OVER ()",
    "sum(a)",
    "max(a) - avg(a)",
    "count(*)",
    "quantile_cont(a, 0.5)",
    "arg_max(a, b)",
    "sum(a) FILTER (WHERE b > 1)",
    "(SELECT max(a) FROM t)",
    "a IN (SELECT b FROM t)",
    "EXISTS (SELECT 1 FROM t WHERE b > 3)",
    "a > ALL (SELECT b FROM t)",
    # files and the machine
    "(SELECT count(*) FROM read_text('{file}'))",
    "(SELECT content FROM read_text('{file}'))",
    "(SELECT count(*) FROM '{file}')",
    "(SELECT count(*) FROM duckdb_settings())",
    "current_setting('threads')",
    "version()",
    # chance and the clock
    "random()",
    "a + random()",
    "uuid()",
    "epoch(now())",
    "current_date",
    "today()",
    # lambdas, lists, text that grows
    "list_sum(list_transform([1, 2], lambda x: x + a))",
    "[1, 2][1]",
    "{{'k': a}}.k",
    "repeat('x', 3)",
    "length(repeat('x', 1000000))",
    "range(3)",
    "unnest([1, 2])",
    "hash(a)",
    "a::VARCHAR",
    "a::DECIMAL(5, 2)",
    # more than one expression
    "a, b",
    "a AS c, b",
    "*",
    "COLUMNS(*)",
    "t.a",
    "rowid",
]

ONLY_TEXT = [
    "getenv('HOME')",
    "a) FROM t; DROP TABLE t; --",
    "a); ATTACH '{file}' AS x; SELECT (1",
    "a) + (b",
    "",
    "a +",
    "a; b",
    "c",
    "late",
    "$1",
    "?",
    "'" * 3,
    "(" * 1500,
    "(" * 600 + "a" + ")" * 600,
    "a" + " + a" * 600,
    "main.abs(a)",
    "my_macro(a)",
    "read_csv('{file}')",
    "a::INTEGER[]",
    "floor(a TO day)",
    "round(a, b)",
]


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.csv"
    file.write_text("s\n41\n")
    return file


@pytest.mark.parametrize("text", RUNS_IN_DUCKDB + ONLY_TEXT)
def test_hostile_expressions_are_refused(text: str, secret: Path) -> None:
    with pytest.raises(SchemaError) as caught:
        checked(text.replace("{file}", str(secret)), COLUMNS)
    assert caught.value.cause
    assert "arithmetic" in caught.value.remedy


@pytest.mark.parametrize("text", RUNS_IN_DUCKDB)
def test_control_the_raw_text_would_have_run(text: str, secret: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT i::DOUBLE AS a, i * 2.0 AS b FROM range(5) r(i)")
        raw = text.replace("{file}", str(secret)).replace("{{", "{").replace("}}", "}")
        assert connection.execute(f"SELECT {raw} FROM t").fetchall()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + 2 * b", [5, 10, None]),
        ("a / 0", [None, None, None]),
        ("ln(a - 1)", [None, 0, None]),
        ("sqrt(-a)", [None, None, None]),
        ("CASE WHEN a > 1 THEN 1 ELSE 0 END", [0, 1, 0]),
        ("coalesce(a, -1)", [1, 2, -1]),
        ("greatest(a, b)", [2, 4, 6]),
        ("nullif(a, 2)", [1, None, None]),
        ("log10(a * 100)", [2, 2.30102999566398, None]),
        ("a IN (1, 3)", [1, 0, None]),
        ("a BETWEEN 1 AND 1.5", [1, 0, None]),
        ("a IS NULL", [0, 0, 1]),
        ("NOT a > 1", [1, 0, None]),
        ("round(a / 3, 2)", [0.33, 0.67, None]),
        ("cast(a AS BIGINT)", [1, 2, None]),
        ("- -a -- a comment", [1, 2, None]),
        ("pow(10, a * 400)", [None, None, None]),
        ("7", [7, 7, 7]),
    ],
)
def test_scalar_expressions_run_and_one_rows_error_is_a_missing_value(
    text: str, expected: list[float | None]
) -> None:
    values = derive(numeric(text), {"a": np.array([1, 2, np.nan]), "b": np.array([2.0, 4, 6])}, 3)
    wanted = np.array([np.nan if each is None else each for each in expected], dtype=float)
    found = np.asarray(values, dtype=float)
    assert np.allclose(found, wanted, equal_nan=True), found


def test_every_identifier_is_quoted_in_what_runs() -> None:
    assert checked("CASE a WHEN 1 THEN b END /* x */", COLUMNS) == 'CASE "a" WHEN 1 THEN "b" END'


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=8), st.data())
def test_no_row_moves_when_another_changes(values: list[float], data: st.DataObject) -> None:
    text = "CASE WHEN a > 0 THEN ln(a) ELSE abs(a) / nullif(b, 3) END + greatest(a, b, -50)"
    a, b = np.array(values), np.array(values[::-1])
    index = data.draw(st.integers(0, len(values) - 1))
    before = np.asarray(derive(numeric(text), {"a": a, "b": b}, len(a)), dtype=float)
    a2, b2 = a.copy(), b.copy()
    a2[index], b2[index] = data.draw(st.floats(-100, 100)), data.draw(st.floats(-100, 100))
    after = np.asarray(derive(numeric(text), {"a": a2, "b": b2}, len(a)), dtype=float)
    others = np.arange(len(a)) != index
    assert np.array_equal(before[others], after[others], equal_nan=True)


def test_types_that_do_not_meet_are_a_schema_error() -> None:
    with pytest.raises(SchemaError, match="derived cannot be computed"):
        derive(numeric("s * a"), {"a": np.array([1.0]), "s": np.array(["x"], dtype=object)}, 1)


def numeric(text: str) -> Column:
    return Column(name="made", role="account", type="number", bounds=(0.0, 1.0), edges=(0.5,), derived=text)


def test_the_sandbox_reaches_nothing_outside(secret: Path, tmp_path: Path) -> None:
    os.environ["FEDREPAY_TEST"] = "1"
    attempts = [
        f"SELECT * FROM read_csv('{secret}')",
        f"SELECT * FROM '{secret}'",
        f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'x.db'}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET threads = 2",
        "SELECT getenv('HOME')",
        "SELECT * FROM attempts",
    ]
    with duckdb.connect() as free:
        assert free.execute(attempts[0]).fetchall() == [(41,)], "control: without the sandbox it reads"
    with sandbox() as connection:
        for attempt in attempts:
            with pytest.raises(duckdb.Error):
                connection.execute(attempt)
    with opened({"data": secret}) as (connection, found):
        assert not found
        assert connection.execute("SELECT s FROM data").fetchall() == [("41",)]
        for attempt in attempts:
            with pytest.raises(duckdb.Error):
                connection.execute(attempt)

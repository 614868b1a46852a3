"""Files and mappings: what cannot be read is a finding or a typed error, and a SELECT stays in its tables."""

import re
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fedrepay.client.data.mappings.mapping import Mapping, load_mapping, without_columns
from fedrepay.client.data.reading import files
from fedrepay.client.data.reading.findings import Findings
from fedrepay.client.data.reading.table import Table, read_table
from fedrepay.shared.errors import ArgumentError, MappingError
from fedrepay.shared.schema.codebook import build
from support.schemas import column, schema

BOOK = build(schema(column("a"), column("c", "category", categories=["x", "y"], missing="bin")).encode())
HEAD = "who,late,a,c\n"
ROWS = "SELECT 'k' || i AS who, i % 2 AS late, i * 1.0 AS a, 'x' AS c FROM range(50) r(i)"
LEARN = "SELECT who, late, a, c FROM data"


def read(file: Path, how: Mapping | None = None, *, outcome: bool = True) -> tuple[Table, Findings]:
    return read_table(BOOK, file, how, need_outcome=outcome)


def written(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def parquet(file: Path, sql: str = ROWS) -> Path:
    with duckdb.connect() as connection:
        connection.execute(f"COPY ({sql}) TO '{file}' (FORMAT parquet)")
    return file


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.csv", "", "the file is empty"),
        ("rows.csv", HEAD, "at least one row"),
        ("rows.csv", "\n\n", "a header line that names every column"),
        ("rows.csv", "who,,a,c\nk1,0,5,x\n", "a header line that names every column"),
        ("rows.csv", HEAD + "k1,0,5\n", "as many cells in every row.*Line: 2"),
        ("rows.csv", HEAD + "k1,0,5,x\nk2,0,5,x,9\n", "as many cells in every row.*Line: 3"),
        ("rows.csv", HEAD + 'k1,0,5,"x\n', "as many cells in every row"),
        ("rows.csv", HEAD.encode() + b"k\xfc,0,5,x\n", "UTF-8"),
        ("rows.csv", HEAD.encode() + b"k1,0,5,x\n" * 20_000 + b"k\xfc,0,5,x\n", "UTF-8"),
        ("rows.csv", (HEAD + "k1,0,5,x\n").encode("utf-16"), "UTF-8"),
        ("rows.csv", "w" * 200_000 + ",late\nk1,0\n", "a header line: field larger"),
        ("rows.parquet", "", "the file is empty"),
        ("rows.parquet", HEAD + "k1,0,5,x\n", "a whole Parquet file"),
        ("rows.csv", "PAR1 and no more", "a whole Parquet file"),
    ],
)
def test_a_file_that_is_no_table_is_one_finding(
    tmp_path: Path, name: str, content: str | bytes, words: str
) -> None:
    table, findings = read(written(tmp_path / name, content))
    (finding,) = findings.refused
    assert (finding.column, finding.row, finding.file) == ("(file)", None, str(tmp_path / name))
    assert re.search(words, finding.bound), finding.bound
    assert len(table.codes) == 0


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "whole.parquet").read_bytes()
    assert len(read(tmp_path / "whole.parquet")[0].codes) == 50
    for length in range(1, len(whole), 40):
        _, findings = read(written(tmp_path / "cut.parquet", whole[:length]))
        assert "a whole Parquet file" in findings.refused[0].bound


def test_missing_files_and_folders_are_findings_and_all_are_named(tmp_path: Path) -> None:
    how = Mapping(LEARN, {"data": tmp_path / "nowhere.csv", "more": tmp_path})
    _, findings = read_table(BOOK, None, how, need_outcome=True)
    assert {(Path(each.file).name, each.bound) for each in findings.refused} == {
        ("nowhere.csv", "a readable file: No such file or directory"),
        (tmp_path.name, "a readable file: Is a directory"),
    }
    with pytest.raises(ArgumentError, match="no data") as caught:
        read_table(BOOK, None, None, need_outcome=True)
    assert "--data" in caught.value.remedy


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + HEAD + "k1,0,5,x\n",
        (HEAD + "k1,0,5,x\n").replace("\n", "\r\n"),
        (HEAD + "k1,0,5,x\n").replace(",", ";"),
        (HEAD + "k1,0,5,x").replace(",", "\t"),
        '"who","late","a","c"\n"k1","0","5","x"\n',
        HEAD + "\nk1,0,5,x\n\n",
    ],
)
def test_common_dialects_of_csv_are_read_alike(tmp_path: Path, content: str) -> None:
    table, findings = read(written(tmp_path / "rows.csv", content))
    assert not findings.groups
    assert (table.customers.tolist(), table.codes.tolist()) == (["k1"], [[0, 0]])


@pytest.mark.parametrize("name", ["r*.csv", "r?ws.csv", "r[o]ws.csv"])
def test_a_files_name_is_no_pattern(tmp_path: Path, name: str) -> None:
    written(tmp_path / "rows.csv", HEAD + "k9,0,5,x\n")
    table, _ = read(written(tmp_path / name, HEAD + "k1,0,5,x\n"))
    assert table.customers.tolist() == ["k1"]


def test_commas_inside_quoted_names_do_not_choose_the_delimiter(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", '"who, of, all, of, them";late;a;c\nk1;0;5;x\n')
    table, _ = read(file, Mapping('SELECT "who, of, all, of, them" AS who, late, a, c FROM data'))
    assert table.customers.tolist() == ["k1"]


def test_doubled_columns_are_refused(tmp_path: Path) -> None:
    _, findings = read(written(tmp_path / "rows.csv", "who,late,A,a,c\nk1,0,5,6,x\n"))
    assert [(each.column, each.bound) for each in findings.refused] == [("a", "named once, not 2 times")]
    made = parquet(tmp_path / "p.parquet", "SELECT 'k1' AS who, 0 AS late, 5 AS axa, 6 AS bxa, 'x' AS c")
    _, findings = read(written(made, made.read_bytes().replace(b"bxa", b"axa")))
    assert [(each.column, each.bound) for each in findings.refused] == [("axa", "named once, not 2 times")]
    _, findings = read(written(tmp_path / "rows.csv", HEAD + "k1,0,5,x\n"), Mapping("SELECT *, a FROM data"))
    assert [each.column for each in findings.refused] == ["a"]


def test_parquet_types_are_taken_as_they_are_and_nested_ones_refused_by_column(tmp_path: Path) -> None:
    typed = "SELECT i::DOUBLE AS who, (i = 2) AS late, i::DECIMAL(9, 2) AS a, NULL AS c FROM range(1, 3) r(i)"
    table, findings = read(parquet(tmp_path / "typed.parquet", typed))
    assert not findings.groups
    assert (table.customers.tolist(), table.codes.tolist()) == (["1", "2"], [[0, 2], [0, 2]])
    nested = "SELECT [1] AS who, TIMESTAMP '2020-01-01' AS late, {'l': [5]} AS a, 'x'::BLOB AS c, [1] AS l"
    _, findings = read(parquet(tmp_path / "nested.parquet", nested))
    assert {(each.column, each.row) for each in findings.refused} == {
        (name, None) for name in ("who", "late", "a", "c", "l")
    }
    assert not any("named once" in each.bound for each in findings.refused), "children are no columns"


def test_nan_and_infinity_in_parquet_are_refused_by_row(tmp_path: Path) -> None:
    values = ", ".join(f"('k', 0, '{each}'::DOUBLE, 'x')" for each in ("nan", "inf", "-inf", "5"))
    file = parquet(tmp_path / "p.parquet", f"SELECT * FROM (VALUES {values}) t(who, late, a, c)")
    table, findings = read(file)
    assert [each.row for each in findings.refused if "finite" in each.bound] == [1, 2, 3]
    assert table.source_rows.tolist() == [4]


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(HEAD.encode().__add__)))
@example(b"PK\x03\x04\x00\x00\n\x00")
@example(b'"\n')
@example(HEAD.encode() + b"\x00,0,5,x\n")
def test_no_bytes_at_all_end_in_an_untyped_error(tmp_path: Path, content: bytes) -> None:
    table, findings = read(written(tmp_path / "rows.csv", content))
    assert findings.refused or len(table.codes)


# --- mappings ---


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sql = ", "not TOML"),
        ('sql = "SELECT 1; SELECT 2"', "exactly one SELECT; it is SELECT, SELECT"),
        ('sql = "DROP TABLE data"', "exactly one SELECT; it is DROP"),
        ("sql = \"COPY data TO 'x.csv'\"", "exactly one SELECT; it is COPY"),
        ("sql = \"ATTACH 'x.db'\"", "exactly one SELECT; it is ATTACH"),
        ('sql = "SELEKT 1"', "sql: Parser Error"),
        ('sql = " "', "exactly one SELECT; it is nothing"),
        ('sql = "SELECT 1"\ncolour = "red"', "colour: Extra inputs"),
        ("absent = []", "sql: Field required"),
        ("sql = 5", "sql: Input should be a valid string"),
        ('sql = "SELECT 1"\n[tables]\n"a b" = "x.csv"', "tables"),
    ],
)
def test_a_wrong_mapping_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(MappingError, match=words) as caught:
        load_mapping(written(tmp_path / "m.toml", text))
    assert "m.toml" in caught.value.cause
    assert "SELECT" in caught.value.remedy


def test_a_mapping_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="cannot be read: No such file"):
        load_mapping(tmp_path / "nowhere.toml")
    with pytest.raises(MappingError, match="not TOML"):
        load_mapping(written(tmp_path / "m.toml", b"sql = '\xff'"))


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT nothing FROM data", "nothing"),
        ("SELECT * FROM other", "other"),
        ("SELECT who, late, max(CAST(c AS INTEGER)) AS a, c FROM data GROUP BY ALL", "Could not convert"),
    ],
)
def test_a_select_that_fails_names_file_and_cause(tmp_path: Path, sql: str, words: str) -> None:
    with pytest.raises(MappingError, match=words) as caught:
        read(written(tmp_path / "rows.csv", HEAD + "k1,0,5,x\n"), Mapping(sql))
    assert "rows.csv" in caught.value.cause
    assert "TRY_CAST" in caught.value.remedy


def test_a_mapping_joins_tables_beside_it_and_keeps_the_files_row_numbers(tmp_path: Path) -> None:
    written(tmp_path / "paid.csv", "id,amount\n7,500\n8,12000\n")
    sql = (
        "SELECT d._row, 'k' || d.id AS who, late, CAST(p.amount AS DOUBLE) / 100 AS a, c FROM data d JOIN paid p USING (id) "
        "ORDER BY d._row DESC"
    )
    written(tmp_path / "m.toml", f'sql = """{sql}"""\ntables = {{ paid = "paid.csv" }}')
    file = written(tmp_path / "rows.csv", "id,late,c\n7,0,x\n9,0,x\n8,1,y\n")
    table, findings = read(file, load_mapping(tmp_path / "m.toml"))
    assert [(each.row, each.value) for each in findings.refused] == [(3, 120.0)]
    assert (table.customers.tolist(), table.source_rows.tolist()) == (["k7"], [1])


def test_a_mapping_reads_nothing_beside_its_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = written(tmp_path / "secret.csv", "who\nk9\n")
    file = written(tmp_path / "rows.csv", HEAD + "k1,0,5,x\n")
    for source in (f"read_csv('{secret}')", f"'{secret}'", f"read_text('{secret}')", f"glob('{tmp_path}/*')"):
        how = Mapping(f"SELECT who, late, a, c FROM data WHERE (SELECT count(*) FROM {source}) > 0")
        with pytest.raises(MappingError):
            read(file, how)
        with monkeypatch.context() as without:
            without.setattr(files, "_lock", lambda open_: open_.execute("SELECT 1").fetchall())
            assert len(read(file, how)[0].codes) == 1, "control: without the lock it reads"


# --- rows to score ---


def test_accounts_to_score_need_no_outcome_and_no_extra_column_though_the_mapping_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql = "SELECT id AS who, a, [c][1] AS c, CASE bad WHEN 'Y' THEN 1 END AS LATE, branch AS Town FROM data"
    how = Mapping(sql, extra=("Town",))
    history = written(tmp_path / "history.csv", "id,a,c,bad,branch\n7,5,y,Y,north\n")
    accounts = written(tmp_path / "accounts.csv", "id,a,c\n8,60,y\n8,5,x\n")
    assert read(history, how)[0].extra["Town"].tolist() == ["north"]
    table, findings = read(accounts, how, outcome=False)
    assert not findings.groups
    assert (table.outcomes, table.propensity, table.audit, table.extra) == (None, None, {}, {})
    assert table.codes.tolist() == [[3, 1], [0, 0]]
    assert table.customers.tolist() == ["8", "8"]
    monkeypatch.setattr("fedrepay.client.data.reading.table.without_columns", lambda sql, _names: sql)
    with pytest.raises(MappingError, match="bad"):
        read(accounts, how, outcome=False)


def test_outcome_and_extra_columns_do_no_harm_where_accounts_have_them(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", "who,late,a,c,town\nk1,,5,x,north\n")
    table, findings = read(file, Mapping("SELECT * FROM data", extra=("town",)), outcome=False)
    assert not findings.groups
    assert len(table.codes) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a, late FROM data UNION SELECT 1, 2",
        "SELECT DISTINCT a, late FROM data",
        "SELECT late FROM data",
    ],
)
def test_a_select_that_cannot_be_taken_apart_is_left_alone(sql: str) -> None:
    assert without_columns(sql, {"late"}) == sql


def test_columns_asked_for_by_name_must_be_there_or_no_row_is_used(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.csv", HEAD + "k1,0,5,x\n")
    table, findings = read_table(BOOK, file, None, need_outcome=False, extra=("Plan_ID",))
    assert [(each.column, each.bound) for each in findings.refused] == [
        ("Plan_ID", "there; the column is missing")
    ]
    assert len(table.codes) == 0

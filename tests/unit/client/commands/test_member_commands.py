"""`fedrepay member check-data`, as typed at a prompt."""

import json
import re
from pathlib import Path

import pytest

from fedrepay.shared.schema import codebook
from fedrepay.simulations.run.arguments import HERE, SHIPPED, SHIPPED_MAPPING, SHIPPED_SCHEMA
from support.command import fedrepay
from support.schemas import column, schema

LOANS = HERE.resolve().parent.parent / "shared" / "data" / "lc2015_settlement_labels.parquet"
LOANS_SCHEMA = HERE / "schemas" / "lc2015.toml"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    parts = (
        column("a", outside="clip"),
        column("c", "category", categories=["x", "y"], missing="bin"),
        column("share", bounds=[0, 1], edges=[0.5], derived="a / 100"),
    )
    path.write_text(schema(*parts))
    codebook.save(codebook.build(path.read_bytes()), path)
    return path


def rows(folder: Path, *lines: str) -> Path:
    file = folder / "rows.csv"
    file.write_text("\n".join(("who,late,a,c", *lines)) + "\n")
    return file


def test_good_data_are_accepted_and_their_encoding_shown(small: Path, tmp_path: Path) -> None:
    result = fedrepay(
        "member", "check-data", "--schema", small, "--data", rows(tmp_path, "k1,0,500,x", "k1,1,5,")
    )
    assert result.code == 0, result.err
    assert "2 of 2 rows can be used; 1 customers (unit of privacy: the customer)" in result.out
    assert "< 10: 1 · 10 to 20: 0 · 20 to 50: 0 · ≥ 50: 1" in result.out
    assert "x: 1 · y: 0 · missing: 1" in result.out
    assert re.search(r"rows.csv +│ 1 +│ a +│ 500.0 +│ 0 to 100 +│ 1 +│ clipped", result.out)
    assert "Features covered: a, c, share." in result.out
    assert "Accepted." in result.out


def test_rows_that_cannot_be_read_are_dropped_told_in_a_table_and_counted(
    small: Path, tmp_path: Path
) -> None:
    result = fedrepay(
        "member", "check-data", "--schema", small, "--data", rows(tmp_path, "k1,7,abc,z", "k2,0,5,x")
    )
    assert result.code == 0, result.err
    for column_, value, bound in (
        ("late", "7.0", "0 to 1"),
        ("a", "abc", "a number"),
        ("c", "z", "one of x, y"),
    ):
        assert re.search(rf"rows.csv +│ 1 +│ {column_} +│ {value} +│ {bound} +│ 1 +│ dropped", result.out), (
            result.out
        )
    assert "1 of 2 rows can be used" in result.out
    assert "Dropped by findings of their own: 1 of 2 rows." in result.out
    assert "Accepted." in result.out


def test_more_rows_dropped_than_used_end_with_4(small: Path, tmp_path: Path) -> None:
    data = rows(tmp_path, "k1,7,5,x", "k2,0,abc,x", "k3,0,5,x")
    result = fedrepay("member", "check-data", "--schema", small, "--data", data)
    assert result.code == 4
    assert "2 of 3 would be dropped, 1 since" in " ".join(result.out.replace("│", " ").split())
    assert "Refused. Mend the rows or the mapping" in result.out


def test_json_says_the_same_for_machines(small: Path, tmp_path: Path) -> None:
    data = rows(tmp_path, *(f"k{i},0,abc,x" for i in range(9)), "k9,0,5,x")
    result = fedrepay("member", "check-data", "--schema", small, "--data", data, "--json")
    report = json.loads(result.out)
    assert (result.code, report["refused"], report["rows"], report["usable"]) == (4, True, 10, 1)
    finding, most = report["findings"]
    assert (most["column"], most["effect"], report["dropped"]) == ("(rows)", "refused", 9)
    assert (finding["file"], finding["column"], finding["must_be"]) == (str(data), "a", "a number")
    assert (finding["kind"], finding["effect"], finding["count"]) == ("refuse", "dropped", 9)
    assert finding["examples"] == [{"row": row, "value": "abc"} for row in range(1, 6)]
    assert report["encoding"][1] == {"block": "c", "kind": "feature", "bins": {"x": 1, "y": 0, "missing": 0}}


def test_absent_features_and_the_currency_are_shown(small: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mine.toml"
    mapping.write_text(
        'currency = "CHF"\nabsent = ["c"]\nsql = "SELECT who, late, CAST(a AS DOUBLE) / 100 AS a FROM data"'
    )
    data = tmp_path / "cents.csv"
    data.write_text("who,late,a\nk1,0,500\n")
    result = fedrepay("member", "check-data", "--schema", small, "--data", data, "--mapping", mapping)
    assert result.code == 0, result.err
    for words in ("Features covered: a, share.", "Declared absent: c.", "Currency of your amounts: CHF."):
        assert words in result.out


def test_more_customers_than_the_public_bound_are_refused_before_any_run(tmp_path: Path) -> None:
    path = tmp_path / "few.toml"
    path.write_text(schema(column("a"), n_max=2))
    assert fedrepay("schema", "build", path).code == 0
    data = tmp_path / "rows.csv"
    data.write_text("who,late,a\nk1,0,5\nk1,0,5\nk2,0,5\n")
    assert fedrepay("member", "check-data", "--schema", path, "--data", data).code == 0
    data.write_text("who,late,a\nk1,0,5\nk2,0,5\nk3,0,5\n")
    result = fedrepay("member", "check-data", "--schema", path, "--data", data)
    assert result.code == 4
    assert "at most n_max = 2 customers of one member; here are 3" in result.out


def test_a_pooled_file_is_checked_member_by_member(tmp_path: Path) -> None:
    path = tmp_path / "few.toml"
    path.write_text(schema(column("a"), n_max=2))
    assert fedrepay("schema", "build", path).code == 0
    (tmp_path / "rows.csv").write_text(
        "who,late,a,town\n" + "".join(f"k{i},0,5,t{i % 3}\n" for i in range(6))
    )
    (tmp_path / "m.toml").write_text('extra = ["town"]\nsql = "SELECT who, late, a, town FROM data"\n')
    options = ("--schema", path, "--data", tmp_path / "rows.csv", "--mapping", tmp_path / "m.toml")
    whole = fedrepay("member", "check-data", *options)
    assert whole.code == 4
    assert "name their column with --split" in " ".join(whole.out.replace("│", " ").split())
    assert fedrepay("member", "check-data", *options, "--split", "column:town").code == 0
    (tmp_path / "rows.csv").write_text(
        "who,late,a,town\n" + "".join(f"k{i},0,5,t{i // 3}\n" for i in range(6))
    )
    split = fedrepay("member", "check-data", *options, "--split", "column:town")
    assert split.code == 4
    assert "customers of the member t1" in " ".join(split.out.replace("│", " ").split())
    assert fedrepay("member", "check-data", *options, "--split", "column:").code == 2


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--schema", "{here}/nowhere.toml", "--data", "{here}/x.csv"), 3, "SchemaError: .*cannot be read"),
        (("--schema", "{small}"), 2, "ArgumentError: There is no data.*Give --data FILE"),
        (
            ("--schema", "{small}", "--data", "x", "--mapping", "{here}/m.toml"),
            3,
            "MappingError: .*cannot be read",
        ),
        (("--data", "x"), 2, "No schema is named"),
    ],
)
def test_wrong_options_end_with_their_codes(
    small: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    result = fedrepay(
        "member", "check-data", *(each.format(here=small.parent, small=small) for each in options)
    )
    assert result.code == code
    assert re.search(words, result.err.replace("\n", " ")), result.err


def test_a_file_that_cannot_be_read_at_all_is_shown_as_a_finding(small: Path, tmp_path: Path) -> None:
    result = fedrepay("member", "check-data", "--schema", small, "--data", tmp_path / "nowhere.csv")
    assert result.code == 4
    assert re.search(r"nowhere.csv +│ all +│ \(file\) +│ +│ a readable file: No such file", result.out)


# --- the schemas that come with the package ---


def test_the_shipped_data_pass_the_shipped_schema(tmp_path: Path) -> None:
    shown = fedrepay("schema", "check", SHIPPED_SCHEMA)
    assert shown.code == 0, shown.err
    assert "d = 203" in shown.out
    assert "to confirm" not in shown.out
    options = ("--schema", SHIPPED_SCHEMA, "--data", SHIPPED, "--mapping", SHIPPED_MAPPING, "--json")
    report = json.loads(fedrepay("member", "check-data", *options).out)
    by_kind = {each["kind"] for each in report["findings"]}
    assert by_kind == {"clip", "refuse"}, "30,000 customers are too many for one member of n_max 10,000"
    assert [each["column"] for each in report["findings"] if each["kind"] == "refuse"] == ["customer"]
    assert (report["rows"], report["usable"], report["customers"]) == (30_000, 30_000, 30_000)


def test_the_loans_schema_fits_its_data_and_no_leak_or_postal_code_is_a_feature() -> None:
    if not LOANS.is_file():
        pytest.skip(f"{LOANS} is not here: that data set is not shipped")
    shown = fedrepay("schema", "check", LOANS_SCHEMA)
    assert shown.code == 0, shown.err
    options = (
        "--schema",
        LOANS_SCHEMA,
        "--data",
        LOANS,
        "--mapping",
        LOANS_SCHEMA.with_suffix(".mapping.toml"),
    )
    report = json.loads(fedrepay("member", "check-data", *options, "--json").out)
    assert (report["rows"], report["usable"]) == (119_015, 119_015)
    assert [each["column"] for each in report["findings"] if each["kind"] == "refuse"] == ["(rows)"]
    assert set(report["covered"]) == {"sub_grade", "interest_rate", "instalment", "loan_amount", "grade"}
    assert report["currency"] == "USD"

"""A member's rows: everything wrong is said at once, and what is used lies inside the schema."""

from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.data.mappings.mapping import Mapping
from fedrepay.client.data.reading.findings import Findings
from fedrepay.client.data.reading.table import Table, read_table
from fedrepay.shared.errors import DataError, MappingError
from fedrepay.shared.schema.codebook import CodeBook, build
from support.schemas import column, schema

COLUMNS = (
    column("a"),
    column("n", "integer", bounds=[0, 9], edges=[5], outside="clip"),
    column("c", "category", categories=["x", "y"], missing="bin"),
)
BOOK = build(schema(*COLUMNS).encode())
HEAD = "who,late,a,n,c\n"
Said = tuple[object, str, object, str, str]


def read(
    folder: Path, rows: str, book: CodeBook = BOOK, mapping: Mapping | None = None, *, outcome: bool = True
) -> tuple[Table, Findings]:
    file = folder / "rows.csv"
    file.write_text(rows)
    return read_table(book, file, mapping, need_outcome=outcome)


def said(findings: Findings) -> set[Said]:
    return {
        (each.row, each.column, each.value, each.bound, each.kind)
        for group in findings.groups
        for each in group
    }


def test_good_rows_come_out_encoded_in_file_order(tmp_path: Path) -> None:
    table, findings = read(tmp_path, HEAD + "k1,0,5,7,x\nk2,1,60,2,\n")
    assert not findings.groups
    assert table.codes.tolist() == [[0, 1, 0], [3, 0, 2]]
    assert table.outcomes is not None
    assert table.outcomes.tolist() == [[0], [1]]
    assert table.customers.tolist() == ["k1", "k2"]
    assert table.source_rows.tolist() == [1, 2]


def test_everything_wrong_is_reported_in_one_call_with_row_column_value_and_bound(tmp_path: Path) -> None:
    rows = "k1,0,5,7,x\nk2,2,abc,2.5,z\n,1,500,12,y\nk4,,inf,3,x\nk5,1,nan,,y\n"
    table, findings = read(tmp_path, HEAD + rows)
    assert said(findings) == {
        (2, "late", 2.0, "0 to 1", "refuse"),
        (2, "a", "abc", "a number", "refuse"),
        (2, "n", 2.5, "a whole number", "refuse"),
        (2, "c", "z", "one of x, y", "refuse"),
        (3, "who", None, "not missing", "refuse"),
        (3, "a", 500.0, "0 to 100", "refuse"),
        (3, "n", 12.0, "0 to 9", "clip"),
        (4, "late", None, "not missing", "refuse"),
        (4, "a", float("inf"), "a finite number (leave the cell empty if it is missing)", "refuse"),
        (5, "a", "nan", "a finite number", "refuse"),
        (5, "n", None, "not missing", "refuse"),
    }
    assert {each.file for each in findings.refused} == {str(tmp_path / "rows.csv")}
    assert table.customers.tolist() == ["k1"]


def test_the_error_names_file_rows_values_bounds_and_a_remedy(tmp_path: Path) -> None:
    _, findings = read(tmp_path, HEAD + "k1,0,5,7,z\nk2,0,5,7,w\nk3,0,500,7,x\n")
    with pytest.raises(DataError) as caught:
        findings.raise_if_refused()
    for words in ("rows.csv is refused: 3 findings", "c: 2 rows, first row 1: 'z'; must be one of x, y"):
        assert words in caught.value.cause
    assert "a: 1 rows, first row 3: 500.0; must be 0 to 100" in caught.value.cause
    assert "check-data" in caught.value.remedy


def test_unknown_and_missing_columns_are_named_together(tmp_path: Path) -> None:
    table, findings = read(tmp_path, "who,late,colour,a\nk1,0,red,5\n")
    assert said(findings) == {
        (None, "colour", None, "a column of the schema; this one is unknown", "refuse"),
        (None, "n", None, "there; the column is missing", "refuse"),
        (None, "c", None, "there; the column is missing", "refuse"),
    }
    assert len(table.codes) == 0


def test_column_names_match_in_any_case(tmp_path: Path) -> None:
    table, findings = read(tmp_path, "WHO,Late,A,N,C\nk1,0,5,7,x\n")
    assert not findings.groups
    assert len(table.codes) == 1


def test_a_missing_category_has_its_own_bin_and_is_no_unseen_one(tmp_path: Path) -> None:
    book = build(
        schema(column("c", "category", categories=["x", "y"], missing="bin", outside="clip")).encode()
    )
    table, findings = read(tmp_path, "who,late,c\nk1,0,\nk2,0,x\nk3,0,new\n", book)
    assert table.codes[:, 0].tolist() == [2, 0, 2]
    assert said(findings) == {(3, "c", "new", "one of x, y", "clip")}


def test_rows_without_a_customer_are_refused_and_never_become_one_customer(tmp_path: Path) -> None:
    table, findings = read(tmp_path, HEAD + ",0,5,7,x\nk2,0,5,7,x\n,1,5,7,x\n' ',1,5,7,x\n".replace("'", '"'))
    assert table.customers.tolist() == ["k2"]
    assert {(each.row, each.bound) for each in findings.refused} == {
        (1, "not missing"),
        (3, "not missing"),
        (4, "not blank"),
    }


def test_clipped_cells_are_counted_and_used_at_the_bound(tmp_path: Path) -> None:
    table, findings = read(tmp_path, HEAD + "k1,0,5,12,x\nk2,0,5,-3,x\nk3,0,5,4,x\n")
    assert [(group.column, group.kind, group.count) for group in findings.groups] == [("n", "clip", 2)]
    assert table.values["n"].tolist() == [9, 0, 4]
    assert table.codes[:, 1].tolist() == [1, 0, 0]


@pytest.mark.parametrize(
    "ids",
    [
        ("007", "7", "0007"),
        ("+1", "1", "2"),
        ("12345678901234567890", "12345678901234567891", "1234567890123456789"),
        ("k 1", "k1", "K1"),
    ],
)
def test_ids_keep_every_character(tmp_path: Path, ids: tuple[str, ...]) -> None:
    table, findings = read(tmp_path, HEAD + "".join(f"{each},0,5,7,x\n" for each in ids))
    assert not findings.groups
    assert tuple(table.customers) == ids


def test_an_id_longer_than_two_hundred_characters_is_refused(tmp_path: Path) -> None:
    table, findings = read(tmp_path, HEAD + f"{'k' * 200},0,5,7,x\n{'k' * 201},0,5,7,x\n")
    assert [each.bound for each in findings.refused] == ["at most 200 characters"]
    assert len(str(findings.refused[0].value)) == 80, "shown, but not at full length"
    assert len(table.codes) == 1


def test_a_customer_may_have_many_rows_and_those_past_the_weight_grid_are_shown(tmp_path: Path) -> None:
    few, many = ["few,0,5,7,x\n"] * 64, ["many,0,5,7,x\n"] * 65
    table, findings = read(tmp_path, HEAD + "".join(few + many))
    assert len(table.codes) == 129
    assert [(group.column, group.kind, group.count) for group in findings.groups] == [("who", "clip", 65)]
    assert set(findings.clipped[0].__dict__.items()) >= {("row", 65), ("value", "many")}


def test_of_several_rows_of_a_customer_none_is_used_where_the_schema_promises_one(tmp_path: Path) -> None:
    book = build(schema(*COLUMNS, public="one_row_per_customer = true").encode())
    rows = HEAD + "k1,0,5,7,x\nk2,1,500,7,x\nk1,1,6,7,x\nk2,1,6,7,x\n"
    table, findings = read(tmp_path, rows, book)
    assert table.source_rows.tolist() == [4], "a refused row does not count as the customer's one row"
    bound = "unique: the schema has one row per customer, and none of several is used"
    assert {each[:4] for each in said(findings)} >= {(1, "who", "k1", bound), (3, "who", "k1", bound)}
    table, findings = read(tmp_path, rows.replace("500", "50"), book, outcome=False)
    assert len(table.codes) == 4, "to be scored, a customer may come twice"


def test_absent_features_are_missing_throughout(tmp_path: Path) -> None:
    mapping = Mapping("SELECT * FROM data", absent=("c",))
    table, findings = read(tmp_path, "who,late,a,n\nk1,0,5,7\nk2,0,5,7\n", mapping=mapping)
    assert findings.absent == ("c",)
    assert not findings.groups
    assert table.codes[:, 2].tolist() == [2, 2]
    _, findings = read(tmp_path, HEAD + "k1,0,5,7,x\n", mapping=mapping)
    assert [(each.column, each.row) for each in findings.refused] == [("c", None)], (
        "declared absent, yet there"
    )


@pytest.mark.parametrize(
    ("name", "words"), [("a", "no missing bin"), ("nowhere", "not a column"), ("late", "")]
)
def test_only_what_the_schema_allows_may_be_absent(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(MappingError, match=f"absent: {name} .*{words}") as caught:
        read(tmp_path, HEAD + "k1,0,5,7,x\n", mapping=Mapping("SELECT * FROM data", absent=(name,)))
    assert caught.value.remedy


@pytest.mark.parametrize("outcome", ["2", "-1", "0.5", "", "yes", "nan"])
def test_an_outcome_is_nought_or_one(tmp_path: Path, outcome: str) -> None:
    table, findings = read(tmp_path, HEAD + f"k1,{outcome},5,7,x\nk2,1,5,7,x\n")
    assert [(each.row, each.column) for each in findings.refused] == [(1, "late")]
    assert table.customers.tolist() == ["k2"]


def test_propensities_lie_above_nought_and_at_most_at_one(tmp_path: Path) -> None:
    text = schema(column("a"), column("p", "number", "propensity"), public="p_floor = 0.1")
    rows = "who,late,a,p\nk1,0,5,0\nk2,0,5,1\nk3,0,5,1.01\nk4,0,5,\nk5,0,5,0.001\nk6,0,5,-0.5\n"
    table, findings = read(tmp_path, rows, build(text.encode()))
    assert {(each.row, each.bound) for each in findings.refused} == {
        (1, "above 0"),
        (3, "0 to 1"),
        (4, "not missing"),
        (6, "0 to 1"),
    }
    assert table.propensity is not None
    assert table.propensity.tolist() == [1, 0.001]


def test_derived_columns_are_computed_and_must_not_be_in_the_file(tmp_path: Path) -> None:
    share = column("share", bounds=[0, 1], edges=[0.5], missing="bin", outside="clip", derived="a / n")
    flag = column("flag", bounds=[0, 1], edges=[0.5], derived="CASE WHEN c = 'x' THEN 1 ELSE 0 END")
    book = build(schema(*COLUMNS, share, flag).encode())
    table, findings = read(tmp_path, HEAD + "k1,0,1,4,x\nk2,0,5,0,y\nk3,0,9,3,\nk4,0,900,3,x\n", book)
    assert table.codes[:, 3:].tolist() == [[0, 1], [2, 0], [1, 0]], "a / 0 is missing, 9 / 3 is clipped"
    assert (3, "share", 3.0, "0 to 1", "clip") in said(findings)
    assert {each.row for each in findings.refused} == {4}
    assert {each.column for each in findings.refused} == {"a"}, "nothing more is said of a refused row"
    _, findings = read(tmp_path, "who,late,a,n,c,flag\nk1,0,1,4,x,1\n", book)
    assert said(findings) == {(None, "flag", None, "left out: the schema derives it", "refuse")}


def test_a_derived_column_reads_an_absent_one_as_missing(tmp_path: Path) -> None:
    flag = column("flag", bounds=[0, 1], edges=[0.5], derived="CASE WHEN c IS NULL THEN 1 ELSE 0 END")
    book = build(schema(*COLUMNS, flag).encode())
    mapping = Mapping("SELECT * FROM data", absent=("c",))
    table, _ = read(tmp_path, "who,late,a,n\nk1,0,5,7\n", book, mapping)
    assert table.codes[0].tolist() == [0, 1, 2, 1]


def test_without_a_customer_column_each_row_is_a_customer(tmp_path: Path) -> None:
    book = build(schema(column("a"), customer=False).encode())
    table, _ = read(tmp_path, "late,a\n0,5\n0,500\n1,5\n", book)
    assert table.customers.tolist() == ["1", "3"]


def test_audit_columns_get_bands_labels_or_values_and_stay_out_of_the_codes(tmp_path: Path) -> None:
    parts = (
        column("age", "integer", "audit", bounds=[18, 99], edges=[30, 60], missing="bin"),
        column("sex", "category", "audit", categories=["m", "f"], missing="bin"),
        column("size", "integer", "audit", bounds=[0, 9]),
    )
    table, _ = read(
        tmp_path,
        "who,late,a,age,sex,size\nk1,0,5,25,m,3\nk2,0,5,,,4\n",
        build(schema(column("a"), *parts).encode()),
    )
    assert table.codes.shape == (2, 1)
    assert {name: each.tolist() for name, each in table.audit.items()} == {
        "age": ["≤ 29", "missing"],
        "sex": ["m", "missing"],
        "size": ["3", "4"],
    }


def test_taking_rows_takes_them_everywhere(tmp_path: Path) -> None:
    mapping = Mapping("SELECT *, c AS branch FROM data", extra=("branch",))
    table, _ = read(tmp_path, HEAD + "k1,0,5,7,x\nk2,1,6,8,y\n", mapping=mapping)
    second = table.take(np.array([1]))
    assert (second.customers.tolist(), second.extra["branch"].tolist()) == (["k2"], ["y"])
    assert second.values["n"].tolist() == [8]
    assert second.source_rows.tolist() == [2]

"""One person in two spellings is reported, with a count and rows."""

import unicodedata
from pathlib import Path

import pytest

from fedrepay.client.data.checking import spellings
from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.shared.schema.codebook import build
from support.command import fedrepay
from support.schemas import column, schema

BOOK = build(schema(column("a"), public="one_row_per_customer = true").encode())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A1", "a1"),
        ("A1", "A1 "),
        ("A 1", "A1"),
        ("José", unicodedata.normalize("NFD", "José")),
        ("7", "007"),
        ("Straße", "STRASSE"),
        ("A1", "A\u200b1"),
        ("A1", "\uff211"),
    ],
)
def test_spellings_of_one_id(one: str, other: str, tmp_path: Path) -> None:
    assert spellings.plain(one) == spellings.plain(other)
    file = tmp_path / "rows.csv"
    file.write_text(f'who,late,a\n"{one}",0,5\nk2,1,5\n"{other}",1,5\n')
    table, findings = read_contributed(BOOK, file, None, draws=())
    (told,) = findings.groups
    assert (told.kind, told.effect, told.count, told.bound) == ("warn", "told", 2, spellings.BOUND)
    assert told.rows is not None
    assert told.rows.tolist() == [1, 3]
    assert len(table.codes) == 3, "told, not refused"


@pytest.mark.parametrize(
    ("one", "other"), [("A1", "A2"), ("7", "70"), ("A-1", "A1"), ("0", "1"), ("", " "), ("Jose", "José")]
)
def test_other_ids_stay_apart(one: str, other: str) -> None:
    assert not len(spellings.alike([one, other, None]))


def test_the_same_spelling_twice_is_no_second_one() -> None:
    assert not len(spellings.alike(["a", "a"]))
    assert spellings.alike(["a", "b", "A", "a"]).tolist() == [0, 3, 2]


def test_check_data_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "few.toml"
    path.write_text(schema(column("a")))
    assert fedrepay("schema", "build", path).code == 0
    data = tmp_path / "rows.csv"
    data.write_text("who,late,a\n" + "".join(f"A{i // 2}{' ' * (i % 2)},0,5\n" for i in range(60)))
    result = fedrepay("member", "check-data", "--schema", path, "--data", data)
    assert result.code == 0, result.err
    assert "60 rows are of customers whose ids differ only in spelling" in " ".join(result.out.split())

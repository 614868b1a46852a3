"""`fedrepay schema init|check|build`, as typed at a prompt."""

import re
import tomllib
from pathlib import Path

import pytest

from fedrepay.client.data.mappings.mapping import load_mapping
from fedrepay.client.data.reading.table import read_table
from fedrepay.shared.schema import codebook
from support.command import fedrepay
from support.disk import fill_disk
from support.schemas import column, schema

CANARIES = ("77123456", "4711.25", "Zebrastrasse", "2015-04-17")
OWN = (
    "Customer ID,Betrag €,2nd,default,sex,since,Street\n"
    "77123456,4711.25,5,1,m,2015-04-17,Zebrastrasse\n"
    "88,1.5,3,0,f,2016-01-01,Ahornweg\n"
)


def test_a_draft_holds_names_and_types_and_no_value_of_the_data(tmp_path: Path) -> None:
    data, out = tmp_path / "own.csv", tmp_path / "drafted.toml"
    data.write_text(OWN)
    result = fedrepay("schema", "init", data, "--out", out)
    assert result.code == 0, result.err
    said = (result.out + result.err).replace(str(tmp_path), "")
    texts = out.read_text() + (tmp_path / "drafted.mapping.toml").read_text() + said
    assert not [each for each in (*CANARIES, "88", "Ahornweg", "2016") if each in texts]
    drafted = tomllib.loads(out.read_text())
    assert {each["name"]: (each["role"], each["type"]) for each in drafted["columns"]} == {
        "customer_id": ("customer", "text"),
        "betrag": ("account", "number"),
        "c_2nd": ("account", "integer"),
        "default": ("outcome", "integer"),
        "sex": ("audit", "category"),
        "since": ("account", "category"),
        "street": ("account", "category"),
    }
    assert "6 columns and [public] to confirm" in result.out


def test_drafts_of_different_rows_under_the_same_names_are_equal(tmp_path: Path) -> None:
    drafts = []
    for name, content in (("one", OWN), ("two", OWN.replace("4711.25", "9.75").replace("Ahornweg", "x"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "own.csv").write_text(content)
        assert fedrepay("schema", "init", tmp_path / name / "own.csv").code == 0
        drafts.append((tmp_path / name / "own.toml").read_bytes())
    assert drafts[0] == drafts[1]


def test_every_bound_of_a_draft_is_to_confirm_and_build_refuses_until_it_is(tmp_path: Path) -> None:
    data, draft = tmp_path / "own.csv", tmp_path / "own.toml"
    data.write_text(OWN)
    fedrepay("schema", "init", data)
    shown = fedrepay("schema", "check", draft)
    assert shown.code == 0, shown.err
    bounded = ("public", "betrag", "c_2nd", "default", "sex", "since", "street")
    assert re.findall(r"to confirm: (\w+)", shown.out) == list(bounded)
    refused = fedrepay("schema", "build", draft)
    assert refused.code == 3
    assert all(name in refused.err for name in bounded)
    assert "never read off the data" in refused.err
    assert not codebook.codebook_path(draft).exists()
    draft.write_text(draft.read_text().replace("confirmed = false", "", 1))
    assert fedrepay("schema", "build", draft).code == 3, "one confirmed is not all"
    draft.write_text(draft.read_text().replace("confirmed = false", ""))
    assert fedrepay("schema", "build", draft).code == 0


def test_the_drafted_mapping_turns_own_names_into_the_schemas(tmp_path: Path) -> None:
    data, draft = tmp_path / "own.csv", tmp_path / "own.toml"
    data.write_text(OWN.replace("Street", "'''O\"Hara"))
    fedrepay("schema", "init", data)
    text = draft.read_text().replace("confirmed = false", "").replace("[0, 2]", "[0, 9999]")
    draft.write_text(text.replace('"refuse"', '"bin"').replace('outside = "bin"', 'outside = "clip"'))
    assert fedrepay("schema", "build", draft).code == 0
    mapping = load_mapping(tmp_path / "own.mapping.toml")
    table, findings = read_table(codebook.load(draft), data, mapping, need_outcome=True)
    assert not findings.refused
    assert table.customers.tolist() == ["77123456", "88"]
    assert table.values["betrag"].tolist() == [4711.25, 1.5]


def test_a_draft_without_an_outcome_says_so_and_one_that_exists_is_kept(tmp_path: Path) -> None:
    data, draft = tmp_path / "own.csv", tmp_path / "own.toml"
    data.write_text("id,amount\n1,2\n")
    result = fedrepay("schema", "init", data)
    assert "No column looks like an outcome" in result.out
    assert 'role = "outcome"' in draft.read_text()
    draft.write_text("mine")
    again = fedrepay("schema", "init", data)
    assert again.code == 2
    assert "exists already" in again.err
    assert draft.read_text() == "mine"


@pytest.mark.parametrize("content", ["", "a,b\n1\n", "a,a\n1,2\n"])
def test_a_file_that_cannot_be_drafted_leaves_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "own.csv").write_text(content)
    result = fedrepay("schema", "init", tmp_path / "own.csv")
    assert result.code == 4
    assert "DataError" in result.err
    assert [each.name for each in tmp_path.iterdir()] == ["own.csv"]


# --- a full disk ---


def test_a_full_disk_leaves_neither_draft_nor_mapping(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.csv").write_text(OWN)
    fill_disk(monkeypatch, at="own.mapping.toml")
    result = fedrepay("schema", "init", tmp_path / "own.csv")
    assert result.code == 5
    assert "No space left on device" in result.err
    assert "Free the disk" in result.err
    assert [each.name for each in tmp_path.iterdir()] == ["own.csv"]


def test_a_full_disk_leaves_the_old_code_book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = tmp_path / "small.toml"
    small.write_text(schema(column("a")))
    path = codebook.save(codebook.build(small.read_bytes()), small)
    before = path.read_bytes()
    small.write_text(small.read_text() + "# changed\n")
    fill_disk(monkeypatch, at=path.name)
    result = fedrepay("schema", "build", small)
    assert result.code == 5
    assert "Free the disk" in result.err
    assert path.read_bytes() == before
    assert sorted(each.name for each in small.parent.iterdir()) == sorted([small.name, path.name])

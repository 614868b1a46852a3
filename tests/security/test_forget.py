"""`member forget`: a barred customer is in no contribution any more, and no list of the barred can be read."""

import io
import json
import logging
import stat
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from fedrepay.client.care import home
from fedrepay.client.care.spending import spending
from fedrepay.client.data.checking import barred
from fedrepay.client.node import setup
from fedrepay.client.protocol.member import Member
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.shared.errors import ArgumentError, ProtocolError, Refusal
from fedrepay.shared.schema import codebook
from support import shop as shops
from support.command import Result, fedrepay
from support.member_folder import NOW, store_of
from support.schemas import column, schema
from support.shop import Shop

WHO = shops.customer(7)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def folder(shop: Shop, tmp_path: Path) -> Path:
    """A member that serves the shop's rows; it has taken part in two runs of its ledger's."""
    made = tmp_path / "member"
    setup.create("bank", made)
    store = store_of(made)
    event = ({"sensitivity": 10, "variance": 4e4, "cohort": 7, "colluders": 2, "size": 9},)
    for run, whose in (
        (1, b"offers 2025-01-01 to 2025-06-30, payments to 2025-12-31"),
        (2, b"all customers"),
    ):
        store.charge(run, 0, 0, "reserved", event, window=whose + b"; snapshot " + b"ab" * 32)
    (made / "member.toml").write_text(f'schema = "{shop.schema}"\n')
    return made


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with mock.patch("time.time", return_value=NOW):
        yield


def forget(folder: Path, customer: str = WHO, *options: object) -> Result:
    return fedrepay("member", "forget", customer, "--folder", folder, *options)


def contributed(shop: Shop, folder: Path, marks: frozenset[bytes]) -> list[str]:
    """Whose rows a member would contribute."""
    sources = setup.Sources(shop.schema, shop.data, shop.mapping, None)
    table, _ = setup.rows(codebook.load(shop.schema), sources, setup.identity(folder), marks)
    return [str(each) for each in table.customers]


def served(shop: Shop, folder: Path) -> Member:
    sources = setup.Sources(shop.schema, shop.data, shop.mapping, None)
    return setup.member(folder, sources, lambda *_: None)


# --- barred ---


def test_a_barred_customer_s_rows_are_in_no_contribution_and_with_the_bar_off_they_are(
    shop: Shop, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = contributed(shop, folder, frozenset())
    assert before.count(WHO) == 2, "control: without the bar both rows are contributed"
    assert forget(folder).code == 0
    with caplog.at_level(logging.INFO):
        after = contributed(shop, folder, store_of(folder).barred())
    assert WHO not in after
    assert after == [each for each in before if each != WHO], "nobody else is left out"
    assert "1 customers of them are barred and left out." in caplog.text
    assert WHO not in caplog.text


def test_the_snapshot_that_is_served_is_the_one_without_the_customer(shop: Shop, folder: Path) -> None:
    whole = served(shop, folder)._rounds._contributions._rows()
    assert forget(folder).code == 0
    rows, digest = served(shop, folder)._rounds._contributions._rows()
    assert rows.customers == whole[0].customers - 1
    assert len(rows.codes) == len(whole[0].codes) - 2
    assert digest != whole[1]
    book, mine = codebook.load(shop.schema), setup.identity(folder)
    table, _ = setup.rows(book, setup.Sources(shop.schema, shop.data, shop.mapping, None), mine)
    others = table.take(table.customers.astype(str) != WHO)
    expected, _ = snapshot(book, others, mine.local)
    assert np.array_equal(rows.codes, expected.codes)
    assert np.array_equal(rows.outcomes, expected.outcomes)


def test_a_process_that_read_the_rows_before_the_bar_contributes_nothing_more(
    shop: Shop, folder: Path
) -> None:
    member = served(shop, folder)
    assert member._rounds._contributions._rows()[0].customers > 0, "control: before the bar it does"
    assert forget(folder).code == 0
    with pytest.raises(Refusal, match="barred since") as refused:
        member._rounds._contributions._rows()
    assert refused.value.code == "snapshot"
    assert served(shop, folder)._rounds._contributions._rows()[0].customers > 0


@pytest.mark.parametrize("spelt", [WHO.upper(), f" {WHO} ", WHO.replace("-", "-\u200b"), WHO.casefold()])
def test_another_spelling_brings_nobody_back(shop: Shop, folder: Path, spelt: str) -> None:
    assert forget(folder, spelt).code == 0
    assert WHO not in contributed(shop, folder, store_of(folder).barred())


def test_the_mark_is_keyed(folder: Path) -> None:
    assert forget(folder).code == 0
    (mark,) = store_of(folder).barred()
    identity = setup.identity(folder)
    assert mark == barred.mark(identity.local, WHO)
    assert mark != barred.mark(bytes(32), WHO), "who lacks the key cannot try ids"
    assert mark != barred.mark(identity.local, shops.customer(8))


def test_the_id_lies_in_no_file_of_the_folder_and_a_file_that_names_it_is_told(folder: Path) -> None:
    done = forget(folder)
    held = b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())
    assert WHO.encode() not in held
    assert WHO not in done.out + done.err
    assert "Still named" not in done.out
    (folder / "mine.csv").write_text(f"who\n{WHO}\n")
    with mock.patch("time.time", return_value=NOW + 1):
        again = forget(folder)
    assert "Still named in mine.csv" in again.out
    assert "Barred already" in again.out
    assert WHO not in again.out


# --- the certificate ---


def test_the_certificate_names_the_runs_their_rows_and_what_bounds_them(folder: Path) -> None:
    said = json.loads(forget(folder, WHO, "--json").out)
    path = Path(said["certificate"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    here = home.of(folder)
    spent = spending(here)
    facts = json.loads(path.read_text())["certificate"]
    assert [each["run"] for each in facts["runs"]] == [1, 2]
    assert facts["runs"][0]["rows"] == ["offers 2025-01-01 to 2025-06-30, payments to 2025-12-31"]
    assert [each["epsilon"] for each in facts["runs"]] == pytest.approx(
        [each.epsilon for each in spent.runs], rel=1e-5
    )
    assert facts["epsilon_of_all_runs"] == pytest.approx(spent.epsilon, rel=1e-5)
    assert facts["ledger_head"] == here.store.ledger_head().hex()
    assert len(here.store.ledger()) == 2, "what was spent stays"
    assert "abab" not in path.read_text()
    store_of(folder).charge(3, 0, 0, "unprotected", ())
    bare = json.loads(forget(folder, shops.customer(9), "--json").out)
    assert bare["epsilon_of_all_runs"] is None
    assert [each["epsilon"] is None for each in bare["runs"]] == [False, False, True]


def test_a_certificate_is_the_member_s_and_one_customer_s(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    assert forget(folder, WHO, "--out", path).code == 0

    def checked(*options: object, of: Path = folder) -> int:
        return fedrepay("member", "check-certificate", path, "--folder", of, *options).code

    assert checked() == checked("--customer", WHO) == 0
    assert checked("--customer", shops.customer(8)) == ArgumentError.exit_code
    with mock.patch("sys.stdin", io.StringIO(f"{WHO}\n")):
        assert checked("--customer", "-") == 0
    setup.create("other", tmp_path / "other")
    assert checked(of=tmp_path / "other") == ProtocolError.exit_code
    whole = path.read_text()
    path.write_text(whole.replace('"attempts": 1', '"attempts": 0', 1))
    assert checked() == ProtocolError.exit_code
    path.write_text("[]")
    assert checked() == ArgumentError.exit_code
    path.write_text(whole)
    assert checked() == 0


def test_the_bar_stands_even_where_the_certificate_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "taken.json"
    out.write_text("x")
    assert forget(folder, WHO, "--out", out).code == 5
    assert len(store_of(folder).barred()) == 1
    assert out.read_text() == "x"


def test_nobody_and_rows_without_customers_are_errors(folder: Path, tmp_path: Path) -> None:
    assert forget(folder, " ").code == ArgumentError.exit_code
    rows = tmp_path / "rows.toml"
    rows.write_text(schema(column("a"), customer=False))
    codebook.save(codebook.build(rows.read_bytes()), rows)
    assert forget(folder, WHO, "--schema", rows).code == ArgumentError.exit_code
    assert store_of(folder).barred() == frozenset()

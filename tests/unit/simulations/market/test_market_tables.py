"""A lender's tables in three styles: read through its mapping they give what its records give."""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray

from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.client.data.reading.labels import LABELS
from fedrepay.client.data.reading.table import Table, load_mapping, read_table
from fedrepay.client.plans.batch_io.recommend import Job, load, recommend_file
from fedrepay.shared.errors import StorageError
from fedrepay.shared.plans import outcomes
from fedrepay.simulations.market import lenders, people, records, tables
from fedrepay.simulations.market.records import Records
from support.market_release import compared, write_release

Pairs = tuple[tuple[NDArray[Any], NDArray[Any]], ...]
STYLES = (0, 1, 2)
"""Places of three small lenders whose numbers choose different styles."""


@pytest.fixture(scope="module")
def past() -> dict[int, Records]:
    some = lenders.lenders("mixed", 3, sizes=(400,) * 3)
    return {place: records.record(some[place], 3) for place in STYLES}


def read(path: Path) -> Table:
    table, findings = read_table(records.book(), None, load_mapping(path), need_outcome=True)
    assert not findings.refused
    return table


def same(one: Table, other: Table) -> bool:
    assert one.outcomes is not None
    assert other.outcomes is not None
    pairs: Pairs = (
        (one.codes, other.codes),
        (one.outcomes, other.outcomes),
        (one.customers, other.customers),
        (one.source_rows, other.source_rows),
        *((one.values[name], other.values[name]) for name in one.values),
    )
    return one.values.keys() == other.values.keys() and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in pairs
    )


@pytest.mark.parametrize("place", STYLES)
def test_the_way_through_files_gives_the_same_rows(
    place: int, past: dict[int, Records], tmp_path: Path
) -> None:
    made = tables.write(past[place], f"m{place + 1:02d}", tmp_path / "lender")
    expected = records.training_table(past[place])
    assert len(expected.codes) >= 400
    assert expected.outcomes is not None
    assert set(np.unique(expected.outcomes)) >= {0, 1}
    assert same(read(made), expected)


@pytest.mark.parametrize("place", STYLES)
def test_a_lender_s_mapping_keeps_customers_apart(
    place: int, past: dict[int, Records], tmp_path: Path
) -> None:
    path = tables.write(past[place], f"m{place + 1:02d}", tmp_path / "lender")
    table, findings = read_contributed(records.book(), None, load_mapping(path), draws=(0.5,))
    assert not findings.refused
    assert len(table.codes) >= 400


@pytest.mark.parametrize("place", STYLES)
def test_a_changed_payment_changes_a_label(place: int, past: dict[int, Records], tmp_path: Path) -> None:
    """Control: outcomes come from the payments in the files."""
    made = past[place]
    labels = outcomes.derive(made.offers, made.payments, records.NO_REPROFILES, records.AS_OF)
    paid = np.isin(made.payments.offer, np.flatnonzero(labels.first_paid == 1)[:1])
    kept = {name: each[~paid] for name, each in vars(made.payments).items()}
    less = Records(made.accounts, made.customer, made.plans, made.arm, made.offers, outcomes.Payments(**kept))
    path = tables.write(less, f"m{place + 1:02d}", tmp_path / "lender")
    assert not same(read(path), records.training_table(made))


def test_styles_differ_in_names_and_formats(past: dict[int, Records], tmp_path: Path) -> None:
    heads = []
    for place in STYLES:
        folder = tables.write(past[place], f"m{place + 1:02d}", tmp_path / str(place)).parent
        assert len(list(folder.iterdir())) == 5
        names = sorted(path.name for path in folder.iterdir() if path.name != tables.MAPPING)
        heads.append((names, folder))
    assert len({name for names, _ in heads for name in names}) == 12
    assert {Path(names[0]).suffix for names, _ in heads} == {".csv", ".parquet"}
    pounds = (heads[0][1] / "receipts.csv").read_text().splitlines()
    assert pounds[0] == "arrangement_ref,receipt_no,paid_on,gbp,reversal_of"
    commas = (heads[2][1] / "Zahlung.csv").read_text().splitlines()
    assert commas[1].count(";") == 4
    assert "," in commas[1]
    with duckdb.connect() as connection:
        found = connection.execute(f"DESCRIBE SELECT * FROM '{heads[1][1] / 'Ledger.parquet'}'").fetchall()
    assert {str(name): str(kind) for name, kind, *_ in found}["Pence"] == "BIGINT"


def test_a_folder_in_use_is_left_alone(past: dict[int, Records], tmp_path: Path) -> None:
    (tmp_path / "lender").mkdir()
    (tmp_path / "lender" / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match="does not exist or is empty"):
        tables.write(past[0], "m01", tmp_path / "lender")
    assert [path.name for path in tmp_path.rglob("*")] == ["lender", "mine.txt"]


def test_a_mapping_for_accounts_needs_no_outcome(past: dict[int, Records], tmp_path: Path) -> None:
    made = tables.write(past[0], "m01", tmp_path / "lender")
    table, _ = read_table(records.book(), None, load_mapping(made), need_outcome=False)
    assert table.outcomes is None
    assert len(table.codes) == len(past[0].arm)
    assert not set(LABELS) & set(table.values)


@pytest.mark.parametrize("place", STYLES)
def test_new_accounts_are_recommended_for_under_the_uk_packs(place: int, tmp_path: Path) -> None:
    lender = lenders.lenders("mixed", 3, sizes=(400,) * 3)[place]
    accounts = people.draw(lender.book, 300, np.random.default_rng(1))
    file = tables.write_accounts(accounts, lender.name, tmp_path / "new")
    write_release(tmp_path / "release", records.book())
    settings = tmp_path / "settings.toml"
    settings.write_text('packs = ["uk-fca", "uk-breathing-space", "uk-adm"]\n')
    job = Job(
        release=tmp_path / "release",
        accounts=file,
        catalogue=records.CATALOGUE,
        mapping=file.with_name(tables.MAPPING),
        settings=settings,
        trust=compared(tmp_path / "release"),
    )
    loaded = load(job)
    try:
        done = recommend_file(job, loaded, tmp_path / "out.parquet", "b1")
    finally:
        loaded.engine.close()
    assert (done.accounts, done.rejected) == (300, 0)
    with duckdb.connect() as connection:
        facts = connection.execute(f"SELECT * FROM '{tmp_path / 'out.parquet.facts.parquet'}'").fetchnumpy()
    assert 0 < np.mean(facts["vulnerability_driver"] != "none") < 0.15
    ill = facts["vulnerability_driver"] == "health"
    assert np.array_equal(ill, facts["health_data"] == 1)
    assert ill.any()
    assert 0 < np.mean(facts["moratorium_day"] >= 0) < 0.1
    assert 0 < np.mean(facts["adviser_engaged"]) < 0.1
    assert 0 < np.mean(facts["dispute"]) < 0.1
    balance = accounts.columns["balance"].astype(float) - accounts.columns["fees"].astype(float)
    assert np.array_equal(np.sort(facts["balance"]), np.sort(balance))

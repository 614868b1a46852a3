"""Labels of a member with three CSV files of its own column names, from the mapping to the encoded table."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedrepay.cli import app
from fedrepay.client.data.checking.contributed import read_contributed
from fedrepay.client.data.mappings.mapping import load_mapping
from fedrepay.client.data.reading.findings import Findings
from fedrepay.client.data.reading.table import Table
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.shared.errors import MappingError
from fedrepay.shared.schema.codebook import build
from support.dated_files import ACCOUNTS, BOOK, CASH, CHANGES, DEALS, MAPPING, SCHEMA, read
from support.outcomes_oracle import days


def said(findings: Findings) -> set[tuple[str, object, str, object, str]]:
    return {
        (Path(each.file).name, each.row, each.column, each.value, each.bound) for each in findings.refused
    }


def labels(table: Table) -> dict[str, list[int]]:
    assert table.outcomes is not None
    return dict(zip(table.extra["offer_id"].tolist(), table.outcomes.tolist(), strict=True))


def test_labels_come_from_three_files_of_own_column_names(tmp_path: Path) -> None:
    table, findings = read(tmp_path)
    assert not findings.groups
    assert labels(table) == {
        "A1": [1, 1],  # paid on day 7, one payment told twice
        "A2": [0, 0],  # never agreed
        "A3": [1, -1],  # sold in March
        "A5": [0, 1],  # reversed, paid again on day 8; re-profiled
    }
    assert findings.not_matured == 1  # A4
    assert table.customers.tolist() == ["k1", "k2", "k3", "k1"]
    assert table.codes.shape == (4, 1)
    assert table.source_rows.tolist() == [1, 2, 3, 5]


def test_the_ledgers_window_is_of_the_rows_whose_labels_have_matured(tmp_path: Path) -> None:
    """An offer too young for a label is in no sum and in no window; rows to score have none."""
    other_day = [row.replace("A5,2026-01-01", "A5,2025-12-30") for row in DEALS]
    table, _ = read(tmp_path, deals=other_day)
    assert table.offered_on is not None
    offered = dict(
        zip(table.extra["offer_id"], table.offered_on.astype("datetime64[D]").astype(str), strict=True)
    )
    assert offered["A1"] == "2026-01-01"
    assert offered["A5"] == "2025-12-30"
    assert "A4" not in offered, "offered on 2026-04-20"
    rows, digest = snapshot(BOOK, table, b"k")
    said = f"offers 2025-12-30 to 2026-01-01, payments to 2026-04-30; snapshot {digest.hex()}"
    assert rows.window.decode() == said
    scored, _ = read(tmp_path, need_outcome=False)
    assert (scored.offered_on, scored.as_of) == (None, None)


def test_without_the_reprofiling_the_plan_is_broken(tmp_path: Path) -> None:
    table, _ = read(tmp_path, changes=CHANGES[:1])
    assert labels(table)["A5"] == [0, 0]
    optional = MAPPING.format(as_of="2026-04-30").partition("reprofiles =")[0]
    table, _ = read(tmp_path, mapping=optional)
    assert labels(table)["A5"] == [0, 0]


def test_what_has_matured_follows_as_of(tmp_path: Path) -> None:
    table, findings = read(tmp_path, mapping=MAPPING.format(as_of="2026-04-14"))
    assert labels(table) == {"A1": [1, -1], "A2": [0, -1], "A3": [1, -1], "A5": [0, -1]}
    table, findings = read(tmp_path, mapping=MAPPING.format(as_of="2026-05-07"))
    assert labels(table)["A4"] == [0, -1]
    assert findings.not_matured == 0


def test_nothing_matured_is_said_and_no_row_is_used(tmp_path: Path) -> None:
    table, findings = read(tmp_path, mapping=MAPPING.format(as_of="2026-01-10"))
    assert said(findings) == {
        ("accounts.csv", None, "(outcomes)", None, "matured for at least one offer by as_of")
    }
    assert findings.not_matured == 5
    assert len(table.codes) == 0


def test_every_wrong_cell_is_named_and_spoils_its_own_offer_only(tmp_path: Path) -> None:
    deals = [*DEALS]
    deals[2] = "A2,2026-01-01,,15.01.2026,10.5,12,fortnightly,"
    deals[3] = "A3,2026-01-01,2025-12-31,15.01.2026,1000,0,monthly,soon"
    cash = [*CASH, "A9,c1,2026-01-15,10,", "A1,c2,2026-13-01,x,", ",c3,2026-01-01,5,"]
    table, findings = read(tmp_path, deals=deals, cash=cash)
    assert said(findings) == {
        ("deals.csv", 2, "instalment", "10.5", "a whole number of minor units (cents), without decimals"),
        ("deals.csv", 3, "censored_on", "soon", "a date, as 2026-10-31 (CAST or strptime reads other forms)"),
        ("cash.csv", 10, "offer_id", "A9", "an offer_id of outcomes.offers"),
        (
            "cash.csv",
            11,
            "paid_on",
            "2026-13-01",
            "a date, as 2026-10-31 (CAST or strptime reads other forms)",
        ),
        ("cash.csv", 12, "offer_id", None, "not missing"),
    }
    assert set(labels(table)) == {"A5"}
    assert findings.not_matured == 1


@pytest.mark.parametrize(
    ("row", "column", "value", "bound"),
    [
        ("A1,2026-01-01,,15.01.2026,5,1,monthly,", "offer_id", "A1", "unique: one row an offer"),
        ("A6,2026-01-20,,15.01.2026,5,1,monthly,", "first_due_on", "2026-01-15", "on or after offered_on"),
        (
            "A6,2026-01-01,2025-12-31,15.01.2026,5,1,monthly,",
            "agreed_on",
            "2025-12-31",
            "on or after offered_on",
        ),
        ("A6,2026-01-01,,15.01.2026,5,1201,monthly,", "count", "1201", "1 to 1200"),
        ("A6,2026-01-01,,15.01.2026,0,1,monthly,", "instalment", "0", "1 to 1000000000000"),
        ("A6,2026-01-01,,15.01.2026,5,1,daily,", "frequency", "daily", "one of weekly, biweekly, monthly"),
        ("A6,1969-12-31,,15.01.2026,5,1,monthly,", "offered_on", "1969-12-31", "a date from 1970"),
    ],
)
def test_a_wrong_offer_is_named(tmp_path: Path, row: str, column: str, value: str, bound: str) -> None:
    table, findings = read(tmp_path, deals=[*DEALS, row])
    (found,) = findings.refused
    assert (Path(found.file).name, found.row, found.column, found.value) == ("deals.csv", 6, column, value)
    assert found.bound.startswith(bound)
    assert ("A1" in labels(table)) == (not row.startswith("A1"))


@pytest.mark.parametrize(
    ("row", "column", "value", "bound"),
    [
        ("A1,b1,2026-01-23,1000,", "payment_id", "b1", "another one"),
        ("A1,b1,2026-01-22,999,", "payment_id", "b1", "another one"),
        ("A1,b9,2026-01-22,999,b4", "reverses", "b4", "the payment_id of a payment of the same offer"),
        ("A1,b9,2026-01-22,-999,", "reverses", "b9", "the payment_id of a payment of the same offer"),
        ("A1,,2026-01-22,999,", "payment_id", None, "not missing"),
        ("A1,b9,2026-01-22,1e13,", "amount", "1e13", "-1000000000000 to 1000000000000"),
        ("A1,b9,2026-01-22,inf,", "amount", "inf", "a whole number of minor units"),
    ],
)
def test_a_wrong_payment_is_named(
    tmp_path: Path, row: str, column: str, value: str | None, bound: str
) -> None:
    table, findings = read(tmp_path, cash=[*CASH, row])
    (found,) = findings.refused
    assert (Path(found.file).name, found.row, found.column, found.value) == ("cash.csv", 10, column, value)
    assert found.bound.startswith(bound)
    assert set(labels(table)) == {"A2", "A3", "A5"}


@pytest.mark.parametrize(
    ("row", "column", "bound"),
    [
        ("A5,2026-02-12,2026-03-11,600", "from_on", "one re-profiling an offer and day"),
        ("A5,2025-12-12,2026-03-11,600", "from_on", "on or after the offer's offered_on"),
        ("A5,2026-02-14,2026-02-13,600", "next_due_on", "on or after from_on"),
        ("A5,2026-02-14,,600", "next_due_on", "not missing"),
    ],
)
def test_a_wrong_reprofiling_is_named(tmp_path: Path, row: str, column: str, bound: str) -> None:
    table, findings = read(tmp_path, changes=[*CHANGES, row])
    (found,) = findings.refused
    assert (Path(found.file).name, found.row, found.column, found.bound) == ("changes.csv", 2, column, bound)
    assert "A5" not in labels(table)


def test_rows_must_name_an_offer_each_its_own(tmp_path: Path) -> None:
    table, findings = read(tmp_path, accounts=[*ACCOUNTS, "A1,k9,100", "A7,k9,100", ",k9,100"])
    assert said(findings) == {
        ("accounts.csv", 6, "offer_id", "A1", "unique: an offer's labels belong to one row"),
        ("accounts.csv", 7, "offer_id", "A7", "an offer_id of outcomes.offers"),
        ("accounts.csv", 8, "offer_id", None, "not missing"),
    }
    assert set(labels(table)) == {"A1", "A2", "A3", "A5"}


def test_missing_and_unknown_columns_of_a_select_are_named(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30").replace("cents AS amount", "cents AS money")
    table, findings = read(tmp_path, mapping=mapping)
    names = "offer_id, payment_id, paid_on, amount, reverses"
    assert said(findings) == {
        ("cash.csv", None, "money", None, f"one of {names}; this one is unknown"),
        ("cash.csv", None, "amount", None, "there; the column is missing"),
    }
    assert len(table.codes) == 0


def test_a_column_of_the_wrong_type_is_named(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30")
    mapping = mapping.replace('"day" AS', 'CAST("day" AS TIMESTAMP) AS').replace("cents AS", "[cents] AS")
    table, findings = read(tmp_path, mapping=mapping)
    assert said(findings) == {
        ("cash.csv", None, "paid_on", None, "dates; the column's type is TIMESTAMP"),
        ("cash.csv", None, "amount", None, "numbers; the column's type is VARCHAR[]"),
    }
    assert len(table.codes) == 0


def test_a_column_without_any_value_may_have_any_type(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30").replace("stop AS", "NULL AS")
    table, findings = read(tmp_path, mapping=mapping)
    assert not findings.groups
    assert labels(table)["A3"] == [1, 0]


def test_a_select_must_not_give_what_is_derived(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30").replace("SELECT _row,", "SELECT _row, 1 AS kept_90,", 1)
    _, findings = read(tmp_path, mapping=mapping)
    assert said(findings) == {
        ("accounts.csv", None, "kept_90", None, "left out: [outcomes] derives it from payments")
    }


def test_without_offer_id_no_row_can_be_used(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30").replace('"Ref" AS offer_id, "Client', '"Client', 1)
    table, findings = read(tmp_path, mapping=mapping)
    assert said(findings) == {("accounts.csv", None, "offer_id", None, "there; the column is missing")}
    assert len(table.codes) == 0


def test_a_failing_select_is_a_mapping_error(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30").replace("cents AS amount", "pence AS amount")
    with pytest.raises(MappingError, match=r"outcomes\.payments: the SELECT fails on .*cash\.csv.*pence"):
        read(tmp_path, mapping=mapping)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("as_of = 2026-04-30", 'as_of = "2026-04-30"', "outcomes.as_of"),
        ("as_of = 2026-04-30", "as_of = 1960-04-30", "outcomes.as_of"),
        ("as_of = 2026-04-30", "", "outcomes.as_of: Field required"),
        ("FROM cash", "FROM cash; DROP TABLE cash", "outcomes.payments must be exactly one SELECT"),
        ("FROM cash", "FROM (cash", "outcomes.payments: Parser Error"),
    ],
)
def test_a_wrong_outcomes_table_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    with pytest.raises(MappingError) as caught:
        read(tmp_path, mapping=MAPPING.format(as_of="2026-04-30").replace(old, new))
    assert words in caught.value.cause


def test_a_schema_without_these_outcomes_refuses_the_outcomes_table(tmp_path: Path) -> None:
    other = build(SCHEMA.replace("first_paid", "cured").replace("kept_90", "late").encode())
    with pytest.raises(MappingError, match="the schema has no such outcome"):
        read(tmp_path, book=other)


def test_an_outcome_declared_absent_is_not_derived(tmp_path: Path) -> None:
    mapping = 'absent = ["kept_90"]\n' + MAPPING.format(as_of="2026-04-30")
    table, findings = read(tmp_path, mapping=mapping)
    assert not findings.groups
    assert labels(table) == {"A1": [1, -1], "A2": [0, -1], "A3": [1, -1], "A5": [0, -1]}


def test_an_outcome_that_must_be_known_leaves_out_rows_where_it_is_not(tmp_path: Path) -> None:
    strict = build(SCHEMA.replace('good = 1\nmissing = "outside"', "good = 1").encode())
    table, findings = read(tmp_path, book=strict)
    assert not findings.groups
    assert set(labels(table)) == {"A1", "A2", "A5"}
    assert findings.not_matured == 2


def test_rows_to_score_need_no_payments(tmp_path: Path) -> None:
    broken = MAPPING.format(as_of="2026-04-30").replace("cents AS amount", "pence AS amount")
    table, findings = read(tmp_path, mapping=broken, need_outcome=False)
    assert not findings.groups
    assert table.outcomes is None
    assert len(table.codes) == 5


def test_an_aggregating_payments_select_is_refused(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30")
    read(tmp_path, mapping=mapping)
    plain = load_mapping(tmp_path / "mine.toml")
    assert plain.outcomes is not None
    assert plain.outcomes.as_of == days("2026-04-30")
    assert not [each for each in read_contributed(BOOK, None, plain)[1].groups if each.fatal]
    (tmp_path / "mine.toml").write_text(mapping.replace("cents AS amount", "max(cents) OVER () AS amount"))
    _, findings = read_contributed(BOOK, None, load_mapping(tmp_path / "mine.toml"))
    (refused,) = [each for each in findings.groups if each.fatal]
    assert refused.column == "(mapping: outcomes.payments)"
    assert "max OVER must be PARTITION BY a key" in refused.bound


def test_payments_that_name_their_offer_by_no_key_are_refused(tmp_path: Path) -> None:
    mapping = MAPPING.format(as_of="2026-04-30").replace(
        '"Ref" AS offer_id, "Booking"', 'lower("Ref") AS offer_id, "Booking"'
    )
    read(tmp_path, mapping=mapping)
    _, findings = read_contributed(BOOK, None, load_mapping(tmp_path / "mine.toml"))
    (refused,) = [each for each in findings.groups if each.fatal]
    assert refused.bound == "offer_id must be a column that `keys` calls an offer key, as it stands"


def test_check_data_says_how_many_offers_have_not_matured(tmp_path: Path) -> None:
    read(tmp_path)
    (tmp_path / "plans.toml").write_text(SCHEMA)
    run = CliRunner().invoke
    assert run(app, ["schema", "build", str(tmp_path / "plans.toml")]).exit_code == 0
    options = ["--schema", str(tmp_path / "plans.toml"), "--mapping", str(tmp_path / "mine.toml")]
    result = run(app, ["member", "check-data", *options])
    assert result.exit_code == 0, result.output
    assert "Left out: 1 offers, not matured" in result.output
    assert '"not_matured": 1' in run(app, ["member", "check-data", "--json", *options]).output

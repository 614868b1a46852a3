"""The decisions of a file as a collections analyst gets them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io.output import COLUMNS
from fedrepay.client.plans.batch_io.recommend import load
from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.scoring.score_file import rejects_of
from fedrepay.shared.errors import DataError
from fedrepay.shared.schema import codebook
from support.desk import ACCOUNTS, Desk, Row, write_csv
from support.market_accounts import random_accounts
from support.market_release import write_release
from support.schemas import column, schema


def test_two_hundred_accounts_and_a_catalogue_of_ones_own(desk: Desk) -> None:
    result = desk.recommend()
    assert result.code == 0, result.err
    assert "200 accounts written" in result.err
    assert "No rule pack: nothing is checked against any law" in result.err
    assert "nobody is spared for it: dispute, adviser_engaged, time_barred" in result.err
    rows = desk.rows()
    assert list(rows[0])[: len(COLUMNS) + 1] == ["batch_id", *COLUMNS]
    assert {row["account"] for row in rows} == {f"c{i:05d}" for i in range(ACCOUNTS)}
    by_account: dict[str, list[Row]] = {}
    for row in rows:
        by_account.setdefault(row["account"], []).append(row)
    for each in by_account.values():
        assert [row["rank"] for row in each] == list(range(1, len(each) + 1))
        assert len({row["decision"] for row in each}) == 1
    offers = [row for row in rows if row["decision"] == "OFFER"]
    assert {row["decision"] for row in rows} >= {"OFFER", "TOKEN", "REVIEW", "REFER", "HUMAN"}
    for row in offers:
        assert row["monthly"] <= row["bound"]
        assert row["instalment"] * (row["count"] - 1) < row["total"] <= row["instalment"] * row["count"]
        assert row["total"] == row["interest"] + round(row["total"] - row["interest"])
    no_form = [row for row in rows if row["bound"] is None]
    assert no_form
    assert {row["decision"] for row in no_form} == {"REFER"}
    assert all(row["why_not"] for row in rows if row["rank"] == 1)


def test_no_discount_no_waiver_and_no_income_is_a_reason_where_there_is_none(desk: Desk) -> None:
    assert desk.recommend().code == 0
    named = 0
    for row in desk.rows():
        said = " ".join(row[f"reason_{place}"] or "" for place in range(1, 5))
        for code, has in (
            ("+R08", row["discount"]),
            ("+R07", (row["interest_saved"] or 0) + (row["fees_saved"] or 0)),
            ("R14", row["bound"] is not None),
        ):
            assert has or code not in said, (row["account"], said)
            named += code in said
    assert named > 30, "control: they are given to others"


def test_own_column_names_go_through_a_mapping(desk: Desk) -> None:
    assert desk.recommend("plain.csv").code == 0
    own = random_accounts(ACCOUNTS, seed=3)
    own["Konto"] = own.pop("customer")
    own["saldo_pounds"] = own.pop("balance") / 100
    write_csv(desk.folder / "own.csv", own)
    others = ", ".join(name for name in own if name not in ("Konto", "saldo_pounds"))
    mapping = desk.folder / "own.toml"
    mapping.write_text(
        f'sql = """SELECT _row, Konto AS customer, ROUND(CAST(saldo_pounds AS DOUBLE) * 100) AS balance, {others} FROM data"""'
    )
    result = desk.recommend("mapped.csv", batch="b2", accounts=desk.folder / "own.csv", mapping=mapping)
    assert result.code == 0, result.err
    mapped = (desk.folder / "mapped.csv").read_text().replace("\nb2,", "\nb1,")
    assert mapped == (desk.folder / "plain.csv").read_text()


def test_bad_rows_go_to_rejects_and_the_others_are_decided(desk: Desk) -> None:
    own = random_accounts(ACCOUNTS, seed=3)
    own["jurisdiction"] = np.full(ACCOUNTS, "UK", dtype=object)
    own["dispute"] = np.full(ACCOUNTS, "no", dtype=object)
    own["balance"] = own["balance"].astype(object)
    own["balance"][4] = "lots"
    own["stage"][5] = "lost"
    own["employment"][10] = "sick"
    own["customer"][7] = own["customer"][6]
    own["jurisdiction"][8] = "Atlantis"
    own["dispute"][9] = "perhaps"
    write_csv(desk.accounts, own)
    result = desk.recommend("out.csv", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["rejected"] == 6
    lines = rejects_of(desk.folder / "out.csv").read_text().splitlines()[1:]
    found = {(int(row), name, value) for _, row, name, value, *_ in (line.split(",") for line in lines)}
    assert found == {
        (5, "balance", "lots"),
        (6, "stage", "lost"),
        (8, "account", "c00006"),
        (9, "jurisdiction", "Atlantis"),
        (10, "dispute", "restricted"),
        (11, "employment", "sick"),
    }
    (refused,) = (line for line in lines if ",employment," in line)
    assert "one of working, not_working, unknown" in refused
    assert "health is a restricted fact" in refused
    assert len({row["account"] for row in desk.rows()}) == ACCOUNTS - 6


def test_an_account_column_tells_a_customers_accounts_apart(desk: Desk) -> None:
    own = random_accounts(6, seed=3)
    own["customer"][:] = "c1"
    write_csv(desk.accounts, {**own, "account": np.array([f"k{i}" for i in range(6)], dtype=object)})
    assert desk.recommend().code == 0
    assert {row["account"] for row in desk.rows()} == {f"k{i}" for i in range(6)}


def test_a_pack_of_ones_own_stands_beside_the_settings(desk: Desk) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text('packs = ["nowhere.toml"]\n')
    result = desk.recommend(settings=settings)
    assert result.code != 0
    assert "nowhere.toml" in result.err


def test_one_decision_is_explained_to_a_case_worker(desk: Desk) -> None:
    assert desk.recommend().code == 0
    offer = next(row for row in desk.rows() if row["decision"] == "OFFER" and row["rank"] == 1)
    shown = desk.recommend(None, "--explain", offer["account"])
    assert shown.code == 0, shown.err
    assert f"Account {offer['account']}" in shown.out
    assert offer["plan"] in shown.out
    content = json.loads(desk.recommend(None, "--explain", offer["account"], "--json").out)
    assert content["decision"] == "OFFER"
    assert content["plans"][0]["name"] == offer["plan"]
    assert content["plans"][0]["total"] == offer["total"]
    lost = desk.recommend(None, "--explain", "nobody")
    assert (lost.code, "holds no account nobody" in lost.err) == (4, True)


def test_what_asking_for_forms_and_proofs_would_bring(desk: Desk) -> None:
    result = desk.recommend("out.csv", "--json")
    found = json.loads(result.out)["verifying"]
    own = random_accounts(ACCOUNTS, seed=3)
    assert list(found) == ["none", "stated", "estimated"]
    offers = {row["account"] for row in desk.rows() if row["decision"] == "OFFER" and row["rank"] == 1}
    handed = np.isin(own["customer"], [row["account"] for row in desk.rows() if row["handoff_code"]])
    for name, each in found.items():
        here = own["income_verified"] == name
        assert each["accounts"] == int((here & ~handed).sum())
        assert (here & handed).any() == (name != "none"), "of whom a person decides about nothing is asked"
        assert each["plans_now"] == len(offers & set(own["customer"][here]))
        assert each["plans_then"] > each["plans_now"]
        assert each["value_then"] > each["value_now"]
    told = desk.recommend("again.csv")
    assert told.code == 0, told.err
    assert f"Asking {found['stated']['accounts']:,} of income stated for a proof" in " ".join(
        told.err.split()
    )


def test_a_release_without_a_guarantee_needs_a_word(desk: Desk, tmp_path: Path) -> None:
    write_release(tmp_path / "bare", not_private="no noise")
    result = desk.recommend(release=tmp_path / "bare")
    assert result.code == 9
    assert "no noise" in result.err
    accepted = desk.recommend("out.csv", "--unprotected", release=tmp_path / "bare")
    assert accepted.code == 0
    assert "NOT PRIVATE" in accepted.err


def test_a_release_of_another_kind_is_refused(desk: Desk, tmp_path: Path) -> None:
    other = codebook.build(schema(column("a"), column("b")).encode())
    write_release(tmp_path / "other", other)
    result = desk.recommend(release=tmp_path / "other")
    assert result.code == 9
    assert "lacks the outcome first_paid" in result.err


@pytest.mark.parametrize(
    ("changed", "code", "words"),
    [
        ({"out": "out.txt"}, 2, "neither .csv nor .parquet"),
        ({"today": "yesterday"}, 2, "no date"),
        ({"batch-id": None}, 2, "--batch-id"),
        ({"out": None}, 2, "--out FILE or --explain"),
        ({"catalogue": "nowhere.toml"}, 3, "cannot be read"),
        ({"accounts": "nowhere.csv"}, 2, "cannot be read"),
    ],
)
def test_wrong_options_end_with_their_codes(
    desk: Desk, changed: dict[str, Any], code: int, words: str
) -> None:
    before = desk.left()
    result = desk.recommend(**changed)
    assert result.code == code, result.err
    assert words in result.err
    assert desk.left() == before


def test_an_output_that_is_an_input_is_refused(desk: Desk) -> None:
    before = desk.accounts.read_bytes()
    result = desk.recommend("accounts.csv")
    assert result.code == 2
    assert "would overwrite" in result.err
    assert desk.accounts.read_bytes() == before


def test_one_account_alone_is_decided_as_in_the_file(desk: Desk) -> None:
    assert desk.recommend().code == 0
    first = {row["account"]: row for row in desk.rows() if row["rank"] == 1}
    own = random_accounts(ACCOUNTS, seed=3)
    of = load(desk.job()).engine
    for row in range(0, ACCOUNTS, 9):
        alone = {each.name: own[each.name][row : row + 1] for each in of.encoder.account_columns}
        batch = of.decide(of.accounts([own["customer"][row]], alone), today=20_458)
        written = first[own["customer"][row]]
        assert Decision(batch.decisions.code[0]).name == written["decision"]
        assert of.arms.names[batch.decisions.top[0, 0]] == written["plan"]
        assert batch.judged.score[0, batch.decisions.top[0, 0]] == written["score"]
    of.close()


def test_a_wrong_value_of_a_single_account_is_named(desk: Desk) -> None:
    of, own = load(desk.job()).engine, random_accounts(1)
    columns = {each.name: own[each.name] for each in of.encoder.account_columns}
    with pytest.raises(DataError, match=r"stage, account k1: 'lost' must be one of early"):
        of.accounts(["k1"], {**columns, "stage": np.array(["lost"], dtype=object)})
    with pytest.raises(DataError, match="The column balance is missing"):
        of.accounts(["k1"], {name: each for name, each in columns.items() if name != "balance"})


def test_a_mapping_in_another_currency_is_refused(desk: Desk) -> None:
    mapping = desk.folder / "own.toml"
    mapping.write_text('currency = "EUR"\nsql = """SELECT * FROM data"""\n')
    result = desk.recommend(mapping=mapping)
    assert result.code == 3
    assert "offers plans in GBP" in result.err
    mapping.write_text('currency = "GBP"\nsql = """SELECT * FROM data"""\n')
    assert desk.recommend(mapping=mapping).code == 0


def test_recommend_prints_the_releases_own_statement(desk: Desk) -> None:
    result = desk.recommend()
    assert result.code == 0, result.err
    said = " ".join(result.err.split())
    assert (
        "Privacy: ε = 1 of a customer at one member, 2.1 of a person at 2, 3.26 of a person at 3; δ = 1e-07."
        in said
    )

"""`member assess`: what a member's own rows say alone, against rows whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fedrepay.client.care import assessing
from fedrepay.client.care.assessing import FEW, FOLDS, Assessment, assess, predicted
from fedrepay.client.data.reading.table import Table, read_table
from fedrepay.client.learning.folds import dealt
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from support import shop as shops
from support.command import fedrepay
from support.schemas import column, schema
from support.shop import Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"))


KINDS = ["pause", "longer", "discount", "token"]


def made(
    folder: Path, rows: int, *, each: int = 1, kinds: bool = False, slope: float = 0.0
) -> tuple[CodeBook, Table]:
    """Customers of so many rows each, who pay late by chance, or by their a."""
    rng = np.random.default_rng(3)
    parts = [column("a")]
    if kinds:
        parts.append(column("kind", "category", role="plan", categories=KINDS))
    text = schema(*parts, n_max=100_000)
    book = codebook.build(text.encode())
    a = rng.uniform(0, 49, size=rows)  # never in the last bin
    people = np.arange(rows) // each
    late = rng.random(rows) < 1 / (1 + np.exp(-slope * (a - 25)))
    if each > 1:
        late = late[people * each]  # all rows of a customer have one outcome
    lines = ["who,late,a" + (",kind" if kinds else "")]
    for i in range(rows):
        kind = "pause" if a[i] < 20 else "longer"
        lines.append(f"k{people[i]},{int(late[i])},{a[i]:.3f}" + (f",{kind}" if kinds else ""))
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n")
    table, findings = read_table(book, path, None, need_outcome=True)
    findings.raise_if_refused()
    return book, table


# --- figures ---


def test_the_shop_s_rows_say_what_is_in_them(shop: Shop) -> None:
    files = ("--schema", shop.schema, "--data", shop.data, "--mapping", shop.mapping)
    said = json.loads(fedrepay("member", "assess", *files, "--json").out)
    (kept,) = said["outcomes"]
    assert (said["rows"], said["customers"], kept["rows"]) == (900, 450, 900)
    told = [line.split(";")[5] for line in shop.data.read_text().splitlines()[1:]]
    assert kept["rate"] == pytest.approx(np.mean([each == "1" for each in told]))
    low, high = kept["rate_interval"]
    assert low < kept["rate"] < high < low + 0.1
    assert 0.6 < kept["auc_interval"][0] < kept["auc"] < kept["auc_interval"][1] < 0.95
    shown = fedrepay("member", "assess", *files)
    assert shown.code == 0, shown.err
    assert "900 rows of 450 customers" in shown.out
    assert "Nothing was sent" in shown.out


def test_a_model_that_can_know_nothing_gets_a_coin_s_auc_and_one_that_can_gets_more(tmp_path: Path) -> None:
    (blind,) = assess(*made(tmp_path, 2000)).outcomes
    assert blind.auc_interval is not None
    assert blind.auc_interval[0] < 0.5 < blind.auc_interval[1]
    (seeing,) = assess(*made(tmp_path, 2000, slope=0.2)).outcomes
    assert seeing.auc_interval is not None
    assert seeing.auc_interval[0] > 0.7


def test_a_customer_is_never_on_both_sides(tmp_path: Path) -> None:
    """Rows of a customer tell each other's outcome; folds that part them would call a blind model good."""
    rng = np.random.default_rng(1)
    owner = np.repeat(np.arange(60), 8)
    y = (rng.random(60) < 0.5).astype(np.int64)[owner]
    who = np.eye(60)[owner]  # the model sees who it is and nothing else
    honest = roc_auc_score(y, predicted(who, y, owner))
    parted = roc_auc_score(y, predicted(who, y, np.arange(480)))
    assert honest < 0.6
    assert parted > 0.9, "control: parted by rows it seems to know"
    fold = dealt(y, owner, FOLDS, 1)
    assert all(len(set(fold[owner == each])) == 1 for each in range(60))
    sizes = np.bincount(fold, minlength=FOLDS) // 8
    assert sizes.max() - sizes.min() <= 2, "dealt evenly, within either label"


def test_the_interval_is_over_customers_not_rows(tmp_path: Path) -> None:
    def width(each: int) -> float:
        (found,) = assess(*made(tmp_path, 1200, each=each)).outcomes
        assert found.rate_interval is not None
        return found.rate_interval[1] - found.rate_interval[0]

    assert 2.0 < width(8) / width(1) < 4.0, "an eighth of the customers: √8 as wide"


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    hits = {True: 0, False: 0}
    for seed in range(60):
        rng = np.random.default_rng(seed)
        owner = np.repeat(np.arange(100), 9)
        y = (rng.random(100) < 0.5).astype(np.int64)[owner]
        for whole in hits:
            rates, _ = assessing._drawn(y, owner if whole else np.arange(900), np.zeros(0))
            low, high = assessing._interval(rates)
            hits[whole] += low <= 0.5 <= high
    assert 53 <= hits[True] <= 60
    assert hits[False] < 40, "control: over rows it would be three times too narrow"


def test_too_few_of_a_label_give_a_reason_and_no_model(tmp_path: Path) -> None:
    (found,) = assess(*made(tmp_path, 30)).outcomes
    assert (found.auc, found.auc_interval) == (None, None)
    assert "20 of each are needed" in (found.reason or "")
    assert found.rate_interval is not None


# --- overlap ---


def thin(found: Assessment) -> dict[str, int]:
    return {f"{each.column} {each.label}": each.customers for each in found.thin}


def test_bins_without_customers_and_kinds_that_were_never_offered_are_named(tmp_path: Path) -> None:
    found = assess(*made(tmp_path, 2000, kinds=True))
    assert thin(found) == {"a ≥ 50": 0, "kind discount": 0, "kind token": 0}
    assert [each.plan for each in found.thin] == [False, True, True]
    assert found.never_offered == ("discount", "token")
    assert set(found.never_together) == {
        *(("a", each, "longer") for each in ("< 10", "10 to 20")),
        ("a", "20 to 50", "pause"),
    }
    assert found.pairs_missing == 3
    whole = assess(*made(tmp_path, 2000))
    assert (whole.never_offered, whole.never_together) == ((), ()), "control: a schema without plans"


def test_a_thin_bin_counts_customers_not_rows(tmp_path: Path) -> None:
    found = assess(*made(tmp_path, 400, each=20))
    assert all(each.rows > FEW > each.customers for each in found.thin if each.label != "≥ 50")
    assert len(found.thin) == 4


# --- the command ---


def test_with_a_folder_its_settings_and_bars_count(shop: Shop, tmp_path: Path) -> None:
    assert fedrepay("member", "init", "a", "--folder", tmp_path / "a").code == 0
    lines = {"schema": shop.schema, "data": shop.data, "mapping": shop.mapping}
    (tmp_path / "a" / "member.toml").write_text("".join(f'{k} = "{v}"\n' for k, v in lines.items()))
    said = json.loads(fedrepay("member", "assess", "--folder", tmp_path / "a", "--json").out)
    assert said["customers"] == 450
    assert fedrepay("member", "forget", shops.customer(3), "--folder", tmp_path / "a").code == 0
    said = json.loads(fedrepay("member", "assess", "--folder", tmp_path / "a", "--json").out)
    assert said["customers"] == 449
    assert fedrepay("member", "assess", "--data", shop.data).code == ArgumentError.exit_code

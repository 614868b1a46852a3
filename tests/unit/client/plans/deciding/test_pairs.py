"""Pairs are coded and scored exactly as training reads the same rows from a file."""

from pathlib import Path

import duckdb
import numpy as np
import pytest

from fedrepay.client.data.reading.table import read_table
from fedrepay.client.plans.deciding.affordability import sustainable
from fedrepay.client.plans.deciding.pairs import PairEncoder
from fedrepay.client.plans.deciding.settings import Caution
from fedrepay.client.scoring.score import probability
from fedrepay.shared.errors import ReleaseError
from fedrepay.shared.plans.candidates import Candidates, Debts, candidates
from fedrepay.shared.plans.catalogue import Arms, arms, load_catalogue
from fedrepay.shared.plans.kinds import KINDS, RULED
from fedrepay.shared.schema import codebook
from support.market_accounts import CATALOGUE, SCHEMA, Columns, market_book, random_accounts

PLAN = ("kind", "months", "monthly", "first_due", "discount", "interest_waiver")


def plans_of(accounts: Columns) -> tuple[Arms, Candidates]:
    catalogue, _ = load_catalogue(CATALOGUE)
    learned = tuple(each for each in catalogue.plans if each.kind not in RULED)
    catalogue = catalogue.model_copy(update={"plans": learned})
    of = arms(catalogue)
    whole = {name: accounts[name].astype(np.int64) for name in ("balance", "fees")}
    bound = sustainable(
        Caution(),
        accounts["income"],
        accounts["surplus"],
        accounts["income_verified"],
        accounts["other_plans"] + accounts["priority_arrears"],
    )
    return of, candidates(catalogue, of, Debts(whole["balance"], whole["fees"], accounts["apr"], bound))


def crossed(accounts: Columns, of: Arms, plans: Candidates, path: Path) -> None:
    """Write every pair as one row, as a log of offers would hold it."""
    n, count = plans.valid.shape
    rows = {name: np.repeat(each, count) for name, each in accounts.items()}
    rows["customer"] = np.array([f"r{i}" for i in range(n * count)], dtype=object)
    rows |= {
        "kind": np.tile(np.array(KINDS, dtype=object)[of.kind], n),
        "months": plans.months.ravel(),
        "monthly": plans.monthly.astype(float).ravel(),
        "first_due": np.tile(of.first_due.astype(float), n),
        "discount": np.tile(of.discount, n),
        "interest_waiver": np.tile(of.interest_waiver, n),
        "first_paid": np.zeros(n * count),
        "kept_90": np.zeros(n * count),
    }
    with duckdb.connect() as connection:
        connection.register("pairs", rows)
        names = ", ".join(
            f"CASE WHEN isnan({name}) THEN NULL ELSE {name} END AS {name}" if each.dtype != object else name
            for name, each in rows.items()
        )
        connection.execute(f"COPY (SELECT {names} FROM pairs) TO '{path}' (FORMAT parquet)")


def test_codes_and_probabilities_equal_those_of_the_cross_join(tmp_path: Path) -> None:
    book, accounts = market_book(), random_accounts(150, seed=1)
    accounts["income"][[2, 3, 5]] = 0.0
    of, plans = plans_of(accounts)
    crossed(accounts, of, plans, tmp_path / "pairs.parquet")
    table, findings = read_table(book, tmp_path / "pairs.parquet", None, need_outcome=True)
    assert not findings.refused
    encoder = PairEncoder(book, of)
    values, fine = encoder.derive_accounts(
        {each.name: accounts[each.name] for each in encoder.account_columns}, 150
    )
    codes, known = encoder.encode(values, plans)
    assert fine.all()
    assert known.all()
    assert np.isnan(accounts["income"]).any(), "accounts without an income are among them"
    n, count = plans.valid.shape
    row, arm = np.divmod(np.arange(n * count), count)
    assert np.array_equal(codes.of(row, arm), table.codes)
    rng = np.random.default_rng(2)
    for weights in rng.normal(size=(2, book.dimension)):
        logits = codes.logits(encoder.effects(weights)).ravel()
        found = 0.5 * (1 + np.tanh(logits / 2))
        assert np.abs(found - probability(book, weights, table.codes)).max() < 1e-9


def test_only_what_hangs_on_the_pair_is_as_large_as_all_pairs() -> None:
    book, accounts = market_book(), random_accounts(20)
    of, plans = plans_of(accounts)
    encoder = PairEncoder(book, of)
    values, _ = encoder.derive_accounts(
        {each.name: accounts[each.name] for each in encoder.account_columns}, 20
    )
    codes, _ = encoder.encode(values, plans)
    shapes = {block.name: each.shape for block, each in zip(book.blocks, codes.blocks, strict=False)}
    assert shapes["stage"] == (20, 1)
    assert shapes["kind"] == (1, len(of.kind))
    assert shapes["headroom"] == shapes["discount × stage"] == (20, len(of.kind))


def test_plans_beyond_the_schema_are_not_known_to_the_model() -> None:
    text = SCHEMA.read_text().replace(
        'categories = ["FULL", "INSTALMENT", "SETTLEMENT", "TOKEN"]', 'categories = ["FULL", "INSTALMENT"]'
    )
    narrow = text.replace(
        'bounds = [0, 60]\nedges = [1.5, 3.5, 6.5, 9.5, 12.5, 18.5, 24.5, 36.5]\noutside = "clip"',
        "bounds = [0, 20]\nedges = [1.5, 3.5, 6.5, 9.5, 12.5, 18.5]",
    )
    book, accounts = codebook.build(narrow.encode()), random_accounts(20)
    of, plans = plans_of(accounts)
    encoder = PairEncoder(book, of)
    values, _ = encoder.derive_accounts(
        {each.name: accounts[each.name] for each in encoder.account_columns}, 20
    )
    _, known = encoder.encode(values, plans)
    assert np.array_equal(known, of.is_kind("FULL", "INSTALMENT") & (plans.months <= 20))


def test_an_account_that_training_would_refuse_is_refused_here() -> None:
    accounts = random_accounts(4)
    accounts["income"][2] = 0.0
    text = SCHEMA.read_text().replace(
        'missing = "bin"\nderived = "LN(NULLIF(income, 0) / median_income)"',
        'derived = "LN(NULLIF(income, 0) / median_income)"',
    )
    accounts["income"][[0, 1, 3]] = 100_000.0
    of, _ = plans_of(accounts)
    encoder = PairEncoder(codebook.build(text.encode()), of)
    _, fine = encoder.derive_accounts({each.name: accounts[each.name] for each in encoder.account_columns}, 4)
    assert fine.tolist() == [True, True, False, True]


def test_a_plan_column_without_candidates_is_refused() -> None:
    of, _ = plans_of(random_accounts(2))
    text = (
        SCHEMA.read_text().replace('name = "months"', 'name = "hour_band"').replace('"months"', '"hour_band"')
    )
    with pytest.raises(ReleaseError, match="hour_band"):
        PairEncoder(codebook.build(text.encode()), of)

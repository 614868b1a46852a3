"""`fedrepay member recommend --own`: the member's own part is fitted on its past offers, here and nowhere else."""

from pathlib import Path

import duckdb
import numpy as np

from fedrepay.client.plans.batch_io.recommend import Job, load, recommend_file
from fedrepay.simulations.market import lenders, people, records, tables
from support.market_release import compared, write_release

COLUMNS = "account, rank, p_first, p_kept"


def offers(folder: Path) -> Path:
    """A lender's own tables of 300 past offers; returns the mapping."""
    who = lenders.lenders("mixed", 5, [300])[0]
    return tables.write(records.record(who, 5), who.name, folder / "history")


def job(folder: Path, own: Path | None) -> Job:
    who = lenders.lenders("mixed", 5, [300])[0]
    place = folder / "accounts"
    if not place.exists():
        drawn = people.draw(who.book, 60, np.random.default_rng(7))
        tables.write_accounts(drawn, who.name, place)
    table = next(each for each in place.iterdir() if each.name != tables.MAPPING)
    known = compared(folder / "release")
    return Job(folder / "release", table, records.CATALOGUE, place / tables.MAPPING, own=own, trust=known)


def written(given: Job, out: Path) -> tuple[list[tuple[object, ...]], set[object]]:
    loaded = load(given)
    recommend_file(given, loaded, out, out.stem, lambda _done, _of: None)
    with duckdb.connect() as connection:
        rows = connection.execute(f"SELECT {COLUMNS} FROM '{out}' ORDER BY account, rank").fetchall()
        hashes = connection.execute(f"SELECT DISTINCT own_hash FROM '{out}'").fetchall()
    return rows, {each[0] for each in hashes}


def test_the_own_part_moves_probabilities_and_is_named_in_the_record(tmp_path: Path) -> None:
    write_release(tmp_path / "release", records.book())
    mapping = offers(tmp_path)
    plain, without = written(job(tmp_path, None), tmp_path / "plain.parquet")
    moved, named = written(job(tmp_path, mapping), tmp_path / "own.parquet")
    assert without <= {"", None}
    assert len(named) == 1
    assert len(str(next(iter(named)))) == 64
    assert plain != moved  # the release's weights are made up, so the intercept must move every probability
    loaded = load(job(tmp_path, mapping))
    assert loaded.engine.personal is not None
    assert all(head.weights is None for head in loaded.engine.personal.heads)  # type: ignore[attr-defined]


def test_other_offers_are_another_record(tmp_path: Path) -> None:
    """Control: the hash follows the offers' tables, not the mapping alone."""
    write_release(tmp_path / "release", records.book())
    mapping = offers(tmp_path)
    before = load(job(tmp_path, mapping)).hashes["own_hash"]
    who = lenders.lenders("mixed", 6, [300])[0]
    other = tables.write(records.record(who, 6), who.name, tmp_path / "other")
    assert other.read_bytes() == mapping.read_bytes()
    assert load(job(tmp_path, other)).hashes["own_hash"] != before

"""A file's own cells count, whatever its folder or name looks like to DuckDB: ``column=value``, ``[1]``, ``*``."""

from pathlib import Path

import duckdb
import pytest

from fedrepay.client.plans.batch_io.decisions import _columns
from support.desk import CATALOGUE, Desk, write_csv
from support.market_accounts import random_accounts
from support.market_release import write_release


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    folder = tmp_path_factory.mktemp("desk")
    write_release(folder / "release")
    (folder / "mine.toml").write_text(CATALOGUE)
    write_csv(folder / "accounts.csv", random_accounts(60, seed=3))
    assert Desk(folder).recommend("plain.csv").code == 0
    return Desk(folder)


@pytest.mark.parametrize("folder", ["decision=OFFER", "channel=letter", "handoff_code=none", "h[1]"])
def test_what_is_written_is_what_was_decided(desk: Desk, folder: str) -> None:
    (desk.folder / folder).mkdir()
    assert desk.recommend(f"{folder}/x.csv").code == 0
    written = (desk.folder / folder / "x.csv").read_text()
    assert written == (desk.folder / "plain.csv").read_text()
    read = _columns(desk.folder / folder / "x.csv")
    plain = _columns(desk.folder / "plain.csv")
    assert read["decision"].tolist() == plain["decision"].tolist()


@pytest.mark.parametrize("folder", ["income=999999", "customer=me"])
def test_what_is_read_is_what_the_file_says(desk: Desk, folder: str) -> None:
    (desk.folder / folder).mkdir()
    moved = desk.folder / folder / "accounts.csv"
    moved.write_bytes(desk.accounts.read_bytes())
    assert desk.recommend(f"of-{folder}.csv", accounts=moved).code == 0
    assert (desk.folder / f"of-{folder}.csv").read_text() == (desk.folder / "plain.csv").read_text()


def test_a_name_with_signs_of_a_pattern_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "d1.csv").write_text("account\nother\n")
    (tmp_path / "d[1].csv").write_text("account\nmine\n")
    assert _columns(tmp_path / "d[1].csv")["account"].tolist() == ["mine"]


def test_control_duckdb_by_itself_believes_the_folder(tmp_path: Path) -> None:
    (tmp_path / "decision=OFFER").mkdir()
    file = tmp_path / "decision=OFFER" / "x.csv"
    file.write_text("decision\nHUMAN\n")
    with duckdb.connect() as connection:
        assert connection.execute(f"SELECT decision FROM read_csv('{file}')").fetchall() == [("OFFER",)]

"""Fixtures of the desk."""

from pathlib import Path

import pytest

from fedrepay.client.plans.deciding import engine as engine_module
from support.desk import ACCOUNTS, CATALOGUE, Desk, write_csv
from support.market_accounts import random_accounts
from support.market_release import write_release


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    write_release(folder)
    return folder


@pytest.fixture
def desk(tmp_path: Path, release: Path) -> Desk:
    (tmp_path / "release").symlink_to(release)
    (tmp_path / "mine.toml").write_text(CATALOGUE)
    write_csv(tmp_path / "accounts.csv", random_accounts(ACCOUNTS, seed=3))
    return Desk(tmp_path)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "MOST_PAIRS", 700)

"""`fedrepay.recommend`: the decisions of a file, in memory."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import numpy as np
import pytest

import fedrepay
from support.desk import Desk
from support.market_accounts import random_accounts
from support.market_release import roster_words

DAY = date(2026, 1, 5)


def known(desk: Desk) -> dict[str, Any]:
    return {"batch_id": "b1", "today": DAY, "roster_code": roster_words(desk.folder / "release")}


def cells(found: fedrepay.Decisions) -> Iterator[list[object]]:
    """Rows as plain values, empty ones None."""
    plain = [
        [None if isinstance(each, float) and np.isnan(each) else each for each in column.tolist()]
        for column in found.columns.values()
    ]
    return map(list, zip(*plain, strict=True))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_decisions_in_memory_are_those_of_the_command(desk: Desk, suffix: str) -> None:
    assert desk.recommend("out.parquet").code == 0
    wanted = [list(row.values()) for row in desk.rows("out.parquet")]
    place = desk.folder / "release", desk.accounts, desk.folder / "mine.toml"
    kept = fedrepay.recommend(*place, **known(desk), out=desk.folder / f"kept.{suffix}")
    assert list(cells(kept)) == wanted
    again = fedrepay.recommend(*place, **known(desk), out=desk.folder / f"kept.{suffix}")
    assert again.batch.done_before
    assert list(cells(again)) == wanted


def test_accounts_in_memory_are_decided_the_same_and_nothing_is_left(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = desk.folder / "release", desk.folder / "mine.toml"
    of_file = fedrepay.recommend(place[0], desk.accounts, place[1], **known(desk))
    before = desk.left()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    assert gettempdir() == str(scratch), "the search below looks where it is written"
    columns = {name: each.tolist() for name, each in random_accounts(200, seed=3).items()}
    found = fedrepay.recommend(place[0], columns, place[1], **known(desk))
    assert list(cells(found)) == list(cells(of_file))
    assert not list(scratch.iterdir())
    assert desk.left() == [*before, "scratch"]

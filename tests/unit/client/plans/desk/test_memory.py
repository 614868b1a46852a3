"""`fedrepay.recommend`: the decisions of a file, in memory."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime
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


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_id": 7},
        {"batch_id": ""},
        {"today": datetime(2026, 1, 5, 9, tzinfo=UTC)},
        {"today": "2026-01-05"},
        {"today": np.datetime64("2026-01-05")},
        {"roster_code": 12},
        {"release": "rel\0ease"},
        {"accounts": "acc\0ounts.csv"},
        {"accounts": 7},
        {"accounts": None},
        {"accounts": "pipe.csv"},
        {"accounts": "/dev/zero"},
        {"catalogue": "pipe.csv"},
        {"catalogue": "mine\0.toml"},
        {"catalogue": 7},
        {"settings": "pipe.csv"},
        {"mapping": "/dev/zero"},
        {"mapping": "pipe.toml"},
        {"own": "/dev/zero"},
        {"member": "mem\0ber"},
        {"member": 7},
        {"out": "o\0ut.csv"},
        {"out": 7},
        {"out": "pipe.csv"},
        {"out": "folder.csv"},
        {"out": "folder.csv", "replace": True},
    ],
    ids=str,
)
def test_arguments_of_another_kind_end_in_typed_errors_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any]
) -> None:
    monkeypatch.chdir(desk.folder)
    os.mkfifo("pipe.csv")
    Path("folder.csv").mkdir()
    Path("pipe.toml").write_text('sql = "SELECT * FROM more"\n[tables]\nmore = "pipe.csv"\n')
    given = {"release": "release", "accounts": "accounts.csv", "catalogue": "mine.toml", **known(desk)}
    before = desk.left()
    with pytest.raises(fedrepay.errors.InputError if "out" not in wrong else fedrepay.errors.FedrepayError):
        fedrepay.recommend(**{**given, **wrong})
    assert desk.left() == before
    if "mapping" not in wrong:
        assert len(fedrepay.recommend(**given)) > 0, "control"


def test_in_memory_an_id_may_be_used_again_and_at_a_path_only_when_asked(desk: Desk) -> None:
    place = desk.folder / "release", desk.accounts, desk.folder / "mine.toml"
    other = {name: each[:50] for name, each in random_accounts(200, seed=3).items()}
    out = desk.folder / "out.csv"
    assert len(fedrepay.recommend(*place, **known(desk)))
    assert len(fedrepay.recommend(place[0], other, place[2], **known(desk))), "nothing was written"
    fedrepay.recommend(*place, **known(desk), out=out)
    new = {**known(desk), "batch_id": "b2", "out": out}
    with pytest.raises(fedrepay.errors.ArgumentError, match="replace=True"):
        fedrepay.recommend(place[0], other, place[2], **new)
    assert len(fedrepay.recommend(place[0], other, place[2], **new, replace=True)) < 200


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

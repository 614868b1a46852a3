"""A store of an earlier version opens with all it held; one of a later version is left alone."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from fedrepay.client.store import migrations
from fedrepay.client.store.database import FILE
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import StorageError

OLD = (
    "CREATE TABLE facts (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL)",
    """CREATE TABLE ledger (seq INTEGER NOT NULL PRIMARY KEY, at FLOAT NOT NULL,
        run INTEGER NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
        status TEXT NOT NULL, event TEXT NOT NULL, "window" BLOB NOT NULL, hash BLOB NOT NULL)""",
    "CREATE TABLE releases (number INTEGER NOT NULL PRIMARY KEY, release BLOB NOT NULL, votes BLOB NOT NULL)",
    "INSERT INTO facts VALUES ('roster', x'0102')",
    "INSERT INTO releases VALUES (3, x'aa', x'bb')",
)


def old(folder: Path) -> None:
    """As 0.1 left it: no version, no times of releases, no uses, nobody barred."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / FILE)) as connection, connection:
        for line in OLD:
            connection.execute(line)


def version(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_an_old_store_opens_with_all_it_held(tmp_path: Path) -> None:
    old(tmp_path / "m")
    for _ in range(2):
        store = MemberStore(tmp_path / "m", lambda: 5.0)
        assert store.fact("roster") == b"\x01\x02"
        assert store.release() == (3, b"\xaa", b"\xbb")
        assert store.barred() == frozenset()
        assert version(tmp_path / "m") == len(migrations.STEPS)
    store.charge(1, 0, 0, "reserved", ({"kind": "none"},))
    assert len(store.ledger()) == 1
    assert not [
        each.name for each in (tmp_path / "m").iterdir() if FILE in each.name and "journal" not in each.name
    ][1:]


def test_control_without_its_step_it_lacks_a_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(tmp_path / "m")
    monkeypatch.setattr(migrations, "STEPS", (lambda _connection: None,))
    with pytest.raises(StorageError, match=r"no column named at|no such column"):
        MemberStore(tmp_path / "m", lambda: 5.0).store_release(4, b"a", b"b", forget=())


def test_a_step_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old(tmp_path / "m")
    before = (tmp_path / "m" / FILE).read_bytes()

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE facts")
        connection.execute("no SQL")

    monkeypatch.setattr(migrations, "STEPS", (*migrations.STEPS, broken))
    with pytest.raises(StorageError):
        MemberStore(tmp_path / "m", lambda: 5.0)
    assert version(tmp_path / "m") == 0
    with closing(sqlite3.connect(tmp_path / "m" / FILE)) as connection:
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (1,)
    assert len((tmp_path / "m" / FILE).read_bytes()) == len(before)


def test_a_later_versions_store_is_left_alone(tmp_path: Path) -> None:
    MemberStore(tmp_path / "m", lambda: 5.0)
    with closing(sqlite3.connect(tmp_path / "m" / FILE)) as connection, connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StorageError, match="of version 99"):
        MemberStore(tmp_path / "m", lambda: 5.0)
    assert version(tmp_path / "m") == 99


def test_a_store_that_noted_no_attempts_says_since_when_it_does(tmp_path: Path) -> None:
    old(tmp_path / "m")
    before = int(time.time())
    kept = MemberStore(tmp_path / "m", lambda: 5.0).fact("since")
    assert kept is not None
    assert before <= int(kept) <= time.time()
    assert MemberStore(tmp_path / "new", lambda: 5.0).fact("since") is None, (
        "control: a new one lacks nothing"
    )

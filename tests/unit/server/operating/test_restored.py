"""An archive with a database that is damaged, of another version or of another consortium restores nothing."""

import io
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from fedrepay.server.admission.registry import Registry
from fedrepay.server.database.where import FILE as DATABASE
from fedrepay.server.operating import admitting, backup
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError
from support.founded import founded


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """An archive of a coordinator that has invited somebody."""
    return copied(tmp_path, "c")


def copied(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    founded(folder)
    CoordinatorStore.in_folder(folder)
    admitting.invite(folder, Registry(folder), "a.example:443", ["bank-a"])
    backup.backup(folder, tmp_path / f"{name}.tar")
    return tmp_path / f"{name}.tar"


def changed(archive: Path, change: Callable[[bytes], bytes], name: str = DATABASE) -> Path:
    """The same archive with another file of that name."""
    out = archive.with_name("changed.tar")
    with tarfile.open(archive) as good, tarfile.open(out, "w") as made:
        for info in good:
            file = good.extractfile(info)
            assert file is not None
            body = change(file.read()) if info.name == name else file.read()
            info.size = len(body)
            made.addfile(info, io.BytesIO(body))
    return out


def with_sql(*statements: str) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(data)
            for each in statements:
                connection.execute(each)
            connection.commit()
            return connection.serialize()

    return change


def torn(data: bytes) -> bytes:
    """A page of it is noise."""
    return data[:4096] + bytes(range(256)) * 16 + data[8192:]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data[: len(data) // 2], "is damaged"),
        (torn, "is damaged"),
        (lambda _: b"no database" * 1000, "is damaged"),
        (
            with_sql("ALTER TABLE events ADD COLUMN later TEXT"),
            "of another version: table events differs in later",
        ),
        (
            with_sql("ALTER TABLE members DROP COLUMN former"),
            "of another version: table members differs in former",
        ),
        (with_sql("CREATE TABLE tomorrow (x)"), "holds 'tomorrow'"),
        (
            with_sql("CREATE TRIGGER t AFTER INSERT ON events BEGIN DELETE FROM members; END"),
            "holds 't'",
        ),
        (with_sql("DROP TABLE events"), "has no table events"),
        (with_sql("UPDATE members SET authority = x'00'"), "are of two consortia: bank-a was invited"),
    ],
    ids=[
        "cut",
        "torn",
        "none",
        "newer",
        "older",
        "a table more",
        "a trigger",
        "a table less",
        "two consortia",
    ],
)
def test_nothing_is_restored(copy: Path, tmp_path: Path, change: Callable[[bytes], bytes], said: str) -> None:
    bad = changed(copy, change)
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(ArgumentError, match=said):
        backup.restore(bad, tmp_path / "again")
    assert sorted(each.name for each in tmp_path.iterdir()) == before, "nothing is left half-made"
    backup.restore(changed(copy, lambda data: data), tmp_path / "again")  # control: the same, unchanged


def test_keys_of_one_consortium_and_the_database_of_another(copy: Path, tmp_path: Path) -> None:
    with tarfile.open(copied(tmp_path, "other")) as other:
        file = other.extractfile(DATABASE)
        assert file is not None
        data = file.read()
    with pytest.raises(ArgumentError, match="of two consortia"):
        backup.restore(changed(copy, lambda _: data), tmp_path / "again")

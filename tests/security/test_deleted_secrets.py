"""What the store deletes is nowhere in its folder: not in the database, not in what SQLite's journal was."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.store import database
from fedrepay.client.store.database import FILE, JOURNAL
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import StorageError

SMALL, LARGE = os.urandom(32), os.urandom(150_000)
"""An epoch's keys; its context, which fills many pages of its own."""
KILLED = """
import os, signal, sys
from pathlib import Path
from fedrepay.client.store.member_store import MemberStore

def kill(point, moment):
    if (point, moment) == ("store_release", sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

MemberStore(Path(sys.argv[1]), lambda: 0.0, kill).store_release(1, b"release", b"votes", forget=("epoch", "small"))
"""


def held(folder: Path) -> bytes:
    """Every byte of every file."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    assert any(path.name == FILE for path in files)
    return b"".join(path.read_bytes() for path in files)


def secrets_in(found: bytes) -> list[bool]:
    """Whether the small secret, and any piece of the large one, is there."""
    pieces = (LARGE[at : at + 64] for at in range(0, len(LARGE) - 64, 1024))
    return [SMALL in found, any(piece in found for piece in pieces)]


def filled(folder: Path, **kinds: Any) -> MemberStore:
    """A member in an epoch, with other facts around."""
    store = MemberStore(folder, lambda: 0.0, **kinds)
    store.remember(**{f"other:{i}": bytes([i]) * 300 for i in range(40)})
    store.remember(small=SMALL, epoch=LARGE)
    return store


def forget(store: MemberStore) -> None:
    store.store_release(1, b"release", b"votes", forget=("epoch", "small"))


class Watch:
    """Keeps a second name for the journal, and notes what it holds just before it is cut to nothing."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.before_cut = folder, b""
        self.descriptors: list[int] = []
        cut = os.ftruncate

        def watched(descriptor: int, length: int) -> None:
            self.before_cut += (folder / JOURNAL).read_bytes()
            cut(descriptor, length)

        monkeypatch.setattr(os, "ftruncate", watched)

    def __call__(self, _point: str, moment: str) -> None:
        if moment == "commit" and (self.folder / JOURNAL).exists():
            self.descriptors.append(os.open(self.folder / JOURNAL, os.O_RDONLY))

    def left(self) -> bytes:
        """What can be read of any journal there was."""
        found = self.before_cut
        for descriptor in self.descriptors:
            with os.fdopen(descriptor, "rb") as file:
                found += file.read()
        return found


@pytest.mark.parametrize("durable", [True, False])
def test_what_a_release_or_a_new_epoch_deletes_is_in_no_file_and_no_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    watch = Watch(tmp_path / "m0", monkeypatch)
    store = filled(tmp_path / "m0", writes=watch, durable=durable)
    assert secrets_in(held(store.folder)) == [True, True], "the search finds what is there"
    store.remember(epoch=b"another")
    assert secrets_in(held(store.folder)) == [True, False]
    forget(store)
    assert secrets_in(held(store.folder)) == [False, False]
    left = watch.left()
    assert len(watch.before_cut) > len(LARGE), "the journal held those pages"
    assert left.strip(b"\0") == b""


def test_control_as_sqlite_deletes_its_journal_the_secrets_are_still_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = database._pragmas

    def as_before(connection: Any, *, durable: bool) -> None:
        kept(connection, durable=durable)
        connection.execute("PRAGMA journal_mode=DELETE")

    monkeypatch.setattr(database, "_pragmas", as_before)
    watch = Watch(tmp_path / "m0", monkeypatch)
    store = filled(tmp_path / "m0", writes=watch)
    forget(store)
    assert secrets_in(held(store.folder)) == [False, False], "the folder looks clean"
    assert secrets_in(watch.left()) == [True, True], "its blocks are not"


def test_control_unwiped_the_journal_keeps_them_in_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemberStore, "_wipe", lambda _: None)
    store = filled(tmp_path / "m0")
    forget(store)
    assert secrets_in(held(store.folder)) == [True, True]


@pytest.mark.parametrize("moment", ["commit", "committed"])
def test_after_kill_9_the_next_start_overwrites_them(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "m0"
    filled(folder)
    ended = subprocess.run([sys.executable, "-c", KILLED, folder, moment], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert secrets_in((folder / JOURNAL).read_bytes()) == [True, True], "control: the killed one left them"
    watch = Watch(folder, monkeypatch)
    store = MemberStore(folder, lambda: 0.0)
    assert watch.before_cut.strip(b"\0") == b""
    assert (folder / JOURNAL).read_bytes() == b""
    if moment == "commit":  # the transaction was not done: they are needed still, and the next one ends them
        assert store.fact("epoch") == LARGE
        forget(store)
    assert secrets_in(held(folder)) == [False, False]
    assert store.release() == (1, b"release", b"votes")


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("size", [1, 100, (1 << 20) + 1])
def test_a_journal_is_zeros_on_the_disk_before_it_is_cut(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, durable: bool
) -> None:
    path, done = tmp_path / JOURNAL, []

    def note(name: str) -> None:
        call = getattr(os, name)

        def noted(*arguments: int) -> None:
            done.append((name, path.read_bytes()))
            call(*arguments)

        monkeypatch.setattr(os, name, noted)

    path.write_bytes(b"s" * size)
    note("fsync")
    note("ftruncate")
    database._overwrite(path, durable=durable)
    names = ("fsync", "ftruncate") if durable else ("ftruncate",)
    assert done == [(name, bytes(size)) for name in names]
    assert path.read_bytes() == b""


@contextmanager
def transaction(folder: Path) -> Iterator[sqlite3.Connection]:
    """Another process of the same member in the middle of a write."""
    with closing(sqlite3.connect(folder / FILE, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=PERSIST")
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE facts SET value = x'00' WHERE key = 'other:1'")
        yield other


def test_a_journal_that_another_process_needs_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Overwritten under the lock alone: else a kill of that process would leave half a write."""
    store = filled(tmp_path / "m0")
    kept = database._pragmas

    def impatient(connection: Any, *, durable: bool) -> None:
        kept(connection, durable=durable)
        connection.execute("PRAGMA busy_timeout=1")

    monkeypatch.setattr(database, "_pragmas", impatient)
    with transaction(store.folder) as other:
        journal = (store.folder / JOURNAL).read_bytes()
        assert journal
        with pytest.raises(StorageError, match="locked"):
            store._wipe()
        assert (store.folder / JOURNAL).read_bytes() == journal
        other.execute("ROLLBACK")
    assert store.fact("other:1") == bytes([1]) * 300
    store._wipe()
    assert (store.folder / JOURNAL).read_bytes() == b""


def test_a_journal_that_cannot_be_overwritten_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path / "m0")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    real: Callable[..., None] = database._overwrite
    monkeypatch.setattr(database, "_overwrite", full)
    with pytest.raises(StorageError, match="still holds what was deleted"):
        forget(store)
    monkeypatch.setattr(database, "_overwrite", real)
    again = MemberStore(store.folder, lambda: 0.0)
    assert secrets_in(held(store.folder)) == [False, False]
    assert again.release() == (1, b"release", b"votes")

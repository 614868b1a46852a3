"""A member's SQLite file: who may read it, how it is opened, and every write one transaction that is told of.

The folder is 0700, the file 0600, and the folder is marked ``CACHEDIR.TAG``: epoch secrets must stay out of backups.

**What is deleted is overwritten.** SQLite copies each page into its rollback journal before it changes it, and
``secure_delete`` overwrites pages, not the journal: unlinked or emptied, its blocks would keep the secrets that were
deleted. So the journal stays (``PERSIST``) and is overwritten with zeros, then cut to nothing, after every transaction and
when the store is opened, under SQLite's lock for writing, when no transaction needs it. SQLite's other files of pages
(statement journals) stay in memory. This reaches what the file system calls the file's blocks: a disk that moves blocks
(flash), a file system that copies on write, and snapshots may keep older ones. https://www.sqlite.org/tempfiles.html

Python's own ``sqlite3``: the file is always SQLite's, twenty statements are all it is asked, and a layer above it cost a
simulated member twice what SQLite does.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from fedrepay.client.store import migrations
from fedrepay.shared.errors import StorageError
from fedrepay.shared.private import private_file, private_folder

FILE, JOURNAL = "member.sqlite", "member.sqlite-journal"
_BLOCK = bytes(1 << 20)
CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# fedrepay: epoch secrets; keep out of backups.\n"
)
Writes = Callable[[str, str], None]
"""Told (point of ``store.WRITES``, ``commit`` or ``committed``) inside each transaction and after it."""


class Database:
    """The file and its transactions; what is in it, :class:`fedrepay.client.store.member_store.MemberStore` says.

    Args:
        folder: where the state lives.
        clock: seconds since 1970, for the ledger.
        writes: told of every write; an error it raises inside a transaction undoes that transaction.
        durable: whether a write survives the machine's fall and not the process's only; False in simulations,
            where a thousand stores would wait for one disk.

    Raises:
        StorageError: the folder cannot be written, the disk is full, or the file is damaged.
    """

    def __init__(
        self,
        folder: Path,
        clock: Callable[[], float],
        writes: Writes = lambda _point, _moment: None,
        *,
        durable: bool = True,
    ) -> None:
        self.folder = folder
        self._clock = clock
        self._writes = writes
        self._connection: sqlite3.Connection | None = None
        self._version = 0
        self._durable = durable
        try:
            private_folder(folder)
            (folder / "CACHEDIR.TAG").write_text(CACHEDIR_TAG, encoding="ascii")
            private_file(folder / FILE)
        except OSError as error:
            raise StorageError(
                f"The state folder {folder} cannot be written: {error.strerror}.",
                "Free the disk or mend the permissions, then run the same command again; nothing is lost.",
            ) from error
        self._write("create", migrations.bring)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """One connection for everything until the end, such as one message; each write stays a transaction."""
        with self._session() as connection:
            self._connection = connection
            self._version += 1  # others may have written since the last time
            try:
                yield
            finally:
                self._connection = None

    @property
    def version(self) -> int | None:
        """Grows with every write while :meth:`connected`; None outside: then what was read may be old."""
        return None if self._connection is None else self._version

    def _rows(self, query: str, *values: object) -> list[Any]:
        """What a query finds."""
        with self._session() as connection:
            return connection.execute(query, values).fetchall()

    def _write(self, point: str, work: Callable[[sqlite3.Connection], object]) -> None:
        def watched(connection: sqlite3.Connection) -> None:
            work(connection)
            self._writes(point, "commit")

        self._version += 1
        self._guarded(watched)
        self._writes(point, "committed")
        self._wipe()

    def _wipe(self) -> None:
        """Overwrite the journal of transactions that have ended, also of a process that was killed."""
        journal = self.folder / JOURNAL
        try:
            if journal.exists() and journal.stat().st_size:
                self._guarded(lambda _: _overwrite(journal, durable=self._durable))
        except OSError as error:
            raise StorageError(
                f"{journal} still holds what was deleted and cannot be overwritten: {error.strerror}.",
                "Mend the disk or the permissions, then run the same command again: it overwrites it first.",
            ) from error

    def _guarded(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """One transaction, under the lock for writing: all of ``work``, or nothing where it or the commit fails."""
        with self._session() as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            work(connection)

    @contextmanager
    def _session(self) -> Iterator[sqlite3.Connection]:
        """The message's connection, or one for now; its errors come out typed."""
        try:
            if self._connection is not None:
                yield self._connection
            else:
                with self._opened() as connection:
                    yield connection
        except sqlite3.Error as error:
            raise StorageError(
                f"The member's store in {self.folder} failed: {error}.",
                "Free the disk, then run the same command again. A damaged file cannot be restored from a backup "
                "within an epoch: move the folder away and start a new one.",
            ) from error

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        # no isolation level: a transaction begins where the store says so, and nowhere else
        with closing(sqlite3.connect(self.folder / FILE, isolation_level=None)) as connection:
            _pragmas(connection, durable=self._durable)
            yield connection


def _pragmas(connection: sqlite3.Connection, *, durable: bool) -> None:
    synchronous = "synchronous=FULL" if durable else "synchronous=OFF"
    kept = ("journal_mode=PERSIST", "secure_delete=ON", "temp_store=MEMORY")
    for pragma in ("busy_timeout=5000", *kept, synchronous):
        connection.execute(f"PRAGMA {pragma}")


def _overwrite(path: Path, *, durable: bool) -> None:
    """Zeros over every byte of a file, on the disk before it is cut to nothing."""
    with path.open("r+b") as file:
        left = path.stat().st_size
        while left > 0:
            left -= file.write(_BLOCK[:left])
        file.flush()
        if durable:
            os.fsync(file.fileno())
        os.ftruncate(file.fileno(), 0)

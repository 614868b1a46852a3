"""A member's durable state: one SQLite file, one transaction a decision.

Holds small facts (``facts``), the privacy ledger (hash-chained, append only), what was sent
(``uploads``), what was opened (``openings``) and the releases. The folder is 0700, the file 0600,
and the folder is marked ``CACHEDIR.TAG``: epoch secrets must stay out of backups.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from fedrepay.client import tables
from fedrepay.client.tables import LedgerEntry, Opening, StoredUpload
from fedrepay.shared.errors import StorageError
from fedrepay.shared.trust.keys import digest

T = TypeVar("T")
CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n# fedrepay: epoch secrets; keep out of backups.\n"
)
_REMEMBERED = ("approved_code", "blocked", "confirmed")
_ANSWERED = ("hello", "introduce", "seed", "context", "confirm", "write", "close", "votes")
WRITES = (
    "create",
    *(f"remember {fact}" for fact in _REMEMBERED),
    *(f"remember reply:{kind}" for kind in _ANSWERED),
    *(f"charge {status}" for status in ("reserved", "unprotected", "rolled-back")),
    *("submit", "record_opening", "store_opened", "store_release"),
)
"""Every point at which a member's state changes; what must hold, holds wherever a process dies between them."""
Writes = Callable[[str, str], None]
"""Told (point of ``WRITES``, ``commit`` or ``committed``) inside each transaction and after it."""


class MemberStore:
    """The only door to the member's SQLite file.

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
        self._connection: sa.Connection | None = None
        self._version = 0
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            (folder / "CACHEDIR.TAG").write_text(CACHEDIR_TAG)
            path = folder / "member.sqlite"
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            path.chmod(0o600)
        except OSError as error:
            raise StorageError(
                f"The state folder {folder} cannot be written: {error.strerror}.",
                "Free the disk or mend the permissions, then run the same command again; nothing is lost.",
            ) from error
        self._engine = _engine(path, durable=durable)
        self._write("create", tables.META.create_all)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """One connection for everything until the end, such as one message; each write stays a transaction."""
        with self._typed(), self._engine.connect() as connection:
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

    def _write(self, point: str, work: Callable[[sa.Connection], object]) -> None:
        def watched(connection: sa.Connection) -> None:
            work(connection)
            self._writes(point, "commit")

        self._version += 1
        self._guarded(watched)
        self._writes(point, "committed")

    def _guarded(self, work: Callable[[sa.Connection], T]) -> T:
        with self._typed():
            if self._connection is None:
                with self._engine.begin() as connection:
                    return work(connection)
            with self._connection.begin():
                return work(self._connection)

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except sa.exc.DBAPIError as error:
            raise StorageError(
                f"The member's store in {self.folder} failed: {error.orig}.",
                "Free the disk, then run the same command again. A damaged file cannot be restored from a backup "
                "within an epoch: move the folder away and start a new one.",
            ) from error

    # --- facts ---

    def fact(self, key: str) -> bytes | None:
        """One small fact, or None."""
        row = self._guarded(
            lambda c: c.execute(sa.select(tables.FACTS.c.value).where(tables.FACTS.c.key == key)).fetchone()
        )
        return None if row is None else bytes(row[0])

    def remember(self, **facts: bytes) -> None:
        """Write facts in one transaction."""
        self._write(f"remember {[*facts][-1]}", lambda c: _put(c, facts))

    # --- ledger ---

    def ledger(self) -> tuple[LedgerEntry, ...]:
        """All entries, oldest first.

        Raises:
            StorageError: an entry is not the one that was written.
        """
        rows = self._guarded(
            lambda c: c.execute(sa.select(tables.LEDGER).order_by(tables.LEDGER.c.seq)).fetchall()
        )
        head = bytes(32)
        for r in rows:
            head = _link(head, (r.at, r.run, r.round, r.attempt, r.status), r.event)
            if head != r.hash:
                raise StorageError(
                    f"Entry {r.seq} of the privacy ledger in {self.folder} was changed after it was written.",
                    "What was spent is no longer known. Restore the folder, then start a new epoch.",
                )
        return tuple(
            LedgerEntry(r.at, r.run, r.round, r.attempt, r.status, tuple(json.loads(r.event))) for r in rows
        )

    def ledger_head(self) -> bytes:
        """Hash of the newest entry (32 bytes); zeros before the first."""
        return self._guarded(_head)

    def ledger_heads(self) -> frozenset[bytes]:
        """Every head the ledger has had: a header sent names one of them, unless entries were cut off since."""
        rows = self._guarded(lambda c: c.execute(sa.select(tables.LEDGER.c.hash)).fetchall())
        return frozenset((bytes(32), *(bytes(row.hash) for row in rows)))

    def charge(
        self,
        run: int,
        round_: int,
        attempt: int,
        status: str,
        event: tuple[dict[str, Any], ...],
        **facts: bytes,
    ) -> None:
        """Append to the ledger and write facts, durably, before anything it pays for happens."""
        entry = LedgerEntry(self._clock(), run, round_, attempt, status, event)

        def work(connection: sa.Connection) -> None:
            _append(connection, entry)
            _put(connection, facts)

        self._write(f"charge {status}", work)

    # --- uploads and openings ---

    def submit(self, run: int, upload: StoredUpload, event: tuple[dict[str, Any], ...], status: str) -> None:
        """Store the bytes that will be sent and commit their charge, in one transaction."""
        entry = LedgerEntry(self._clock(), run, upload.round, upload.attempt, status, event)

        def work(connection: sa.Connection) -> None:
            _append(connection, entry)
            connection.execute(
                sa.insert(tables.UPLOADS).values(
                    run=run,
                    round=upload.round,
                    attempt=upload.attempt,
                    config=upload.config,
                    upload=upload.upload,
                    header=upload.header,
                )
            )

        self._write("submit", work)

    def uploads(self, run: int) -> tuple[tuple[int, int, bytes, bytes], ...]:
        """(round, attempt, config digest, signed header) of all uploads of the run, in order."""
        query = (
            sa.select(
                tables.UPLOADS.c.round,
                tables.UPLOADS.c.attempt,
                tables.UPLOADS.c.config,
                tables.UPLOADS.c.header,
            )
            .where(tables.UPLOADS.c.run == run)
            .order_by(tables.UPLOADS.c.attempt)
        )
        return tuple(
            (r[0], r[1], bytes(r[2]), bytes(r[3]))
            for r in self._guarded(lambda c: c.execute(query).fetchall())
        )

    def upload(self, run: int, round_: int, attempt: int) -> bytes | None:
        """The stored upload bytes of an attempt."""
        query = sa.select(tables.UPLOADS.c.upload).where(
            tables.UPLOADS.c.run == run, tables.UPLOADS.c.round == round_, tables.UPLOADS.c.attempt == attempt
        )
        row = self._guarded(lambda c: c.execute(query).fetchone())
        return None if row is None else bytes(row[0])

    def openings(self, run: int) -> tuple[Opening, ...]:
        """The run's openings in round order."""
        query = (
            sa.select(tables.OPENINGS).where(tables.OPENINGS.c.run == run).order_by(tables.OPENINGS.c.round)
        )
        return tuple(
            Opening(r.round, r.attempt, bytes(r.sum), bytes(r.config), None if r[5] is None else bytes(r[5]))
            for r in self._guarded(lambda c: c.execute(query).fetchall())
        )

    def record_opening(self, run: int, opening: Opening) -> None:
        """Record that this sum, and no other of its round, is about to be opened."""
        self._write(
            "record_opening",
            lambda c: c.execute(
                sa.insert(tables.OPENINGS).values(
                    run=run,
                    round=opening.round,
                    attempt=opening.attempt,
                    sum=opening.sum,
                    config=opening.config,
                    values=None,
                )
            ),
        )

    def store_opened(self, run: int, round_: int, values: bytes) -> None:
        """Keep the opened integers; the bytes sent for that round are needed no more."""

        def work(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(tables.OPENINGS)
                .where(tables.OPENINGS.c.run == run, tables.OPENINGS.c.round == round_)
                .values({"values": values})
            )
            connection.execute(
                sa.update(tables.UPLOADS)
                .where(tables.UPLOADS.c.run == run, tables.UPLOADS.c.round <= round_)
                .values(upload=b"")
            )

        self._write("store_opened", work)

    # --- releases ---

    def store_release(self, number: int, release: bytes, votes: bytes, *, forget: tuple[str, ...]) -> None:
        """Keep a release with its votes and delete the epoch's secrets, in one transaction."""

        def work(connection: sa.Connection) -> None:
            connection.execute(sa.delete(tables.RELEASES).where(tables.RELEASES.c.number == number))
            connection.execute(sa.insert(tables.RELEASES).values(number=number, release=release, votes=votes))
            connection.execute(sa.delete(tables.FACTS).where(tables.FACTS.c.key.in_(forget)))

        self._write("store_release", work)

    def release(self) -> tuple[int, bytes, bytes] | None:
        """(number, release, votes) of the newest release, or None."""
        query = sa.select(tables.RELEASES).order_by(tables.RELEASES.c.number.desc()).limit(1)
        row = self._guarded(lambda c: c.execute(query).fetchone())
        return None if row is None else (row[0], bytes(row[1]), bytes(row[2]))


@cache
def _dialect() -> sa.Dialect:
    """One for all stores of a process, so that a thousand members share the statements it has compiled."""
    engine = sa.create_engine("sqlite://")
    with engine.connect():  # asks SQLite what it can do
        return engine.dialect


_COMPILED: dict[Any, Any] = {}  # one entry a statement of this module


def _engine(path: Path, *, durable: bool) -> sa.Engine:
    def opening() -> Any:
        return sqlite3.connect(path)

    url = sa.make_url(f"sqlite:///{path}")
    engine = sa.Engine(NullPool(opening, dialect=_dialect()), _dialect(), url)
    engine.update_execution_options(compiled_cache=_COMPILED)
    sa.event.listen(engine, "connect", lambda opened, _record: _pragmas(opened, durable=durable))
    return engine


def _pragmas(connection: Any, *, durable: bool) -> None:
    synchronous = "synchronous=FULL" if durable else "synchronous=OFF"
    for pragma in ("journal_mode=DELETE", synchronous, "secure_delete=ON", "busy_timeout=5000"):
        connection.execute(f"PRAGMA {pragma}")


def _put(connection: sa.Connection, facts: dict[str, bytes]) -> None:
    for key, value in facts.items():
        connection.execute(sa.delete(tables.FACTS).where(tables.FACTS.c.key == key))
        connection.execute(sa.insert(tables.FACTS).values(key=key, value=value))


def _head(connection: sa.Connection) -> bytes:
    row = connection.execute(
        sa.select(tables.LEDGER.c.hash).order_by(tables.LEDGER.c.seq.desc()).limit(1)
    ).fetchone()
    return bytes(32) if row is None else bytes(row[0])


def _append(connection: sa.Connection, entry: LedgerEntry) -> None:
    event = json.dumps(entry.event, sort_keys=True)
    facts = (float(entry.at), entry.run, entry.round, entry.attempt, entry.status)
    connection.execute(
        sa.insert(tables.LEDGER).values(
            at=entry.at,
            run=entry.run,
            round=entry.round,
            attempt=entry.attempt,
            status=entry.status,
            event=event,
            hash=_link(_head(connection), facts, event),
        )
    )


def _link(previous: bytes, facts: tuple[Any, ...], event: str) -> bytes:
    """The hash of a ledger entry: of the entry before and of all that stands in this one."""
    return digest(previous, json.dumps(facts).encode(), event.encode())

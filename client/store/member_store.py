"""A member's durable state: one SQLite file, one transaction a decision.

Holds small facts (``facts``), the privacy ledger (hash-chained, append only), what was sent
(``uploads``), what was opened (``openings``) and the releases.
"""

import json
from typing import Any

import sqlalchemy as sa

from fedrepay.client.store import tables
from fedrepay.client.store.database import Database
from fedrepay.client.store.tables import LedgerEntry, Opening, StoredUpload
from fedrepay.shared.errors import StorageError
from fedrepay.shared.keys import digest
from fedrepay.shared.trust.wire import Kind

_REMEMBERED = ("approved_code", "shown", "blocked", "confirmed")
_ANSWERED = (
    *(Kind.PROPOSE, Kind.REVEAL, Kind.APPROVE, Kind.CERTIFY, Kind.TERMS),
    *(Kind.HELLO, Kind.INTRODUCE, Kind.SEED, Kind.CONFIRM, Kind.WRITE, Kind.CLOSE, Kind.VOTES),
)
WRITES = (
    "create",
    *(f"remember {fact}" for fact in _REMEMBERED),
    *(f"remember reply:{kind}" for kind in _ANSWERED),
    *(f"charge {status}" for status in ("reserved", "unprotected", "rolled-back")),
    *("submit", "record_opening", "store_opened", "store_release"),
)
"""Every point at which a member's state changes; what must hold, holds wherever a process dies between them."""


class MemberStore(Database):
    """What a member's SQLite file holds; the only door to it."""

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
            head = _link(head, (r.at, r.run, r.round, r.attempt, r.status), r.event, r.window)
            if head != r.hash:
                raise StorageError(
                    f"Entry {r.seq} of the privacy ledger in {self.folder} was changed after it was written.",
                    "What was spent is no longer known. Restore the folder, then start a new epoch.",
                )
        return tuple(
            LedgerEntry(
                r.at, r.run, r.round, r.attempt, r.status, tuple(json.loads(r.event)), bytes(r.window)
            )
            for r in rows
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
        *,
        window: bytes = b"",
        **facts: bytes,
    ) -> None:
        """Append to the ledger and write facts, durably, before anything it pays for happens."""
        entry = LedgerEntry(self._clock(), run, round_, attempt, status, event, window)

        def work(connection: sa.Connection) -> None:
            _append(connection, entry)
            _put(connection, facts)

        self._write(f"charge {status}", work)

    # --- uploads and openings ---

    def submit(
        self,
        run: int,
        upload: StoredUpload,
        event: tuple[dict[str, Any], ...],
        status: str,
        *,
        window: bytes = b"",
    ) -> None:
        """Store the bytes that will be sent and commit their charge, in one transaction."""
        entry = LedgerEntry(self._clock(), run, upload.round, upload.attempt, status, event, window)

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
        """Keep the opened integers; the bytes sent for earlier rounds are needed no more.

        Those of this round are: if another member's copy of the sum was changed, everybody shows its own again.
        """

        def work(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(tables.OPENINGS)
                .where(tables.OPENINGS.c.run == run, tables.OPENINGS.c.round == round_)
                .values({"values": values})
            )
            connection.execute(
                sa.update(tables.UPLOADS)
                .where(tables.UPLOADS.c.run == run, tables.UPLOADS.c.round < round_)
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
            connection.execute(
                sa.update(tables.UPLOADS).where(tables.UPLOADS.c.run == number).values(upload=b"")
            )

        self._write("store_release", work)

    def release(self) -> tuple[int, bytes, bytes] | None:
        """(number, release, votes) of the newest release, or None."""
        query = sa.select(tables.RELEASES).order_by(tables.RELEASES.c.number.desc()).limit(1)
        row = self._guarded(lambda c: c.execute(query).fetchone())
        return None if row is None else (row[0], bytes(row[1]), bytes(row[2]))


_DROP = sa.delete(tables.FACTS).where(tables.FACTS.c.key == sa.bindparam("dropped"))


def _put(connection: sa.Connection, facts: dict[str, bytes]) -> None:
    if facts:
        connection.execute(_DROP, [{"dropped": key} for key in facts])
        connection.execute(
            sa.insert(tables.FACTS), [{"key": key, "value": value} for key, value in facts.items()]
        )


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
            window=entry.window,
            hash=_link(_head(connection), facts, event, entry.window),
        )
    )


def _link(previous: bytes, facts: tuple[Any, ...], event: str, window: bytes) -> bytes:
    """The hash of a ledger entry: of the entry before and of all that stands in this one."""
    return digest(previous, json.dumps(facts).encode(), event.encode(), window)

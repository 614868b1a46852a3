"""A member's durable state: one SQLite file, one transaction a decision.

Holds small facts (``facts``), the privacy ledger (hash-chained, append only), what was sent
(``uploads``), what was opened (``openings``), the releases with the one in use (``uses``), marks of customers that
stay out of every run (``barred``), and the attempts of the year with who took part, for others that lose theirs (``seen``).
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from fedrepay.client.store.database import Database
from fedrepay.client.store.tables import LedgerEntry, Opening, SeenAttempt, StoredRelease, StoredUpload, Use
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
    *("note", "submit", "record_opening", "store_opened", "store_release"),
)
"""Every point at which a run changes a member's state; what must hold, holds wherever a process dies between them."""
BY_PEOPLE = ("use", "bar", "remember agreed")
"""Points at which its people's own commands change it; each is one write, and no run waits for it."""
_KEPT = 366 * 86400.0  # seconds: an attempt counts for a year, by whatever clock


class MemberStore(Database):
    """What a member's SQLite file holds; the only door to it."""

    # --- facts ---

    def fact(self, key: str) -> bytes | None:
        """One small fact, or None."""
        rows = self._rows("SELECT value FROM facts WHERE key = ?", key)
        return rows[0][0] if rows else None

    def remember(self, *entries: LedgerEntry, **facts: bytes) -> None:
        """Write facts, and ledger entries that come with them, in one transaction."""

        def work(connection: sqlite3.Connection) -> None:
            for entry in entries:
                _append(connection, entry)
            _put(connection, facts)

        self._write(f"remember {[*facts][-1]}", work)

    # --- ledger ---

    def ledger(self) -> tuple[LedgerEntry, ...]:
        """All entries, oldest first.

        Raises:
            StorageError: an entry is not the one that was written.
        """
        head, entries = bytes(32), []
        for seq, at, run, round_, attempt, status, event, window, stored in self._rows(
            f"SELECT seq, {_ENTRY} FROM ledger ORDER BY seq"
        ):
            facts = (at, run, round_, attempt, status)
            try:
                head = _link(head, facts, event, window)
            except (AttributeError, TypeError):  # SQLite keeps any type in any column
                head = b""
            if head != stored:
                raise StorageError(
                    f"Entry {seq} of the privacy ledger in {self.folder} was changed after it was written.",
                    "What was spent is no longer known. Restore the folder, then start a new epoch.",
                )
            entries.append(LedgerEntry(at, run, round_, attempt, status, tuple(json.loads(event)), window))
        return tuple(entries)

    def ledger_head(self) -> bytes:
        """Hash of the newest entry (32 bytes); zeros before the first."""
        with self._session() as connection:
            return _head(connection)

    def ledger_heads(self) -> frozenset[bytes]:
        """Every head the ledger has had: a header sent names one of them, unless entries were cut off since."""
        return frozenset((bytes(32), *(head for (head,) in self._rows("SELECT hash FROM ledger"))))

    def charge(
        self,
        run: int,
        round_: int,
        attempt: int,
        status: str,
        event: tuple[dict[str, Any], ...],
        *,
        window: bytes = b"",
        seen: Sequence[SeenAttempt] = (),
        **facts: bytes,
    ) -> None:
        """Append to the ledger, note attempts and write facts, durably, before anything it pays for happens."""
        entry = LedgerEntry(self._clock(), run, round_, attempt, status, event, window)

        def work(connection: sqlite3.Connection) -> None:
            _append(connection, entry)
            _note(connection, seen, entry.at)
            _put(connection, facts)

        self._write(f"charge {status}", work)

    # --- what was seen of everybody's attempts ---

    def note(self, seen: Sequence[SeenAttempt]) -> None:
        """Keep attempts with who took part; those of more than a year ago go."""
        self._write("note", lambda c: _note(c, seen, self._clock()))

    def noted(self, run: int | None = None) -> tuple[SeenAttempt, ...]:
        """Attempts that were seen, of all runs or of one."""
        rows = self._rows(
            "SELECT run, round, attempt, cohort, event, at FROM seen WHERE ? IS NULL OR run = ? "
            "ORDER BY run, attempt",
            run,
            run,
        )
        return tuple(
            SeenAttempt(run, round_, attempt, tuple(cohort.split()), tuple(json.loads(event)), at)
            for run, round_, attempt, cohort, event, at in rows
        )

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

        def work(connection: sqlite3.Connection) -> None:
            _append(connection, entry)
            connection.execute(
                "INSERT INTO uploads (run, round, attempt, config, upload, header) VALUES (?, ?, ?, ?, ?, ?)",
                (run, upload.round, upload.attempt, upload.config, upload.upload, upload.header),
            )

        self._write("submit", work)

    def uploads(self, run: int) -> tuple[tuple[int, int, bytes, bytes], ...]:
        """(round, attempt, config digest, signed header) of all uploads of the run, in order."""
        return tuple(
            self._rows(
                "SELECT round, attempt, config, header FROM uploads WHERE run = ? ORDER BY attempt", run
            )
        )

    def upload(self, run: int, round_: int, attempt: int) -> bytes | None:
        """The stored upload bytes of an attempt."""
        rows = self._rows(
            "SELECT upload FROM uploads WHERE run = ? AND round = ? AND attempt = ?", run, round_, attempt
        )
        return rows[0][0] if rows else None

    def openings(self, run: int) -> tuple[Opening, ...]:
        """The run's openings in round order."""
        query = 'SELECT round, attempt, sum, config, "values" FROM openings WHERE run = ? ORDER BY round'
        return tuple(Opening(*row) for row in self._rows(query, run))

    def record_opening(self, run: int, opening: Opening) -> None:
        """Record that this sum, and no other of its round, is about to be opened."""
        self._write(
            "record_opening",
            lambda c: c.execute(
                "INSERT INTO openings (run, round, attempt, sum, config) VALUES (?, ?, ?, ?, ?)",
                (run, opening.round, opening.attempt, opening.sum, opening.config),
            ),
        )

    def store_opened(self, run: int, round_: int, values: bytes) -> None:
        """Keep the opened integers; the bytes sent for earlier rounds are needed no more.

        Those of this round are: if another member's copy of the sum was changed, everybody shows its own again.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                'UPDATE openings SET "values" = ? WHERE run = ? AND round = ?', (values, run, round_)
            )
            connection.execute("UPDATE uploads SET upload = x'' WHERE run = ? AND round < ?", (run, round_))

        self._write("store_opened", work)

    # --- releases ---

    def store_release(self, number: int, release: bytes, votes: bytes, *, forget: tuple[str, ...]) -> None:
        """Keep a release with its votes and delete the epoch's secrets, in one transaction.

        Raises:
            StorageError: another release of this number is held: what was in use here must not change unseen.
        """

        def work(connection: sqlite3.Connection) -> None:
            held = connection.execute("SELECT release FROM releases WHERE number = ?", (number,)).fetchone()
            if held is None:
                connection.execute(
                    "INSERT INTO releases (number, at, release, votes) VALUES (?, ?, ?, ?)",
                    (number, float(self._clock()), release, votes),
                )
            elif held[0] != release:
                raise StorageError(
                    f"The member's store in {self.folder} holds another release {number}.",
                    "Nothing was changed. Compare both with the other members: only one can be signed by a quorum.",
                )
            connection.executemany("DELETE FROM facts WHERE key = ?", [(key,) for key in forget])
            connection.execute("UPDATE uploads SET upload = x'' WHERE run = ?", (number,))

        self._write("store_release", work)

    def release(self) -> tuple[int, bytes, bytes] | None:
        """(number, release, votes) of the newest release, or None."""
        rows = self._rows("SELECT number, release, votes FROM releases ORDER BY number DESC LIMIT 1")
        return rows[0] if rows else None

    def releases(self) -> tuple[StoredRelease, ...]:
        """All releases held, lowest number first."""
        rows = self._rows("SELECT number, at, release, votes FROM releases ORDER BY number")
        return tuple(StoredRelease(*row) for row in rows)

    def uses(self) -> tuple[Use, ...]:
        """Which releases came into use, oldest first; the last is in use."""
        rows = self._rows("SELECT at, number, newest, said FROM uses ORDER BY seq")
        return tuple(Use(*row) for row in rows)

    def use(self, number: int, newest: int, said: str) -> None:
        """Note that a release comes into use."""
        entry = (float(self._clock()), number, newest, said)
        insert = "INSERT INTO uses (at, number, newest, said) VALUES (?, ?, ?, ?)"
        self._write("use", lambda c: c.execute(insert, entry))

    # --- customers that stay out ---

    def barred(self) -> frozenset[bytes]:
        """Marks of the customers that are barred from runs (32 bytes each); keyed, so that none can be guessed."""
        return frozenset(mark for (mark,) in self._rows("SELECT mark FROM barred"))

    def bar(self, mark: bytes) -> None:
        """Bar a customer from all runs to come; barring one again changes nothing."""
        insert = "INSERT OR IGNORE INTO barred (mark, at) VALUES (?, ?)"
        self._write("bar", lambda c: c.execute(insert, (mark, float(self._clock()))))


_ENTRY = 'at, run, round, attempt, status, event, "window", hash'


def _put(connection: sqlite3.Connection, facts: dict[str, bytes]) -> None:
    connection.executemany("REPLACE INTO facts (key, value) VALUES (?, ?)", facts.items())


def _note(connection: sqlite3.Connection, seen: Sequence[SeenAttempt], now: float) -> None:
    if not seen:
        return
    connection.executemany(
        "INSERT OR IGNORE INTO seen (run, round, attempt, cohort, event, at) VALUES (?, ?, ?, ?, ?, ?)",
        [
            (each.run, each.round, each.attempt, " ".join(each.cohort), json.dumps(each.event), float(now))
            for each in seen
        ],
    )
    connection.execute("DELETE FROM seen WHERE at <= ?", (now - _KEPT,))


def _head(connection: sqlite3.Connection) -> bytes:
    row = connection.execute("SELECT hash FROM ledger ORDER BY seq DESC LIMIT 1").fetchone()
    return bytes(32) if row is None else row[0]


def _append(connection: sqlite3.Connection, entry: LedgerEntry) -> None:
    event = json.dumps(entry.event, sort_keys=True)
    facts = (float(entry.at), entry.run, entry.round, entry.attempt, entry.status)
    head = _link(_head(connection), facts, event, entry.window)
    connection.execute(
        f"INSERT INTO ledger ({_ENTRY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*facts, event, entry.window, head)
    )


def _link(previous: bytes, facts: tuple[Any, ...], event: str, window: bytes) -> bytes:
    """The hash of a ledger entry: of the entry before and of all that stands in this one."""
    return digest(previous, json.dumps(facts).encode(), event.encode(), window)

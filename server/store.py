"""The coordinator's durable state: a run's terms and its events, in one SQL database (``server/database``).

It holds what the wire saw and nothing that decrypts.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time

import sqlalchemy as sa

from fedrepay.server.database import locks
from fedrepay.server.database.engine import CoordinatorDatabase, Guarded, Work
from fedrepay.server.protocol.state import Event
from fedrepay.shared.errors import StorageError
from fedrepay.shared.trust.terms import NumberedTerms
from fedrepay.shared.trust.wire import ReleaseVote, Written

META = sa.MetaData()
_runs = sa.Table(
    "runs",
    META,
    sa.Column("run", sa.Integer, primary_key=True),
    sa.Column("plan", sa.LargeBinary, key="terms", nullable=False),
)
_events = sa.Table(
    "events",
    META,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("run", sa.Integer, nullable=False, index=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.Float, nullable=False),  # seconds since 1970
)
_BEGIN = sa.insert(_runs)
_LAST_RUN = sa.select(sa.func.max(_runs.c.run))
_TERMS = sa.select(_runs.c.terms).order_by(_runs.c.run.desc()).limit(1)
_ALL_TERMS = sa.select(_runs.c.terms).order_by(_runs.c.run)
_APPEND = sa.insert(_events)
_DONE = sa.select(sa.func.max(_events.c.run)).where(_events.c.kind == "done")
_LAST = sa.select(sa.func.max(_events.c.seq))
_LAST_OF = sa.select(sa.func.max(_events.c.seq)).where(_events.c.run == sa.bindparam("of"))
_SINCE = sa.select(_events).where(_events.c.seq > sa.bindparam("after")).order_by(_events.c.seq)
_OF_RUN = sa.select(_events).where(_events.c.run == sa.bindparam("of")).order_by(_events.c.seq)
_OVER = sa.select(_events.c.run).where(_events.c.kind == "done")
_WRITTEN = (
    sa.select(_events).where(_events.c.kind == "written", _events.c.run.in_(_OVER)).order_by(_events.c.seq)
)
_NEWEST = (
    sa.select(_events.c.body)
    .where(_events.c.kind == sa.bindparam("of_kind"), _events.c.name == sa.bindparam("of_name"))
    .order_by(_events.c.seq.desc())
    .limit(1)
)
ROSTERS = 0
"""In the place of a run's number: the events by which rosters came about."""
STOPS = -2
"""In the place of a run's number: why a ServerApp stopped, in its own words; of one that died there are none."""
ASKED = -1
"""In the place of a run's number: what members said to terms that they were only asked about."""
_EVENTS = (
    *("call", "joining", "before", "proposal", "revealed", "approval", "seat", "roster"),
    *("answer:terms", "declined", "floor", "answer:hello", "introduction"),
    *("answer:introduce", "answer:seed", "answer:confirm"),
    *("attempt", "header", "need", "retry", "away", "ready", "void", "sum"),
    *("failed", "disputed", "verdict", "dismissed", "complaint", "ended", "abandoned"),
    *("closing", "written", "unwritten", "vote", "stored", "done"),
)
WRITES = ("create", "begin", *(f"append {kind}" for kind in _EVENTS))
"""Every point at which a run, or the making of its roster, changes the coordinator's state.

Besides, a release that a member seals anew for another is appended (``resealed``): if that is lost, it is asked for again.
"""
Writes = Callable[[str, str], None]
"""Told (point of ``WRITES``, ``commit`` or ``committed``) inside each transaction and after it."""


class CoordinatorStore:
    """Terms and events of runs.

    Args:
        url: the database, or as SQLAlchemy names it.
        writes: told of every write; an error it raises inside a transaction undoes that transaction.
        durable: whether a write survives the machine's fall and not the process's only (SQLite; simulations).
        clock: seconds since 1970; every event is stored with it.

    Raises:
        StorageError: the database cannot be reached or written, or is another version's or another consortium's.
    """

    def __init__(
        self,
        url: str | CoordinatorDatabase,
        writes: Writes = lambda _point, _moment: None,
        *,
        durable: bool = True,
        clock: Callable[[], float] = time,
    ) -> None:
        self._writes = writes
        self._clock = clock
        self._database = CoordinatorDatabase.at(url, durable=durable) if isinstance(url, str) else url
        self._locked: sa.Connection | None = None
        self._database.prepare(lambda work: self._write("create", work))

    @classmethod
    def in_folder(cls, folder: Path, *, durable: bool = True) -> "CoordinatorStore":
        """The store of a coordinator's folder."""
        return cls(CoordinatorDatabase.in_folder(folder, durable=durable))

    @contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        """Carry runs in one process only: until the end, what this store writes goes over the connection with the lock.

        Raises:
            ProtocolError: another process is still at it after ``seconds``; says which one.
            StorageError: the database or its folder cannot be used.
        """
        with locks.held(self._database, locks.CARRYING, locks.waiting(seconds)) as hold:
            hold.note()
            self._locked = hold.connection
            try:
                yield
            finally:
                self._locked = None

    def carried(self) -> bool:
        """Whether another process of this machine carries runs at this moment."""
        return locks.taken(self._database, locks.CARRYING)

    def _write(self, point: str, work: Work) -> None:
        with self._database.transaction(write=True, on=self._locked) as connection:
            work(connection)
            self._writes(point, "commit")
        self._writes(point, "committed")

    def _guarded(self) -> Guarded:
        return self._database.transaction()

    def begin(self, terms: NumberedTerms) -> None:
        """Record a new run.

        Raises:
            StorageError: its number is not higher than every run before.
        """

        def work(connection: sa.Connection) -> None:
            last = connection.execute(_LAST_RUN).scalar()
            if last is not None and terms.run <= last:
                raise StorageError(
                    f"Run {terms.run} is not above the last run, {last}.", "Run numbers only grow."
                )
            connection.execute(_BEGIN, {"run": terms.run, "terms": terms.encode()})

        self._write("begin", work)

    def terms(self) -> NumberedTerms | None:
        """The newest run's terms and number."""
        with self._guarded() as connection:
            row = connection.execute(_TERMS).fetchone()
        return None if row is None else NumberedTerms.decode(bytes(row[0]))

    def released(self) -> tuple[int, bytes]:
        """Number and hash of the last release; (0, zeros) before the first."""
        with self._guarded() as connection:
            done = connection.execute(_DONE).scalar()
        if done is None:
            return 0, bytes(32)
        votes = [event.body for event in self.events(done) if event.kind == "written"]
        return int(done), ReleaseVote.decode(Written.decode(votes[-1]).vote.body).release

    def append(self, run: int, events: list[Event]) -> None:
        """Store events in order, in one transaction, before they are acted on; the first names the point of writing."""
        if not events:
            return
        now = self._clock()
        rows = [{"run": run, "kind": e.kind, "name": e.name, "body": e.body, "at": now} for e in events]
        self._write(f"append {events[0].kind}", lambda c: c.execute(_APPEND, rows))

    def last(self, run: int | None = None) -> int:
        """Number of the newest event of all, or of a run; 0 before the first."""
        with self._guarded() as connection:
            found = connection.execute(_LAST) if run is None else connection.execute(_LAST_OF, {"of": run})
            return int(found.scalar() or 0)

    def since(self, seq: int) -> list[tuple[int, Event]]:
        """All events after number ``seq``, of rosters and runs, with their numbers."""
        with self._guarded() as connection:
            rows = connection.execute(_SINCE, {"after": seq})
            return [(r.seq, Event(r.kind, r.name, bytes(r.body))) for r in rows]

    def events(self, run: int) -> list[Event]:
        """The events of a run in order."""
        with self._guarded() as connection:
            rows = connection.execute(_OF_RUN, {"of": run})
            return [Event(r.kind, r.name, bytes(r.body)) for r in rows]

    def timed(self, run: int) -> list[tuple[float, Event]]:
        """The events of a run in order, each with the time at which it was stored, in seconds since 1970."""
        with self._guarded() as connection:
            rows = connection.execute(_OF_RUN, {"of": run})
            return [(float(r.at), Event(r.kind, r.name, bytes(r.body))) for r in rows]

    def releases(self) -> list[tuple[int, float, Written]]:
        """Number, time and sealed bytes of every release, the oldest first."""
        with self._guarded() as connection:
            rows = connection.execute(_WRITTEN)
            last = {row.run: (row.run, float(row.at), Written.decode(bytes(row.body))) for row in rows}
        return list(last.values())

    def newest(self, kind: str, name: str) -> bytes | None:
        """The newest event of a kind and name, of any run."""
        with self._guarded() as connection:
            row = connection.execute(_NEWEST, {"of_kind": kind, "of_name": name}).fetchone()
        return None if row is None else bytes(row[0])

    def runs(self) -> list[NumberedTerms]:
        """The terms of every run, the oldest first."""
        with self._guarded() as connection:
            return [NumberedTerms.decode(bytes(row[0])) for row in connection.execute(_ALL_TERMS)]

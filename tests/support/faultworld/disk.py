"""Disks in memory that can be copied, restored from an old copy, and full: SQL as in the product, no syncs.

A kill here is an exception, not a power cut, so nothing is lost by leaving out what only a power cut needs.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from fedrepay.client.store.database import Writes
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.migrations import bring
from fedrepay.server import store as server_store
from fedrepay.server.database.engine import CoordinatorDatabase
from fedrepay.server.store import CoordinatorStore

_connections: dict[str, sqlite3.Connection] = {}  # of the world that is played: one at a time in a process


@cache
def _engine(name: str) -> sa.Engine:
    """One engine a name for all worlds, for it keeps the statements it has compiled."""
    return sa.create_engine("sqlite://", creator=lambda: _connections[name], poolclass=StaticPool)


class Disk:
    """One node's disk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.full = 0  # writes that still fail
        self.copies: list[bytes] = []
        self._insert(None)

    def _insert(self, content: bytes | None) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        if content:
            self.connection.deserialize(content)
        _connections[self.name] = self.connection
        self.engine = _engine(self.name)
        self.engine.dispose()

    def copy(self, keep: int = 6) -> None:
        """Make a backup; the oldest but one goes when there are too many."""
        self.copies.append(self.connection.serialize())
        if len(self.copies) > keep:
            del self.copies[1]

    def lose(self) -> None:
        """An empty disk, and no copies."""
        self.copies.clear()
        self._insert(None)

    def restore(self, which: int) -> None:
        """The disk as it was when that copy was made; copies made since are kept."""
        self._insert(self.copies[which])


def full(who: str = "member") -> Exception:
    """What a full disk gives a member's store, or the coordinator's."""
    error = sqlite3.OperationalError("database or disk is full")
    return error if who == "member" else sa.exc.OperationalError("COMMIT", None, error)


_TOUCHED = {
    "create": ("facts", "ledger", "uploads", "openings", "releases"),
    "remember": ("facts", "ledger"),
    "note": (),
    "charge": ("facts", "ledger"),
    "submit": ("ledger", "uploads"),
    "record_opening": ("openings",),
    "store_opened": ("openings", "uploads"),
    "store_release": ("facts", "releases", "uploads"),
}


def _remembering(name: str, table: str) -> Callable[..., Any]:
    method = getattr(MemberStore, name)

    def read(self: "FaultStore", *args: object) -> Any:
        seen, key = self.seen[table], (name, *args)
        if key not in seen:
            seen[key] = method(self, *args)
        return seen[key]

    return read


class FaultStore(MemberStore):
    """A member's store on a :class:`Disk`; what was read is kept until its table is written, for speed."""

    _connection: sqlite3.Connection | None = None
    _version = 0

    def __init__(self, disk: Disk, clock: Callable[[], float], writes: Writes) -> None:
        self.folder = Path(disk.name)
        self.seen: dict[str, dict[object, Any]] = {}
        self._clock, self._writes, self._disk = clock, writes, disk
        self._write("create", bring)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        yield self._disk.connection

    def forget(self) -> None:
        """Read everything again: somebody has written past this store."""
        self.seen = {table: {} for table in self.seen}
        self._version += 1

    def _write(self, point: str, work: Callable[[sqlite3.Connection], object]) -> None:
        for table in _TOUCHED[point.partition(" ")[0]]:
            self.seen[table] = {}
        super()._write(point, work)

    def fact(self, key: str) -> bytes | None:
        """All facts are read at once."""
        facts = self.seen["facts"]
        if not facts:
            facts[""] = None
            facts.update(self._rows("SELECT key, value FROM facts"))
        found: bytes | None = facts.get(key)
        return found

    ledger = _remembering("ledger", "ledger")
    ledger_head = _remembering("ledger_head", "ledger")
    ledger_heads = _remembering("ledger_heads", "ledger")
    uploads = _remembering("uploads", "uploads")
    upload = _remembering("upload", "uploads")
    openings = _remembering("openings", "openings")
    release = _remembering("release", "releases")


class FaultCoordinatorStore(CoordinatorStore):
    """The coordinator's store on a :class:`Disk`."""

    def __init__(self, disk: Disk, writes: Writes) -> None:
        self._writes, self._clock, self._locked = writes, lambda: 0.0, None
        self._database = CoordinatorDatabase(disk.engine, None)
        self._write("create", server_store.META.create_all)

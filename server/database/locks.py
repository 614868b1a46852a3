"""Locks on a coordinator's database: who serves it, and who carries its runs. Others may read, and write in transactions.

A lock ends with the process that has it, however that ends: it is a lock on a file of the folder, and where the database is
PostgreSQL also an advisory lock of a session, for another machine may have the same database.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import sqlalchemy as sa

from fedrepay.server.database.engine import LOST, SPACE, CoordinatorDatabase, failures, storage_error
from fedrepay.shared import files
from fedrepay.shared.errors import ProtocolError, StorageError

SERVING, CARRYING = "serving", "carrying"
_NUMBERS = {SERVING: 2, CARRYING: 3}  # 1 is a transaction that writes
_ANOTHER = {SERVING: "Another `coordinator serve` has", CARRYING: "Another ServerApp carries the runs of"}
_REMEDY = {
    SERVING: "Stop it first. If its machine is gone, the database lets go of it within a minute: then try again.",
    CARRYING: "Stop its Flower run first.",
}
LOOK, PATIENCE = 1.0, 300.0
"""Seconds between two looks whether a lock is still there, and for a database to come back."""
_holders = sa.table(
    "holders",
    sa.column("lock", sa.Text),
    sa.column("host", sa.Text),
    sa.column("pid", sa.Integer),
    sa.column("since", sa.Float),
)


class Hold:
    """A lock that this process has.

    Args:
        database: that is locked.
        name: ``SERVING`` or ``CARRYING``.
        say: told where the database is lost, and where it is back.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        database: CoordinatorDatabase,
        name: str,
        say: Callable[[str], None] = lambda _line: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._name, self._say, self._clock = database, name, say, clock
        self.connection: sa.Connection | None = None  # with PostgreSQL: the lock ends with it
        self._next, self._since = 0.0, 0.0  # the next look; when the database was lost, 0 while it is there

    def take(self) -> bool:
        """Take PostgreSQL's lock; whether nobody else has it.

        Raises:
            StorageError: the database cannot be reached.
        """
        taking = sa.text(f"SELECT pg_try_advisory_lock({SPACE}, {_NUMBERS[self._name]})")
        try:
            connection = self._database.engine.connect()
            try:
                connection.detach()  # closed at its end, and not kept for others with the lock on it
                with connection.begin():
                    had = bool(connection.execute(taking).scalar())
            except BaseException:
                connection.close()
                raise
        except failures(self._database.engine) as error:
            raise storage_error(error) from error
        if had:
            self.connection = connection
        else:
            connection.close()
        return had

    def note(self) -> None:
        """Write down who has it, for those who are kept away."""
        row = {"lock": self._name, "host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
        with self._database.transaction(write=True, on=self.connection) as connection:
            connection.execute(sa.delete(_holders).where(_holders.c.lock == self._name))
            connection.execute(sa.insert(_holders), row)

    def look(self) -> None:
        """Look now and then whether the lock is still there; where the connection was lost, take it again.

        Raises:
            ProtocolError: another process has it by now.
            StorageError: the database has not come back within ``PATIENCE``.
        """
        if (self.connection is None and not self._since) or self._clock() < self._next:
            return
        if not self._since:
            self._next = self._clock() + LOOK
            if self._alive():
                return
            self._since = self._clock()
            self.release()
            self._say(f"{LOST} Members wait until it is back.")
        try:
            if not self.take():
                raise _taken(self._database, self._name)
            self.note()
        except StorageError as error:
            self.release()
            if self._clock() - self._since > PATIENCE:
                raise StorageError(
                    f"{error.cause} It did not come back for {PATIENCE:.0f} s.", error.remedy
                ) from error
            self._next = self._clock() + LOOK
            return
        self._since = 0.0
        self._say("The database is back, and the lock is this coordinator's again.")

    def release(self) -> None:
        """Let go of PostgreSQL's lock."""
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def _alive(self) -> bool:
        try:
            with self._database.transaction(on=self.connection) as connection:
                connection.execute(sa.text("SELECT 1"))
        except StorageError:
            return False
        return True


@contextmanager
def held(
    database: CoordinatorDatabase,
    name: str,
    again: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda _line: None,
) -> Iterator[Hold]:
    """Keep other processes away from serving a database, or from carrying its runs. Its tables need not be there yet.

    Args:
        database: with a folder.
        name: ``SERVING`` or ``CARRYING``.
        again: asked while another process has it: waits, and says whether to try once more.
        say: told where the database is lost, and where it is back.

    Raises:
        ProtocolError: another process has it; says which one.
        StorageError: the database or its folder cannot be used.
    """
    assert database.folder is not None  # noqa: S101
    hold = Hold(database, name, say)
    taken = ProtocolError(_ANOTHER[name], _REMEDY[name])
    with ExitStack() as kept:
        try:
            file = database.folder / f".{name}"
            kept.enter_context(files.held(file, taken, "Check rights and disk.", again))
            while database.postgres and not hold.take():
                if not again():
                    raise taken
        except ProtocolError as error:
            raise (_taken(database, name) if error is taken else error) from None
        kept.callback(hold.release)
        yield hold


def taken(database: CoordinatorDatabase, name: str) -> bool:
    """Whether another process of this machine has a lock at this moment, by its file.

    Raises:
        StorageError: the folder cannot be used.
    """
    assert database.folder is not None  # noqa: S101
    busy = ProtocolError(_ANOTHER[name], _REMEDY[name])
    try:
        with files.held(database.folder / f".{name}", busy, "Check rights and disk."):
            return False
    except ProtocolError as error:
        if error is busy:
            return True
        raise


def waiting(seconds: float, pause: float = 0.2) -> Callable[[], bool]:
    """For ``again``: so long, with pauses."""
    deadline = time.monotonic() + seconds

    def again() -> bool:
        left = time.monotonic() < deadline
        if left:
            time.sleep(pause)
        return left

    return again


def _taken(database: CoordinatorDatabase, name: str) -> ProtocolError:
    where = str(database.folder) if not database.postgres else str(database)
    return ProtocolError(f"{_ANOTHER[name]} {where}{_who(database, name)}.", _REMEDY[name])


def _who(database: CoordinatorDatabase, name: str) -> str:
    """What is known of who has a lock; nothing where that cannot be read (it makes the tables just now)."""
    wanted = sa.select(_holders).where(_holders.c.lock == name)
    try:
        with database.transaction() as connection:
            row = connection.execute(wanted).fetchone()
    except StorageError:
        return ""
    if row is None:
        return ""
    return f": process {row.pid} on {row.host}, since {datetime.fromtimestamp(row.since, UTC):%Y-%m-%d %H:%M:%S} UTC"

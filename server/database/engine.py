"""The coordinator's database: one engine, transactions of which one writes at a time, errors that come out typed.

SQLite and PostgreSQL are used alike. What will write keeps other writers away from its first read on (``BEGIN IMMEDIATE``;
an advisory lock): an invitation is used once, and events are numbered in the order in which they are committed.
"""

import hashlib
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from fedrepay.server.database import versions, where
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.private import private_file, private_folder

SPACE = int.from_bytes(b"fedr")
"""First number of all advisory locks here; second number 1 is a transaction that writes, the others are in ``locks``."""
_WRITES = sa.text(f"SELECT pg_advisory_xact_lock({SPACE}, 1)")
_BUSY = 30.0  # seconds to wait for another writer
_CONNECT: Mapping[str, Any] = {
    "client_encoding": "utf8",
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
# by them the server lets go of a coordinator whose machine is gone, and nobody waits without end
_SESSION: Mapping[str, str] = {
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "lock_timeout": f"{_BUSY:.0f}s",
    "idle_in_transaction_session_timeout": "60s",
    "idle_session_timeout": "0",
}
LOST = "The connection to the database was lost, and with it the lock that kept others away."
Work = Callable[[sa.Connection], object]


class CoordinatorDatabase:
    """A database that is there; :meth:`at` or :meth:`in_folder` make one.

    Args:
        engine: of :func:`engine_of`.
        folder: of the coordinator, where its locks' files are; None where nothing is ever locked.
    """

    def __init__(self, engine: sa.Engine, folder: Path | None) -> None:
        self.engine, self.folder = engine, folder

    @classmethod
    def at(cls, url: str | sa.URL, *, durable: bool = True) -> "CoordinatorDatabase":
        """A database by its URL; a SQLite file's folder is its own.

        Raises:
            ArgumentError: PostgreSQL's driver is not installed.
            StorageError: a SQLite file cannot be written.
        """
        made = sa.make_url(url)
        file = made.get_backend_name() == "sqlite" and Path(str(made.database))
        return cls(engine_of(made, durable=durable), file.parent if file else None)

    @classmethod
    def in_folder(cls, folder: Path, *, durable: bool = True) -> "CoordinatorDatabase":
        """The database of a coordinator's folder, which is its owner's alone; errors as of ``where.chosen`` and :meth:`at`."""
        if folder.is_dir():
            _private(folder, private_folder)
        return cls(engine_of(where.chosen(folder), durable=durable), folder)

    @property
    def postgres(self) -> bool:
        """Whether it is PostgreSQL."""
        return self.engine.dialect.name == "postgresql"

    def __str__(self) -> str:
        return where.shown(self.engine.url)

    def transaction(self, *, write: bool = False, on: sa.Connection | None = None) -> "Guarded":
        """A transaction.

        Args:
            write: whether it keeps other writers away.
            on: the connection, if it must be that one: with it a lock is lost, and nothing more is written.

        Raises:
            StorageError: the connection was lost; from the transaction too: the database failed.
        """
        if on is not None:
            # SQLAlchemy would go on with another connection, without its lock
            if on.closed or on.invalidated:
                raise StorageError(LOST, "The same command goes on from what is stored.")
            return Guarded(on.execution_options(write=write))
        return Guarded(self.engine.execution_options(write=write))

    def prepare(self, write: Callable[[Work], None] | None = None) -> None:
        """Make the tables in an empty database; what is there must be this version's, and this folder's consortium's.

        Args:
            write: runs the work in a transaction that writes; default :meth:`write`.

        Raises:
            StorageError: the database failed, is another program's, another version's or another consortium's.
        """
        named, ours = str(self), self._authority()
        with self.transaction() as connection:
            fresh = versions.current(connection, named) is None
        if fresh:
            (write or self.write)(versions.bring)
        with self.transaction() as connection:
            versions.check(connection, named)
            owner = versions.owner(connection)
        if owner is None and ours is not None:
            self.write(lambda connection: versions.own(connection, ours))
            with self.transaction() as connection:
                owner = versions.owner(connection)
        if ours is not None and owner is not None and owner != ours:
            raise StorageError(
                f"{named} is of another consortium: its authority is {owner.hex()[:16]}…, this folder's {ours.hex()[:16]}….",
                "Name the database of this consortium, or an empty one of its own.",
            )

    def bring(self) -> None:
        """Bring an older version's tables to this one's: for whoever alone serves it. Errors as of :meth:`prepare`."""
        with self.transaction(write=True) as connection:
            versions.bring(connection)
        self.prepare()

    def write(self, work: Work) -> None:
        """Work in a transaction that writes."""
        with self.transaction(write=True) as connection:
            work(connection)

    def _authority(self) -> bytes | None:
        """SHA-256 of the certificate (DER) of the folder's authority, if it has one."""
        path = None if self.folder is None else self.folder / where.AUTHORITY
        if path is None or not path.is_file():
            return None
        try:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).digest()
        except (OSError, ValueError) as error:
            raise StorageError(f"{path} cannot be read: {error}.", "Restore it from a backup.") from error


def engine_of(url: sa.URL, *, durable: bool = True) -> sa.Engine:
    """A database's engine; a SQLite file is made or closed to others. A process has one for each PostgreSQL.

    Raises:
        ArgumentError: PostgreSQL's driver is not installed.
        StorageError: it cannot be written.
    """
    if url.get_backend_name() != "sqlite":
        return _postgres(url)
    if not (url.database or ":").startswith((":", "file:")):
        _private(Path(str(url.database)))
    engine = sa.create_engine(url, connect_args={"timeout": _BUSY})
    sa.event.listen(engine, "connect", _by_hand)
    sa.event.listen(engine, "begin", begin)
    if not durable:
        sa.event.listen(engine, "connect", _not_durable)
    return engine


@cache
def _postgres(url: sa.URL) -> sa.Engine:
    try:
        engine = sa.create_engine(url, pool_pre_ping=True, connect_args=dict(_CONNECT))
    except ModuleNotFoundError as error:
        raise ArgumentError(
            f"PostgreSQL needs {error.name}, which is not installed.", "pip install 'fedrepay[postgres]'"
        ) from error
    sa.event.listen(engine, "connect", _session)
    sa.event.listen(engine, "begin", begin)
    return engine


def _private(path: Path, close: Callable[[Path], None] = private_file) -> None:
    """Make or close a SQLite file, or a folder: who takes part and when is not for other users of the machine."""
    try:
        close(path)
    except OSError as error:
        raise StorageError.unwritten(
            path, error, "Mend the permissions, then run the same command again."
        ) from error


def _by_hand(connection: Any, _record: object) -> None:
    """SQLite's transactions begin where SQLAlchemy says so, and not at the first write."""
    connection.isolation_level = None


def _not_durable(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def _session(connection: Any, _record: object) -> None:
    """Settings of a session, as far as this version of PostgreSQL knows them."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config(name, wanted.value, false) FROM pg_settings "
            "JOIN unnest(%s::text[], %s::text[]) AS wanted(name, value) USING (name)",
            (list(_SESSION), list(_SESSION.values())),
        )
        cursor.execute("SELECT set_config('application_name', 'fedrepay', false)")
    connection.commit()


def begin(connection: sa.Connection) -> None:
    """Begin a transaction; told by SQLAlchemy."""
    write = connection.get_execution_options().get("write")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
    elif write:
        connection.execute(_WRITES)


class Guarded:
    """A transaction whose database errors come out typed."""

    def __init__(self, bind: sa.Engine | sa.Connection) -> None:
        self._bind, self._failures = bind, failures(bind)

    def __enter__(self) -> sa.Connection:
        try:
            self._begin = self._bind.begin()
            entered = self._begin.__enter__()
        except self._failures as error:
            raise storage_error(error) from error
        return entered if isinstance(entered, sa.Connection) else entered.connection

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        try:
            self._begin.__exit__(kind, error, trace)  # type: ignore[arg-type]
        except self._failures as failed:
            raise storage_error(failed) from failed
        if isinstance(error, self._failures):
            raise storage_error(error) from error


def failures(bind: sa.Engine | sa.Connection) -> tuple[type[Exception], ...]:
    """What a database's failures are: SQLAlchemy's errors, and the driver's own where it is asked past SQLAlchemy."""
    return sa.exc.SQLAlchemyError, bind.dialect.loaded_dbapi.Error


def storage_error(error: Exception) -> StorageError:
    """What a person is told of a database's error: its own first words, and nothing of the statement."""
    said = str(error.orig if isinstance(error, sa.exc.DBAPIError) else error).strip()
    return StorageError(
        f"The coordinator's database failed: {' '.join(said.split()).rstrip('.')}.",
        "Free the disk or reach the database again, then run the same command: the run resumes. A damaged "
        "database cannot be resumed: start a new run (in a simulation, with another --out).",
    )

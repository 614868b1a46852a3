"""The tables' versions: made and brought along by Alembic, each version one step in ``migrations/versions``.

A step runs in a transaction that keeps other writers away, so starters wait for each other, and a process that is killed
leaves the version before. Alembic is loaded only where a step is due.
"""

from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from fedrepay.shared.errors import StorageError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

HEAD = "0001"
"""The newest version; a test holds it to the steps."""
STEPS = Path(__file__).parent / "migrations"
TABLE = "schema_version"
_VERSION: sa.Select[tuple[str]] = sa.select(sa.column("version_num")).select_from(sa.table(TABLE))
_consortium = sa.table("consortium", sa.column("authority", sa.LargeBinary))
_one = Lock()  # Alembic keeps what migrates in a global of the process


def current(connection: sa.Connection, named: str) -> str | None:
    """The version of the tables; None in an empty database.

    Args:
        connection: in a transaction.
        named: the database, for errors.

    Raises:
        StorageError: it holds tables of something else.
    """
    found = sa.inspect(connection).get_table_names()
    if TABLE in found:
        version = connection.execute(_VERSION).scalar()
        return None if version is None else str(version)
    if found:
        raise StorageError(
            f"{named} holds tables that are not of this fedrepay ({', '.join(sorted(found)[:3])}).",
            "Give the coordinator an empty database of its own.",
        )
    return None


def check(connection: sa.Connection, named: str) -> None:
    """The tables are of this version.

    Raises:
        StorageError: they are not.
    """
    version = current(connection, named)
    if version == HEAD:
        return
    if version is not None and version in _known():
        raise StorageError(
            f"{named} is of version {version}; this fedrepay has {HEAD}.",
            "Stop `fedrepay coordinator serve` if it runs, and start it with this fedrepay: it brings the database along.",
        )
    raise StorageError(
        f"{named} is of version {version}; this fedrepay knows {HEAD} at most.",
        "Install the fedrepay that wrote it, or a later one.",
    )


def bring(connection: sa.Connection) -> None:
    """Run all steps that are due.

    Args:
        connection: in a transaction that writes.

    Raises:
        StorageError: the database is of a later version, or something else's.
    """
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415 - slow to import, seldom needed

    version = current(connection, "The coordinator's database")
    if version == HEAD:
        return
    steps = _steps()
    if connection.dialect.name == "postgresql":
        encoding = connection.execute(sa.text("SELECT current_setting('server_encoding')")).scalar()
        if encoding != "UTF8":
            raise StorageError(
                f"The database's encoding is {encoding}.",
                "CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE template0",
            )
    if version is not None and version not in _known():
        check(connection, "The coordinator's database")

    def due(revision: Any, _context: Any) -> Any:
        return steps._upgrade_revs(HEAD, revision)  # noqa: SLF001 - as Alembic's own command does

    from alembic.config import Config  # noqa: PLC0415

    with _one, EnvironmentContext(Config(), steps, fn=due) as environment:
        environment.configure(connection, version_table=TABLE, render_as_batch=True, transactional_ddl=True)
        environment.run_migrations()


def owner(connection: sa.Connection) -> bytes | None:
    """SHA-256 of the certificate of the consortium's authority, once a coordinator's folder has used the database."""
    found = connection.execute(sa.select(_consortium.c.authority)).scalar()
    return None if found is None else bytes(found)


def own(connection: sa.Connection, authority: bytes) -> None:
    """Note whose database it is, if that is not known yet."""
    if owner(connection) is None:
        connection.execute(sa.insert(_consortium), {"authority": authority})


@cache
def _steps() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return ScriptDirectory(str(STEPS))


def _known() -> frozenset[str]:
    return frozenset(step.revision for step in _steps().walk_revisions())

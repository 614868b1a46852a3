"""A member's store of an earlier version is brought to this one's tables when it is opened: within one transaction, or not.

No copy is kept beside it: a copy would hold an epoch's secrets after they are deleted here, and a ledger that could be put
back (docs/adr/0028). What a step cannot do whole is undone by SQLite, and the store stays as the earlier version left it.
"""

import sqlite3
from collections.abc import Callable

from fedrepay.client.store import tables
from fedrepay.shared.errors import StorageError

Step = Callable[[sqlite3.Connection], None]


def _uses_and_bars(connection: sqlite3.Connection) -> None:
    """From the store of 0.1: when a release was stored is known of none that is there."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(releases)")}
    if "at" not in columns:
        connection.execute("ALTER TABLE releases ADD COLUMN at FLOAT NOT NULL DEFAULT 0.0")


def _seen_attempts(connection: sqlite3.Connection) -> None:
    """From a store that did not note who took part: what it says of others' attempts is whole from now on only."""
    connection.execute("INSERT OR IGNORE INTO facts SELECT 'since', CAST(strftime('%s', 'now') AS BLOB)")


STEPS: tuple[Step, ...] = (_uses_and_bars, _seen_attempts)
"""Step n leads from version n to n + 1; nothing that a store may have gone through is ever changed."""


def bring(connection: sqlite3.Connection) -> None:
    """Make the tables of a new store, or bring an old one to this version.

    Raises:
        StorageError: a later version of fedrepay wrote it.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(STEPS):
        raise StorageError(
            f"The member's store is of version {version}; this fedrepay knows {len(STEPS)} at most.",
            "Install the fedrepay that wrote it, or a later one: an older one could forget what was spent.",
        )
    (kept,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'facts'").fetchone()
    for step in STEPS[version:] if kept else ():
        step(connection)
    for table in tables.SCHEMA:
        connection.execute(table)
    if version != len(STEPS):
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")

"""Databases that come out of an archive: whole, of this version, and of the consortium whose keys lie beside them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from fedrepay.server.admission import certificates
from fedrepay.server.database.where import FILE as DATABASE
from fedrepay.server.network import superlink
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError

_REMEDY = "Name another archive of `coordinator backup`; nothing was restored."
_MUST = {"runs", "events"}
_FAULTS = 200  # characters of what SQLite says


def check(folder: Path) -> None:
    """Look at the databases of a folder before it takes its place.

    Args:
        folder: unpacked, and nobody's yet.

    Raises:
        ArgumentError: one is damaged, has other tables or columns than this version makes, or was made under another
            consortium's authority; naming it.
        StorageError: the authority's certificate cannot be read.
    """
    for name in (DATABASE, superlink.DATABASE):
        if (folder / name).exists():
            _check_whole(folder / name)
    if (folder / DATABASE).exists():
        _check_tables(folder / DATABASE)
        _check_consortium(folder / DATABASE, certificates.authority_digest(folder))


def _opened(path: Path) -> "closing[sqlite3.Connection]":
    """Read only, and nothing that its schema may call."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    connection.execute("PRAGMA trusted_schema = OFF")
    return closing(connection)


def _check_whole(path: Path) -> None:
    try:
        with _opened(path) as connection:
            said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    except sqlite3.Error as error:
        said = [str(error)]
    if said != ["ok"]:
        raise ArgumentError(f"The archive's {path.name} is damaged: {'; '.join(said)[:_FAULTS]}.", _REMEDY)


def _check_tables(path: Path) -> None:
    found, ours = _tables(path), _made()
    for table, columns in found.items():
        if table not in ours:
            raise ArgumentError(
                f"The archive's {path.name} holds {table[:100]!r}, which no database of this version does.",
                "Restore it with the version of fedrepay that made it; nothing was restored.",
            )
        if columns != ours[table]:
            other = ", ".join(sorted(columns ^ ours[table]))
            raise ArgumentError(
                f"The archive's {path.name} is of another version: table {table} differs in {other[:_FAULTS]}.",
                "Restore it with the version of fedrepay that made it; nothing was restored.",
            )
    if lacking := sorted(_MUST - found.keys()):
        raise ArgumentError(f"The archive's {path.name} has no table {lacking[0]}.", _REMEDY)


def _tables(path: Path) -> dict[str, frozenset[str]]:
    """Columns by table; a view or a trigger counts as a table without any."""
    with _opened(path) as connection:
        names = connection.execute(
            "SELECT name FROM sqlite_master WHERE type <> 'index' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        )
        columns = "SELECT name FROM pragma_table_info(?)"
        return {
            name: frozenset(column for (column,) in connection.execute(columns, (name,)))
            for (name,) in names.fetchall()
        }


def _made() -> dict[str, frozenset[str]]:
    """Those of a database that this version makes."""
    with TemporaryDirectory() as place:
        path = Path(place) / DATABASE
        CoordinatorStore(f"sqlite:///{path}")
        return _tables(path)


def _check_consortium(path: Path, authority: bytes) -> None:
    """Whoever was invited was told of the authority that lies beside it."""
    with _opened(path) as connection:
        if "members" not in _tables(path):
            return  # nobody was ever invited
        others = connection.execute(
            "SELECT name FROM members WHERE authority <> ? ORDER BY name LIMIT 3", (authority,)
        )
        if names := [str(name)[:100] for (name,) in others]:
            raise ArgumentError(
                f"The archive's {path.name} and its {certificates.AUTHORITY} are of two consortia: {', '.join(names)} was "
                "invited under another authority.",
                _REMEDY,
            )

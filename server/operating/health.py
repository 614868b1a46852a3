"""``fedrepay coordinator doctor``: one page about a coordinator, for whoever helps; no secret, no word of an invitation."""

import platform
import shutil
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import sqlalchemy as sa

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.database import where
from fedrepay.server.database.engine import CoordinatorDatabase
from fedrepay.server.keyring import FOLLOWING, KEY, following, key_of
from fedrepay.server.network import superlink
from fedrepay.server.operating import founding, rosters
from fedrepay.server.operating import settings as places
from fedrepay.server.operating.admitting import forgotten, standing
from fedrepay.server.operating.progress import status
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import FedrepayError
from fedrepay.shared.text import printable
from fedrepay.shared.trust.joining import VERSION

_DAY = 86400.0
SOON = 30 * _DAY
"""Seconds before a server's or authority's end from which it is told of."""
_LEAST = 1 << 30  # bytes free
_PACKAGES = ("fedrepay", "flwr", "grpcio", "SQLAlchemy", "cryptography", "uvicorn")
_SECRETS = (KEY, certificates.AUTHORITY_KEY, certificates.KEY, superlink.SECRET)


@dataclass(frozen=True)
class HealthLine:
    """One line of the page: what, how it is, and whether somebody should look at it."""

    what: str
    said: str
    ok: bool = True


def examine(folder: Path, clock: Callable[[], float] = time.time) -> list[HealthLine]:
    """Everything worth knowing, in order; what cannot be known is a line that is not ok.

    Args:
        folder: the coordinator's.
        clock: seconds since 1970.

    Raises:
        ArgumentError: the folder is no coordinator's.
    """
    terms, agreed = founding.terms_in(folder)
    chosen = places.load(folder)
    lines = [
        HealthLine("versions", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)),
        HealthLine("system", f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"),
        HealthLine("protocol", f"version {VERSION}"),
        HealthLine("clock", datetime.fromtimestamp(clock(), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
        HealthLine("terms", f"{agreed.hex()}, {len(terms.schemas)} schemas, modes {', '.join(terms.modes)}"),
    ]
    for name, host, port in chosen.places():
        up = places.listens(host, port)
        lines.append(HealthLine(name, f"port {port}: {'listens' if up else 'nobody listens'}", up))
    lines += [
        _guarded("authority", lambda: _ends(folder / certificates.AUTHORITY, clock())),
        _guarded("server's certificate", lambda: _ends(folder / certificates.CERTIFICATE, clock())),
        _guarded("disk", lambda: _disk(folder)),
        _guarded("rights", lambda: _rights(folder)),
    ]
    own = where.chosen(folder)
    if own.get_backend_name() == "sqlite":
        lines.append(_guarded(where.FILE, lambda: _database(folder / where.FILE)))
    else:
        lines.append(_guarded("database", lambda: _served(CoordinatorDatabase.at(own))))
    lines.append(_guarded(superlink.DATABASE, lambda: _database(folder / superlink.DATABASE)))
    there = own.get_backend_name() != "sqlite" or (folder / where.FILE).is_file()
    return [*lines, *(_consortium(folder, clock) if there else ())]


def _consortium(folder: Path, clock: Callable[[], float]) -> list[HealthLine]:
    try:
        registry = Registry(folder, clock)
        members, lost = registry.members(), forgotten(folder, registry)
        store = CoordinatorStore.in_folder(folder)
        seen = status(store, members, key_of(folder), clock)
        signing = _signing(folder, store)
    except FedrepayError as error:
        return [HealthLine("consortium", printable(error.cause), ok=False)]
    now = clock()
    states = [f"{each.name} {standing(each, now)}" for each in members]
    away = [each.name for each in members if standing(each, now) == "away"]
    soon = [each.name for each in members if each.certificates and each.ends < now + 7 * _DAY]
    noted = [each.name for each in members if each.notes]
    lines = [
        HealthLine("members", ", ".join(states) or "none", ok=not away),
        HealthLine("in the folder and not in the database", ", ".join(lost) or "nobody", ok=not lost),
        HealthLine("incidents", ", ".join(noted) or "none", ok=not noted),
        HealthLine("members' certificates that end within 7 days", ", ".join(soon) or "none", ok=not soon),
        HealthLine(
            "roster", f"number {seen.roster} of {len(seen.roster_members)}" if seen.roster else "none yet"
        ),
    ]
    lines.append(signing)
    if seen.run is None:
        return [*lines, HealthLine("run", "none yet")]
    stopped = printable(seen.run.stopped)
    return [*lines, HealthLine("run", f"{seen.run.run}: {seen.run.stage} {stopped}".rstrip(), ok=not stopped)]


def _signing(folder: Path, store: CoordinatorStore) -> HealthLine:
    roster, coming = rosters.enrolled(store).roster, following(folder)
    if roster is not None and roster.coordinator not in {
        keys.public_bytes(each) for each in (key_of(folder), coming) if each
    }:
        said = "not the roster's: members take nothing of it before everybody has approved the next roster"
        return HealthLine("signing key", said, ok=False)
    waits = roster is not None and coming is not None
    return HealthLine("signing key", "rotates with the next roster" if waits else "in force")


def _guarded(what: str, look: Callable[[], tuple[str, bool]]) -> HealthLine:
    try:
        said, ok = look()
    except (OSError, ValueError, sqlite3.Error, FedrepayError) as error:
        why = getattr(error, "strerror", None) or getattr(error, "cause", error)
        return HealthLine(what, printable(f"cannot be looked at: {why}"), ok=False)
    return HealthLine(what, said, ok)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _ends(path: Path, now: float) -> tuple[str, bool]:
    ends = certificates.ends(path.read_bytes())
    day = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d")
    return f"ends {day}, in {(ends - now) / _DAY:.0f} days", ends > now + SOON


def _disk(folder: Path) -> tuple[str, bool]:
    free = shutil.disk_usage(folder).free
    return f"{free / (1 << 30):.1f} GiB free", free > _LEAST


def _rights(folder: Path) -> tuple[str, bool]:
    """Which secrets others may read, or which are not there."""
    told = []
    own = where.chosen(folder).get_backend_name() == "sqlite"
    more = [*([where.FILE] if own else []), *([FOLLOWING] if (folder / FOLLOWING).exists() else [])]
    for name in (*_SECRETS, *more):
        path = folder / name
        if not path.exists():
            told.append(f"{name} is not there")
        elif stat.S_IMODE(path.stat().st_mode) & 0o077:
            told.append(f"{name} is open to others")
    return ", ".join(told) or "secrets are their owner's alone", not told


def _database(path: Path) -> tuple[str, bool]:
    """Its size, and whether SQLite finds it whole."""
    if not path.exists():
        return "not there yet", True
    uri = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        (said,) = connection.execute("pragma quick_check(1)").fetchone()
    return f"{path.stat().st_size / (1 << 20):.1f} MiB, {printable(str(said))}", said == "ok"


def _served(database: CoordinatorDatabase) -> tuple[str, bool]:
    """PostgreSQL's version and the database's size."""
    facts = (
        "SELECT current_setting('server_version'), pg_database_size(current_database()), pg_is_in_recovery()"
    )
    with database.transaction() as connection:
        version, size, standby = connection.execute(sa.text(facts)).one()
    said = f"{database}, version {version}, {size / (1 << 20):.1f} MiB"
    return f"{said}{', a standby that takes no writes' if standby else ''}", not standby


def page(lines: list[HealthLine]) -> str:
    """The page as text; what somebody should look at is marked."""
    return "\n".join(f"{'  ' if each.ok else '! '}{each.what}: {each.said}" for each in lines)

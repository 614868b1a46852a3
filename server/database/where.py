"""Which database a coordinator's folder has: its own SQLite file, or PostgreSQL by a URL whose password is never shown."""

import os
import re
from pathlib import Path

import sqlalchemy as sa

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import content_of, read_bytes

FILE, SETTINGS, AUTHORITY = "coordinator.sqlite", "coordinator.toml", "ca.pem"
VARIABLE = "FEDREPAY_DATABASE_URL"
"""A URL that goes before the one of the settings: it may hold the password, which no file of the folder does."""
EXAMPLE = "postgresql://USER@HOST:5432/NAME"
_REMEDY = f"Write {EXAMPLE}; in user and password %40 stands for @, %3A for :, %2F for /, %25 for %."
_SCHEMES = ("postgresql", "postgresql+psycopg", "postgres")
_TLS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "sslcrl", "channel_binding")
_QUERY = frozenset(("host", "port", *_TLS, "gssencmode", "passfile", "target_session_attrs"))
_PLAIN = re.compile(r"[A-Za-z0-9._:-]*")


def sqlite(path: Path) -> sa.URL:
    """A SQLite file."""
    return sa.URL.create("sqlite", database=str(path))


def postgres(text: str, source: str) -> sa.URL:
    """PostgreSQL as a URL names it.

    Args:
        text: the URL.
        source: where it stands, for errors.

    Raises:
        ArgumentError: it is none; the text is not repeated, for a password may stand anywhere in it.
    """
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        raise ArgumentError(f"{source} is no database's URL.", _REMEDY) from None
    if url.drivername not in _SCHEMES:
        raise ArgumentError(f"{source} names no PostgreSQL.", _REMEDY)
    places = [
        url.host or "",
        *(part for part in [url.query.get("host", "")] if not str(part).startswith("/")),
    ]
    if not url.database or not all(_PLAIN.fullmatch(str(part)) for part in (*places, url.database)):
        raise ArgumentError(f"{source} has no host and name of a database where they should be.", _REMEDY)
    wrong = [key for key in url.query if key not in _QUERY or not isinstance(url.query[key], str)]
    wrong += [part for part in text.partition("?")[2].split("&") if part and "=" not in part]
    if wrong:
        raise ArgumentError(
            f"{source} has {len(wrong)} options that are not to be set in it.",
            f"After '?', these may stand: {', '.join(sorted(_QUERY))}.",
        )
    return url.set(drivername="postgresql+psycopg")


def checked(text: str, source: str) -> str:
    """The URL of a settings file, which has no password; empty for the folder's own SQLite file.

    Raises:
        ArgumentError: it is none, or holds a password.
    """
    if text and postgres(text, source).password is not None:
        raise ArgumentError(
            f"{source} holds a password: backups and whoever is shown the file would have it.",
            f"Leave it out there; give the whole URL in {VARIABLE}, or the password in PostgreSQL's own ~/.pgpass.",
        )
    return text


def without_password(text: str, source: str) -> str:
    """A URL as a settings file may have it; errors as of :func:`postgres`."""
    url = postgres(text, source)
    bare = sa.URL.create("postgresql", url.username, None, url.host, url.port, url.database, url.query)
    return bare.render_as_string()


def given_without_password() -> str:
    """What the variable gives, for a settings file; empty where it is not set. Errors as of :func:`postgres`."""
    given = os.environ.get(VARIABLE, "").strip()
    return without_password(given, VARIABLE) if given else ""


def stated(folder: Path) -> str:
    """What the settings of a coordinator's folder say; errors as of :func:`checked`, and where the file is no TOML."""
    path, remedy = folder / SETTINGS, "`fedrepay coordinator init` writes such a file."
    content = content_of(read_bytes(path, ArgumentError, remedy), str(path), ArgumentError, remedy)
    return checked(str(content.get("database", "")), f"{path}: database")


def chosen(folder: Path) -> sa.URL:
    """The database of a coordinator's folder. A folder without settings (a simulation's) has its own SQLite file.

    Raises:
        ArgumentError: no such URL; or the variable is set, and the settings say that the folder has its own file.
    """
    settings = folder / SETTINGS
    if not settings.exists():
        return sqlite(folder / FILE)
    said, given = stated(folder), os.environ.get(VARIABLE, "").strip()
    if given and not said:
        raise ArgumentError(
            f"{VARIABLE} is set, and {settings} says that the database is a file of the folder.",
            f'Unset it; or write database = "{EXAMPLE}" there, without a password: what was in the file stays there.',
        )
    if not said:
        return sqlite(folder / FILE)
    return postgres(given, VARIABLE) if given else postgres(said, f"{settings}: database")


def shown(url: sa.URL) -> str:
    """A database for people: no password, no option and no path."""
    if url.get_backend_name() == "sqlite":
        return Path(url.database or "").name
    place = url.host or str(url.query.get("host", ""))
    there = "this machine" if not place or place.startswith("/") else place
    return f"PostgreSQL {url.database} at {there}{f':{url.port}' if url.port else ''}"

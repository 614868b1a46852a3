"""The tables of a member's store, and a row of each as the rest of the member sees it."""

from dataclasses import dataclass
from typing import Any

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS facts (
        key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS ledger (
        seq INTEGER NOT NULL PRIMARY KEY, at FLOAT NOT NULL,
        run INTEGER NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
        status TEXT NOT NULL, event TEXT NOT NULL, "window" BLOB NOT NULL, hash BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS uploads (
        run INTEGER NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
        config BLOB NOT NULL, upload BLOB NOT NULL, header BLOB NOT NULL,
        PRIMARY KEY (run, round, attempt))""",
    """CREATE TABLE IF NOT EXISTS openings (
        run INTEGER NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
        sum BLOB NOT NULL, config BLOB NOT NULL, "values" BLOB,
        PRIMARY KEY (run, round))""",
    """CREATE TABLE IF NOT EXISTS releases (
        number INTEGER NOT NULL PRIMARY KEY, at FLOAT NOT NULL, release BLOB NOT NULL, votes BLOB NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS uses (
        seq INTEGER NOT NULL PRIMARY KEY, at FLOAT NOT NULL,
        number INTEGER NOT NULL, newest INTEGER NOT NULL, said TEXT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS barred (
        mark BLOB NOT NULL PRIMARY KEY, at FLOAT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS seen (
        run INTEGER NOT NULL, round INTEGER NOT NULL, attempt INTEGER NOT NULL,
        cohort TEXT NOT NULL, event TEXT NOT NULL, at FLOAT NOT NULL,
        PRIMARY KEY (run, attempt, round, cohort))""",
)


@dataclass(frozen=True)
class LedgerEntry:
    """One line of the ledger; ``event`` holds the mechanisms, never an ε.

    ``window`` says, in UTF-8, whose rows the attempt was made of (``client/protocol/snapshot.py``); empty: not known, so everybody's.
    """

    at: float  # seconds since 1970, UTC
    run: int
    round: int
    attempt: int
    status: str  # reserved | committed | unprotected | rolled-back; after a loss: told | lost | whole
    event: tuple[dict[str, Any], ...]
    window: bytes = b""


@dataclass(frozen=True)
class SeenAttempt:
    """An attempt that this member has seen, whoever took part: what it costs each of the cohort, as a ledger says it."""

    run: int
    round: int
    attempt: int
    cohort: tuple[str, ...]
    event: tuple[dict[str, Any], ...]
    at: float = 0.0  # seconds since 1970, UTC, when it was noted; the store's to say


@dataclass(frozen=True)
class Opening:
    """One opened (or about to be opened) sum of the run."""

    round: int
    attempt: int
    sum: bytes
    config: bytes
    values: bytes | None


@dataclass(frozen=True)
class StoredUpload:
    """What was sent for an attempt."""

    round: int
    attempt: int
    config: bytes
    upload: bytes
    header: bytes


@dataclass(frozen=True)
class StoredRelease:
    """One release as it was stored; releases stay, whatever comes after them."""

    number: int
    at: float  # seconds since 1970, UTC
    release: bytes
    votes: bytes


@dataclass(frozen=True)
class Use:
    """A release came into use; the last of these is the one in use."""

    at: float  # seconds since 1970, UTC
    number: int
    newest: int  # number of the newest release held at that time
    said: str  # use | rollback | auto

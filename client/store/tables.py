"""The tables of a member's store, and a row of each as the rest of the member sees it."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

META = sa.MetaData()
FACTS = sa.Table(
    "facts",
    META,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.LargeBinary, nullable=False),
)
LEDGER = sa.Table(
    "ledger",
    META,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("run", sa.Integer, nullable=False),
    sa.Column("round", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("window", sa.LargeBinary, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
)
UPLOADS = sa.Table(
    "uploads",
    META,
    sa.Column("run", sa.Integer, primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("config", sa.LargeBinary, nullable=False),
    sa.Column("upload", sa.LargeBinary, nullable=False),
    sa.Column("header", sa.LargeBinary, nullable=False),
)
OPENINGS = sa.Table(
    "openings",
    META,
    sa.Column("run", sa.Integer, primary_key=True),
    sa.Column("round", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("sum", sa.LargeBinary, nullable=False),
    sa.Column("config", sa.LargeBinary, nullable=False),
    sa.Column("values", sa.LargeBinary),
)
RELEASES = sa.Table(
    "releases",
    META,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("release", sa.LargeBinary, nullable=False),
    sa.Column("votes", sa.LargeBinary, nullable=False),
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
    status: str  # reserved | committed | unprotected | rolled-back
    event: tuple[dict[str, Any], ...]
    window: bytes = b""


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

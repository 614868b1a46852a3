"""The registry's tables, in the coordinator's own database, and what a row of them says of a member."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa

from fedrepay.shared.trust.joining import JoinRequest, words
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry

Membership = Literal["invited", "waiting", "admitted", "left", "revoked"]
STATES: tuple[str, ...] = get_args(Membership)
MOST_NOTES = 50
"""Incidents kept of one member: who holds a used invitation could make up as many as it likes."""

META = sa.MetaData()
members = sa.Table(
    "members",
    META,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("folded", sa.Text, nullable=False, unique=True),  # two names never differ by capitals alone
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("authority", sa.LargeBinary, nullable=False),
    sa.Column("secret", sa.LargeBinary, nullable=False),  # SHA-256 of the invitation's
    sa.Column("invited", sa.Float, nullable=False),
    sa.Column("expires", sa.Float, nullable=False),
    sa.Column("joining", sa.LargeBinary),  # the signed request, as it came
    sa.Column("joined", sa.Float, nullable=False, default=0.0),
    sa.Column("seen", sa.Float, nullable=False, default=0.0),
    sa.Column("reason", sa.Text, nullable=False, default=""),
    sa.Column("leaving", sa.LargeBinary),
    sa.Column("rotation", sa.LargeBinary),  # signed with its old key, until a roster holds the new one
    sa.Column(
        "rekeyed", sa.LargeBinary
    ),  # its entry, where a roster holds other keys than those it joined with
    sa.Column("former", sa.LargeBinary),  # its signing key before, until it has called with the one in force
)
certificates = sa.Table(
    "certificates",
    META,
    sa.Column("fingerprint", sa.LargeBinary, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("key", sa.LargeBinary, nullable=False),  # DER of the public key
    sa.Column("made", sa.Float, nullable=False),
    sa.Column("ends", sa.Float, nullable=False),
    sa.Column("pem", sa.LargeBinary, nullable=False),
)
bearers = sa.Table(
    "bearers",
    META,
    sa.Column("key", sa.LargeBinary, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("barred", sa.Boolean, nullable=False, default=False),  # of a member that was revoked
)
notes = sa.Table(
    "incidents",
    META,
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class MemberSeen:
    """A member as the registry has it.

    Attributes:
        name: under which it was invited.
        state: invited, waiting (for people to compare the words), admitted, left or revoked.
        entry: its keys, once it has asked to join.
        words: over its keys and the authority it was told of; empty before.
        certificates: SHA-256 of each certificate (DER) that counts now; none unless it is admitted.
        ends: when the newest certificate ends; 0 before the first. This and what follows in seconds since 1970.
        seen: when it was last heard of; 0 for never.
        invited: when it was invited.
        expires: when its invitation does.
        joined: when it asked to join; 0 before.
        reason: why it was revoked, or left.
        notes: incidents with its name or its invitation, the oldest first.
        leaving: its signed goodbye.
        rotation: signed with its old key: the new one, which no roster holds yet.
        former: its signing key before the one in force, as long as it has not called with that; empty otherwise.
    """

    name: str
    state: Membership
    entry: Entry | None
    words: str
    certificates: tuple[bytes, ...]
    ends: float
    seen: float
    invited: float
    expires: float
    joined: float
    reason: str
    notes: tuple[str, ...]
    leaving: Signed | None
    rotation: Signed | None
    former: bytes


def seen_of(row: Any, kept: Iterable[Any], told: Iterable[Any], now: float) -> MemberSeen:
    """A member from its rows.

    Args:
        row: of ``members``.
        kept: its rows of ``certificates``, in the order they were made.
        told: its rows of ``incidents``, the oldest first.
        now: seconds since 1970.
    """
    made = list(kept)
    request = None if row.joining is None else JoinRequest.decode(Signed.decode(bytes(row.joining)).body)
    counting = made if row.state == "admitted" else []
    joined = None if request is None else request.entry
    return MemberSeen(
        name=row.name,
        state=row.state,
        entry=joined if row.rekeyed is None else Entry.decode(bytes(row.rekeyed)),
        words="" if request is None else words(request.entry, request.request, bytes(row.authority)),
        certificates=tuple(bytes(each.fingerprint) for each in counting if each.ends > now),
        ends=max((float(each.ends) for each in made), default=0.0),
        seen=float(row.seen),
        invited=float(row.invited),
        expires=float(row.expires),
        joined=float(row.joined),
        reason=row.reason,
        notes=tuple(str(each.text) for each in told),
        leaving=None if row.leaving is None else Signed.decode(bytes(row.leaving)),
        rotation=None if row.rotation is None else Signed.decode(bytes(row.rotation)),
        former=bytes(row.former or b""),
    )

"""Rows of the registry within one transaction: what is looked up, noted and issued."""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from fedrepay.server.admission import certificates as authority_
from fedrepay.server.admission.tables import (
    MOST_NOTES,
    MemberSeen,
    bearers,
    certificates,
    members,
    notes,
    seen_of,
)
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.text import printable
from fedrepay.shared.trust.joining import Invitation

Issue = Callable[[bytes, str], bytes]
"""(certificate request, member's name) → certificate, both PEM: ``partial(certificates.issue, folder)``."""
MOST_COUNTING = 4
"""Certificates of a member that count at once."""
MOST_KEYS = 2000
"""Keys that a member ever named: two a month for TLS, and some of its own; whoever names more fills the database."""


class MemberRows:
    """One transaction's view.

    Args:
        connection: in the transaction.
        now: seconds since 1970.
    """

    def __init__(self, connection: sa.Connection, now: float) -> None:
        self.connection, self.now = connection, now

    def one(self, where: sa.ColumnElement[bool]) -> Any:
        """A member's row; None where there is none."""
        return self.connection.execute(sa.select(members).where(where)).fetchone()

    def known(self, name: str) -> Any:
        """The row of a member that must be there.

        Raises:
            ArgumentError: nobody was invited under that name.
        """
        row = self.one(members.c.name == name)
        if row is None:
            raise ArgumentError(
                f"Nobody was invited as {printable(name)!r}.", "`fedrepay coordinator members` shows who was."
            )
        return row

    def all(self) -> list[Any]:
        """Every member's row, by name."""
        return sorted(self.connection.execute(sa.select(members)), key=lambda row: str(row.name))

    def invite(self, made: Invitation, seconds: float) -> None:
        """Whom an invitation is for: a new row, or the one that is there, which the older line opens no more.

        Raises:
            ArgumentError: another's name differs by capitals alone.
        """
        fresh: dict[str, Any] = {
            "name": made.name,
            "folded": made.name.casefold(),
            "state": "invited",
            "authority": made.authority,
            "secret": keys.digest(made.secret),
            "invited": self.now,
            "expires": self.now + seconds,
            "joining": None,
            "joined": 0.0,
            "reason": "",
            "rotation": None,
            "rekeyed": None,
            "former": None,
        }
        row = self.one(members.c.folded == made.name.casefold())
        if row is None:
            self.connection.execute(sa.insert(members), fresh)
        elif row.name != made.name:
            raise ArgumentError(f"{row.name} is {row.state}.", "Choose another name.")
        elif (
            row.state == "admitted"
        ):  # it stays in; who asks with other keys than its own is refused and noted
            self.note(made.name, "invited anew, for the keys it has")
            self.change(made.name, {key: fresh[key] for key in ("authority", "secret", "invited", "expires")})
        else:
            self.note(made.name, f"invited anew; it was {row.state}")
            self.change(made.name, fresh)

    def change(self, name: str, changed: Mapping[str, Any]) -> None:
        """Set fields of a member's row."""
        self.connection.execute(sa.update(members).where(members.c.name == name), dict(changed))

    def certificates(self, name: str) -> list[Any]:
        """All that were issued, the newest last."""
        found = sa.select(certificates).where(certificates.c.name == name).order_by(certificates.c.made)
        return list(self.connection.execute(found))

    def holder(self, fingerprint: bytes) -> str | None:
        """The name for which a certificate was issued."""
        found = sa.select(certificates.c.name).where(certificates.c.fingerprint == fingerprint)
        name = self.connection.execute(found).scalar()
        return None if name is None else str(name)

    def seen(self, row: Any) -> MemberSeen:
        """A member as the registry has it."""
        told = sa.select(notes).where(notes.c.name == row.name).order_by(notes.c.seq)
        return seen_of(row, self.certificates(row.name), self.connection.execute(told), self.now)

    def take_keys(self, name: str, named: Mapping[str, bytes]) -> str | None:
        """Note whose these keys are; or say which is another member's, or of one that was revoked, and note that.

        Raises:
            ProtocolError: the member has named more keys than a life of renewals takes.
        """
        fresh = []
        for what, key in named.items():
            row = self.connection.execute(sa.select(bearers).where(bearers.c.key == key)).fetchone()
            if row is None:
                fresh.append({"key": key, "name": name, "barred": False})
            elif row.barred or row.name != name:
                whose = f"of a member that was revoked ({row.name})" if row.barred else f"of {row.name} too"
                self.note(name, f"asked with a {what} {whose}")
                return what
        if fresh:
            held = sa.select(sa.func.count()).select_from(bearers).where(bearers.c.name == name)
            if int(self.connection.execute(held).scalar() or 0) + len(fresh) > MOST_KEYS:
                raise ProtocolError(
                    f"{name} has named {MOST_KEYS} keys already, and none is ever forgotten.",
                    "Ask the operator: something names new keys again and again.",
                )
            self.connection.execute(sa.insert(bearers), fresh)
        return None

    def bar_keys(self, name: str) -> None:
        """Whatever keys a member ever had: nobody joins with one again."""
        self.connection.execute(sa.update(bearers).where(bearers.c.name == name), {"barred": True})

    def end_certificates(self, name: str) -> None:
        """None that a member has had counts any more, also where it comes again."""
        theirs = (certificates.c.name == name) & (certificates.c.ends > self.now)
        self.connection.execute(sa.update(certificates).where(theirs), {"ends": self.now})

    def issue(self, name: str, request: bytes, issue: Issue) -> bytes:
        """A new certificate (PEM), kept with its fingerprint.

        Raises:
            ProtocolError: too many of this member count already.
        """
        counting = [each for each in self.certificates(name) if each.ends > self.now]
        if len(counting) >= MOST_COUNTING:
            raise ProtocolError(
                f"{len(counting)} certificates of {name} count already.", "Wait until one of them ends."
            )
        pem = issue(request, name)
        made = {
            "fingerprint": authority_.fingerprint(pem),
            "name": name,
            "key": authority_.request_key(request),
            "made": self.now,
            "ends": authority_.ends(pem),
            "pem": pem,
        }
        self.connection.execute(sa.insert(certificates), made)
        return pem

    def note(self, name: str, text: str) -> None:
        """Tell the operator of an incident, once."""
        told = list(self.connection.execute(sa.select(notes.c.text).where(notes.c.name == name)).scalars())
        if text not in told and len(told) < MOST_NOTES:
            self.connection.execute(sa.insert(notes), {"name": name, "at": self.now, "text": text})

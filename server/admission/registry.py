"""Who is invited, waits, is in, left or was revoked: tables in the coordinator's database, written by all its processes.

An invitation's secret is kept as a hash and lets one set of keys ask to join. People compare words over those keys; then
a certificate of 30 days is issued. What counts is looked up here at each call, so what is revoked is shut out at once.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_bytes
from typing import Any

import sqlalchemy as sa

from fedrepay.server.admission import answers, node_keys, requests
from fedrepay.server.admission.certificates import request_key
from fedrepay.server.admission.rows import Issue, MemberRows
from fedrepay.server.admission.tables import MemberSeen, members
from fedrepay.server.database.engine import CoordinatorDatabase
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.text import printable
from fedrepay.shared.trust.joining import Invitation, JoinAnswer, JoinRequest
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import COORDINATOR, Entry
from fedrepay.shared.trust.succession import Leaving, Rotation

DAYS, MOST_DAYS = 7.0, 90.0
"""For which an invitation is good."""
_SEEN = 10.0  # seconds between two writes of when a member was seen
_SECRET = 16
_GONE = {"secret": bytes(32)}  # no digest is zeros: no secret fits


class Registry:
    """The registry of a coordinator's folder.

    Args:
        folder: the coordinator's: its terms in force, and the nodes' keys that are taken away with a member.
        clock: seconds since 1970.
        url: the database, as SQLAlchemy names it; default the folder's.

    Raises:
        StorageError: from every call, where the database cannot be read or written.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.time, url: str | None = None) -> None:
        self._folder, self._clock = folder, clock
        self._database = CoordinatorDatabase.in_folder(folder) if url is None else CoordinatorDatabase.at(url)
        self._database.prepare()

    # --- invitations ---

    def invite(self, name: str, address: str, authority: bytes, days: float = DAYS) -> Invitation:
        """A one-time invitation; it takes the place of an older one of that name.

        Who is in stays in, and may ask with it for a certificate of a new key for TLS: it lost its own, or was away until
        that ended. Its other keys must be those of before; who lost them is revoked first.

        Args:
            name: of the member.
            address: HOST:PORT that it will call.
            authority: SHA-256 of the authority's certificate.
            days: that it is good for.

        Raises:
            ArgumentError: no such name or days, or the name is in use.
        """
        if not 0 < days <= MOST_DAYS:
            raise ArgumentError(
                f"An invitation of {days:g} days is outside 0 … {MOST_DAYS:g}.", "Choose another number."
            )
        secret = token_bytes(_SECRET)
        try:
            made = Invitation(address=address, name=name, authority=authority, secret=secret)
        except ValueError as error:
            raise ArgumentError(
                f"{printable(name)!r} at {printable(address)!r} is no member's name at HOST:PORT.",
                "A name has letters, digits, '_', '.' and '-'; at most 63.",
            ) from error
        if name.casefold() == COORDINATOR:
            raise ArgumentError(f"No member is called {name!r}.", "Choose another name.")
        with self._rows(write=True) as rows:
            rows.invite(made, days * answers.DAY)
        return made

    def join(self, signed: Signed, issue: Issue | None = None) -> JoinAnswer:
        """Take a request to join, or say again how it stands; the same bytes get the same answer.

        Whoever does not hold an invitation's secret learns nothing of names. One whose secret was used with other keys is
        refused, and the operator is told of it.

        Args:
            signed: as it came.
            issue: gives a member whose last certificate has ended a new one, of the same keys: it can ask nowhere else.
        """
        try:
            request = requests.read(signed)
            with self._rows(write=True) as rows:
                return answers.answer(rows, signed, request, requests.agreed_in(self._folder), issue)
        except ProtocolError as error:
            return answers.refused(error.cause, error.remedy)

    # --- what the operator does ---

    def members(self) -> tuple[MemberSeen, ...]:
        """Everybody who was ever invited, by name."""
        with self._rows() as rows:
            return tuple(rows.seen(row) for row in rows.all())

    def member(self, name: str) -> MemberSeen | None:
        """The member of that name, if there is one."""
        with self._rows() as rows:
            row = rows.one(members.c.name == name)
            return None if row is None else rows.seen(row)

    def requests(self) -> dict[str, Signed]:
        """Everybody's signed request to join, as it came, by name."""
        with self._rows() as rows:
            asked = {row.name: row.joining for row in rows.all() if row.joining is not None}
        return {name: Signed.decode(bytes(body)) for name, body in asked.items()}

    def admit(self, name: str, issue: Issue, words: str | None = None) -> MemberSeen:
        """Let a member in that waits, and issue its certificate; once more changes nothing.

        Args:
            name: of the member.
            issue: signs its certificate.
            words: that people compared; None trusts whoever asked under that name.

        Raises:
            ArgumentError: nobody of that name waits, or other keys than those of the words do.
            ProtocolError: its request cannot be signed.
        """
        with self._rows(write=True) as rows:
            row = rows.known(name)
            if row.state not in ("waiting", "admitted"):
                raise ArgumentError(
                    f"{name} is {row.state}: it has not asked to join.",
                    "Its people run `fedrepay member join` first.",
                )
            if words is not None and rows.seen(row).words != words:
                raise ArgumentError(
                    f"{name} asked again with other keys meanwhile.", "Compare its words anew, then admit it."
                )
            if row.state == "waiting":
                request = JoinRequest.decode(Signed.decode(bytes(row.joining)).body)
                rows.issue(name, request.request, issue)
                rows.change(name, {"state": "admitted"})
            return rows.seen(rows.known(name))

    def revoke(self, name: str, reason: str) -> MemberSeen:
        """Shut a member out: its certificates, its keys and its node count no more, from the next call on.

        Raises:
            ArgumentError: nobody was invited under that name.
            StorageError: its node's key could not be removed.
        """
        with self._rows(write=True) as rows:
            rows.known(name)
            changed = {"state": "revoked", "reason": printable(reason)} | _GONE
            rows.change(name, changed)
            rows.bar_keys(name)
            rows.end_certificates(name)
            rows.note(name, f"revoked: {printable(reason)}")
            row = rows.seen(rows.known(name))
        node_keys.remove(self._folder, name)
        return row

    def leave(self, name: str, signed: Signed) -> MemberSeen:
        """A member says goodbye; its signature is kept, and nothing of it counts from here on.

        Raises:
            ProtocolError: it is not this member's own.
            ArgumentError: nobody of that name is in.
            StorageError: its node's key could not be removed.
        """
        with self._rows(write=True) as rows:
            known = rows.seen(rows.known(name))
            if known.state not in ("admitted", "left") or known.entry is None:
                raise ArgumentError(f"{name} is not in.", "Nobody leaves before it was admitted.")
            if signed.verified(known.entry.signing, Leaving).name != name:
                raise ProtocolError(f"The goodbye is not {name}'s.", "It does not count.")
            changed = {"state": "left", "leaving": signed.encode()} | _GONE
            rows.change(name, changed)
            rows.end_certificates(name)
            row = rows.seen(rows.known(name))
        node_keys.remove(self._folder, name)
        return row

    # --- what a member's own calls change ---

    def rotate(self, name: str, signed: Signed) -> None:
        """A member's old key names its new one; the next roster is to hold that, and until then both count.

        A later word takes the place of one before; the same again changes nothing.

        Raises:
            ArgumentError: nobody of that name is in.
            ProtocolError: it is not this member's own, or names a key that is in use.
        """
        with self._rows(write=True) as rows:
            known = rows.seen(rows.known(name))
            if known.state != "admitted" or known.entry is None:
                raise ArgumentError(f"{name} is not in.", answers.ANEW)
            said = signed.verified(known.entry.signing, Rotation)
            taken = rows.take_keys(name, {"signing key": said.signing})
            if taken is None and said.name == name:
                rows.change(name, {"rotation": signed.encode()})
                return
        raise ProtocolError(f"The new key of {name} is in use already, or another's.", "Make a new key.")

    def rekeyed(self, entry: Entry) -> None:
        """A roster holds this entry of a member: other keys than before are its own now.

        It may have been away when the roster was complete: it learns of it by calls that it signs as before.
        """
        with self._rows(write=True) as rows:
            before = rows.seen(rows.known(entry.name)).entry
            changed: dict[str, Any] = {"rekeyed": entry.encode(), "rotation": None}
            if before is not None and before.signing != entry.signing:
                changed["former"] = before.signing
            rows.change(entry.name, changed)

    def settled(self, name: str) -> None:
        """A member has called with the key in force: the one before counts no more."""
        with self._rows(write=True) as rows:
            rows.change(name, {"former": None})

    def holder(self, fingerprint: bytes) -> MemberSeen | None:
        """Whose certificate this is, if it counts now.

        Args:
            fingerprint: SHA-256 of the certificate (DER).
        """
        with self._rows() as rows:
            name = rows.holder(fingerprint)
            seen = None if name is None else rows.seen(rows.known(name))
        return seen if seen is not None and fingerprint in seen.certificates else None

    def renew(self, name: str, request: bytes, issue: Issue) -> bytes:
        """A new certificate (PEM) for a member that is in; the ones before count until they end.

        With the key of its newest one, it gets that one again until half of its life is over.

        Args:
            name: of the member, as its present certificate proves it.
            request: PKCS#10, PEM.
            issue: signs it.

        Raises:
            ArgumentError: the member is not in.
            ProtocolError: no such request, a key of another member, or too many certificates count already.
        """
        with self._rows(write=True) as rows:
            if rows.known(name).state != "admitted":
                raise ArgumentError(f"{name} is not in.", answers.ANEW)
            wanted, now = request_key(request), self._clock()
            kept = [each for each in rows.certificates(name) if each.ends > now]
            if kept and bytes(kept[-1].key) == wanted and now < (kept[-1].made + kept[-1].ends) / 2:
                return bytes(kept[-1].pem)
            if rows.take_keys(name, {"key for TLS": wanted}) is None:
                return rows.issue(name, request, issue)
        raise ProtocolError("The key for TLS in this request is in use already.", "Make a new key.")

    def saw(self, name: str) -> None:
        """A member was heard of just now; a time ahead of the clock, which has been set back since, does not stay."""
        now = self._clock()
        late = (members.c.name == name) & ((members.c.seen < now - _SEEN) | (members.c.seen > now))
        with self._rows() as rows:
            if rows.connection.execute(sa.select(members.c.name).where(late)).fetchone() is None:
                return
        with self._rows(write=True) as rows:
            rows.connection.execute(sa.update(members).where(late), {"seen": now})

    @contextmanager
    def _rows(self, *, write: bool = False) -> Iterator[MemberRows]:
        with self._database.transaction(write=write) as connection:
            yield MemberRows(connection, self._clock())

"""What is answered to who asks to join, within one transaction."""

import hmac
from typing import Any

from fedrepay.server.admission.certificates import request_key
from fedrepay.server.admission.requests import keys_of
from fedrepay.server.admission.rows import Issue, MemberRows
from fedrepay.server.admission.tables import members
from fedrepay.shared import keys
from fedrepay.shared.trust.joining import JoinAnswer, JoinRequest
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry

DAY = 86400.0
UNKNOWN = "This invitation is not known here: it was mistyped, replaced by another, or belongs to another consortium."
ANEW = "Ask the operator for a new invitation (`fedrepay coordinator invite`)."


def answer(
    rows: MemberRows, signed: Signed, request: JoinRequest, agreed: bytes, issue: Issue | None
) -> JoinAnswer:
    """Take a request in, say how it stands, or refuse it.

    Args:
        rows: of the registry, for writing.
        signed: the request as it came.
        request: the same, read (``requests.read``).
        agreed: hash of the terms in force.
        issue: gives a member whose last certificate has ended a new one, of the same keys.

    Raises:
        ProtocolError: too many certificates count already.
    """
    name = request.entry.name
    row = rows.one(members.c.name == name)
    known = bytes(32) if row is None else bytes(row.secret)
    if not hmac.compare_digest(known, keys.digest(request.secret)) or row is None:
        return refused(UNKNOWN, ANEW)  # the same for every name, whether it was ever invited or not
    before = None if row.joining is None else Signed.decode(bytes(row.joining))
    if before is not None and before.body == signed.body:
        return _standing(rows, row, request, issue)
    same = before is not None and _entry(row, before) == request.entry
    if before is not None and not same:
        other = keys.digest(request.entry.signing).hex()[:16]
        rows.note(
            name,
            f"re-keyed: its invitation was used again with other keys ({other}): stolen, or its folder was lost. Ask its people",
        )
        return refused(
            f"This invitation was used before, with other keys than yours; the operator sees that {name} was re-keyed.",
            "If your folder was lost, or you never joined: call the operator, who revokes the old keys and invites you anew.",
        )
    if not same and row.expires <= rows.now:
        return refused(f"This invitation expired {(rows.now - row.expires) / DAY:.1f} days ago.", ANEW)
    if request.agreed != agreed:
        return refused(
            "You accepted other terms than those in force.",
            "Read the terms again (`fedrepay member join`), then accept or decline them.",
        )
    if (taken := rows.take_keys(name, keys_of(request))) is not None:
        return refused(
            f"The {taken} in this request is in use already.", "Join with new keys, in a new --folder."
        )
    if row.state == "admitted":  # its own keys, and a new key for TLS: people looked at the others
        return _standing(rows, row, request, issue)
    changed = {"joining": signed.encode(), "joined": rows.now, "state": "waiting", "seen": rows.now}
    rows.change(name, changed)
    return JoinAnswer(state="waiting")


def _entry(row: Any, joining: Signed) -> Entry:
    """A member's keys in force: those that a roster holds, else those it joined with."""
    return JoinRequest.decode(joining.body).entry if row.rekeyed is None else Entry.decode(bytes(row.rekeyed))


def _standing(rows: MemberRows, row: Any, request: JoinRequest, issue: Issue | None) -> JoinAnswer:
    if row.state != "admitted":
        return JoinAnswer(state="waiting")
    wanted = request_key(request.request)
    kept = [each for each in rows.certificates(row.name) if bytes(each.key) == wanted]
    if kept and (kept[-1].ends > rows.now or issue is None):
        return JoinAnswer(state="admitted", certificate=bytes(kept[-1].pem))
    if issue is None:
        return refused("No certificate was issued for this key.", "Ask with the request of before.")
    return JoinAnswer(state="admitted", certificate=rows.issue(row.name, request.request, issue))


def refused(cause: str, remedy: str) -> JoinAnswer:
    """A refusal, within the bounds of an answer."""
    return JoinAnswer(state="refused", cause=cause[:1000], remedy=remedy[:1000])

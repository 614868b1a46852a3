"""What the registry wants of the next roster: whose keys change, who is put out, and for whose yes it waits."""

from collections.abc import Iterable

from fedrepay.server.admission.tables import MemberSeen
from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.shared.errors import WordsError
from fedrepay.shared.text import printable
from fedrepay.shared.trust.roster import Entry, Roster
from fedrepay.shared.trust.succession import Leaving, Rotation


def waits(rosters: Enrolled, error: WordsError) -> str:
    """For whose yes a roster's words wait: a state, which changes with the people and not with each asking."""
    lacking = sorted(rosters.member(node) for node in rosters.joinings if node not in rosters.approvals)
    return (
        f"Roster {rosters.called} waits for {len(lacking)} of {len(rosters.joinings)} members' people to compare its words and "
        f"approve them: {', '.join(lacking)}. The words: {rosters.proposed().code()}. {error.remedy}"
    )


def renews(member: MemberSeen, entry: Entry) -> bool:
    """Whether the roster's entry of a member has keys that it has named, and the registry has others."""
    if member.entry is None or member.entry == entry or member.state != "admitted":
        return False
    named = b"" if member.rotation is None else Rotation.decode(member.rotation.body).signing
    return entry.signing in (member.entry.signing, named)


def revoked(members: Iterable[MemberSeen], roster: Roster | None) -> dict[str, str]:
    """Whom the others are to put out of the roster, and why: the operator says so, or it comes again with other keys.

    Who comes again is in the roster after that one.
    """
    out = {}
    kept = {} if roster is None else {each.name: each.signing for each in roster.members}
    for each in members:
        if each.name not in kept or roster is None:
            continue
        goes = each.leaving is not None and Leaving.decode(each.leaving.body).roster == roster.hash()
        other = each.entry is None or each.entry.signing != kept[each.name]
        if each.state == "revoked" or (other and not goes):
            out[each.name] = printable(each.reason or "it comes again with other keys", 120)
    return out

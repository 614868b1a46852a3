"""A store that was set back between runs: found out by the newest header of its own, which the coordinator holds.

Inside a run the round's own check charges exactly what was forgotten (``rounds``). Between runs nobody asks for an attempt, and
what it cost is known to the others alone: so the year counts as spent until the next roster asks them (docs/adr/0029).
"""

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import testimony
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.year import lost_mark
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Header

FOUND = "set_back"
"""Of the store: digest of the last header that it was found out by; what the others have told since counts."""


def look(identity: Identity, store: MemberStore, own: bytes, live: int, now: float) -> bool:
    """Mark the ledger as lost where this member has sent what the ledger does not know of.

    Args:
        identity: the keys in force; a header under earlier ones proves nothing any more.
        store: the member's.
        own: its newest header, an encoded ``Signed``; empty before its first.
        live: number of the run under way, whose rounds look for themselves; 0 where there is none.
        now: seconds since 1970, UTC.

    Returns:
        whether it was marked now.

    Raises:
        ProtocolError: it is no signed message.
        StorageError: the store cannot be read or written.
    """
    if not own:
        return False
    signed = Signed.decode(own)
    try:
        header = signed.verified(identity.entry().signing, Header)
    except ProtocolError:
        return False
    charged = {(each.run, each.attempt) for each in store.ledger()}
    found = header.run == live or (header.run, header.attempt) in charged
    if found or store.fact(FOUND) == signed.digest():
        return False
    why = f"it is older than what was sent in run {header.run}, and the others were not asked yet"
    store.remember(lost_mark(now, why), **testimony.since(now), **{FOUND: signed.digest()})
    return True

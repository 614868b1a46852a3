"""What a member's node writes into its own log: each message and what became of it, and a new roster's words."""

import logging

from fedrepay.client.relay import Handler
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.handshake import Introduction
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Reply

log = logging.getLogger("fedrepay.member")


def noted(handle: Handler) -> Handler:
    """The same handler, its messages noted."""

    def noting(kind: str, shared: bytes, own: bytes) -> bytes:
        body = handle(kind, shared, own)
        reply = Reply.decode(body)
        if reply.kind == "refused":
            log.warning("%s: refused (%s): %s", kind, reply.code, reply.cause)
            if kind == "introduce" and reply.code == "roster":
                _show_words(shared)
        else:
            log.info("%s: %s, %d bytes", kind, reply.kind, len(reply.body))
        return body

    return noting


def _show_words(shared: bytes) -> None:
    try:
        roster = Roster.decode(Introduction.decode(shared).roster)
        roster.check()
    except ProtocolError as error:
        log.warning("Its roster cannot be read: %s", error)
        return
    log.warning(
        "The roster names %s. Compare these words with the other members by telephone, then run "
        "`fedrepay member approve-roster`: %s",
        ", ".join(roster.names),
        roster.code(),
    )

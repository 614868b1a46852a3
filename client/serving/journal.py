"""What a member's node writes into its own log: each message, and what became of it."""

import logging

from fedrepay.client.relay import Handler
from fedrepay.shared.text import printable
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Reply

log = logging.getLogger("fedrepay.member")


def noted(handle: Handler) -> Handler:
    """The same handler, its messages noted; a refusal of a new roster shows its words, to be compared."""

    def noting(kind: str, shared: bytes, own: bytes) -> bytes:
        body = handle(kind, shared, own)
        reply = Reply.decode(Signed.decode(body).body)
        if reply.kind == "refused":
            log.warning("%s: refused (%s): %s", printable(kind), reply.code, printable(reply.cause, 4000))
        else:
            log.info("%s: %s, %d bytes", printable(kind), reply.kind, len(reply.body))
        return body

    return noting

"""Whether an epoch has ended at a member, and what it says of that: the message that ended it has the same answer again."""

import logging

from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import Code, FedrepayError, Refusal
from fedrepay.shared.text import printable
from fedrepay.shared.trust.wire import Reply

LONGEST = 4000
"""Characters of a cause on the wire."""
ENDING = (Code.TAG, Code.CANARY, Code.ROLLBACK)
log = logging.getLogger(__name__)


class Ended:
    """What ended an epoch, in the store; also where that cannot say so (a full disk).

    Args:
        name: the member's.
        store: its own.
    """

    def __init__(self, name: str, store: MemberStore) -> None:
        self._name, self._store = name, store
        # the epoch (by this member's nonce) and its refusal, also unstored
        self._unstored: tuple[bytes, Reply] | None = None

    def by(self, refusal: Refusal, nonce: bytes | None, message: bytes) -> Refusal:
        """End the epoch, if this refusal does.

        Args:
            refusal: of a message.
            nonce: of the epoch that is worked in; None before one is.
            message: what an answer to that message names.

        Returns:
            what the message is refused with: as the first time, where it is the one that ended the epoch.
        """
        if refusal.code not in ENDING:
            return refusal
        if nonce is not None and (self._unstored is None or self._unstored[0] != nonce):
            reply = Reply(
                kind="refused",
                name=self._name,
                asked=message,
                code=refusal.code,
                cause=refusal.cause[:LONGEST],
                body=refusal.proof,
            )
            self._unstored = (nonce, reply)
        first = None if self._unstored is None else self._unstored[1]
        try:
            if first is not None and not self._store.fact("blocked"):
                self._store.remember(ending=first.encode(), blocked=first.code.encode())
            if stored := self._store.fact("ending"):
                first = Reply.decode(stored)
        except FedrepayError as error:
            log.warning("%s: %s", refusal.code, printable(str(error)))
        if first is None or first.asked != message:
            return refusal
        return Refusal(first.code, first.cause, proof=first.body)

    def refuse(self, nonce: bytes) -> None:
        """Whether this epoch goes on here.

        Args:
            nonce: of the epoch under way.

        Raises:
            Refusal: code ``rollback``: it has ended.
        """
        why = (self._store.fact("blocked") or b"").decode()
        if not why and self._unstored is not None and self._unstored[0] == nonce:
            why = self._unstored[1].code
        if why:
            raise Refusal(Code.ROLLBACK, f"This epoch ended at this member ({why}).")

"""What a member's own processes ask at its door: kinds that begin with ``local:``, which never come from the wire.

The identity keys stay in one process (``fedrepay member serve``). The link to the coordinator asks it to sign what it says
outside Flower, and to take releases in; it can ask for nothing else.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.node import relay
from fedrepay.client.node.relay import HOME, Handler
from fedrepay.shared.errors import ArgumentError, FedrepayError, ProtocolError
from fedrepay.shared.text import printable
from fedrepay.shared.trust import asking
from fedrepay.shared.trust.asking import Handed, Request
from fedrepay.shared.trust.joining import VERSION
from fedrepay.shared.trust.message import Signed, Wire

REQUEST = f"{HOME}request"
"""``shared`` is the body (it may be long), ``own`` the method; the answer an encoded ``Signed`` of ``asking.Request``."""
PULLED = f"{HOME}pulled"
"""``shared`` is an encoded ``asking.Handed``; the answer is one byte, whether the release was new."""
SENT = f"{HOME}sent"
"""``shared`` is this member's newest header as the coordinator holds it, ``own`` the number of the run under way (4 bytes); the
answer is one byte, whether the store turns out to be older."""
METHODS = frozenset({"Wait", "Answer", "Stand", "Pull", "Heads", "Renew"})
"""Calls of the contract that the link may have signed. ``Leave`` is its people's own, with the keys of the folder."""
Errand = Callable[[bytes, bytes], bytes]
"""Does what one kind asks: (shared, own) → result; raises typed errors."""


class HouseAnswer(Wire):
    """The answer to an errand: a result, or a cause and a remedy."""

    body: Annotated[bytes, Field(max_length=asking.LONGEST + 1024)] = b""
    cause: Annotated[str, Field(max_length=4000)] = ""
    remedy: Annotated[str, Field(max_length=4000)] = ""


def request(identity: Identity, method: str, body: bytes, now: float) -> Signed:
    """What a member asks of its coordinator, signed; name and time are this member's own.

    Args:
        identity: the member's keys.
        method: a call of the contract.
        body: of the call.
        now: seconds since 1970.

    Raises:
        ProtocolError: the body is too long for a request.
    """
    try:
        asked = Request(method=method, name=identity.name, at=now, version=VERSION, body=body)
    except ValueError as error:
        raise ProtocolError(
            f"This cannot be asked of a coordinator: {method[:40]!r}.", "Report it."
        ) from error
    return Signed.make(identity.signing, asked)


def errands(
    identity: Callable[[], Identity],
    clock: Callable[[], float],
    pulled: Callable[[bytes], bool],
    resealed: Callable[[bytes], bool],
    sent: Callable[[bytes, int], bool],
) -> dict[str, Errand]:
    """What may be asked at home, by kind.

    Args:
        identity: the member's keys in force; they may change while it serves.
        clock: seconds since 1970.
        pulled: keeps an encoded ``wire.Pulled`` and says whether it was new.
        resealed: the same of a signed ``wire.Resealed``.
        sent: whether the store is older than a header of its own; and the run under way.
    """

    def sign(shared: bytes, own: bytes) -> bytes:
        method = own[:40].decode("ascii", "replace")
        if method not in METHODS:
            raise ArgumentError(f"{printable(method)!r} is no call that is signed here.", "Report it.")
        return request(identity(), method, shared, clock()).encode()

    def keep(shared: bytes, _own: bytes) -> bytes:
        handed = Handed.decode(shared)
        return bytes([(resealed if handed.resealed else pulled)(handed.body)])

    def told(shared: bytes, own: bytes) -> bytes:
        return bytes([sent(shared, int.from_bytes(own[:4], "big"))])

    return {REQUEST: sign, PULLED: keep, SENT: told}


def at_home(handle: Handler, known: dict[str, Errand]) -> Handler:
    """The same handler, and beside it the errands; what they raise is told."""

    def answering(kind: str, shared: bytes, own: bytes) -> bytes:
        if not kind.startswith(HOME):
            return handle(kind, shared, own)
        try:
            if kind not in known:
                raise ArgumentError(f"Nothing is known of {printable(kind)}.", "Upgrade fedrepay.")
            return HouseAnswer(body=known[kind](shared, own)).encode()
        except FedrepayError as error:
            return HouseAnswer(cause=error.cause[:4000], remedy=error.remedy[:4000]).encode()

    return answering


def asked_at(socket: Path, kind: str, shared: bytes, own: bytes, seconds: float = 600.0) -> bytes:
    """What the member's own process gives for an errand.

    Raises:
        ProtocolError: nobody is there, or it said no: with its cause.
    """
    told = HouseAnswer.decode(relay.deliver(f"{relay.UNIX}{socket}", kind, shared, own, seconds))
    if told.cause:
        raise ProtocolError(told.cause, told.remedy)
    return told.body


def signed(socket: Path, method: str, body: bytes) -> Signed:
    """A request that the member's own process has signed.

    Raises:
        ProtocolError: nobody is there, or it said no.
    """
    return Signed.decode(asked_at(socket, REQUEST, body, method.encode()))

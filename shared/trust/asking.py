"""What a member asks its coordinator outside Flower: every request is signed, so a stolen TLS certificate asks nothing."""

from typing import Annotated

from pydantic import Field

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.fields import Digest, Name, Small
from fedrepay.shared.trust.message import MAX_MESSAGE, Signed, Wire

SKEW = 300.0
"""Seconds by which a member's clock and the coordinator's may differ."""
LONGEST = 4 << 20
"""Bytes of a request's body: a certificate of 1,500 members."""
LONG_POLL = 20.0
"""Seconds for which an ask is waited for in one call."""
PART = 1 << 20
"""Bytes of one part of what is streamed."""


class Request(Wire):
    """Member → coordinator.

    Attributes:
        method: the call's name, so that no request serves for another call.
        name: of the member.
        at: seconds since 1970 by the member's clock.
        version: ``joining.VERSION`` of its side.
        body: of this call; empty where it has none.
    """

    method: Annotated[str, Field(max_length=40)]
    name: Name
    at: Annotated[float, Field(ge=0, le=1e11)]
    version: Annotated[int, Field(ge=1, lt=1 << 16)]
    body: Annotated[bytes, Field(max_length=LONGEST)] = b""


def checked(signed: Signed, signing: bytes, method: str, now: float) -> Request:
    """A request that this member signed for this call, just now.

    Args:
        signed: as it came.
        signing: the member's key, 32 bytes.
        method: the call's name.
        now: seconds since 1970.

    Raises:
        ProtocolError: another key, another call, or a clock that is too far off; that is told in seconds.
    """
    said = signed.verified(signing, Request)
    if said.method != method:
        raise ProtocolError(f"A request for {said.method!r} came to {method!r}.", "Send it anew.")
    off = said.at - now
    if abs(off) > SKEW:
        raise ProtocolError(
            f"The clock of {said.name} is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} the coordinator's; "
            f"{SKEW:.0f} s are allowed.",
            "Set the clocks (NTP), then try again.",
        )
    return said


class AskedOf(Wire):
    """Coordinator → a member that waits: one message of a roster's making; ``ask`` is 0 where there is none now."""

    ask: Small
    kind: Annotated[str, Field(max_length=32)] = ""
    shared: Annotated[bytes, Field(max_length=LONGEST)] = b""
    own: Annotated[bytes, Field(max_length=LONGEST)] = b""


class Answered(Wire):
    """Member → coordinator: the signed reply to the ask of that number."""

    ask: Small
    reply: Annotated[bytes, Field(max_length=LONGEST)]


class Handed(Wire):
    """A release for the member that pulls it: a ``wire.Pulled``, or, made before it joined, a signed ``wire.Resealed``."""

    resealed: bool
    body: Annotated[bytes, Field(max_length=MAX_MESSAGE)]


class ReleaseListed(Wire):
    """A release as the coordinator lists it; ``sealed`` is the digest of the sealed bytes."""

    number: Small
    sealed: Digest
    at: Annotated[float, Field(ge=0, le=1e11)]


class Standing(Wire):
    """Coordinator → a member: where the consortium stands. What matters of it is proven elsewhere, by signatures.

    Attributes:
        agreed: hash of the terms in force.
        terms: their bytes.
        members: (name, state) of everybody, sorted.
        run: number of the newest run; 0 before the first.
        state: of that run, in words.
        waiting: members that it waits for.
        releases: all of them, the newest last.
        proposed: hash of the roster whose words people compare now; empty where none is proposed.
    """

    agreed: Digest
    terms: Annotated[bytes, Field(max_length=64 << 10)]
    members: Annotated[tuple[tuple[Name, Annotated[str, Field(max_length=20)]], ...], Field(max_length=4096)]
    run: Small
    state: Annotated[str, Field(max_length=200)]
    waiting: Annotated[tuple[Name, ...], Field(max_length=4096)]
    releases: Annotated[tuple[ReleaseListed, ...], Field(max_length=4096)]
    proposed: Annotated[bytes, Field(max_length=32)] = b""

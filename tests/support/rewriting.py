"""Messages changed in one place, and signed again where the one who changes them holds the key.

A malicious coordinator signs what it likes in its own name, a malicious member in its own; what others have signed it can
show, leave out, repeat, or break.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust import enrolment, handshake, roster, wire
from fedrepay.shared.trust.message import Signed, Wire

SHARED: Mapping[str, type[Wire]] = {
    "propose": Signed,
    "reveal": enrolment.Proposal,
    "approve": enrolment.Reveals,
    "certify": enrolment.Certificate,
    "terms": Signed,
    "hello": Signed,
    "introduce": handshake.Introduction,
    "seed": handshake.Acceptances,
    "confirm": handshake.Acceptances,
    "prepare": wire.PrepareRequest,
    "round": Signed,
    "resend": wire.Resend,
    "blame": wire.Evidence,
    "write": wire.Closing,
    "close": wire.Closing,
    "votes": wire.Votes,
}
OWN: Mapping[str, type[Wire]] = {
    "confirm": handshake.Envelopes,
    **dict.fromkeys(("prepare", "round", "write", "close"), Signed),
}
SIGNED: Sequence[type[Wire]] = (
    *(enrolment.Call, enrolment.Joining, enrolment.Revealed, enrolment.Approval),
    *(handshake.EpochStart, handshake.Hello, handshake.Acceptance, handshake.Envelope),
    handshake.Confirmation,
    *(wire.Offer, wire.Prepare, wire.RoundConfig, wire.Header, wire.Verdict, wire.ReleaseVote, wire.Reply),
)
WITHIN: Sequence[type[Wire]] = (
    *(enrolment.Proposal, roster.Roster, handshake.Envelopes, wire.Upload, wire.Written),
    *(Signed, wire.SealedRelease),
)
NUMBERS = (0, 1, 2, 3, 4, 7, 999, 1000, 1001, 2**31 - 1, 2**31, -1, 2**60)
LIKELY: Mapping[type[Wire], Sequence[str]] = {
    wire.PrepareRequest: ("asked", "sums"),
    wire.Prepare: ("history", "round"),
    wire.RoundConfig: ("cohort", "cohort", "history", "round", "attempt"),
    wire.Upload: ("header",),
}
"""Where a change is not refused at once: most fields of a configuration are terms, and agreed on."""
DIGEST = 32
LONGEST = 1 << 16  # of what is looked into


def packed(message: Wire) -> bytes:
    """Its bytes, whether or not it still fits its kind: of a misfit pydantic warns, and a warning is an error here."""
    made: bytes = msgpack.packb(message.model_dump(warnings=False))
    return made


def signed_by(key: Ed25519PrivateKey, message: Wire) -> Signed:
    """As ``Signed.make``, of a misfit too."""
    body = packed(message)
    return Signed(body=body, signature=keys.sign(key, type(message).__name__, body))


class Rewriter:
    """Changes messages.

    Args:
        dice: decides where and how.
        signers: keys it holds.
        names: members.
        like: another value in the place of one, by field; out of messages seen.
    """

    def __init__(
        self,
        dice: random.Random,
        signers: Sequence[Ed25519PrivateKey],
        names: Sequence[str],
        like: Callable[[str], Any] = lambda _field: None,
    ) -> None:
        self._dice, self._signers, self._names, self._like = dice, signers, names, like

    def message(self, kind: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        """A message to a member, changed once or twice."""
        for _ in range(self._dice.choice((1, 1, 2))):
            if kind in OWN and own and (kind not in SHARED or self._dice.random() < 0.3):
                own = self.bytes_of(OWN[kind], own)
            elif kind in SHARED:
                shared = self.bytes_of(SHARED[kind], shared)
        return shared, own

    def bytes_of(self, kind: type[Wire], data: bytes) -> bytes:
        """Bytes of such a message, changed once; other bytes are damaged."""
        try:
            return packed(self._changed(kind.decode(data)))
        except (ProtocolError, TypeError, OverflowError):
            return self._damaged(data)

    def _damaged(self, data: bytes) -> bytes:
        if not data or self._dice.random() < 0.2:
            return self._dice.randbytes(self._dice.choice((0, 1, 32, 64)))
        at = self._dice.randrange(len(data))
        return data[:at] + bytes([data[at] ^ (1 << self._dice.randrange(8))]) + data[at + 1 :]

    def _changed(self, message: Wire) -> Wire:
        if isinstance(message, Signed):
            return self._signed(message)
        likely = LIKELY.get(type(message), ())
        fields = likely if likely and self._dice.random() < 0.5 else [*type(message).model_fields]
        field = self._dice.choice(fields)
        return message.model_copy(update={field: self._value(field, getattr(message, field))})

    def _signed(self, signed: Signed) -> Signed:
        """Changed inside, and signed anew by whom it was signed by, if that key is held; else by another, or by none."""
        for kind in SIGNED:
            try:
                inside = kind.decode(signed.body)
            except ProtocolError:
                continue
            changed = self._changed(inside)
            for key in self._signers:
                try:
                    keys.verify(keys.public_bytes(key), kind.__name__, signed.body, signed.signature)
                except ProtocolError:
                    continue
                return signed_by(key, changed)
            if self._dice.random() < 0.3:
                return signed_by(self._dice.choice(self._signers), changed)
            return signed.model_copy(update={"body": packed(changed)})
        return signed.model_copy(update={"body": self._damaged(signed.body)})

    def _value(self, field: str, value: Any) -> Any:
        dice = self._dice
        if dice.random() < 0.15 and (other := self._like(field)) is not None:
            return other
        if isinstance(value, Wire):
            return self._changed(value)
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return dice.choice((value + 1, value - 1, *NUMBERS))
        if isinstance(value, float):
            return dice.choice((value * 2, value / 2, 0.0, 1e-300, 1e300))
        if isinstance(value, str):
            return dice.choice((*self._names, "", "nobody"))
        if isinstance(value, bytes):
            return self._bytes(value)
        return self._tuple(field, value) if isinstance(value, tuple) else value

    def _bytes(self, value: bytes) -> bytes:
        if len(value) == DIGEST and self._dice.random() < 0.3:
            return bytes(32)
        if len(value) <= LONGEST:
            for kind in WITHIN:
                try:
                    return packed(self._changed(kind.decode(value)))
                except (ProtocolError, TypeError, OverflowError):
                    continue
        return self._damaged(value)

    def _tuple(self, field: str, value: tuple[Any, ...]) -> tuple[Any, ...]:
        dice = self._dice
        if not value:
            return (dice.choice(self._names),) if field == "suspects" else value
        at = dice.randrange(len(value))
        how = dice.choice(("inside", "inside", "drop", "twice", "swap", "last"))
        if how == "drop":
            return value[:at] + value[at + 1 :]
        if how == "twice":
            return (*value[: at + 1], *value[at:])
        if how == "last":
            return (*value, value[at])
        if how == "swap":
            other = dice.randrange(len(value))
            swapped = list(value)
            swapped[at], swapped[other] = swapped[other], swapped[at]
            return tuple(swapped)
        return (*value[:at], self._value(field, value[at]), *value[at + 1 :])

"""What every message is: a frozen model, msgpack bytes in one encoding, and a signature over those bytes.

A receiver verifies the signature over the bytes it got and only then parses them
(``Signed.verified``); nothing is ever re-serialised to be checked. Limits stand on everything.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Self, TypeVar

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.trust import shape

MAX_MESSAGE = 256 << 20  # bytes
Signature = Annotated[bytes, Field(min_length=64, max_length=64)]
M = TypeVar("M", bound="Wire")


def _fail_fast(schema: object) -> None:
    """Set pydantic's own switch on every list within a schema."""
    if isinstance(schema, dict):
        if schema.get("type") == "tuple":
            schema["fail_fast"] = True
        for part in schema.values():
            _fail_fast(part)
    elif isinstance(schema, list):
        for part in schema:
            _fail_fast(part)


def _build(kinds: Mapping[tuple[str, ...], type[BaseModel]], fields: dict[str, object]) -> object:
    """The message that a map is, as soon as it is read; its fields, where only what holds it can tell which."""
    kind = kinds.get(tuple(fields))
    return fields if kind is None else kind.__pydantic_validator__.validate_python(fields)


class Wire(BaseModel):
    """A message: frozen, strict, no unknown fields, one encoding only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def encode(self) -> bytes:
        """The bytes that travel."""
        packed: bytes = msgpack.packb(self.model_dump())
        return packed

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse bytes whose origin has been verified, or that prove themselves inside.

        Nothing is built from bytes that have not the message's shape (``shape.py``), and what is built is built
        from the inside, so that no message is in memory twice.

        Raises:
            ProtocolError: not such a message, not its one encoding, or past a limit.
        """
        if len(data) > MAX_MESSAGE:
            raise ProtocolError(
                f"A message of {len(data)} bytes passes the limit of {MAX_MESSAGE}.", "Refuse it."
            )
        try:
            shape.check(cls, data)
            found = msgpack.unpackb(data, object_hook=partial(_build, shape.nested(cls)), use_list=False)
            return found if isinstance(found, cls) else cls.model_validate(found)
        except ValueError as error:  # a misfit, no UTF-8, or pydantic's
            raise ProtocolError(
                f"Bytes are not a {cls.__name__} message.", "Both sides need the same version of fedrepay."
            ) from error

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A list is given up at its first bad item; else each of a million would have an error of its own."""
        made = handler(source)
        _fail_fast(made)
        return made

    @classmethod
    def decode_once(cls, data: bytes) -> Self:
        """As :meth:`decode`, for public messages that many members of one process get: parsed once."""
        message = _messages.get((cls, data), len(data), lambda: cls.decode(data))
        assert isinstance(message, cls)  # noqa: S101 - it was kept under its class
        return message


_messages: Remembered[Wire] = Remembered(32 << 20)
_verified: Remembered[Wire] = Remembered(64 << 20)


class Signed(Wire):
    """Bytes and an Ed25519 signature over them and their kind."""

    body: bytes
    signature: Signature

    @classmethod
    def make(cls, key: Ed25519PrivateKey, message: Wire) -> "Signed":
        """Sign a message under its own kind."""
        body = message.encode()
        return cls(body=body, signature=keys.sign(key, type(message).__name__, body))

    def verified(self, public: bytes, kind: type[M]) -> M:
        """Check the signature, then parse; once for the same bytes under the same key.

        Raises:
            ProtocolError: the signature is not ``public``'s, or the body is not such a message.
        """

        def check() -> M:
            keys.verify(public, kind.__name__, self.body, self.signature)
            return kind.decode(self.body)

        message = _verified.get((public, kind, self.body, self.signature), len(self.body), check)
        assert isinstance(message, kind)  # noqa: S101 - it was kept under its kind
        return message

    def digest(self) -> bytes:
        """Identity of the signed body (32 bytes)."""
        return keys.digest(self.body)


def parts(signed: Sequence[Signed]) -> tuple[bytes, ...]:
    """Bodies and signatures in order: what a check of many signed messages depends on, to be remembered by."""
    return tuple(part for each in signed for part in (each.body, each.signature))


def canonical(values: Mapping[str, object]) -> bytes:
    """Deterministic msgpack of a mapping with sorted keys, for hashes of plain facts."""
    packed: bytes = msgpack.packb({key: values[key] for key in sorted(values)})
    return packed

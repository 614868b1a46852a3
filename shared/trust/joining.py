"""How an institution comes in: an invitation of one line, a signed request, and words that people at both ends compare."""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Literal

from mnemonic import Mnemonic
from pydantic import Field

from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.trust.agreement import LONGEST as LONGEST_TERMS
from fedrepay.shared.trust.agreement import Address
from fedrepay.shared.trust.fields import Digest, Name
from fedrepay.shared.trust.message import Wire
from fedrepay.shared.trust.roster import Entry

VERSION = 1
"""Of everything that is asked of a coordinator outside Flower; a refusal names both sides' and who must upgrade."""
PREFIX = "fedrepay1."
ABOUT, JOIN = "/v1/consortium", "/v1/join"
"""Paths on the HTTP side of the public port: GET :class:`About`, and POST a signed :class:`JoinRequest`."""
LONGEST_JOIN = 64 << 10
"""Bytes of a request to join."""
_CHECK = 4
_PEM = Annotated[bytes, Field(max_length=16 << 10)]


class Invitation(Wire):
    """What an operator gives to one institution, once.

    Attributes:
        address: HOST:PORT of the coordinator.
        name: of the member.
        authority: SHA-256 of the consortium's authority certificate (DER): who answers with another is not the one.
        secret: 16 bytes; the coordinator keeps their hash alone.
    """

    address: Address
    name: Name
    authority: Digest
    secret: Annotated[bytes, Field(min_length=16, max_length=16)]

    def token(self) -> str:
        """One line of letters, digits, '-', '_' and a dot."""
        body = self.encode()
        return PREFIX + urlsafe_b64encode(body + keys.digest(body)[:_CHECK]).decode().rstrip("=")

    @classmethod
    def read(cls, token: str) -> "Invitation":
        """An invitation from its line.

        Raises:
            ArgumentError: it is none, or was mistyped or cut.
        """
        remedy = "Paste the whole line that the operator gave you."
        text = token.strip()
        if not text.startswith(PREFIX):
            raise ArgumentError(f"An invitation begins with {PREFIX!r}.", remedy)
        text = text.removeprefix(PREFIX)
        try:
            data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
            body, check = data[:-_CHECK], data[-_CHECK:]
            if keys.digest(body)[:_CHECK] != check:
                raise ArgumentError("The invitation was cut or mistyped: its check does not fit.", remedy)
            return cls.decode(body)
        except (ValueError, binascii.Error, ProtocolError) as error:
            raise ArgumentError("This is no invitation.", remedy) from error


class About(Wire):
    """What a coordinator says to anybody who can reach it: who it is and what its consortium agrees on.

    Attributes:
        version: ``VERSION`` of its side.
        product: its version of fedrepay.
        authority: the authority's certificate (PEM).
        terms: the terms file's bytes.
        schemas: hash, schema file and code book of each schema of the terms.
    """

    version: Annotated[int, Field(ge=1, lt=1 << 16)]
    product: Annotated[str, Field(max_length=40)]
    authority: _PEM
    terms: Annotated[bytes, Field(max_length=LONGEST_TERMS)]
    schemas: Annotated[
        tuple[
            tuple[
                Digest,
                Annotated[bytes, Field(max_length=1 << 20)],
                Annotated[bytes, Field(max_length=16 << 20)],
            ],
            ...,
        ],
        Field(max_length=64),
    ]


class JoinRequest(Wire):
    """Member → coordinator, signed with the very key it names: let me in.

    The same bytes ask again how it stands. ``agreed`` is the hash of the terms that people here accepted, ``secret`` the
    invitation's, ``request`` a certificate request (PEM, P-256) whose key stays here.
    """

    version: Annotated[int, Field(ge=1, lt=1 << 16)]
    product: Annotated[str, Field(max_length=40)]
    secret: Annotated[bytes, Field(min_length=16, max_length=16)]
    entry: Entry
    request: _PEM
    agreed: Digest


class JoinAnswer(Wire):
    """Coordinator → member: waiting (for people to compare the words), admitted with a certificate, or refused and why."""

    state: Literal["waiting", "admitted", "refused"]
    certificate: _PEM = b""
    cause: Annotated[str, Field(max_length=1000)] = ""
    remedy: Annotated[str, Field(max_length=1000)] = ""


def words(entry: Entry, request: bytes, authority: bytes) -> str:
    """Twelve words over a newcomer's keys and the authority it was told of: both ends show them, people compare.

    Args:
        entry: the newcomer's.
        request: its certificate request.
        authority: SHA-256 of the authority's certificate, 32 bytes.
    """
    seen = keys.digest(b"newcomer", entry.encode(), request, authority)
    return str(Mnemonic("english").to_mnemonic(seen[:16]))

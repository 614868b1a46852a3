"""Frames on the member's Unix socket: lengths first, each below the guard's own limit, nothing parsed.

A request is ``fpq1``, three lengths (kind, shared, own; unsigned, 2 + 8 + 8 bytes, big-endian) and the bytes;
a reply is ``fpr1``, one length (8 bytes) and the bytes. One exchange a connection.
"""

import re
import socket
import struct
from time import monotonic

from fedrepay.client.protocol.guard import MAX_OWN, MAX_SHARED
from fedrepay.shared.errors import ProtocolError

MAX_KIND = 32  # bytes of a kind's name
MAX_REPLY = MAX_SHARED
_KIND = re.compile(rb"(local:)?[A-Za-z0-9_.-]+")  # nothing that a log could take for another line
_REQUEST = struct.Struct(">4sHQQ")
_REPLY = struct.Struct(">4sQ")
_ASKS, _ANSWERS = b"fpq1", b"fpr1"
_BLOCK = 1 << 20
_REMEDY = "The exchange is dropped and nothing is lost: the coordinator asks again."


def request(kind: str, shared: bytes, own: bytes) -> list[bytes]:
    """A request's parts, in order.

    Raises:
        ProtocolError: a part is larger than a member takes.
    """
    name = kind.encode(errors="replace")
    _check(len(name), len(shared), len(own))
    _plain(name)
    return [_REQUEST.pack(_ASKS, len(name), len(shared), len(own)), name, shared, own]


def reply(body: bytes) -> list[bytes]:
    """A reply's parts, in order.

    Raises:
        ProtocolError: it is too large.
    """
    _bounded("reply", len(body), MAX_REPLY)
    return [_REPLY.pack(_ANSWERS, len(body)), body]


def send(connection: socket.socket, parts: list[bytes], seconds: float) -> None:
    """Send all parts within ``seconds``.

    Raises:
        ProtocolError: the other side went away or does not read.
    """
    deadline = monotonic() + seconds
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                connection.settimeout(_left(deadline))
                view = view[connection.send(view[:_BLOCK]) :]
    except TimeoutError as error:
        raise _late(seconds) from error
    except OSError as error:
        raise ProtocolError(f"The other side of the socket went away: {error.strerror}.", _REMEDY) from error


def receive_request(connection: socket.socket, seconds: float) -> tuple[str, bytes, bytes]:
    """Read (kind, shared, own); the lengths are checked before a byte of them is read.

    Raises:
        ProtocolError: not such a frame, too large, cut off, or later than ``seconds``.
    """
    deadline = monotonic() + seconds
    magic, kind, shared, own = _REQUEST.unpack(_read(connection, _REQUEST.size, deadline, seconds))
    if magic != _ASKS:
        raise ProtocolError("What came over the socket is not a fedrepay request.", _REMEDY)
    _check(kind, shared, own)
    name = _read(connection, kind, deadline, seconds)
    _plain(name)
    return (
        name.decode("ascii"),
        _read(connection, shared, deadline, seconds),
        _read(connection, own, deadline, seconds),
    )


def receive_reply(connection: socket.socket, seconds: float) -> bytes:
    """Read a reply.

    Raises:
        ProtocolError: not such a frame, too large, cut off, or later than ``seconds``.
    """
    deadline = monotonic() + seconds
    magic, length = _REPLY.unpack(_read(connection, _REPLY.size, deadline, seconds))
    if magic != _ANSWERS:
        raise ProtocolError(
            "What answers at the socket is not a fedrepay member.", "Check the socket's path."
        )
    _bounded("reply", length, MAX_REPLY)
    return _read(connection, length, deadline, seconds)


def _read(connection: socket.socket, length: int, deadline: float, seconds: float) -> bytes:
    """Exactly ``length`` bytes; memory grows with what came, not with what was promised."""
    got = bytearray()
    try:
        while len(got) < length:
            connection.settimeout(_left(deadline))
            block = connection.recv(min(_BLOCK, length - len(got)))
            if not block:
                raise ProtocolError(
                    f"The other side closed the socket after {len(got)} of {length} bytes.", _REMEDY
                )
            got += block
    except TimeoutError as error:
        raise _late(seconds) from error
    except OSError as error:
        raise ProtocolError(f"The socket failed: {error.strerror}.", _REMEDY) from error
    return bytes(got)


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _late(seconds: float) -> ProtocolError:
    return ProtocolError(f"The other side of the socket took more than {seconds:g} s.", _REMEDY)


def _check(kind: int, shared: int, own: int) -> None:
    _bounded("kind", kind, MAX_KIND)
    _bounded("shared part", shared, MAX_SHARED)
    _bounded("own part", own, MAX_OWN)


def _plain(kind: bytes) -> None:
    if _KIND.fullmatch(kind) is None:
        raise ProtocolError("A message's kind is not a plain word.", _REMEDY)


def _bounded(part: str, length: int, limit: int) -> None:
    if length > limit:
        raise ProtocolError(
            f"A message's {part} of {length} bytes passes the limit of {limit}.", "It is not read."
        )

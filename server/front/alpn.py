"""Who a connection is for, read from the first bytes of its caller: the protocols that a TLS ClientHello offers (ALPN).

gRPC offers ``h2`` alone; whatever speaks HTTP, browsers and Flower's nodes among them, offers ``http/1.1`` too or nothing.
Formats: RFC 8446 sections 4.1.2 and 5.1, RFC 7301 section 3.1.
"""

LONGEST = 16 << 10
"""Bytes of a ClientHello with its record headers; the largest in use today have 2 kB."""
_RECORDS = 8  # that a hello may be cut into: reading stays linear however it is cut
_HEADER = 5
_HANDSHAKE, _MAJOR, _CLIENT_HELLO, _ALPN = 22, 3, 1, 16
_LONGEST_RECORD = 1 << 14


class _MalformedError(Exception):
    """A length does not fit."""


class _Fields:
    """Fields of a message, taken one after another."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        taken = self._data[self._at : self._at + length]
        if len(taken) != length:
            raise _MalformedError
        self._at += length
        return taken

    def sized(self, width: int) -> bytes:
        """The next field, after its length in ``width`` bytes."""
        return self.take(int.from_bytes(self.take(width)))

    @property
    def done(self) -> bool:
        """Whether nothing is left."""
        return self._at == len(self._data)


def read(data: bytes) -> tuple[bytes, ...] | int | None:
    """The protocols that a caller offers.

    Args:
        data: the first bytes of its connection, whatever has come.

    Returns:
        The names in their order, empty if it offers none; or, where the hello is not all there, how many bytes there
        must be before it is worth reading again (more than ``data`` has, at most ``LONGEST``); or None: it is no
        ClientHello.
    """
    body, at = bytearray(), 0
    for _ in range(_RECORDS):
        header = data[at : at + _HEADER]
        if header[:1] not in (b"", bytes([_HANDSHAKE])) or header[1:2] not in (b"", bytes([_MAJOR])):
            return None
        if len(header) < _HEADER:
            return _within(at + _HEADER)
        length = int.from_bytes(header[3:])
        if not 0 < length <= _LONGEST_RECORD:
            return None
        body += data[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if body and body[0] != _CLIENT_HELLO:
            return None
        size = 4 + int.from_bytes(body[1:4]) if len(body) >= 4 else 4
        if len(data) < at or size > LONGEST:
            return _within(max(at, size))
        if len(body) > 4 and len(body) >= size:
            return _offered(bytes(body[4:size]))
    return None


def for_service(names: tuple[bytes, ...]) -> bool:
    """Whether a connection is for the gRPC service: ``http/1.1`` is looked for first, browsers offer both."""
    return b"http/1.1" not in names and b"h2" in names


def _within(needed: int) -> int | None:
    return needed if needed <= LONGEST else None


def _offered(hello: bytes) -> tuple[bytes, ...] | None:
    """The names in a whole ClientHello, without its header."""
    try:
        fields = _Fields(hello)
        fields.take(2 + 32)  # version, random
        fields.sized(1)  # session
        fields.sized(2)  # cipher suites
        fields.sized(1)  # compression
        if fields.done:
            return ()
        extensions = _Fields(fields.sized(2))
        found: list[tuple[bytes, ...]] = []
        while not extensions.done:
            kind, content = int.from_bytes(extensions.take(2)), extensions.sized(2)
            if kind == _ALPN:
                found.append(_names(content))
    except _MalformedError:
        return None
    if not fields.done or len(found) > 1:
        return None
    return found[0] if found else ()


def _names(content: bytes) -> tuple[bytes, ...]:
    whole = _Fields(content)
    listed = _Fields(whole.sized(2))
    names = []
    while not listed.done:
        names.append(listed.sized(1))
    if not whole.done or not names or b"" in names:
        raise _MalformedError
    return tuple(names)

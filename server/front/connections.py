"""How many connections the front holds, and for how long one may be nobody's.

Until a registered node has spoken on it, a connection is a stranger's: a TLS handshake that is never ended costs
its caller nothing. So strangers are few, in all and from one address, and the newest takes the place of the oldest;
a node needs a moment for handshake and headers and is then known. What is known stays, up to a number a key.
"""

import ipaddress
import resource
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedrepay.server.front.tls import Credentials

STRANGERS = 512  # at most, of one address an eighth of them
A_NODE = 64  # connections
HANDSHAKE = 10.0  # seconds
_MOST = 4096  # connections
BACKLOG = 128  # connections that wait to be accepted

Address = tuple[str, int]


def room() -> int:
    """Connections a process may hold: half of its descriptors, the others being the SuperLink's side and files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST if soft == resource.RLIM_INFINITY else min(_MOST, soft // 2)


@lru_cache(2 * STRANGERS)
def origin(host: str) -> str:
    """Whose address it is, as limits count: IPv6 is handed out in networks of 64 bits, IPv4 may come dressed as IPv6."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


class _Connection(socket.socket):
    """An accepted connection that tells its listener when it is closed."""

    closed: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        if self.closed is not None:
            self.closed()
            self.closed = None


class Listener(socket.socket):
    """A listening socket that knows its connections.

    Args:
        host: address to listen at.
        port: port to listen at; 0 for a free one.
        most: connections at once.
        strangers: of them, on which no node has spoken yet.
        proxied: callers come through a proxy on this machine, which limits each address; here all have its own.

    Attributes:
        most: connections at once.
        service: address of the gRPC service on this machine, if there is one.
        credentials: the front's, if it ends TLS.

    Raises:
        OSError: the address is not to be had.
    """

    service: Address | None = None
    credentials: "Credentials | None" = None

    def __init__(
        self,
        host: str,
        port: int,
        most: int | None = None,
        strangers: int = STRANGERS,
        *,
        proxied: bool = False,
    ) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        super().__init__(family, kind, protocol)
        self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self.bind(address)
        except OSError:
            self.close()
            raise
        self.most = room() if most is None else most
        self._strangers = max(1, min(strangers, self.most // 2))
        self._of_one = self._strangers if proxied else max(1, self._strangers // 8)
        self._new: dict[Address, _Connection] = {}  # the oldest first
        self._known: dict[Address, tuple[bytes, _Connection]] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        """A connection, for which a stranger may have had to go.

        Raises:
            BlockingIOError: there is none now, or no room for one.
        """
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        made = _Connection(self.family, self.type, self.proto, fileno=descriptor)
        peer: Address = address[:2]
        theirs = origin(peer[0])
        same = [each for each in self._new if origin(each[0]) == theirs]
        if len(same) >= self._of_one:
            self._drop(same[0])
        elif len(self._new) >= min(self._strangers, self.most - len(self._known)):
            if not self._new:
                made.close()
                raise BlockingIOError("nodes hold all the room there is")
            self._drop(next(iter(self._new)))
        self._new[peer] = made
        made.closed = lambda: self._forget(peer, made)
        return made, address

    def known(self, peer: Address, key: bytes) -> bool:
        """Note that a node has spoken on this connection; False if it has too many."""
        made = self._new.get(peer)
        if made is None:
            return True  # it is known already, or just ends
        if sum(1 for each, _ in self._known.values() if each == key) >= A_NODE:
            return False
        self._known[peer] = (key, self._new.pop(peer))
        return True

    def _drop(self, peer: Address) -> None:
        """End a stranger's connection; the loop then closes it."""
        with suppress(OSError):  # its caller ended it already
            self._new.pop(peer).shutdown(socket.SHUT_RDWR)

    def _forget(self, peer: Address, made: _Connection) -> None:
        if self._new.get(peer) is made:
            del self._new[peer]
        elif peer in self._known and self._known[peer][1] is made:
            del self._known[peer]

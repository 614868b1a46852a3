"""Each connection at the front's port: looked at before a byte is taken, then given to HTTP or carried to gRPC.

The look (``alpn.py``) leaves the bytes where they are (MSG_PEEK), so TLS begins where it is ended: here for HTTP, in the
service for gRPC, whose members show their certificates to it and to nobody between.
"""

import asyncio
import logging
import socket
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

from fedrepay.server.front import alpn, connections
from fedrepay.server.front.connections import Address, Listener
from fedrepay.server.front.rates import Rate
from fedrepay.server.front.splice import Splice
from fedrepay.server.front.tls import Credentials

_log = logging.getLogger(__name__)
_CONNECT = 3.0  # seconds for the service, on this machine
_AGAIN = 1.0  # seconds after which a system that has no room is asked again
_COMPLAINTS = 6  # a minute: callers cause them
_SHARE = 4  # of all connections, one in so many may be the service's: it costs two descriptors


async def offered(connection: socket.socket) -> tuple[bytes, ...] | None:
    """The protocols that the caller's ClientHello offers, which stays to be read; None if it sends another thing.

    The system wakes us for bytes that make a new look worth while (SO_RCVLOWAT), not for each.

    Raises:
        OSError: the connection broke off.
    """
    read: tuple[bytes, ...] | int | None = 1
    had = 0
    while isinstance(read, int):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, read)
        await _readable(connection)
        data = connection.recv(alpn.LONGEST, socket.MSG_PEEK)
        if not data:
            return None
        read = alpn.read(data)
        if len(data) == had:  # woken for its end, or by a system short of memory
            await asyncio.sleep(_AGAIN)
        had = len(data)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return read


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    loop.add_reader(connection, woken.set)
    try:
        await woken.wait()
    finally:
        loop.remove_reader(connection)


class Reception(asyncio.AbstractServer):
    """What uvicorn takes for asyncio's server.

    Args:
        listener: where callers come in, with the service's address if there is one.
        protocol: makes what speaks HTTP on a connection.
        credentials: the front's.
        backlog: connections that wait to be accepted.
    """

    def __init__(
        self,
        listener: Listener,
        protocol: Callable[[], asyncio.BaseProtocol],
        credentials: Credentials,
        backlog: int,
    ) -> None:
        listener.settimeout(0)
        listener.listen(backlog)
        self._listener, self._protocol, self._credentials = listener, protocol, credentials
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._splices: dict[Splice, bool] = {}  # whether its caller is known; the oldest first
        self._complaints = Rate(_COMPLAINTS)
        self._most = max(1, listener.most // _SHARE)
        self._accepting = self._loop.create_task(self._accept())

    def get_loop(self) -> AbstractEventLoop:
        """As asyncio's."""
        return self._loop

    def is_serving(self) -> bool:
        """As asyncio's."""
        return not self._accepting.done()

    async def start_serving(self) -> None:
        """As asyncio's: it serves from the first."""

    async def serve_forever(self) -> None:
        """As asyncio's: until it is closed."""
        await asyncio.wait([self._accepting])

    def close(self) -> None:
        """Accept nobody more, and break off what is looked at or carried; HTTP ends by itself."""
        for each in (self._accepting, *self._tasks):
            each.cancel()

    async def wait_closed(self) -> None:
        """Until nothing of it is left."""
        await asyncio.gather(self._accepting, *self._tasks, return_exceptions=True)

    async def _accept(self) -> None:
        while True:
            try:
                made, address = await self._loop.sock_accept(self._listener)
            except OSError as error:  # no descriptors or memory now
                _log.warning("The front cannot accept: %s", error.strerror)
                await asyncio.sleep(_AGAIN)
                continue
            task = self._loop.create_task(self._receive(made, address[:2]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _receive(self, made: socket.socket, peer: Address) -> None:
        until = self._loop.time() + connections.HANDSHAKE
        ours = True
        try:
            async with asyncio.timeout_at(until):
                names = await offered(made)
            if names is None:
                return
            if self._listener.service is not None and alpn.for_service(names):
                await self._to_service(made, peer, self._listener.service)
            else:
                ours = False
                await self._to_http(made, until)
        except OSError:  # it broke off, or takes too long
            return
        finally:
            if ours:
                made.close()

    async def _to_http(self, made: socket.socket, until: float) -> None:
        """Give it away; who has it closes it.

        Raises:
            OSError: the handshake failed.
        """
        await self._loop.connect_accepted_socket(
            self._protocol,
            made,
            ssl=self._credentials.context(),
            ssl_handshake_timeout=max(_AGAIN, until - self._loop.time()),
            ssl_shutdown_timeout=connections.HANDSHAKE,
        )

    async def _to_service(self, made: socket.socket, peer: Address, service: Address) -> None:
        if len(self._splices) >= self._most and not self._give_way():
            return
        family = socket.AF_INET6 if ":" in service[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as far:
            far.settimeout(0)
            try:
                async with asyncio.timeout(_CONNECT):
                    await self._loop.sock_connect(far, service)
            except OSError:
                if not self._complaints.wait(""):
                    _log.warning("The gRPC service does not answer.")
                return
            for each in (made, far):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def known() -> bool:
                if splice in self._splices:
                    self._splices[splice] = True
                return self._listener.known(peer, connections.origin(peer[0]).encode())

            splice = Splice(made, far, known)
            self._splices[splice] = False
            try:
                await splice.carry()
            finally:
                self._splices.pop(splice, None)

    def _give_way(self) -> bool:
        """End the oldest connection to the service whose caller is not known; False if there is none."""
        oldest = next((each for each, known in self._splices.items() if not known), None)
        if oldest is None:
            return False
        del self._splices[oldest]
        oldest.end()
        return True


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose servers give a TLS handshake, and TLS's farewell, ten seconds instead of a minute.

    A :class:`Listener` with credentials gets a :class:`Reception`.
    """

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """As asyncio's own."""
        listener = options.get("sock")
        if isinstance(listener, Listener) and listener.credentials is not None:
            return Reception(listener, protocol_factory, listener.credentials, options["backlog"])
        if options.get("ssl") is not None:
            options |= {
                "ssl_handshake_timeout": connections.HANDSHAKE,
                "ssl_shutdown_timeout": connections.HANDSHAKE,
            }
        return await super().create_server(protocol_factory, *args, **options)

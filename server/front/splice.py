"""Bytes carried between a caller and the gRPC service, which ends the caller's TLS itself.

Nothing is read here, so whether the caller is a member shows in the course of the talk alone. Without a certificate that
the service takes, it hears the service twice at most: the service's part of the handshake, and perhaps a request for
another key share before it (RFC 8446, 4.1.4); then an alert and the end. Who hears it ``TURNS`` times and is still
connected a moment later has come through the handshake.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

TURNS = 3
MOMENT = 1.0  # seconds
IDLE = 900.0  # seconds in which no byte moves
HALF = 60.0  # the same, once one side has said its last
_BLOCK = 64 << 10  # bytes; what one side does not take waits in the other's system


class Splice:
    """Two connections that are one.

    Args:
        caller: whose first bytes have not been taken.
        service: a connection of its own.
        known: told once that the caller has come through the handshake; False ends the connection.
        idle: seconds in which no byte moves.
        moment: seconds after the third turn.
    """

    def __init__(
        self,
        caller: socket.socket,
        service: socket.socket,
        known: Callable[[], bool],
        idle: float = IDLE,
        moment: float = MOMENT,
    ) -> None:
        self._caller, self._service = caller, service
        self._known, self._idle, self._moment = known, idle, moment
        self._heard: socket.socket | None = None
        self._turns = 0
        self._look: asyncio.TimerHandle | None = None

    async def carry(self) -> None:
        """Until both sides have said their last, one breaks off, or nothing moves; both are closed then."""
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._idle) as limit:
                    await asyncio.gather(
                        self._carry(self._caller, self._service, limit),
                        self._carry(self._service, self._caller, limit),
                    )
        finally:
            if self._look is not None:
                self._look.cancel()
            self._caller.close()
            self._service.close()

    def end(self) -> None:
        """Break off; ``carry`` then returns."""
        for each in (self._caller, self._service):
            with suppress(OSError):  # it has ended by itself
                each.shutdown(socket.SHUT_RDWR)

    async def _carry(self, source: socket.socket, sink: socket.socket, limit: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        try:
            while block := await loop.sock_recv(source, _BLOCK):
                self._hear(source, loop)
                limit.reschedule(loop.time() + self._idle)
                await loop.sock_sendall(sink, block)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self.end()
            return
        self._idle = min(self._idle, HALF)
        limit.reschedule(loop.time() + self._idle)

    def _hear(self, source: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        """Count the service's turns."""
        if source is self._service and self._heard is not source:
            self._turns += 1
            if self._turns == TURNS:
                self._look = loop.call_later(self._moment, self._settle)
        self._heard = source

    def _settle(self) -> None:
        if not self._known():
            self.end()

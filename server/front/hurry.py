"""HTTP as uvicorn speaks it, with an end to every wait for a caller."""

import asyncio
from typing import TYPE_CHECKING

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

SECONDS = 60.0
"""For a caller to come out with a whole request line and headers, and to take what it is sent."""
SPARE = 256 << 10
"""Bytes of a refused body that may go on coming."""


_BLOCK = 256 << 10


class Answer(Response):
    """A body sent block by block, as its caller takes it.

    uvicorn calls an answer done when it has handed all of it to the connection, and its time limits for the next
    request begin; a caller on a slow line would be cut off in the middle of a large one.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As Starlette's."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        whole = memoryview(self.body)
        for at in range(0, len(whole), _BLOCK):
            await send(
                {"type": "http.response.body", "body": bytes(whole[at : at + _BLOCK]), "more_body": True}
            )
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def hurried(seconds: float = SECONDS) -> "type[H11Protocol]":
    """HTTP as uvicorn speaks it, but without its endless waits.

    They were for line and headers, for a body that was refused, and for a caller that takes nothing of its answer.
    A refused body may go on coming for a moment (``SPARE`` bytes, unread): where the connection ends at once, its
    caller's own system throws the answer away.
    """
    import h11  # noqa: PLC0415
    from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle  # noqa: PLC0415

    class Hurried(H11Protocol):
        _stuck: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._spare = SPARE
            self._look(None, first=True)

        def data_received(self, data: bytes) -> None:
            if (self.conn.our_state, self.conn.their_state) == (h11.DONE, h11.SEND_BODY):
                self._spare -= len(data)
                if self._spare < 0:
                    self.transport.close()
                    return
            super().data_received(data)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stuck = self.loop.call_later(seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._stuck is not None:
                self._stuck.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            if self._stuck is not None:
                self._stuck.cancel()
            super().connection_lost(exc)

        def _look(self, last: RequestResponseCycle | None, *, first: bool = False) -> None:
            """Close if nothing was asked since the last look and nothing is under way."""
            if self.transport.is_closing():
                return
            idle = self.cycle is None or self.cycle.response_complete
            if idle and self.cycle is last and not first:
                self.transport.close()
            else:
                self.loop.call_later(seconds, self._look, self.cycle)

    return Hurried

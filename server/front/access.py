"""One line for each call at the front: who asked for what, the answer's status, and how many bytes. Never a body."""

from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedrepay.server.front.rates import Rate
from fedrepay.shared.text import printable

NODE = "node"
"""Where a request's state has the name of the node that calls."""
IDLE = frozenset({"/v1/fleet/pull-messages", "/v1/fleet/send-node-heartbeat"})
"""A node asks three times a second whether there is something for it: said only where it is refused."""
_OK = 200
STRANGERS = 60
"""Lines a minute for calls of no node: a log that anybody can fill is no log."""


class Access:
    """Middleware that says each call.

    Lines read ``METHOD PATH STATUS in=BYTES out=BYTES NAME``; the path is as it was sent, without its query, so no blank
    in it makes another field.

    Args:
        app: what answers.
        say: told each line.
        rate: of lines for strangers' calls.
    """

    def __init__(self, app: ASGIApp, say: Callable[[str], None], rate: Rate | None = None) -> None:
        self._app, self._say = app, say
        self._rate = rate or Rate(STRANGERS)
        self._unsaid = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, came, went = 500, 0, 0

        async def receiving() -> Message:
            nonlocal came
            message = await receive()
            came += len(message.get("body", b""))
            return message

        async def sending(message: Message) -> None:
            nonlocal status, went
            status = message.get("status", status)
            went += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receiving, sending)
        finally:
            name = scope.get("state", {}).get(NODE, "")
            path = printable(scope["raw_path"].decode("latin-1"), 100)
            call = f"{printable(scope['method'], 16)} {path} {status} in={came} out={went}"
            if name and status == _OK and path in IDLE:
                pass
            elif name:
                self._say(f"{call} {printable(name, 64)}")
            elif not self._rate.wait(""):
                self._say(f"{call} -" + (f" ({self._unsaid} like it unsaid)" if self._unsaid else ""))
                self._unsaid = 0
            else:
                self._unsaid += 1

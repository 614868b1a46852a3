"""The front: of the SuperLink's one port, only what an authenticated SuperNode needs can be reached through it.

The SuperLink serves ``/v1/control``, ``/v1/runtime`` and ``/docs`` beside ``/v1/fleet`` on the same port, and
guards only the last by node keys (measured, Flower 1.41): with nothing but the public certificate anybody could
start runs there. So it listens on loopback, and members reach this.

Who sends is known before a byte of the body is read (``nodes.py``), connections of strangers are few (``connections.py``),
and a node's replies must bear its own name: the SuperLink would store them under any other node's.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from flwr.proto.fleet_pb2 import PushMessagesRequest
from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from fedrepay.server.front.connections import BACKLOG, Address, Listener, Loop
from fedrepay.server.front.nodes import Nodes
from fedrepay.shared.errors import NetworkError

if TYPE_CHECKING:
    from uvicorn.protocols.http.h11_impl import H11Protocol

FLEET = "/v1/fleet/"
CALLS = (
    "activate-node",
    "deactivate-node",
    "send-node-heartbeat",
    "pull-messages",
    "push-messages",
    "get-run",
    "get-fab",
    "pull-object",
    "push-object",
    "confirm-message-received",
)
"""Everything a registered SuperNode calls; registering is the operator's, and does not pass."""
ACTIVATE = "activate-node"
OBJECT, REPLIES = "push-object", "push-messages"
"""What carries contents, and what announces them: names, hashes and a reason where there is no answer."""
MAX_BODY = 264 << 20  # bytes of an object: the largest message of the protocol, and Flower's frame around it
MAX_SMALL = (
    256 << 10
)  # bytes of every other call; one takes some hundred, and reading it takes fifty times as many
MAX_HELD = 2 << 30  # bytes of all bodies at once; what passes it gets 503
# for the SuperLink's answer, and for a caller to come out with a whole request line and headers
SECONDS = 60.0
BODY_SECONDS = 600.0  # for a whole body
_HEADER = "flwr-"
_STRANGER = {
    "code": 2004,
    "detail": "Failed to activate SuperNode.",
    "extra": "The front knows no such key, or the clocks differ: ask the operator to register the node.",
}
"""As Flower refuses a node that begins; at a 401 its SuperNode would end without a word."""


def application(
    superlink: str,
    certificates: Path,
    nodes: Nodes,
    max_body: int = MAX_BODY,
    max_held: int = MAX_HELD,
    body_seconds: float = BODY_SECONDS,
    known: Callable[[Address, bytes], bool] = lambda _peer, _key: True,
) -> Starlette:
    """The front as an ASGI application.

    Args:
        superlink: the SuperLink's https address on loopback.
        certificates: PEM file of the authority that signed its certificate.
        nodes: who may call.
        max_body: bytes of an object.
        max_held: bytes of all bodies at once.
        body_seconds: how long a body may take to come.
        known: told which node speaks on which connection; False if that is one too many.
    """
    trusted = ssl.create_default_context(cafile=str(certificates))
    client = httpx.AsyncClient(base_url=superlink, verify=trusted, timeout=SECONDS, trust_env=False)
    held = 0

    async def forward(request: Request) -> Response:
        nonlocal held
        path: str = request.scope["path"]  # as it was matched; request.url is made from the caller's Host too
        call, headers = path.removeprefix(FLEET), _carried(request.headers.items())
        key = nodes.caller(headers)
        if key is None:
            return (
                JSONResponse(_STRANGER, 412)
                if call == ACTIVATE
                else PlainTextResponse(_STRANGER["extra"], 401)
            )
        if not known(request.scope["client"], key):
            return PlainTextResponse("too many connections of one node", 503)
        most = max_body if call == OBJECT else min(MAX_SMALL, max_body)
        if not _within(request.headers.get("content-length", "0"), most):
            return PlainTextResponse(f"more than {most} bytes", 413)
        body = bytearray()
        try:
            async with asyncio.timeout(body_seconds):
                async for block in request.stream():
                    body += block
                    held += len(block)
                    if len(body) > most:
                        return PlainTextResponse(f"more than {most} bytes", 413)
                    if held > max_held:
                        return PlainTextResponse("too much at once", 503)
            if call == REPLIES and not _own(bytes(body)):
                return PlainTextResponse("a reply in another node's name", 403)
            answer = await client.post(path, content=bytes(body), headers=headers)
        except TimeoutError:
            return PlainTextResponse("the body takes too long", 408)
        except httpx.TimeoutException:
            return PlainTextResponse("the SuperLink takes too long", 504)
        except httpx.HTTPError:
            return PlainTextResponse("the SuperLink does not answer", 502)
        finally:
            held -= len(body)
        return Response(answer.content, answer.status_code, _carried(answer.headers.items()))

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    routes = [Route(f"{FLEET}{call}", forward, methods=["POST"]) for call in CALLS]
    # whatever else is asked, and another method on a known path, is 404
    return Starlette(routes=[*routes, Mount("/", PlainTextResponse("not found", 404))], lifespan=life)


def _own(body: bytes) -> bool:
    """Whether replies come from the node that sends them; the SuperLink checks that the sender has the key."""
    try:
        request = PushMessagesRequest.FromString(body)
    except DecodeError:
        return False
    return all(each.metadata.src_node_id == request.node.node_id for each in request.messages_list)


def _carried(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Content type and Flower's own headers; nothing else passes in either direction."""
    return {
        name.lower(): value
        for name, value in headers
        if name.lower() == "content-type" or name.lower().startswith(_HEADER)
    }


def _within(said: str, limit: int) -> bool:
    """Whether a Content-Length is a number up to the limit."""
    return said.isascii() and said.isdecimal() and int(said) <= limit


def hurried(seconds: float = SECONDS) -> "type[H11Protocol]":
    """HTTP as uvicorn speaks it, but without its endless wait for line and headers, or for a body that was refused.

    A refused body may go on coming for a moment (``MAX_SMALL`` bytes, unread): where the connection ends at once, its
    caller's own system throws the answer away.
    """
    import h11  # noqa: PLC0415
    from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle  # noqa: PLC0415

    class Hurried(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._spare = MAX_SMALL
            self._look(None, first=True)

        def data_received(self, data: bytes) -> None:
            if (self.conn.our_state, self.conn.their_state) == (h11.DONE, h11.SEND_BODY):
                self._spare -= len(data)
                if self._spare < 0:
                    self.transport.close()
                    return
            super().data_received(data)

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


def run(
    superlink: str, folder: Path, host: str, port: int, tls: tuple[Path, Path, Path], max_body: int = MAX_BODY
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        superlink: its https address on loopback.
        folder: the coordinator's, where the nodes' keys are.
        host: address to listen at.
        port: port to listen at.
        tls: the authority's certificate, the front's, and the key of that.
        max_body: bytes of an object.

    Raises:
        NetworkError: the address is not to be had.
    """
    import uvicorn  # noqa: PLC0415 - the application itself is tested without it

    authority, certificate, key = tls
    try:
        listener = Listener(host, port)
    except OSError as error:
        raise NetworkError(
            f"The front cannot listen at {host}:{port}: {error.strerror}.",
            "Choose another port, or stop what has it.",
        ) from error
    config = uvicorn.Config(
        application(superlink, authority, Nodes(folder), max_body, known=listener.known),
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        http=hurried(),
        loop=f"{Loop.__module__}:{Loop.__qualname__}",
        backlog=BACKLOG,
        proxy_headers=False,  # a caller is who it is
        ws="none",
        timeout_keep_alive=30,
        server_header=False,
        access_log=False,
        log_level="warning",
    )
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])

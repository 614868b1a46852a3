"""The front: of the SuperLink's one port, only what an authenticated SuperNode needs can be reached through it.

The SuperLink serves ``/v1/control``, ``/v1/runtime`` and ``/docs`` beside ``/v1/fleet`` on the same port, and
guards only the last by node keys (measured, Flower 1.41): with nothing but the public certificate anybody could
start runs there. So it listens on loopback, and members reach this.

Who sends is known before a byte of the body is read (``nodes.py``), connections of strangers are few (``connections.py``),
and a node's replies must bear its own name: the SuperLink would store them under any other node's.
"""

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from flwr.proto.fleet_pb2 import PushMessagesRequest
from google.protobuf.message import DecodeError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from fedrepay.server.front.access import NODE, Access
from fedrepay.server.front.connections import BACKLOG, Address, Listener, room
from fedrepay.server.front.hurry import SECONDS, Answer, hurried
from fedrepay.server.front.joining import A_MINUTE, BROKE_OFF, joining_routes
from fedrepay.server.front.nodes import Nodes
from fedrepay.server.front.rates import Rate
from fedrepay.server.front.reception import Loop
from fedrepay.server.front.tls import Credentials
from fedrepay.shared.errors import NetworkError, StorageError

if TYPE_CHECKING:
    import uvicorn

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
BODY_SECONDS = 600.0  # for a whole body
HEALTH = "/health"
_HEADER = "flwr-"
_UPSTREAM = 100  # connections to the SuperLink
_log = logging.getLogger(__name__)
_PROXIED = 8  # addresses' worth of asking that all callers behind a proxy have together
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
    joining: Sequence[Route] = (),
    say: Callable[[str], None] = lambda _line: None,
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
        joining: what anybody may ask (:func:`joining_routes`).
        say: told a line for each call.
    """
    trusted = ssl.create_default_context(cafile=str(certificates))
    limits = httpx.Limits(max_connections=min(_UPSTREAM, room() // 2), max_keepalive_connections=20)
    client = httpx.AsyncClient(
        base_url=superlink, verify=trusted, timeout=SECONDS, trust_env=False, limits=limits
    )
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
        setattr(request.state, NODE, nodes.name(key))
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
        except ClientDisconnect:
            return PlainTextResponse("the caller broke off", BROKE_OFF)
        except httpx.TimeoutException:
            return PlainTextResponse("the SuperLink takes too long", 504)
        except httpx.HTTPError:
            return PlainTextResponse("the SuperLink does not answer", 502)
        finally:
            held -= len(body)
        return Answer(answer.content, answer.status_code, _carried(answer.headers.items()))

    @asynccontextmanager
    async def life(_app: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def health(_request: Request) -> Response:
        return PlainTextResponse("ok")

    fleet = [Route(f"{FLEET}{call}", forward, methods=["POST"]) for call in CALLS]
    # whatever else is asked, and another method on a known path, is 404
    nothing = Mount("/", PlainTextResponse("not found", 404))
    return Starlette(
        routes=[*fleet, *joining, Route(HEALTH, health, methods=["GET"]), nothing],
        middleware=[Middleware(Access, say=say)],
        lifespan=life,
    )


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


def server(
    superlink: str,
    folder: Path,
    host: str,
    port: int,
    tls: tuple[Path, Path, Path],
    max_body: int = MAX_BODY,
    *,
    service: Address | None = None,
    about: Callable[[], bytes] | None = None,
    join: Callable[[bytes], bytes] | None = None,
    say: Callable[[str], None] = _log.info,
) -> "tuple[uvicorn.Server, Listener]":
    """The front, to be run with ``sockets=[listener]``; arguments and errors are those of :func:`run`."""
    import uvicorn  # noqa: PLC0415 - the application itself is tested without it

    authority, certificate, key = tls
    proxied = _here(host)
    try:
        listener = Listener(host, port, proxied=proxied)
    except OSError as error:
        raise NetworkError(
            f"The front cannot listen at {host}:{port}: {error.strerror}.",
            "Choose another port, or stop what has it.",
        ) from error
    try:
        credentials = listener.credentials = Credentials(certificate, key)
        listener.service = service
        rate = Rate(A_MINUTE * _PROXIED if proxied else A_MINUTE)
        joining = joining_routes(about, join, rate) if about is not None and join is not None else ()
        app = application(
            superlink, authority, Nodes(folder), max_body, known=listener.known, joining=joining, say=say
        )
    except OSError as error:
        listener.close()
        raise StorageError(
            f"The front's certificate or key cannot be used: {error.strerror}.",
            f"Check {certificate}, {key} and {authority}.",
        ) from error
    config = uvicorn.Config(
        app,
        ssl_context_factory=lambda _config, _default: credentials.context(),
        http=hurried(),
        loop=f"{Loop.__module__}:{Loop.__qualname__}",
        backlog=BACKLOG,
        proxy_headers=False,  # a caller is who it is
        ws="none",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=10,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="error",  # its warnings are one for each caller that speaks no HTTP
    )
    return uvicorn.Server(config), listener


def run(
    superlink: str,
    folder: Path,
    host: str,
    port: int,
    tls: tuple[Path, Path, Path],
    max_body: int = MAX_BODY,
    *,
    service: Address | None = None,
    about: Callable[[], bytes] | None = None,
    join: Callable[[bytes], bytes] | None = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; a line for each call goes to standard error.

    Args:
        superlink: its https address on loopback.
        folder: the coordinator's, where the nodes' keys are.
        host: address to listen at. At one of this machine's own (127.0.0.1) callers come through a proxy
            (``proxies.py``): they all have one address, and what an address may do is the proxy's to limit.
        port: port to listen at.
        tls: the authority's certificate, the front's, and the key of that. The last two are read again when they change.
        max_body: bytes of an object.
        service: the gRPC service's address on this machine; without one, all callers get HTTP.
        about: an encoded :class:`About`, of ``GET /v1/consortium``; runs in a thread.
        join: answers ``POST /v1/join`` (:func:`joining_routes`); runs in a thread. Without both, those paths are 404.

    Raises:
        NetworkError: the address is not to be had.
        StorageError: a certificate or key cannot be read, or they do not belong together.
    """
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger(__package__).setLevel(logging.INFO)
    made, listener = server(
        superlink, folder, host, port, tls, max_body, service=service, about=about, join=join
    )
    with listener, suppress(KeyboardInterrupt):
        made.run(sockets=[listener])


def _here(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""The front: of the SuperLink's one port, only what an authenticated SuperNode needs can be reached through it.

The SuperLink serves ``/v1/control``, ``/v1/runtime`` and ``/docs`` beside ``/v1/fleet`` on the same port, and
guards only the last by node keys (measured, Flower 1.41): with nothing but the public certificate anybody could
start runs there. So it listens on loopback, and members reach this.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

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
MAX_BODY = 264 << 20  # bytes: the largest message of the protocol, and Flower's frame around it
MAX_HELD = 2 << 30  # bytes of all bodies at once, which nobody has signed yet; what passes it gets 503
AT_ONCE = 256  # connections; requests on more of them get 503
SECONDS = (
    60.0  # for the SuperLink's answer, and for a caller to come out with a whole request line and headers
)
BODY_SECONDS = 600.0  # for a whole body
_HEADER = "flwr-"


def application(
    superlink: str,
    certificates: Path,
    max_body: int = MAX_BODY,
    max_held: int = MAX_HELD,
    body_seconds: float = BODY_SECONDS,
) -> Starlette:
    """The front as an ASGI application.

    Args:
        superlink: the SuperLink's https address on loopback.
        certificates: PEM file of the authority that signed its certificate.
        max_body: bytes of a request's body.
        max_held: bytes of all bodies at once.
        body_seconds: how long a body may take to come.
    """
    trusted = ssl.create_default_context(cafile=str(certificates))
    client = httpx.AsyncClient(base_url=superlink, verify=trusted, timeout=SECONDS, trust_env=False)
    held = 0

    async def forward(request: Request) -> Response:
        nonlocal held
        body = bytearray()
        try:
            async with asyncio.timeout(body_seconds):
                if not _within(request.headers.get("content-length", "0"), max_body):
                    return PlainTextResponse(f"more than {max_body} bytes", 413)
                async for block in request.stream():
                    body += block
                    held += len(block)
                    if len(body) > max_body:
                        return PlainTextResponse(f"more than {max_body} bytes", 413)
                    if held > max_held:
                        return PlainTextResponse("too much at once", 503)
            answer = await client.post(
                request.scope["path"],  # as it was matched; request.url is made from the caller's Host too
                content=bytes(body),
                headers=_carried(request.headers.items()),
            )
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


def _carried(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Content type and Flower's own headers; nothing else passes in either direction."""
    return {
        name: value
        for name, value in headers
        if name.lower() == "content-type" or name.lower().startswith(_HEADER)
    }


def _within(said: str, limit: int) -> bool:
    """Whether a Content-Length is a number up to the limit."""
    return said.isascii() and said.isdecimal() and int(said) <= limit


def hurried(seconds: float = SECONDS) -> "type[H11Protocol]":
    """HTTP as uvicorn speaks it, but without its endless wait for line and headers: such callers fill ``AT_ONCE``."""
    from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle  # noqa: PLC0415

    class Hurried(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._look(None, first=True)

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


def run(application_: Starlette, host: str, port: int, certificate: Path, key: Path) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    import uvicorn  # noqa: PLC0415 - the application itself is tested without it

    uvicorn.run(
        application_,
        host=host,
        port=port,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        http=hurried(),
        limit_concurrency=AT_ONCE,
        ws="none",
        timeout_keep_alive=30,
        server_header=False,
        access_log=False,
        log_level="warning",
    )

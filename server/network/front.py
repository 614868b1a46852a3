"""The front: of the SuperLink's one port, only what an authenticated SuperNode needs can be reached through it.

The SuperLink serves ``/v1/control``, ``/v1/runtime`` and ``/docs`` beside ``/v1/fleet`` on the same port, and
guards only the last by node keys (measured, Flower 1.41): with nothing but the public certificate anybody could
start runs there. So it listens on loopback, and members reach this.
"""

import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

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
AT_ONCE = 256  # requests; more get 503
SECONDS = 60.0
_HEADER = "flwr-"


def application(superlink: str, certificates: Path, max_body: int = MAX_BODY) -> Starlette:
    """The front as an ASGI application.

    Args:
        superlink: the SuperLink's https address on loopback.
        certificates: PEM file of the authority that signed its certificate.
        max_body: bytes of a request's body.
    """
    trusted = ssl.create_default_context(cafile=str(certificates))
    client = httpx.AsyncClient(base_url=superlink, verify=trusted, timeout=SECONDS, trust_env=False)

    async def forward(request: Request) -> Response:
        body = await _body(request, max_body)
        if body is None:
            return PlainTextResponse(f"more than {max_body} bytes", 413)
        try:
            answer = await client.post(
                request.url.path, content=body, headers=_carried(request.headers.items())
            )
        except httpx.TimeoutException:
            return PlainTextResponse("the SuperLink takes too long", 504)
        except httpx.HTTPError:
            return PlainTextResponse("the SuperLink does not answer", 502)
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


async def _body(request: Request, limit: int) -> bytes | None:
    """The body, or None as soon as it is known to pass the limit."""
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or int(said) > limit:
        return None
    got = bytearray()
    async for block in request.stream():
        got += block
        if len(got) > limit:
            return None
    return bytes(got)


def run(application_: Starlette, host: str, port: int, certificate: Path, key: Path) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    import uvicorn  # noqa: PLC0415 - the application itself is tested without it

    uvicorn.run(
        application_,
        host=host,
        port=port,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        limit_concurrency=AT_ONCE,
        ws="none",
        timeout_keep_alive=30,
        server_header=False,
        access_log=False,
        log_level="warning",
    )

"""What anybody may ask at the front's port: what the consortium is, and to be let in.

Whoever asks is a stranger, so a request is small, comes at once, and few come from one address; a coordinator's own
trouble is not told to it.
"""

import asyncio
import logging
import math
from collections.abc import Callable

import anyio
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fedrepay.server.front.connections import origin
from fedrepay.server.front.hurry import Answer
from fedrepay.server.front.rates import Rate
from fedrepay.shared.errors import FedrepayError, ProtocolError, StorageError
from fedrepay.shared.trust.joining import ABOUT, JOIN, LONGEST_JOIN, JoinAnswer
from fedrepay.shared.trust.message import Signed

A_MINUTE = 30
"""Requests of one address; a newcomer asks every few seconds how it stands."""
BODY_SECONDS = 10.0
AT_ONCE = 4
"""Requests that are worked on: each takes a thread and the database."""
MEDIA = "application/octet-stream"
BROKE_OFF = 499
"""nginx's word in an access log for a caller that is gone before its answer."""
_TEXT = 1000  # characters of a cause or remedy in an answer
_log = logging.getLogger(__name__)


def joining_routes(
    about: Callable[[], bytes],
    join: Callable[[bytes], bytes],
    rate: Rate | None = None,
    body_seconds: float = BODY_SECONDS,
) -> list[Route]:
    """``GET /v1/consortium`` and ``POST /v1/join``.

    Args:
        about: an encoded :class:`About`; called in a thread.
        join: an encoded :class:`JoinAnswer` for an encoded ``Signed``; called in a thread. What it raises of
            ``FedrepayError`` is a refusal, with its cause and remedy.
        rate: of requests, by address.
        body_seconds: how long a request's body may take to come.
    """
    asked = rate or Rate(A_MINUTE)
    room = anyio.Semaphore(AT_ONCE)
    said = b""

    def too_often(request: Request) -> Response | None:
        if request.scope["client"] is None:  # gone before its address was looked at
            return PlainTextResponse("the caller broke off", BROKE_OFF)
        seconds = asked.wait(origin(request.scope["client"][0]))
        if not seconds:
            return None
        return PlainTextResponse(
            "asked too often", 429, {"retry-after": str(math.ceil(seconds)), "connection": "close"}
        )

    async def consortium(request: Request) -> Response:
        nonlocal said
        if (refused := too_often(request)) is not None:
            return refused
        async with room:
            made = await run_in_threadpool(about)
        if made != said:  # else all callers share the bytes
            said = made
        return Answer(said, media_type=MEDIA)

    async def joining(request: Request) -> Response:
        if (refused := too_often(request)) is not None:
            return refused
        body = bytearray()
        try:
            async with asyncio.timeout(body_seconds):
                async for block in request.stream():
                    body += block
                    if len(body) > LONGEST_JOIN:
                        return PlainTextResponse(f"more than {LONGEST_JOIN} bytes", 413)
        except TimeoutError:
            return PlainTextResponse("the body takes too long", 408)
        except ClientDisconnect:
            return PlainTextResponse("the caller broke off", BROKE_OFF)
        try:
            Signed.decode(bytes(body))
        except ProtocolError as error:
            return PlainTextResponse(str(error), 400)
        async with room:
            return Answer(await run_in_threadpool(answer, bytes(body)), media_type=MEDIA)

    def answer(body: bytes) -> bytes:
        try:
            return join(body)
        except StorageError as error:  # names a path, and is none of a stranger's business
            _log.error("A request to join could not be kept: %s", error)
            return _refused(
                "The coordinator cannot keep a request now.", "Tell its operator; ask again later."
            )
        except FedrepayError as error:
            return _refused(error.cause, error.remedy)

    return [Route(ABOUT, consortium, methods=["GET"]), Route(JOIN, joining, methods=["POST"])]


def _refused(cause: str, remedy: str) -> bytes:
    return JoinAnswer(state="refused", cause=cause[:_TEXT], remedy=remedy[:_TEXT]).encode()

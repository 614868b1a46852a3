"""The calls of the contract, and no others; who calls is looked at before the call's request has come."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import grpc
from grpc import ServicerContext as Context

from fedrepay.server.service.callers import Callers, CallRefused
from fedrepay.shared.errors import FedrepayError
from fedrepay.shared.proto.v1.consortium_pb2 import SignedRequest
from fedrepay.shared.text import printable

METHODS = ("Wait", "Answer", "Stand", "Pull", "Heads", "Renew", "Leave", "Rotate")
"""All that a member may call; whatever else is asked does not exist."""
log = logging.getLogger(__name__)


class OnlyOurs(grpc.ServerInterceptor):  # type: ignore[misc]
    """Lets through the contract's calls alone; gRPC would tell a stranger what else there is.

    To gRPC each is a call that streams, so that who calls is looked at before its one request has come: it would give a
    thread to whoever has had a certificate once and sends nothing.
    """

    def __init__(self, callers: Callers) -> None:
        self._callers = callers

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """The handler of a call of the contract, with room for it; None for any other."""
        service, _, method = details.method.removeprefix("/").partition("/")
        if service != "fedrepay.consortium.v1.Consortium" or method not in METHODS:
            return None
        found = continuation(details)

        def one(requests: Iterator[SignedRequest], context: Context) -> Any:
            with self._room(context):
                return found.unary_unary(_only(requests, context), context)

        def many(requests: Iterator[SignedRequest], context: Context) -> Iterator[Any]:
            with self._room(context):
                yield from found.unary_stream(_only(requests, context), context)

        make, work = (
            (grpc.stream_stream_rpc_method_handler, many)
            if found.response_streaming
            else (grpc.stream_unary_rpc_method_handler, one)
        )
        return make(work, found.request_deserializer, found.response_serializer)

    @contextmanager
    def _room(self, context: Context) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                stack.enter_context(self._callers.room(context))
            except CallRefused as refused:
                context.abort(refused.code, refused.said)
            except FedrepayError as error:
                log.info("A call failed: %s", printable(str(error)))
                context.abort(grpc.StatusCode.UNAVAILABLE, "the coordinator cannot look up who calls")
            yield


def _only(requests: Iterator[SignedRequest], context: Context) -> SignedRequest:
    for request in requests:
        return request
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "a call without a request")
    raise AssertionError("abort raises")

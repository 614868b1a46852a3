"""The calls to the coordinator over gRPC: mutual TLS with the member's certificate, every request signed besides."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc

from fedrepay.client.consortium import tls
from fedrepay.client.consortium.reach import NO_WAY
from fedrepay.client.store.settings import shown_proxy
from fedrepay.shared.errors import NetworkError, ProtocolError
from fedrepay.shared.proto.v1 import consortium_pb2 as messages
from fedrepay.shared.proto.v1.consortium_pb2_grpc import ConsortiumStub
from fedrepay.shared.text import printable
from fedrepay.shared.trust.asking import LONG_POLL, LONGEST, PART, Answered, AskedOf, Standing
from fedrepay.shared.trust.message import MAX_MESSAGE, Signed

Signer = Callable[[str, bytes], Signed]
"""Signs a request: (method, body) → a signed :class:`asking.Request`."""
SECONDS = 30.0
"""For a call; a long poll takes ``LONG_POLL`` more, a release ten times as long."""
_FRAME = 1 << 10
"""Bytes around an encoded message."""
_PREFLIGHT = "`fedrepay member preflight` with the coordinator's address finds out why."
_AGAIN = f"Nothing is lost: run the same command again. {_PREFLIGHT}"
_HUNG_UP = ("Socket closed", "Connection reset", "Broken pipe", "Stream removed")
_REFUSED = {
    grpc.StatusCode.UNAUTHENTICATED: "It was revoked, or the coordinator lost its database. Ask the "
    "operator; with a new invitation `fedrepay member join` brings this same folder in again.",
    grpc.StatusCode.PERMISSION_DENIED: "If the clock is named, set it (NTP); else ask the operator.",
    grpc.StatusCode.FAILED_PRECONDITION: "Upgrade fedrepay where it says so.",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "Nothing is lost; it is asked again later.",
    grpc.StatusCode.NOT_FOUND: "The coordinator has no such thing (yet).",
}


class ShutOutError(NetworkError):
    """The coordinator answers, and this member's certificate counts no more there."""


class Channel:
    """A channel to one coordinator; the calls of ``shared/proto/v1/consortium.proto``.

    Args:
        address: HOST:PORT.
        folder: the member's, with ``tls.key``, ``tls.pem`` and ``ca.pem``.
        sign: signs what is asked.
        proxy: the HTTP proxy to go through, or None; the environment's are never used.

    Raises:
        NetworkError: the certificate cannot be used, which the coordinator's side would not tell.
        StorageError: a file of the folder cannot be read.
    """

    def __init__(self, address: str, folder: Path, sign: Signer, proxy: str | None = None) -> None:
        self.certified = tls.check(folder, time.time())
        self._folder, self._sign = folder, sign
        self._where = address if proxy is None else f"{address} (through {shown_proxy(proxy)})"
        credentials = grpc.ssl_channel_credentials(
            root_certificates=(folder / tls.AUTHORITY).read_bytes(),
            private_key=(folder / tls.KEY).read_bytes(),
            certificate_chain=(folder / tls.CERTIFICATE).read_bytes(),
        )
        self._channel = grpc.secure_channel(address, credentials, options=_options(proxy))
        self._stub = ConsortiumStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def wait(self) -> AskedOf:
        """Wait for a message of a roster's making; ``ask`` is 0 where none came.

        Raises:
            NetworkError: as every call: the coordinator cannot be reached, or refuses; with the cause.
            ProtocolError: as every call: its answer cannot be read.
        """
        return AskedOf.decode(self._call("Wait", b"", LONG_POLL + SECONDS).data)

    def answer(self, ask: int, reply: bytes) -> None:
        """Give the signed reply to an ask."""
        self._call("Answer", Answered(ask=ask, reply=reply).encode())

    def stand(self, holds: bytes = b"") -> Standing:
        """Where the consortium stands, by the coordinator's word.

        Args:
            holds: hash of the roster that this member takes part in, zeros for none: who lost its store gets it again.
                Empty says nothing.
        """
        return Standing.decode(self._call("Stand", holds).data)

    def pull(self, number: int) -> bytes:
        """A release as it is held for this member: an encoded ``asking.Handed``.

        Args:
            number: of the run.
        """
        body = bytearray()
        with self._told():
            for part in self._stub.Pull(
                self._request("Pull", number.to_bytes(4, "big")), timeout=10 * SECONDS
            ):
                body += part.data
                if len(body) > MAX_MESSAGE:
                    raise ProtocolError(f"A release has more than {MAX_MESSAGE} bytes.", "Tell the operator.")
        return bytes(body)

    def heads(self) -> bytes:
        """This member's own newest header, as the coordinator holds it; empty where it has none."""
        data: bytes = self._call("Heads", b"").data
        return data

    def renew(self, request: bytes) -> bytes:
        """A new certificate (PEM) for a certificate request (PEM)."""
        data: bytes = self._call("Renew", request).data
        return data

    def leave(self, leaving: bytes) -> None:
        """Hand in a signed wish to leave, encoded."""
        self._call("Leave", leaving)

    def rotate(self, rotation: bytes) -> None:
        """Hand in the old key's signed word for the new one, encoded."""
        self._call("Rotate", rotation)

    def _call(self, method: str, body: bytes, seconds: float = SECONDS) -> Any:
        with self._told():
            return getattr(self._stub, method)(self._request(method, body), timeout=seconds)

    def _request(self, method: str, body: bytes) -> messages.SignedRequest:
        signed = self._sign(method, body)
        return messages.SignedRequest(body=signed.body, signature=signed.signature)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turn gRPC's errors into ours: what it says, and what it means."""
        try:
            yield
        except ValueError as error:  # gRPC's for a channel that was closed meanwhile
            raise NetworkError("The connection was closed here.", "It is opened again.") from error
        except grpc.RpcError as error:
            code, whole = error.code(), error.details() or ""
            said = printable(whole, 300)
            if code == grpc.StatusCode.UNAVAILABLE:
                tls.check(self._folder, time.time())  # it may have ended since
                begun = "failed to connect" not in whole
                what = (
                    f"The connection to {self._where} broke off"
                    if begun
                    else f"{self._where} cannot be reached"
                )
                raise NetworkError(f"{what}: {said.rstrip('.')}.", _remedy(whole)) from error
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise NetworkError(f"{self._where} does not answer in time.", _AGAIN) from error
            remedy = _REFUSED.get(code, "Ask the operator for the coordinator's log.")
            kind = ShutOutError if code == grpc.StatusCode.UNAUTHENTICATED else NetworkError
            raise kind(f"{self._where} refuses ({code.name.lower()}): {said}.", remedy) from error


def _remedy(said: str) -> str:
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return (
            "Who answers has no certificate of the consortium's authority for this host name: a proxy that inspects TLS, "
            f"or another server. {_PREFLIGHT}"
        )
    if any(words in said for words in _HUNG_UP):
        return (
            "Nothing is lost: run the same command again. Where it stays so, the certificate here is sound, so the coordinator "
            f"or something between closes the connection: revoked, another authority there, or no gRPC (h2) through. {_PREFLIGHT}"
        )
    if "HTTP proxy" in said:
        return NO_WAY
    return _PREFLIGHT


def _options(proxy: str | None) -> list[tuple[str, Any]]:
    largest = max(LONGEST, PART) + _FRAME
    way: list[tuple[str, Any]]
    way = [("grpc.enable_http_proxy", 0)] if proxy is None else [("grpc.http_proxy", proxy)]
    return [
        *way,
        ("grpc.max_receive_message_length", largest),
        ("grpc.max_send_message_length", largest),
        ("grpc.keepalive_time_ms", 60_000),  # clouds drop what is idle for four minutes
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.max_reconnect_backoff_ms", 30_000),
    ]

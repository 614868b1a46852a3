"""Who calls: a certificate of ours that counts, and a signature by the very member; both, at every call."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedrepay.server.admission.registry import Registry
from fedrepay.server.admission.tables import MemberSeen
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.proto.v1.consortium_pb2 import SignedRequest
from fedrepay.shared.trust import asking
from fedrepay.shared.trust.asking import Request
from fedrepay.shared.trust.joining import VERSION
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.succession import Rotation

A_MINUTE, AT_ONCE = 240.0, 60.0
"""Calls of a member in a minute, and so many of them together."""
OPEN = 8
"""Calls of a member that have not ended: its link waits in one, its people's commands make another."""


class CallRefused(Exception):
    """A call that is not answered; as gRPC tells it."""

    def __init__(self, code: grpc.StatusCode, said: str) -> None:
        super().__init__(said)
        self.code, self.said = code, said


class Callers:
    """Says who calls.

    Args:
        registry: who is admitted.
        clock: seconds since 1970.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # member → calls that it may make now, and since when
        self._open = Counter[str]()  # member → its calls that have not ended
        self._lock = Lock()

    def caller(
        self, context: grpc.ServicerContext, request: SignedRequest, method: str
    ) -> tuple[MemberSeen, Request]:
        """The member that calls, and what it asks.

        Raises:
            CallRefused: no certificate of an admitted member, another's signature, a clock too far off, another
                version, or too many calls.
        """
        seen = self._holder(context)
        try:
            signed = Signed(body=request.body, signature=request.signature)
            key = _key(seen, signed)
            said = asking.checked(signed, key, method, self._clock())
        except (ProtocolError, ValueError) as error:
            cause = error.cause if isinstance(error, ProtocolError) else "a signature has 64 bytes"
            raise CallRefused(grpc.StatusCode.PERMISSION_DENIED, cause) from error
        if said.name != seen.name:
            raise CallRefused(grpc.StatusCode.PERMISSION_DENIED, f"{said.name} calls as {seen.name}")
        if said.version != VERSION:
            late = "the member" if said.version < VERSION else "the coordinator"
            raise CallRefused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the member speaks version {said.version} of the contract, the coordinator {VERSION}: {late} must upgrade",
            )
        self._count(seen.name)
        if seen.former and key != seen.former:
            self._registry.settled(seen.name)
        return seen, said

    @contextmanager
    def room(self, context: grpc.ServicerContext) -> Iterator[None]:
        """A place for a call, before a byte of its request is waited for: each takes a thread, and may last.

        Raises:
            CallRefused: no certificate of an admitted member, or it has :data:`OPEN` calls that have not ended.
        """
        name = self._holder(context).name
        with self._lock:
            if self._open[name] >= OPEN:
                raise CallRefused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {OPEN} calls at once")
            self._open[name] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[name] -= 1

    def _holder(self, context: grpc.ServicerContext) -> MemberSeen:
        """The admitted member whose certificate is shown."""
        shown = context.auth_context().get("x509_pem_cert", [])
        if len(shown) != 1:
            raise CallRefused(grpc.StatusCode.UNAUTHENTICATED, "no client certificate")
        fingerprint = x509.load_pem_x509_certificate(shown[0]).fingerprint(hashes.SHA256())
        seen = self._registry.holder(fingerprint)
        if seen is None or seen.entry is None or seen.state != "admitted":
            raise CallRefused(
                grpc.StatusCode.UNAUTHENTICATED, "this certificate is no admitted member's, or was revoked"
            )
        return seen

    def _count(self, name: str) -> None:
        now = self._clock()
        left, since = self._left.get(name, (AT_ONCE, now))
        left = min(AT_ONCE, left + max(0.0, now - since) * A_MINUTE / 60)
        if left < 1:
            raise CallRefused(grpc.StatusCode.RESOURCE_EXHAUSTED, f"more than {A_MINUTE:.0f} calls a minute")
        self._left[name] = (left - 1, now)


def _key(seen: MemberSeen, signed: Signed) -> bytes:
    """The key in force; or the one that it has named for the next roster, or had before this one, if it signed with that."""
    assert seen.entry is not None  # noqa: S101 - it is admitted
    others = [seen.former] if seen.former else []
    if seen.rotation is not None:
        others.append(Rotation.decode(seen.rotation.body).signing)
    for key in others:
        with suppress(ProtocolError):  # the one in force may fit
            signed.verified(key, Request)
            return key
    return seen.entry.signing

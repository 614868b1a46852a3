"""The gRPC service of members outside Flower (shared/proto/v1): mutual TLS on loopback, behind the front's one port."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
from grpc import ServicerContext as Context

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.admission.tables import MemberSeen
from fedrepay.server.network.superlink import Control
from fedrepay.server.service.callers import Callers, CallRefused
from fedrepay.server.service.contract import OnlyOurs
from fedrepay.server.service.keeper import Keeper
from fedrepay.server.service.metrics import watched
from fedrepay.server.service.renewal import Renewal
from fedrepay.server.service.standing import Teller
from fedrepay.server.service.waiting import MOST_WAITING, Waiting
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import FedrepayError, NetworkError, ProtocolError, StorageError
from fedrepay.shared.proto.v1 import consortium_pb2_grpc
from fedrepay.shared.proto.v1.consortium_pb2 import Body, Nothing, Part, SignedRequest
from fedrepay.shared.text import printable
from fedrepay.shared.trust.asking import LONG_POLL, LONGEST, PART, Answered, Request
from fedrepay.shared.trust.message import Signed

_THREADS = MOST_WAITING + 32
# milliseconds: a revoked certificate's connection, and a call that never ends, ends within the hour
_HANDSHAKE, _AGE, _GRACE = 5_000, 3_600_000, 60_000
_LOOK = 1.0  # seconds between two looks whether the keeper lives
_OPTIONS = (
    ("grpc.max_receive_message_length", LONGEST + (64 << 10)),
    ("grpc.max_metadata_size", 8 << 10),
    ("grpc.max_concurrent_streams", 8),
    ("grpc.max_connection_age_ms", _AGE),
    ("grpc.max_connection_age_grace_ms", _GRACE),
    ("grpc.server_handshake_timeout_ms", _HANDSHAKE),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
    ("grpc.so_reuseport", 0),
)
log = logging.getLogger(__name__)


class ConsortiumService(consortium_pb2_grpc.ConsortiumServicer):
    """Answers members.

    Args:
        callers: says who calls.
        registry: who is admitted.
        waiting: messages of a roster's making.
        told: what the database says.
        issue: makes a certificate for a name of a request (PEM).
        holds: told which roster a member says it holds: its hash, or zeros.
    """

    def __init__(
        self,
        callers: Callers,
        registry: Registry,
        waiting: Waiting,
        told: Teller,
        issue: Callable[[bytes, str], bytes],
        holds: Callable[[str, bytes], None],
    ) -> None:
        self.callers = callers
        self._registry = registry
        self._waiting = waiting
        self._told = told
        self._issue = issue
        self._holds = holds

    def _answered(
        self,
        method: str,
        request: SignedRequest,
        context: Context,
        work: Callable[[MemberSeen, Request], bytes],
    ) -> bytes:
        """What a member's call gives; what is wrong is told as gRPC tells it, and what is not the caller's stays here."""
        try:
            member, said = self.callers.caller(context, request, method)
            self._registry.saw(member.name)
            return work(member, said)
        except CallRefused as refused:
            log.info("%s refused: %s", method, printable(refused.said))
            context.abort(refused.code, refused.said)
        except ProtocolError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.cause)
        except StorageError as error:  # names the database, which is none of a member's business
            log.warning("%s failed: %s", method, printable(str(error)))
            context.abort(grpc.StatusCode.UNAVAILABLE, "the coordinator cannot use its database now")
        except FedrepayError as error:
            log.info("%s failed: %s", method, printable(str(error)))
            context.abort(grpc.StatusCode.NOT_FOUND, f"{error.cause} {error.remedy}")
        raise AssertionError("abort raises")

    def Wait(self, request: SignedRequest, context: Context) -> Body:  # noqa: N802 - the contract's name
        """The ask that waits for the caller."""

        def work(member: MemberSeen, _said: Request) -> bytes:
            return self._waiting.wait(member.name, LONG_POLL).encode()

        return Body(data=self._answered("Wait", request, context, work))

    def Answer(self, request: SignedRequest, context: Context) -> Nothing:  # noqa: N802
        """The caller's reply to it."""

        def work(member: MemberSeen, said: Request) -> bytes:
            self._waiting.answer(member.name, Answered.decode(said.body))
            return b""

        self._answered("Answer", request, context, work)
        return Nothing()

    def Stand(self, request: SignedRequest, context: Context) -> Body:  # noqa: N802
        """Where the consortium stands; the request's body is the hash of the roster that the caller holds, zeros, or empty."""

        def work(member: MemberSeen, said: Request) -> bytes:
            if len(said.body) not in (0, 32):
                raise ProtocolError("A roster's hash has 32 bytes.", "Send it anew.")
            if said.body:
                self._holds(member.name, said.body)
            return self._told.standing().encode()

        return Body(data=self._answered("Stand", request, context, work))

    def Pull(self, request: SignedRequest, context: Context) -> Iterator[Part]:  # noqa: N802
        """A release; the request's body is its number in 4 bytes, or empty for the newest."""

        def work(member: MemberSeen, said: Request) -> bytes:
            if len(said.body) not in (0, 4):
                raise ProtocolError("A release's number has 4 bytes.", "Send it anew.")
            return self._told.pulled(int.from_bytes(said.body, "big"), member.name)

        data = memoryview(self._answered("Pull", request, context, work))
        for first in range(0, len(data), PART):
            yield Part(data=bytes(data[first : first + PART]))

    def Heads(self, request: SignedRequest, context: Context) -> Body:  # noqa: N802
        """The caller's own newest header, as the coordinator holds it."""
        return Body(
            data=self._answered("Heads", request, context, lambda member, _s: self._told.header(member.name))
        )

    def Renew(self, request: SignedRequest, context: Context) -> Body:  # noqa: N802
        """A new certificate for the caller."""

        def work(member: MemberSeen, said: Request) -> bytes:
            return self._registry.renew(member.name, said.body, self._issue)

        return Body(data=self._answered("Renew", request, context, work))

    def Leave(self, request: SignedRequest, context: Context) -> Nothing:  # noqa: N802
        """The caller's signed word that it leaves."""

        def work(member: MemberSeen, said: Request) -> bytes:
            self._registry.leave(member.name, Signed.decode(said.body))
            return b""

        self._answered("Leave", request, context, work)
        return Nothing()

    def Rotate(self, request: SignedRequest, context: Context) -> Nothing:  # noqa: N802
        """The caller's old key names its new one, for the next roster."""

        def work(member: MemberSeen, said: Request) -> bytes:
            self._registry.rotate(member.name, Signed.decode(said.body))
            return b""

        self._answered("Rotate", request, context, work)
        return Nothing()


def serving(consortium: ConsortiumService, folder: Path, address: str) -> tuple[grpc.Server, int]:
    """A gRPC server that listens, not yet started, and its port; its certificate is read again at each handshake.

    Raises:
        NetworkError: the address is not to be had.
    """
    authority = folder / certificates.AUTHORITY
    pair = (folder / certificates.KEY, folder / certificates.CERTIFICATE)

    def configuration() -> Any:
        key, chain = (path.read_bytes() for path in pair)
        return grpc.ssl_server_certificate_configuration([(key, chain)], authority.read_bytes())

    server = grpc.server(
        ThreadPoolExecutor(_THREADS, "call"),
        interceptors=[OnlyOurs(consortium.callers)],
        options=_OPTIONS,
        maximum_concurrent_rpcs=_THREADS,
    )
    consortium_pb2_grpc.add_ConsortiumServicer_to_server(consortium, server)
    credentials = grpc.dynamic_ssl_server_credentials(
        configuration(), configuration, require_client_authentication=True
    )
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise NetworkError(
            f"The service cannot listen at {address}.", "Choose another port, or stop what has it."
        ) from error
    return server, port


def run(folder: Path, port: int, superlink: str, metrics: int) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Args:
        folder: the coordinator's.
        port: of the service, on loopback.
        superlink: HOST:PORT of the SuperLink, on loopback.
        metrics: port of metrics and health, on loopback.

    Raises:
        NetworkError: a port is not to be had, or the rosters' keeper ended by itself.
        StorageError: the database cannot be used.
    """
    store, registry = CoordinatorStore.in_folder(folder), Registry(folder)

    def gone(name: str) -> bool:
        member = registry.member(name)
        return member is None or member.state != "admitted"

    waiting, told = Waiting(time.monotonic, gone), Teller(folder, store, registry, time.time)

    def issue(request: bytes, name: str) -> bytes:
        return certificates.issue(folder, request, name)

    keeper = Keeper(
        folder,
        store,
        registry,
        waiting,
        time.time,
        lambda: Control(superlink, folder / certificates.AUTHORITY),
    )
    callers = Callers(registry, time.time)
    consortium = ConsortiumService(callers, registry, waiting, told, issue, keeper.holds)
    server, _ = serving(consortium, folder, f"127.0.0.1:{port}")

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: stop.set())
    thread = threading.Thread(target=keeper.run, args=(stop,), name="keeper", daemon=True)
    with watched(told, registry, metrics):
        server.start()
        thread.start()
        log.info("The service listens at 127.0.0.1:%d, metrics at 127.0.0.1:%d.", port, metrics)
        renewal = Renewal(folder, time.time)
        while thread.is_alive() and not stop.wait(_LOOK):
            renewal.look()
        waiting.wake()
        server.stop(grace=2.0).wait()
    if not stop.is_set():  # whoever supervises this starts it again
        raise NetworkError("The rosters' keeper ended by itself.", "The lines above say why: report them.")

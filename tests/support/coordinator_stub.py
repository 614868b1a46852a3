"""A small coordinator over real TLS on loopback: HTTPS and gRPC on one port by ALPN, certificates of a real authority.

Not the coordinator's own code: what members are told is set by the test.
"""

import hashlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route

from fedrepay.server.admission import certificates
from fedrepay.shared.proto.v1 import consortium_pb2 as messages
from fedrepay.shared.proto.v1 import consortium_pb2_grpc as calls
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust import agreement, asking, joining
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.asking import AskedOf, Request, Standing
from fedrepay.shared.trust.joining import About, Invitation, JoinAnswer, JoinRequest
from fedrepay.shared.trust.message import Signed
from support.serving import served

SECRET = b"0123456789abcdef"


def issue(
    folder: Path, request: bytes, name: str, begins: float = -60.0, ends: float = 30 * 86400.0
) -> bytes:
    """A client certificate over a request's key; seconds from now."""
    asked = x509.load_pem_x509_csr(request)
    authority = x509.load_pem_x509_certificate((folder / certificates.AUTHORITY).read_bytes())
    key = load_pem_private_key((folder / certificates.AUTHORITY_KEY).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(seconds=begins))
        .not_valid_after(now + timedelta(seconds=ends))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"fedrepay:{name}")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(Encoding.PEM)


@dataclass
class Stub(calls.ConsortiumServicer):
    """What the coordinator says, and what it was asked."""

    folder: Path
    book: CodeBook
    terms: bytes = b""
    port: int = 0
    version: int = joining.VERSION
    state: str = "waiting"
    cause: str = ""
    lies: bytes | None = None  # terms told to who has not verified us yet
    schemas: tuple[tuple[bytes, bytes, bytes], ...] | None = None
    joined: list[bytes] = field(default_factory=list)
    asked: list[tuple[str, Request]] = field(default_factory=list)
    asks: list[AskedOf] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    header: bytes = b"header"
    standing: Standing | None = None
    parts: dict[int, bytes] = field(default_factory=dict)
    signing: bytes = b""
    refuse: grpc.StatusCode | None = None
    renewed: float = 30 * 86400.0
    away: int = 0  # HTTP calls that fail with 503 before one is answered
    seen: int = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def authority(self) -> bytes:
        pem = (self.folder / certificates.AUTHORITY).read_bytes()
        return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).digest()

    def invitation(self, name: str = "bank-a", **other: Any) -> Invitation:
        facts = {"address": self.address, "name": name, "authority": self.authority, "secret": SECRET}
        return Invitation(**(facts | other))

    def agree(self, **other: Any) -> None:
        """Write terms over the book."""
        facts: dict[str, Any] = {
            "name": "Trial",
            "address": self.address,
            "schemas": (self.book.schema_hash.hex(),),
        }
        self.terms = agreement.write(ConsortiumTerms(**(facts | other)))

    # --- HTTPS ---

    def about(self, _asked: Asked) -> Response:
        self.seen += 1
        held = ((self.book.schema_hash, self.book.schema_bytes, self.book.codebook_bytes),)
        said = About(
            version=self.version,
            product="9.9.9",
            authority=b"# an authority\n" + (self.folder / certificates.AUTHORITY).read_bytes(),
            terms=self.lies if self.lies is not None and self.seen == 1 else self.terms,
            schemas=held if self.schemas is None else self.schemas,
        )
        return Response(said.encode())

    async def join(self, asked: Asked) -> Response:
        body = await asked.body()
        if self.away:
            self.away -= 1
            return Response("the service is away", 503)
        self.joined.append(body)
        signed = Signed.decode(body)
        said = JoinRequest.decode(signed.body)
        signed.verified(said.entry.signing, JoinRequest)
        self.signing = said.entry.signing
        if self.state == "admitted":
            answer = JoinAnswer(
                state="admitted", certificate=issue(self.folder, said.request, said.entry.name)
            )
        else:
            answer = JoinAnswer(state=self.state, cause=self.cause)  # type: ignore[arg-type]
        return Response(answer.encode())

    # --- gRPC ---

    def _checked(
        self, method: str, request: messages.SignedRequest, context: grpc.ServicerContext
    ) -> Request:
        assert context.auth_context()["x509_pem_cert"], "mutual TLS"
        if self.refuse is not None:
            context.abort(self.refuse, "as the test says")
        signed = Signed(body=request.body, signature=request.signature)
        said = asking.checked(signed, self.signing, method, datetime.now(UTC).timestamp())
        self.asked.append((method, said))
        return said

    def Wait(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> messages.Body:  # noqa: N802
        self._checked("Wait", request, context)
        return messages.Body(data=(self.asks.pop(0) if self.asks else AskedOf(ask=0)).encode())

    def Answer(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> messages.Nothing:  # noqa: N802
        self.answers.append(self._checked("Answer", request, context).body)
        return messages.Nothing()

    def Stand(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> messages.Body:  # noqa: N802
        self._checked("Stand", request, context)
        if self.standing is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "nothing stands")
        assert self.standing is not None
        return messages.Body(data=self.standing.encode())

    def Pull(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> Iterator[messages.Part]:  # noqa: N802
        number = int.from_bytes(self._checked("Pull", request, context).body, "big")
        data = self.parts[number]
        for start in range(0, len(data), asking.PART):
            yield messages.Part(data=data[start : start + asking.PART])

    def Heads(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> messages.Body:  # noqa: N802
        self._checked("Heads", request, context)
        return messages.Body(data=self.header)

    def Renew(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> messages.Body:  # noqa: N802
        said = self._checked("Renew", request, context)
        return messages.Body(data=issue(self.folder, said.body, said.name, ends=self.renewed))

    def Rotate(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> messages.Nothing:  # noqa: N802
        self._checked("Rotate", request, context)
        return messages.Nothing()

    def Leave(self, request: messages.SignedRequest, context: grpc.ServicerContext) -> messages.Nothing:  # noqa: N802
        self._checked("Leave", request, context)
        return messages.Nothing()


@contextmanager
def coordinator(folder: Path, book: CodeBook, hosts: tuple[str, ...] = ()) -> Iterator[Stub]:
    """A coordinator that runs until the end; its terms are over the book."""
    folder.mkdir()
    certificates.create(folder, hosts)
    stub = Stub(folder, book)
    routes = [Route(joining.ABOUT, stub.about), Route(joining.JOIN, stub.join, methods=["POST"])]
    key, pem, authority = (
        (folder / name).read_bytes()
        for name in (certificates.KEY, certificates.CERTIFICATE, certificates.AUTHORITY)
    )
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    calls.add_ConsortiumServicer_to_server(stub, server)
    credentials = grpc.ssl_server_credentials([(key, pem)], authority, require_client_auth=True)
    rpc = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    options = {"ssl_keyfile": folder / certificates.KEY, "ssl_certfile": folder / certificates.CERTIFICATE}
    try:
        with (
            served(Starlette(routes=routes), **options) as web,
            listening(lambda first: by_alpn(first, web, rpc)) as port,
        ):
            stub.port = port
            stub.agree()
            yield stub
    finally:
        server.stop(0).wait()


def by_alpn(first: socket.socket, web: int, rpc: int) -> None:
    """Hand a connection on to the one or the other, by what its ClientHello offers."""
    hello = first.recv(4096, socket.MSG_PEEK)
    target = rpc if b"\x02h2" in hello and b"http/1.1" not in hello else web
    with suppress(OSError), socket.create_connection(("127.0.0.1", target)) as second:
        splice(first, second)


def splice(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until both ends are done."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=carry, args=(other, one), daemon=True)
    back.start()
    carry(one, other)
    back.join(30)


@contextmanager
def listening(serve: Any, host: str = "127.0.0.1") -> Iterator[int]:
    """A port whose connections are each served in a thread."""
    with socket.create_server((host, 0)) as listener:
        ended = threading.Event()

        def each(connection: socket.socket) -> None:
            with suppress(OSError), connection:
                serve(connection)

        def accept() -> None:
            while not ended.is_set():
                with suppress(OSError):
                    connection, _ = listener.accept()
                    threading.Thread(target=each, args=(connection,), daemon=True).start()

        listener.settimeout(0.1)
        thread = threading.Thread(target=accept)
        thread.start()
        yield listener.getsockname()[1]
        ended.set()
        thread.join(20)


@contextmanager
def elsewhere(stub: Stub) -> Iterator[str]:
    """The same coordinator at an address that its certificate does not name."""

    def serve(first: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", stub.port)) as second:
            splice(first, second)

    with listening(serve, "127.0.0.2") as port:
        yield f"127.0.0.2:{port}"


@dataclass
class ConnectProxy:
    """A small HTTP CONNECT proxy with a password."""

    wanted: str = "Basic dXNlcjpwYXNz"  # user:pass
    port: int = 0
    passed: list[str] = field(default_factory=list)
    refused: int = 0

    def serve(self, first: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (data := first.recv(4096)):
            head += data
        line, *rest = head.decode().split("\r\n")
        said = {k.lower(): v.strip() for k, _, v in (each.partition(":") for each in rest)}
        if said.get("proxy-authorization") != self.wanted:
            self.refused += 1
            first.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        target = line.split()[1]
        self.passed.append(target)
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as second:
            first.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            splice(first, second)


@contextmanager
def proxied() -> Iterator[ConnectProxy]:
    """A proxy that runs until the end."""
    proxy = ConnectProxy()
    with listening(proxy.serve) as port:
        proxy.port = port
        yield proxy

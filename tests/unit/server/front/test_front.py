"""The front forwards what a registered node needs and nothing else."""

import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from fedrepay.server.admission import certificates
from fedrepay.server.front import front, hurry
from fedrepay.server.front.nodes import Nodes
from support.nodes import Node
from support.serving import served


@dataclass
class Upstream:
    """What the SuperLink would have seen."""

    port: int = 0
    seen: list[tuple[str, bytes, dict[str, str]]] = field(default_factory=list)

    async def answer(self, request: Request) -> Response:
        self.seen.append((request.url.path, await request.body(), dict(request.headers)))
        return Response(
            b"answer",
            418,
            {
                "content-type": "application/x-protobuf",
                "flwr-version": "1",
                "server-name": "inside",
                "set-cookie": "x=1",
            },
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("front")
    certificates.create(made, ["consortium.example"])
    NODE.join(made)
    return made


NODE = Node("bank-a")


def before(superlink: int, folder: Path, **limits: Any) -> Starlette:
    """The front of that folder, before a SuperLink on that port."""
    authority = folder / certificates.AUTHORITY
    return front.application(f"https://127.0.0.1:{superlink}", authority, Nodes(folder), **limits)


@pytest.fixture(scope="module")
def upstream(folder: Path) -> Iterator[Upstream]:
    seen = Upstream()
    app = Starlette(routes=[Route("/{path:path}", seen.answer, methods=["GET", "POST", "PUT"])])
    with served(
        app, ssl_certfile=str(folder / certificates.CERTIFICATE), ssl_keyfile=str(folder / certificates.KEY)
    ) as seen.port:
        yield seen


@contextmanager
def fronted(superlink: int, folder: Path) -> Iterator[httpx.Client]:
    with (
        served(before(superlink, folder, max_body=1000)) as port,
        NODE.calling(f"http://127.0.0.1:{port}") as made,
    ):
        yield made


@pytest.fixture(scope="module")
def running(folder: Path, upstream: Upstream) -> Iterator[httpx.Client]:
    with fronted(upstream.port, folder) as made:
        yield made


@pytest.fixture
def client(running: httpx.Client, upstream: Upstream) -> httpx.Client:
    upstream.seen.clear()
    return running


def test_a_node_s_call_goes_through_with_its_own_headers_alone(
    client: httpx.Client, upstream: Upstream
) -> None:
    headers = {
        "content-type": "application/protobuf",
        "FLWR-Other": "k",
        "authorization": "Bearer x",
        "cookie": "a=b",
        "x-forwarded-for": "10.0.0.1",
    }
    answer = client.post("/v1/fleet/pull-messages?more=1", content=b"\x00body", headers=headers)
    ((path, body, seen),) = upstream.seen
    assert (path, body) == ("/v1/fleet/pull-messages", b"\x00body")
    assert seen["content-type"] == "application/protobuf"
    assert seen["flwr-other"] == "k"
    assert {"flwr-public-key", "flwr-signature", "flwr-timestamp"} <= set(seen)
    assert not {"authorization", "cookie", "x-forwarded-for"} & set(seen)
    assert (answer.status_code, answer.content) == (418, b"answer")
    assert answer.headers["content-type"] == "application/x-protobuf"
    assert answer.headers["flwr-version"] == "1"
    assert not {"set-cookie", "server-name"} & set(answer.headers)


@pytest.mark.parametrize("call", front.CALLS)
def test_every_call_of_a_node_is_known(client: httpx.Client, upstream: Upstream, call: str) -> None:
    assert client.post(f"/v1/fleet/{call}", content=b"").status_code == 418
    assert [path for path, _, _ in upstream.seen] == [f"/v1/fleet/{call}"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/runtime/acquire-task"),
        ("POST", "/v1/fleet/register-node"),
        ("POST", "/v1/fleet/unregister-node"),
        ("POST", "/v1/fleet/"),
        ("POST", "/v1/fleet/pull-messages/"),
        ("POST", "/v1/fleet/pull-messages/x"),
        ("POST", "//v1/fleet/pull-messages"),
        ("POST", "/v1/fleet/%2e%2e/control/start-run"),
        ("POST", "/v1/fleet/..%2fcontrol%2fstart-run"),
        ("POST", "/V1/FLEET/PULL-MESSAGES"),
        ("GET", "/v1/fleet/pull-messages"),
        ("PUT", "/v1/fleet/pull-messages"),
        ("OPTIONS", "/v1/fleet/pull-messages"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("GET", "/"),
    ],
)
def test_anything_else_is_not_found_and_reaches_nobody(
    client: httpx.Client, upstream: Upstream, method: str, path: str
) -> None:
    assert client.request(method, path, content=b"x" if method == "POST" else None).status_code == 404
    assert upstream.seen == []


def test_control_without_the_front_those_paths_do_reach_it(folder: Path, upstream: Upstream) -> None:
    upstream.seen.clear()
    trusted = ssl.create_default_context(cafile=str(folder / certificates.AUTHORITY))
    with httpx.Client(base_url=f"https://127.0.0.1:{upstream.port}", verify=trusted) as direct:
        direct.post("/v1/control/start-run", content=b"x")
    assert [path for path, _, _ in upstream.seen] == ["/v1/control/start-run"]


def test_a_body_over_the_limit_is_dropped(client: httpx.Client, upstream: Upstream) -> None:
    path = "/v1/fleet/push-object"
    assert client.post(path, content=bytes(1000)).status_code == 418
    upstream.seen.clear()
    assert client.post(path, content=bytes(1001)).status_code == 413
    assert client.post(path, content=iter([bytes(600), bytes(600)])).status_code == 413
    assert upstream.seen == []


def test_a_superlink_that_is_down_or_not_ours_gives_502(
    folder: Path, upstream: Upstream, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with fronted(free.getsockname()[1], folder) as client:
            assert client.post("/v1/fleet/get-run", content=b"").status_code == 502
    upstream.seen.clear()
    certificates.create(tmp_path, [])
    NODE.join(tmp_path)
    with fronted(upstream.port, tmp_path) as client:
        assert client.post("/v1/fleet/get-run", content=b"").status_code == 502
    assert upstream.seen == []


@pytest.mark.parametrize("host", ["a/v1/control/start-run?", "a/v1/control/start-run#", "a@b:1/x", ""])
def test_a_host_header_moves_no_path(client: httpx.Client, upstream: Upstream, host: str) -> None:
    client.post("/v1/fleet/get-run", content=b"", headers={"host": host})
    assert {path for path, _, _ in upstream.seen} <= {"/v1/fleet/get-run"}


def raw(port: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    lines = "".join(f"{name}: {value}\r\n" for name, value in NODE.headers().items())
    connection.sendall(sent.replace(b"@\r\n", lines.encode()))
    return connection


HEAD = b"POST /v1/fleet/get-run HTTP/1.1\r\nhost: a\r\n@\r\n"
"""With a place for a node's headers, which are signed when they are sent."""


@pytest.mark.parametrize(
    "sent",
    [
        HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n0\r\n\r\n",
        HEAD + b"content-length: 0\r\ncontent-length: 40\r\nconnection: close\r\n\r\n",
        HEAD
        + b"content-length: 1\r\nconnection: close\r\n\r\nx"
        + b"POST /v1/control/start-run HTTP/1.1\r\n\r\n",
        HEAD.replace(b"get-run", b"get-run\x00") + b"\r\n",
    ],
)
def test_requests_within_requests_reach_nothing_else(folder: Path, upstream: Upstream, sent: bytes) -> None:
    upstream.seen.clear()
    app = before(upstream.port, folder)
    with served(app, http=hurry.hurried()) as port, raw(port, sent) as caller:
        while caller.recv(1000):
            pass
    assert {path for path, _, _ in upstream.seen} <= {"/v1/fleet/get-run"}
    assert len(upstream.seen) <= 1


def test_a_body_that_does_not_come_is_given_up(folder: Path, upstream: Upstream) -> None:
    upstream.seen.clear()
    app = before(upstream.port, folder, body_seconds=0.2)
    with served(app) as port, raw(port, HEAD + b"content-length: 2\r\n\r\nx") as caller:
        assert caller.recv(100).startswith(b"HTTP/1.1 408")
    assert upstream.seen == []


def its_bytes_are_there(slow: socket.socket, client: httpx.Client) -> bool:
    """Whether the slow caller's 700 bytes are held: 400 more are too many. False where they came second and were refused."""
    while client.post("/v1/fleet/get-run", content=bytes(400)).status_code != 503:
        if select.select([slow], [], [], 0)[0]:
            return False
    return True


def test_all_bodies_at_once_have_a_limit_and_give_their_room_back(folder: Path, upstream: Upstream) -> None:
    app = before(upstream.port, folder, max_held=1000)
    head = HEAD + b"content-length: 800\r\nconnection: close\r\n\r\n"
    with served(app) as port, NODE.calling(f"http://127.0.0.1:{port}") as client:
        assert client.post("/v1/fleet/get-run", content=bytes(900)).status_code == 418
        done = False
        while not done:
            with raw(port, head + bytes(700)) as slow:
                if its_bytes_are_there(slow, client):
                    slow.sendall(bytes(100))
                    assert slow.recv(100).startswith(b"HTTP/1.1 418")
                    done = True
        assert client.post("/v1/fleet/get-run", content=bytes(900)).status_code == 418


@pytest.mark.parametrize("sent", [b"", HEAD, HEAD + b"content-length: 0\r\n\r\n" + HEAD])
def test_a_caller_that_never_ends_its_headers_is_closed(
    folder: Path, upstream: Upstream, sent: bytes
) -> None:
    def waited_for(seconds: float) -> bool:
        app = before(upstream.port, folder)
        with served(app, http=hurry.hurried(seconds)) as port, raw(port, sent) as caller:
            caller.settimeout(1 if seconds > 20 else 20)
            try:
                while caller.recv(1000):
                    pass
            except TimeoutError:
                return True
            return False

    assert not waited_for(0.2)
    assert waited_for(60), "the control: without the look it stays"


def expired(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same names, signed by an authority of its own, its certificate a day too old."""
    with monkeypatch.context() as patch:
        patch.setattr(certificates, "_SKEW", timedelta(days=3))
        patch.setattr(certificates, "_SERVER_DAYS", -1)
        certificates.create(folder, [])
    return folder


@pytest.mark.parametrize("old", [False, True])
def test_an_expired_certificate_is_refused_on_both_sides_of_the_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, old: bool
) -> None:
    certificates.create(tmp_path, []) if not old else expired(tmp_path, monkeypatch)
    NODE.join(tmp_path)
    keys = {
        "ssl_certfile": str(tmp_path / certificates.CERTIFICATE),
        "ssl_keyfile": str(tmp_path / certificates.KEY),
    }
    seen = Upstream()
    link = Starlette(routes=[Route("/{path:path}", seen.answer, methods=["POST"])])
    trusted = ssl.create_default_context(cafile=str(tmp_path / certificates.AUTHORITY))
    with served(link, **keys) as seen.port:
        with fronted(seen.port, tmp_path) as client:
            assert client.post("/v1/fleet/get-run", content=b"").status_code == (502 if old else 418)
        app = before(seen.port, tmp_path)
        with served(app, **keys) as port, NODE.calling(f"https://127.0.0.1:{port}", verify=trusted) as node:
            asked = "/v1/fleet/get-run"
            if old:
                with pytest.raises(httpx.ConnectError, match="certificate has expired"):
                    node.post(asked, content=b"")
            else:
                assert node.post(asked, content=b"").status_code == 418
    assert len(seen.seen) == (0 if old else 2)


def test_certificates_name_their_hosts_and_keys_are_private(folder: Path) -> None:
    from cryptography import x509

    authority = x509.load_pem_x509_certificate((folder / certificates.AUTHORITY).read_bytes())
    server = x509.load_pem_x509_certificate((folder / certificates.CERTIFICATE).read_bytes())
    server.verify_directly_issued_by(authority)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["consortium.example", "localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    for name in (certificates.KEY, certificates.AUTHORITY_KEY):
        assert (folder / name).stat().st_mode & 0o777 == 0o600

"""A caller on a slow line gets a large answer whole; one that takes nothing of it is closed."""

import socket
import ssl
import time
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from fedrepay.server.admission import certificates
from fedrepay.server.front import connections, hurry
from support.serving import served

SIZE = 24 << 20
SECONDS = 0.3


def got(folder: Path, kind: type[Response], pause: float, first: float = 0.0) -> int:
    """Bytes that a caller comes to that takes a quarter of a megabyte after each pause."""
    app = Starlette(routes=[Route("/", kind(bytes(SIZE)))])
    options = {
        "ssl_certfile": folder / certificates.CERTIFICATE,
        "ssl_keyfile": folder / certificates.KEY,
        "loop": "fedrepay.server.front.reception:Loop",
        "http": hurry.hurried(SECONDS),
    }
    context = ssl.create_default_context(cafile=str(folder / certificates.AUTHORITY))
    with served(app, **options) as port, socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        plain.settimeout(20)
        plain.connect(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname="localhost") as caller:
            caller.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            time.sleep(first)
            came, mark = 0, 0
            try:
                while came < SIZE and (block := caller.recv(1 << 16)):
                    came += len(block)
                    if came - mark > 1 << 18:
                        mark = came
                        time.sleep(pause)
            except (ConnectionError, ssl.SSLError):
                return came
            return came


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    certificates.create(tmp_path, [])
    monkeypatch.setattr(connections, "HANDSHAKE", SECONDS)
    return tmp_path


def test_a_slow_caller_gets_all_of_it(folder: Path) -> None:
    assert got(folder, hurry.Answer, 0.02) >= SIZE


def test_control_handed_over_in_one_piece_it_is_cut_off(folder: Path) -> None:
    assert got(folder, Response, 0.02) < SIZE


def test_who_takes_nothing_is_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert got(folder, hurry.Answer, 0, first=2) < SIZE
    monkeypatch.setattr(hurry, "_BLOCK", SIZE)
    from uvicorn.protocols.http.h11_impl import H11Protocol

    monkeypatch.setattr(hurry, "hurried", lambda _seconds: H11Protocol)
    assert got(folder, hurry.Answer, 0, first=2) >= SIZE, "the control: uvicorn alone waits"


def test_an_answer_has_its_length_and_headers(folder: Path) -> None:
    made = hurry.Answer(b"abc", 418, {"content-type": "a/b"})
    assert made.headers["content-length"] == "3"
    assert got(folder, hurry.Answer, 0) >= SIZE

"""What strangers may ask: little, seldom, and nothing of the coordinator's own trouble."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from fedrepay.server.admission import certificates
from fedrepay.server.front import front
from fedrepay.server.front.joining import A_MINUTE, MEDIA, joining_routes
from fedrepay.server.front.nodes import Nodes
from fedrepay.server.front.rates import Rate
from fedrepay.shared.errors import ArgumentError, FedrepayError, ProtocolError, StorageError
from fedrepay.shared.trust.joining import ABOUT, JOIN, LONGEST_JOIN, JoinAnswer
from fedrepay.shared.trust.message import Signed
from support.serving import served

REQUEST = Signed(body=b"let me in", signature=bytes(64)).encode()


@contextmanager
def asked(
    folder: Path,
    join: Callable[[bytes], bytes],
    about: Callable[[], bytes] = lambda: b"about",
    rate: Rate | None = None,
    body_seconds: float = 10,
) -> Iterator[httpx.Client]:
    certificates.create(folder, [])
    routes = joining_routes(about, join, rate, body_seconds)
    authority = folder / certificates.AUTHORITY
    app = front.application("https://127.0.0.1:1", authority, Nodes(folder), joining=routes)
    with (
        served(app, reset_contextvars=False) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        yield client


def test_requests_and_answers_pass_as_they_are(tmp_path: Path) -> None:
    seen = []

    def join(body: bytes) -> bytes:
        seen.append(body)
        return b"answer"

    with asked(tmp_path, join) as client:
        answers = (client.get(ABOUT), client.post(JOIN, content=REQUEST))
    assert [(each.status_code, each.content) for each in answers] == [(200, b"about"), (200, b"answer")]
    assert {each.headers["content-type"] for each in answers} == {MEDIA}
    assert seen == [REQUEST]


def test_the_newest_word_of_the_consortium_is_said(tmp_path: Path) -> None:
    words = [b"new", b"old", b"old"]
    with asked(tmp_path, lambda body: body, words.pop) as client:
        assert [client.get(ABOUT).content for _ in range(3)] == [b"old", b"old", b"new"]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ArgumentError("No such invitation.", "Ask for another."), "No such invitation."),
        (ProtocolError("x" * 2000, "y" * 2000), "x" * 1000),
        (StorageError("/secret/place cannot be written.", "Look at /secret."), "The coordinator cannot keep"),
    ],
)
def test_an_error_is_a_refusal_that_tells_nothing_of_the_coordinator(
    tmp_path: Path, error: FedrepayError, said: str
) -> None:
    def join(_body: bytes) -> bytes:
        raise error

    with asked(tmp_path, join) as client:
        answer = client.post(JOIN, content=REQUEST)
    read = JoinAnswer.decode(answer.content)
    assert (answer.status_code, read.state) == (200, "refused")
    assert read.cause.startswith(said)
    assert read.remedy
    assert b"/secret" not in answer.content


def test_what_is_no_request_or_too_long_is_not_looked_at(tmp_path: Path) -> None:
    def join(_body: bytes) -> bytes:
        raise AssertionError

    with asked(tmp_path, join) as client:
        for rubbish in (b"", b"rubbish", REQUEST[:-1], REQUEST + b"x"):
            assert client.post(JOIN, content=rubbish).status_code == 400
        assert client.post(JOIN, content=bytes(LONGEST_JOIN + 1)).status_code == 413
        assert client.post(JOIN, content=iter([bytes(LONGEST_JOIN), b"x"])).status_code == 413


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    with (
        asked(tmp_path, lambda body: body, body_seconds=0.2) as client,
        socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=20) as slow,
    ):
        slow.sendall(f"POST {JOIN} HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nx".encode())
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_an_address_that_asks_too_often_is_told_when_to_come_again(tmp_path: Path) -> None:
    now = [0.0]
    with asked(tmp_path, lambda _body: b"answer", rate=Rate(A_MINUTE, lambda: now[0])) as client:

        def said() -> list[int]:
            return [client.get(ABOUT).status_code, client.post(JOIN, content=REQUEST).status_code]

        assert [said() for _ in range(A_MINUTE // 2)] == [[200, 200]] * (A_MINUTE // 2)
        refused = client.post(JOIN, content=REQUEST)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
        now[0] = 2.1
        assert said() == [200, 429]


def test_a_bucket_fills_again_and_other_addresses_have_theirs() -> None:
    now = [0.0]
    rate = Rate(6, lambda: now[0])
    assert [rate.wait("a") for _ in range(8)] == [0] * 6 + [10, 10]
    assert rate.wait("b") == 0
    now[0] = 4.0
    assert rate.wait("a") == pytest.approx(6)
    now[0] = 1000.0
    assert [rate.wait("a") for _ in range(7)] == [0] * 6 + [10]
    for i in range(10_000):
        rate.wait(str(i))
    assert len(rate._left) == 4096


def test_work_on_a_request_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    begun, done = threading.Event(), threading.Event()

    def join(_body: bytes) -> bytes:
        begun.set()
        assert done.wait(30)
        return b"answer"

    with asked(tmp_path, join) as client:
        answers = []
        asking = threading.Thread(target=lambda: answers.append(client.post(JOIN, content=REQUEST).content))
        asking.start()
        assert begun.wait(30)
        with httpx.Client(base_url=client.base_url, timeout=10) as other:
            assert other.get("/health").text == "ok"
        done.set()
        asking.join(30)
    assert answers == [b"answer"]

"""Connections: strangers are few and give way, nodes stay, and descriptors are never used up."""

import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from fedrepay.server.admission import certificates
from fedrepay.server.front import connections
from fedrepay.server.front.connections import Listener
from fedrepay.shared.errors import NetworkError
from support.nodes import Node
from support.processes import until

NODE = Node("bank-a")
FILES = 256  # descriptors of the front under test
HALF_OPEN = 300
HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # of TLS, and no more of it


@contextmanager
def listening(most: int = 32, strangers: int = 16) -> Iterator[Listener]:
    with Listener("127.0.0.1", 0, most, strangers) as made:
        made.listen()
        yield made


def call(port: int, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5, source_address=(source, 0))


class Callers:
    """Connections from both ends."""

    def __init__(self, at: Listener, stack: ExitStack) -> None:
        self._listener, self._stack = at, stack
        self.port: int = at.getsockname()[1]

    def come(self, source: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
        near = self._stack.enter_context(call(self.port, source))
        far, _ = self._listener.accept()
        return near, self._stack.enter_context(far)

    def known(self, near: socket.socket, key: bytes = b"k") -> bool:
        return self._listener.known(near.getsockname(), key)


@pytest.fixture
def callers() -> Iterator[Callers]:
    with listening() as at, ExitStack() as stack:
        yield Callers(at, stack)


def ended(near: socket.socket) -> bool:
    near.settimeout(0.05)
    try:
        return near.recv(1) == b""
    except TimeoutError:
        return False


def test_the_newest_stranger_of_an_address_takes_the_place_of_its_oldest(callers: Callers) -> None:
    other, _ = callers.come("127.0.0.2")
    came = [callers.come()[0] for _ in range(5)]
    assert [ended(near) for near in came] == [True, True, True, False, False]  # two of one address
    assert not ended(other)


def test_the_newest_stranger_of_all_takes_the_place_of_the_oldest(callers: Callers) -> None:
    came = [callers.come(f"127.0.0.{i}")[0] for i in range(2, 22)]
    assert [ended(near) for near in came] == [True] * 4 + [False] * 16


def test_on_whose_connection_a_node_has_spoken_stays(callers: Callers) -> None:
    node, _ = callers.come()
    assert callers.known(node)
    assert callers.known(node)
    strangers = [callers.come()[0] for _ in range(9)]
    assert not ended(node)
    assert [ended(near) for near in strangers].count(False) == 2


def test_control_a_node_that_has_not_spoken_does_not(callers: Callers) -> None:
    node, _ = callers.come()
    for _ in range(9):
        callers.come()
    assert ended(node)


def test_nodes_may_take_all_room_but_one_node_may_not(
    callers: Callers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "A_NODE", 20)
    said = []
    for i in range(25):
        near, far = callers.come(f"127.0.0.{i + 2}")
        said.append(callers.known(near))
        if not said[-1]:
            far.close()
    assert said == [True] * 20 + [False] * 5
    for i in range(12):
        assert callers.known(callers.come(f"127.0.1.{i + 1}")[0], b"another")
    with pytest.raises(BlockingIOError):
        callers.come("127.0.2.1")


def test_what_is_closed_gives_its_room_back(callers: Callers) -> None:
    for _ in range(100):
        near, far = callers.come()
        assert callers.known(near)
        far.close()
        near.close()
    kept, _ = callers.come()
    for _ in range(100):
        near, far = callers.come()
        far.close()
        near.close()
    assert not ended(kept)


def test_half_of_all_descriptors_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, room in ((256, 128), (1024, 512), (1 << 20, 4096), (resource.RLIM_INFINITY, 4096)):
        monkeypatch.setattr(resource, "getrlimit", lambda _what, soft=soft: (soft, soft))
        assert connections.room() == room


def test_a_port_that_is_taken_is_said_so(tmp_path: Path) -> None:
    from fedrepay.server.front import front

    with listening() as at, pytest.raises(NetworkError, match="cannot listen"):
        front.run("https://127.0.0.1:1", tmp_path, "127.0.0.1", at.getsockname()[1], (tmp_path,) * 3)


# --- a front of few descriptors, and callers that never end their handshake ---

RUN = """
import resource, sys
from pathlib import Path
from fedrepay.server.admission import certificates
from fedrepay.server.front import connections, front
resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files}))
folder = Path(sys.argv[1])
if sys.argv[3] == "open":
    class Open(connections.Listener):
        def accept(self):
            return connections.socket.socket.accept(self)
    front.Listener = Open
tls = tuple(folder / name for name in (certificates.AUTHORITY, certificates.CERTIFICATE, certificates.KEY))
front.run("https://127.0.0.1:1", folder, "127.0.0.1", int(sys.argv[2]), tls)
"""


@contextmanager
def front_of_few_descriptors(folder: Path, how: str) -> Iterator[int]:
    certificates.create(folder, [])
    NODE.join(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    code = RUN.format(files=FILES)
    with subprocess.Popen([sys.executable, "-c", code, folder, str(port), how]) as process:
        try:
            until(lambda: process.poll() is None and answers(port))
            yield port
        finally:
            process.terminate()


def answers(port: int) -> bool:
    try:
        call(port).close()
    except OSError:
        return False
    return True


def served(port: int, folder: Path, seconds: float) -> bool:
    import ssl

    trusted = ssl.create_default_context(cafile=str(folder / certificates.AUTHORITY))
    with NODE.calling(f"https://127.0.0.1:{port}", verify=trusted) as client:
        try:  # there is no SuperLink: 502 is the front's own
            return client.post("/v1/fleet/get-run", content=b"", timeout=seconds).status_code == 502
        except httpx.TransportError:
            return False


@pytest.mark.parametrize("sent", [b"", HELLO], ids=["silent", "a beginning of TLS"])
def test_half_open_handshakes_keep_no_node_out(tmp_path: Path, sent: bytes) -> None:
    with front_of_few_descriptors(tmp_path, "listener") as port, ExitStack() as stack:
        for _ in range(HALF_OPEN):
            stack.enter_context(call(port)).sendall(sent)
        assert served(port, tmp_path, 60)
        for i in range(HALF_OPEN):
            stack.enter_context(call(port, f"127.0.1.{i % 250 + 1}")).sendall(sent)
        assert served(port, tmp_path, 60)


def test_control_without_the_listener_they_use_up_all_descriptors(tmp_path: Path) -> None:
    with front_of_few_descriptors(tmp_path, "open") as port, ExitStack() as stack:
        assert served(port, tmp_path, 60)
        for _ in range(HALF_OPEN):
            stack.enter_context(call(port)).sendall(HELLO)
        assert not served(port, tmp_path, 3)


def test_a_handshake_that_is_not_ended_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.applications import Starlette

    from support.serving import served as serving

    certificates.create(tmp_path, [])
    tls = {"ssl_certfile": tmp_path / certificates.CERTIFICATE, "ssl_keyfile": tmp_path / certificates.KEY}
    monkeypatch.setattr(connections, "HANDSHAKE", 0.2)

    def waited_for(loop: str, seconds: float) -> bool:
        with serving(Starlette(), loop=loop, **tls) as port, call(port) as caller:
            caller.sendall(HELLO)
            caller.settimeout(seconds)
            try:
                return caller.recv(100) != b""
            except ConnectionResetError:
                return False
            except TimeoutError:
                return True

    assert not waited_for("fedrepay.server.front.reception:Loop", 20)
    assert waited_for("asyncio", 1), "the control: asyncio's own minute"

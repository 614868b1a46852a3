"""The public port: looking costs little and takes nothing, strangers push no member out, a certificate is renewed."""

import asyncio
import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509

from fedrepay.server.admission import certificates
from fedrepay.server.front import alpn, connections, front, reception, splice, tls
from fedrepay.server.front.connections import Listener
from fedrepay.server.service.renewal import Renewal
from support import fronts
from support.fronts import Machine
from support.nodes import member_certificate
from support.processes import until


def hello(offered: list[str]) -> bytes:
    context, out = ssl.create_default_context(), ssl.MemoryBIO()
    context.set_alpn_protocols(offered)
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost").do_handshake()
    return out.read()


H2 = hello(["h2"])


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes there were, each time."""
    seen: list[int] = []
    read = alpn.read

    def counted(data: bytes) -> tuple[bytes, ...] | int | None:
        seen.append(len(data))
        return read(data)

    monkeypatch.setattr(alpn, "read", counted)
    return seen


def offered(
    talk: Callable[[socket.socket], Any], seconds: float = 20
) -> tuple[tuple[bytes, ...] | None, bytes]:
    """What a caller offers that does this, and what is there to be read afterwards."""

    async def play() -> tuple[tuple[bytes, ...] | None, bytes]:
        with (
            socket.create_server(("127.0.0.1", 0)) as at,
            socket.create_connection(at.getsockname()) as caller,
        ):
            near, _ = at.accept()
            with near:
                near.settimeout(0)
                caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                async with asyncio.timeout(seconds):
                    _, names = await asyncio.gather(talk(caller), reception.offered(near))
                return names, near.recv(1 << 16)

    return asyncio.run(play())


def test_a_hello_is_looked_at_and_stays(looks: list[int]) -> None:
    async def at_once(caller: socket.socket) -> None:
        caller.sendall(H2)

    assert offered(at_once) == ((b"h2",), H2)
    assert len(looks) <= 2


def test_byte_by_byte_it_is_looked_at_a_few_times(looks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reception, "_AGAIN", 1000.0)  # nor does it wait for anything but its bytes

    async def slowly(caller: socket.socket) -> None:
        for at in range(len(H2)):
            caller.sendall(H2[at : at + 1])
            await asyncio.sleep(0.001)

    assert offered(slowly) == ((b"h2",), H2)
    assert len(looks) <= 4


@pytest.mark.parametrize("ends", [False, True])
def test_a_part_of_one_keeps_nobody_busy(looks: list[int], *, ends: bool) -> None:
    async def half(caller: socket.socket) -> None:
        caller.sendall(H2[:100])
        if ends:
            caller.shutdown(socket.SHUT_WR)

    with pytest.raises(TimeoutError):
        offered(half, 0.5)
    assert len(looks) <= 3


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n\r\n"])
def test_who_ends_or_says_another_thing_offers_nothing(sent: bytes) -> None:
    async def play() -> tuple[bytes, ...] | None:
        with (
            socket.create_server(("127.0.0.1", 0)) as at,
            socket.create_connection(at.getsockname()) as caller,
        ):
            near, _ = at.accept()
            with near:
                near.settimeout(0)
                caller.sendall(sent)
                caller.shutdown(socket.SHUT_WR)
                return await reception.offered(near)

    assert asyncio.run(play()) is None


# --- a whole machine ---


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with fronts.machine_in(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture
def small(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Listener]]:
    """A front for 64 connections, 16 of strangers; and its listener."""
    made: list[Listener] = []

    def listening(host: str, port: int, *, proxied: bool) -> Listener:
        made.append(Listener(host, port, 64, 16, proxied=proxied))
        return made[0]

    monkeypatch.setattr(front, "Listener", listening)
    monkeypatch.setattr(reception, "Splice", partial(splice.Splice, moment=0.05))
    with fronts.front_running(machine, 1, service=("127.0.0.1", machine.service)) as port:
        yield port, made[0]


def calling(machine: Machine, port: int, stack: ExitStack) -> Callable[[], str]:
    """A member's channel: a call on it says which connection the service sees."""
    certificate, key = member_certificate(machine.folder, "bank-a")
    credentials = grpc.ssl_channel_credentials(machine.tls[0].read_bytes(), key, certificate)
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    channel = stack.enter_context(grpc.secure_channel(f"localhost:{port}", credentials, options))
    say: Callable[..., bytes] = channel.unary_unary("/test.Service/Say")

    def call() -> str:
        assert say(b"hello", timeout=30, wait_for_ready=True) == b"CN=bank-a hello"
        return machine.peers[-1]

    return call


def come(port: int, stack: ExitStack, sent: bytes) -> socket.socket:
    made = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
    made.sendall(sent)
    return made


def ended(caller: socket.socket) -> bool:
    """Whether its connection is closed within its time-out, whatever it is sent before."""
    try:
        while caller.recv(10_000):
            pass
    except TimeoutError:
        return False
    except OSError:  # a reset, or TLS's own alert
        return True
    return True


def flood(port: int, stack: ExitStack, sent: bytes) -> None:
    """Sixty strangers, of whom sixteen can stay."""
    came = [come(port, stack, sent) for _ in range(60)]
    assert all(ended(each) for each in came[:44])


@pytest.mark.parametrize("sent", [H2, H2[:50], b""], ids=["half a handshake", "a part of a hello", "silent"])
def test_strangers_push_no_member_out(machine: Machine, small: tuple[int, Listener], sent: bytes) -> None:
    port, listener = small
    with ExitStack() as stack:
        call = calling(machine, port, stack)
        seen = call()
        until(lambda: len(listener._known) == 1)
        flood(port, stack, sent)
        assert call() == seen
        other = calling(machine, port, stack)
        assert other() != seen, "and another comes in"
    until(lambda: not listener._known)


def test_control_a_member_that_is_not_known_is_pushed_out(
    machine: Machine, small: tuple[int, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splice, "TURNS", 1 << 30)
    port, _ = small
    with ExitStack() as stack:
        call = calling(machine, port, stack)
        seen = call()
        flood(port, stack, H2)
        assert call() != seen


def test_without_a_certificate_nobody_is_known(machine: Machine, small: tuple[int, Listener]) -> None:
    port, listener = small
    context = ssl.create_default_context(cafile=str(machine.tls[0]))
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as caller,
    ):
        caller.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert ended(caller)
    until(lambda: not listener._new)
    assert not listener._known


def test_the_service_has_a_share_of_the_room(machine: Machine, small: tuple[int, Listener]) -> None:
    port, listener = small
    with ExitStack() as stack:
        for number in range(16):
            calling(machine, port, stack)()
            until(lambda number=number: len(listener._known) > number)  # type: ignore[misc]
        assert ended(come(port, stack, H2))
        assert health(port, machine.tls[0]), "HTTP has room still"


def health(port: int, authority: Path) -> bool:
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as caller,
    ):
        caller.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        return caller.recv(1000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    "sent", [b"", H2[:50], hello(["http/1.1"])], ids=["silent", "a part", "a hello alone"]
)
def test_a_handshake_that_is_not_ended_is_given_up(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    def given_up(seconds: float) -> bool:
        with fronts.front_running(machine, 1) as port, ExitStack() as stack:
            caller = come(port, stack, sent)
            caller.settimeout(seconds)
            return ended(caller)

    assert not given_up(2), "the control: there are ten seconds"
    monkeypatch.setattr(connections, "HANDSHAKE", 0.2)
    assert given_up(20)


def test_a_service_that_is_not_there_ends_the_connection(machine: Machine) -> None:
    away = ("127.0.0.1", fronts.free_port())
    with fronts.front_running(machine, 1, service=away) as port, ExitStack() as stack:
        assert ended(come(port, stack, H2))


def test_a_front_that_ends_leaves_no_connection_of_the_service(machine: Machine) -> None:
    with ExitStack() as stack:
        with fronts.front_running(machine, 1, service=("127.0.0.1", machine.service)) as port:
            caller = come(port, stack, H2)
            assert caller.recv(1)
        assert ended(caller)


def test_a_renewed_certificate_is_shown_without_a_restart(tmp_path: Path, machine: Machine) -> None:
    renewed, folder = tmp_path / "renewed", tmp_path / "running"
    renewed.mkdir()
    folder.mkdir()
    certificates.create(renewed, [])
    shutil.copytree(machine.folder, folder, dirs_exist_ok=True)
    other = Machine(folder)
    with fronts.front_running(other, 1) as port:
        assert health(port, machine.tls[0])
        shutil.copy(renewed / certificates.CERTIFICATE, other.tls[1])
        assert health(port, machine.tls[0]), "half of it is not used"
        shutil.copy(renewed / certificates.KEY, other.tls[2])
        assert health(port, renewed / certificates.AUTHORITY)
        with pytest.raises(ssl.SSLCertVerificationError):
            health(port, machine.tls[0])
        other.tls[1].unlink()
        assert health(port, renewed / certificates.AUTHORITY), "and one that is gone stays in use"


def serial(at: ssl.SSLSocket) -> int:
    shown = at.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown).serial_number


def test_a_renewal_at_half_life_ends_no_connection_and_the_next_one_gets_it(
    tmp_path: Path, machine: Machine
) -> None:
    folder = tmp_path / "running"
    shutil.copytree(machine.folder, folder)
    trusted = ssl.create_default_context(cafile=str(machine.tls[0]))

    def asks(at: ssl.SSLSocket) -> bytes:
        at.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b""
        while not said.endswith(b"ok"):
            said += at.recv(4096)
        return said[:12]

    with fronts.front_running(Machine(folder), 1) as port, ExitStack() as stack:

        def opened() -> ssl.SSLSocket:
            plain = socket.create_connection(("127.0.0.1", port), 10)
            return stack.enter_context(trusted.wrap_socket(plain, server_hostname="localhost"))

        before = opened()
        assert asks(before) == b"HTTP/1.1 200"
        now = time.time() + 178 * 86400
        renewal = Renewal(folder, lambda: now)
        renewal.look()
        assert serial(opened()) == serial(before), "control: it is not time yet"
        now += 5 * 86400
        renewal.look()
        assert serial(opened()) != serial(before)
        assert asks(before) == b"HTTP/1.1 200", "the open connection goes on"


def test_files_that_do_not_belong_together_are_no_credentials(tmp_path: Path, machine: Machine) -> None:
    certificates.create(tmp_path, [])
    with pytest.raises(ssl.SSLError):
        tls.Credentials(machine.tls[1], tmp_path / certificates.KEY)


def test_addresses_count_as_they_are_handed_out() -> None:
    pairs = {
        "192.0.2.7": "192.0.2.7",
        "::ffff:192.0.2.7": "192.0.2.7",
        "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
        "2001:db8:1:2::1": "2001:db8:1:2::/64",
        "fe80::1%eth0": "fe80::/64",
    }
    assert {each: connections.origin(each) for each in pairs} == pairs


def test_behind_a_proxy_all_callers_share_the_room() -> None:
    for proxied, stay in ((False, 2), (True, 16)):
        with ExitStack() as stack, Listener("127.0.0.1", 0, 32, 16, proxied=proxied) as at:
            at.listen()
            for _ in range(20):
                stack.enter_context(socket.create_connection(at.getsockname(), timeout=5))
                stack.enter_context(at.accept()[0])
            assert len(at._new) == stay

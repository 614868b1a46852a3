"""One list of allowed and forbidden calls, the same against our front, nginx and HAProxy at the public port."""

import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from fedrepay.server.admission import certificates
from fedrepay.server.front import alpn
from fedrepay.server.front import front as fleet_front
from fedrepay.shared.trust.joining import ABOUT, JOIN, LONGEST_JOIN
from fedrepay.shared.trust.message import Signed
from support import fronts
from support.fronts import Machine
from support.nodes import Node, member_certificate
from support.processes import until

STRANGER = Node("stranger")
REQUEST = Signed(body=b"let me in", signature=bytes(64)).encode()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with fronts.machine_in(tmp_path_factory.mktemp("machine")) as made:
        yield made


@pytest.fixture(scope="module", params=fronts.KINDS)
def port(request: pytest.FixtureRequest, machine: Machine) -> Iterator[int]:
    with fronts.public(request.param, machine) as made:
        yield made


@dataclass(frozen=True)
class Call:
    """One on the HTTP side, and its status; ``reaches`` if the SuperLink must see it."""

    path: str
    status: int
    method: str = "POST"
    body: bytes = b""
    node: Node | None = fronts.NODE
    said: bytes = b""

    @property
    def reaches(self) -> bool:
        return self.said == b"from the superlink"


SUPERLINK = b"from the superlink"
FLEET = fleet_front.FLEET
CALLS = {
    **{f"a node's {name}": Call(FLEET + name, 200, said=SUPERLINK) for name in fleet_front.CALLS},
    "a node's object": Call(f"{FLEET}push-object", 200, body=bytes(fronts.MOST), said=SUPERLINK),
    "an object too large": Call(f"{FLEET}push-object", 413, body=bytes(fronts.MOST + 1)),
    "a small call too large": Call(f"{FLEET}get-run", 413, body=bytes(fleet_front.MAX_SMALL + 1)),
    "an unregistered node": Call(f"{FLEET}pull-messages", 401, node=STRANGER),
    "an unregistered node that begins": Call(f"{FLEET}activate-node", 412, node=STRANGER),
    "no node": Call(f"{FLEET}pull-messages", 401, node=None),
    "no node's object": Call(f"{FLEET}push-object", 401, body=bytes(fronts.MOST + 1), node=None),
    "registering": Call(f"{FLEET}register-node", 404),
    "GET": Call(f"{FLEET}pull-messages", 404, "GET"),
    "control": Call("/v1/control/start-run", 404),
    "runtime": Call("/v1/runtime/acquire-task", 404),
    "docs": Call("/docs", 404, "GET"),
    "openapi": Call("/openapi.json", 404, "GET"),
    "the consortium": Call(ABOUT, 200, "GET", node=None, said=fronts.ABOUT),
    "joining": Call(JOIN, 200, body=REQUEST, node=None, said=fronts.JOINED + REQUEST),
    "joining with rubbish": Call(JOIN, 400, body=b"rubbish", node=None),
    "joining with too much": Call(JOIN, 413, body=bytes(LONGEST_JOIN + 1), node=None),
    "joining by GET": Call(JOIN, 404, "GET", node=None),
    "health": Call("/health", 200, "GET", node=None, said=b"ok"),
}


@pytest.mark.parametrize("name", CALLS)
def test_http(machine: Machine, port: int, name: str) -> None:
    call = CALLS[name]
    machine.at_superlink.clear()
    headers = call.node.headers() if call.node else {}
    with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted(machine), timeout=30) as client:
        answer = client.request(call.method, call.path, content=call.body, headers=headers)
    assert answer.status_code == call.status
    if call.said:
        assert answer.content == call.said
    assert machine.at_superlink == ([call.path] if call.reaches else [])


def trusted(machine: Machine) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(machine.tls[0]))


def shown(
    port: int, machine: Machine, offered: list[str], member: Path | None = None
) -> tuple[str | None, bytes]:
    """The protocol that a caller offering these gets, and what it is told when it asks for health by HTTP/1.1."""
    context = trusted(machine)
    if offered:
        context.set_alpn_protocols(offered)
    if member is not None:
        context.load_cert_chain(member)
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as caller,
    ):
        caller.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        said = b""
        while block := caller.recv(1000):
            said += block
        return caller.selected_alpn_protocol(), said


@pytest.mark.parametrize(
    ("offered", "spoken"),
    [
        (["h2", "http/1.1"], "http/1.1"),
        (["http/1.1", "h2"], "http/1.1"),
        (["http/1.1"], "http/1.1"),
        (["spdy/3"], None),
        ([], None),
    ],
)
def test_browsers_and_callers_without_a_protocol_get_http(
    machine: Machine, port: int, offered: list[str], spoken: str | None
) -> None:
    said = shown(port, machine, offered)
    assert said[0] == spoken
    assert said[1].startswith(b"HTTP/1.1 200")
    assert said[1].endswith(b"\r\n\r\nok")


@pytest.mark.parametrize("kind", fronts.KINDS)
def test_control_h2_first_sends_browsers_to_grpc(
    machine: Machine, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if kind == "front":
        monkeypatch.setattr(alpn, "for_service", lambda names: b"h2" in names)
    member = tmp_path / "member.pem"
    member.write_bytes(b"".join(member_certificate(machine.folder, "bank-a")))
    with fronts.public(kind, machine, h2_first=True) as port:
        spoken, said = shown(port, machine, ["h2", "http/1.1"], member)
    assert spoken == "h2"
    assert not said.startswith(b"HTTP/1.1")


def say(machine: Machine, port: int, member: tuple[bytes, bytes] | None, body: bytes = b"hello") -> bytes:
    """One gRPC call, with a member's certificate or none.

    Raises:
        grpc.RpcError: it does not get through.
    """
    certificate, key = member or (None, None)
    credentials = grpc.ssl_channel_credentials(machine.tls[0].read_bytes(), key, certificate)
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"localhost:{port}", credentials, options) as channel:
        call: Callable[..., Any] = channel.unary_unary("/test.Service/Say")
        answer: bytes = call(body, timeout=30)
    return answer


def test_a_member_s_certificate_reaches_the_service_itself(machine: Machine, port: int) -> None:
    body = bytes(range(256)) * 4096 * 3
    assert say(machine, port, member_certificate(machine.folder, "bank-a"), body) == b"CN=bank-a " + body


@pytest.mark.parametrize("case", ["none", "of another authority"])
def test_without_a_member_s_certificate_nothing_reaches_the_service(
    machine: Machine, port: int, tmp_path: Path, case: str
) -> None:
    machine.at_service.clear()
    certificates.create(tmp_path, [])
    with pytest.raises(grpc.RpcError) as refused:
        say(machine, port, None if case == "none" else member_certificate(tmp_path, "bank-a"))
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert machine.at_service == []


@pytest.mark.parametrize(
    "sent", [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", bytes(100)]
)
def test_garbage_is_closed_without_a_word(port: int, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
        caller.sendall(sent)
        try:
            assert caller.recv(100) == b""
        except ConnectionResetError:
            return


def test_the_log_has_calls_and_names_and_no_bodies(machine: Machine, port: int) -> None:
    machine.log.clear()
    with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted(machine), timeout=30) as client:
        client.post(f"{FLEET}get-run?more=1", content=b"secret", headers=fronts.NODE.headers())
    line = f"POST {FLEET}get-run 200 in=6 out={len(SUPERLINK)} bank-a"
    until(lambda: line in machine.log)  # it is said when the answer is out
    assert "secret" not in "".join(machine.log)

"""Each thing that can be wrong between a member and its coordinator is found, and named."""

import shutil
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest

from fedrepay.client.consortium import preflight, reach, requests, tls
from fedrepay.client.consortium.channel import Channel
from fedrepay.client.consortium.preflight import OK, WARN, WRONG, Look
from fedrepay.client.consortium.web import Web
from fedrepay.client.node import clock
from fedrepay.server.admission import certificates
from fedrepay.shared.errors import ArgumentError, NetworkError
from fedrepay.shared.trust.asking import Standing
from support import coordinator_stub
from support.command import fedrepay
from support.coordinator_stub import Stub, coordinator, elsewhere, listening, proxied

OF_THE_FOLDER = ["socket of the node", "client certificate", "gRPC call"]
NETWORK = ["name", "connection", "TLS http/1.1", "TLS h2 (gRPC)", "chain", "clock"]


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def looked(
    stub: Stub, folder: Path | None, port: int, proxy: str | None = None, address: str = ""
) -> dict[str, Look]:
    where = preflight.Route(address or stub.address, folder, proxy, port)
    return {each.what: each for each in preflight.look(where)}


def test_all_is_well(stub: Stub, member: Path, port: int) -> None:
    stub.standing = Standing(
        agreed=bytes(32), terms=b"", members=(), run=0, state="", waiting=(), releases=()
    )
    found = looked(stub, member, port)
    assert list(found) == ["Python", "disk", "port of the node", *NETWORK, *OF_THE_FOLDER]
    assert {each.state for each in found.values()} <= {OK, WARN}, found
    assert stub.authority.hex() in found["chain"].said
    newcomer = looked(stub, None, port)
    assert newcomer["chain"].state == OK
    assert "compares it with your invitation" in newcomer["chain"].said


def test_through_a_proxy_with_a_password(stub: Stub, port: int) -> None:
    with proxied() as proxy:
        way = f"http://user:pass@127.0.0.1:{proxy.port}"
        found = looked(stub, None, port, way)
        assert [found[each].state for each in NETWORK] == [OK] * 6
        assert set(proxy.passed) == {stub.address}
        wrong = looked(stub, None, port, way.replace("pass", "word"))
        assert wrong["connection"].state == WRONG
        assert "407" in wrong["connection"].said
        assert "word" not in wrong["connection"].line().replace("password", "")
        assert "chain" not in wrong, "what depends on it is left out"


def test_no_name_no_port_no_tls(stub: Stub, port: int) -> None:
    assert looked(stub, None, port, address="no-such-host.invalid:443")["name"].state == WRONG
    assert looked(stub, None, port, address="127.0.0.1:9")["connection"].state == WRONG
    with listening(lambda first: first.sendall(b"SSH-2.0-x\r\n")) as other:
        assert looked(stub, None, port, address=f"127.0.0.1:{other}")["TLS http/1.1"].state == WRONG


def test_whoever_has_an_http_proxy_alone_is_told_what_to_type(
    stub: Stub, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    unknown, closed = "no-such-host.invalid:443", "127.0.0.1:9"
    for address, what in ((unknown, "name"), (closed, "connection")):
        assert "--proxy http://HOST:PORT" in looked(stub, None, port, address=address)[what].remedy
    monkeypatch.setenv("https_proxy", "http://user:hidden@10.0.0.1:3128")
    remedy = looked(stub, None, port, address=closed)["connection"].remedy
    assert "https_proxy is set here, and is never used by itself" in remedy
    assert "hidden" not in remedy
    with proxied() as proxy:
        behind = looked(stub, None, port, f"http://user:word@127.0.0.1:{proxy.port}")["connection"]
    assert behind.state == WRONG
    assert "--proxy" not in behind.remedy, "it has one"


def inspected(folder: Path, target: int, *, speaks: list[str]) -> Callable[[socket.socket], None]:
    """A proxy that ends TLS with a certificate of its own authority, and opens it anew."""
    certificates.create(folder, [])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / certificates.CERTIFICATE, folder / certificates.KEY)
    context.set_alpn_protocols(speaks)
    onward = ssl.create_default_context()
    onward.check_hostname, onward.verify_mode = False, ssl.CERT_NONE
    onward.set_alpn_protocols(["http/1.1"])

    def serve(first: socket.socket) -> None:
        with (
            context.wrap_socket(first, server_side=True) as inner,
            socket.create_connection(("127.0.0.1", target)) as second,
            onward.wrap_socket(second, server_hostname="localhost") as outer,
        ):
            inner.settimeout(5)
            data = inner.recv(1 << 16)
            if data:
                outer.sendall(data)
                while block := outer.recv(1 << 16):
                    inner.sendall(block)

    return serve


def test_a_proxy_that_inspects_tls_is_recognised_and_named(
    stub: Stub, member: Path, tmp_path: Path, port: int
) -> None:
    (tmp_path / "i").mkdir()
    with listening(inspected(tmp_path / "i", stub.port, speaks=["h2", "http/1.1"])) as between:
        for folder in (member, None):
            found = looked(stub, folder, port, address=f"127.0.0.1:{between}")["chain"]
            assert found.state == WRONG
            assert "issued by CN=fedrepay consortium, not by the consortium's authority" in found.said
            assert "exemption" in found.remedy
    (tmp_path / "j").mkdir()
    with listening(inspected(tmp_path / "j", stub.port, speaks=["http/1.1"])) as between:
        found = looked(stub, member, port, address=f"127.0.0.1:{between}")["TLS h2 (gRPC)"]
        assert (found.state, "exemption" in found.remedy) == (WRONG, True)


def test_an_institution_s_own_authority_that_this_machine_trusts_vouches_for_nobody(
    stub: Stub, member: Path, tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "i").mkdir()
    with listening(inspected(tmp_path / "i", stub.port, speaks=["h2", "http/1.1"])) as between:
        address = f"127.0.0.1:{between}"
        for name in ("SSL_CERT_FILE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "REQUESTS_CA_BUNDLE"):
            monkeypatch.setenv(name, str(tmp_path / "i" / certificates.AUTHORITY))
        trusting = ssl.create_default_context()
        with reach.handshake(address, None, trusting, "http/1.1") as opened:
            assert opened.version(), "control: whoever asks the machine's store believes the proxy"
        assert looked(stub, None, port, address=address)["chain"].state == WRONG
        with pytest.raises(NetworkError, match=r"self.signed|verify failed"):
            Web(address).about((member / tls.AUTHORITY).read_bytes())
        with Channel(address, member, requests.by_keys(member)) as calls:
            with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED") as told:
                calls.stand()
            assert "inspects TLS" in told.value.remedy
        assert stub.asked == []


def test_a_certificate_for_another_host_is_found(stub: Stub, port: int) -> None:
    with elsewhere(stub) as address:
        found = looked(stub, None, port, address=address)["chain"]
    assert (found.state, "mismatch" in found.said) == (WRONG, True)


def test_the_client_certificate_is_looked_at_here(
    stub: Stub, member: Path, tmp_path: Path, port: int
) -> None:
    request = tls.create(member, "bank-a")
    (member / tls.CERTIFICATE).write_bytes(coordinator_stub.issue(stub.folder, request, "bank-a", ends=-10))
    assert looked(stub, member, port)["client certificate"].state == WRONG
    (member / tls.CERTIFICATE).unlink()
    assert looked(stub, member, port)["client certificate"].state == "later"
    (member / tls.CERTIFICATE).write_bytes(coordinator_stub.issue(stub.folder, request, "bank-a"))
    stub.refuse = grpc.StatusCode.UNAUTHENTICATED
    assert looked(stub, member, port)["gRPC call"].state == WRONG


@pytest.mark.parametrize(
    ("ahead", "state", "word"),
    [(0, OK, "as the"), (20, WRONG, "ahead of"), (-20, WARN, "behind"), (-400, WRONG, "behind")],
)
def test_a_clock_that_flower_would_refuse_is_told(
    stub: Stub, port: int, monkeypatch: pytest.MonkeyPatch, ahead: int, state: str, word: str
) -> None:
    ours = SimpleNamespace(time=lambda: time.time() + ahead)  # not the coordinator's, in this same process
    monkeypatch.setattr(clock, "time", ours)
    found = looked(stub, None, port)["clock"]
    assert (found.state, word in found.said) == (state, True), found


def test_a_taken_port_and_a_full_disk(stub: Stub, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", port)):
        assert "the node will take a free one" in looked(stub, None, port)["port of the node"].said
    assert "is free" in looked(stub, None, port)["port of the node"].said
    full = shutil._ntuple_diskusage(100 << 30, 100 << 30, 1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    assert looked(stub, None, port)["disk"].state == WRONG


@pytest.mark.parametrize(
    ("host", "address"),
    [("a.example", "a.example:443"), ("a.example:8443", "a.example:8443"), ("[::1]:9", "[::1]:9")],
)
def test_the_port_is_443_unless_named(host: str, address: str) -> None:
    assert preflight.route(host, None, None).address == address


@pytest.mark.parametrize("host", ["a.example:0", "a.example:70000", ":443"])
def test_no_address_is_refused(host: str) -> None:
    with pytest.raises(ArgumentError):
        preflight.route(host, None, None)


def test_the_command_ends_with_a_page_and_says_by_its_code_whether_all_is_well(
    stub: Stub, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        node_port = free.getsockname()[1]
    (tmp_path / "m").mkdir(mode=0o700)
    (tmp_path / "m" / "member.toml").write_text(f"node_port = {node_port}\n")
    done = fedrepay("member", "preflight", stub.address, "--folder", tmp_path / "m")
    assert done.code == 0, done.out
    assert "For the firewall: one rule." in done.out
    assert "outbound only" in done.out
    with coordinator(tmp_path / "other", stub.book) as other:
        shutil.copy(other.folder / "ca.pem", tmp_path / "m" / "ca.pem")
    wrong = fedrepay("member", "preflight", stub.address, "--folder", tmp_path / "m", "--json")
    assert wrong.code == 10
    assert '"state": "wrong"' in wrong.out

"""What lies between a member and a coordinator, looked at one by one, before joining or when something does not connect."""

import os
import shutil
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes

from fedrepay.client.consortium import reach, requests, tls
from fedrepay.client.consortium.running import answers, socket_of
from fedrepay.client.consortium.web import Web
from fedrepay.client.node import clock, door, ports
from fedrepay.client.store import settings
from fedrepay.shared.errors import ArgumentError, FedrepayError, NetworkError
from fedrepay.shared.text import printable

OK, WARN, WRONG, LATER = "ok", "warning", "wrong", "later"
LEAST_DISK, ENOUGH_DISK = 1 << 30, 5 << 30
"""Bytes free: below the one nothing can run, below the other a run of large models may not end."""
OLDEST_PYTHON = (3, 11)
_ROOM = 22


@dataclass(frozen=True)
class Route:
    """How a member goes to a coordinator: HOST:PORT, its folder if there is one, and its proxy."""

    address: str
    folder: Path | None
    proxy: str | None
    node_port: int = settings.NODE_PORT


@dataclass(frozen=True)
class Look:
    """One thing that was looked at."""

    what: str
    state: str
    said: str
    remedy: str = ""

    def line(self) -> str:
        """For people."""
        return f"{self.state:8} {self.what:{_ROOM}} {self.said}{' ' if self.remedy else ''}{self.remedy}"


def route(host: str, folder: Path | None, proxy: str | None) -> Route:
    """How to go to HOST or HOST:PORT (443 by default).

    Raises:
        ArgumentError: no such address, or a proxy that would not be used.
    """
    named = host.rpartition(":")[2].isdecimal() and (host.count(":") == 1 or "]:" in host)
    address = host if named else f"{host}:443"
    if not 1 <= reach.parts_of(address)[1] <= 65535 or not reach.parts_of(address)[0]:
        raise ArgumentError(f"{printable(host)} is no HOST or HOST:PORT.", "As in the invitation.")
    held = settings.MemberSettings() if folder is None else settings.load(folder)
    if proxy is not None:
        settings.check_proxy(proxy)
    return Route(address, folder, proxy or held.proxy, held.node_port)


def look(where: Route) -> list[Look]:
    """All that can be looked at from here; what depends on something that is wrong is left out."""
    found = [_python(), _disk(where), _port(where), *_network(where)]
    if where.folder is not None:
        found += [_socket(where.folder), *_certificate(where.folder)]
    return found


def _python() -> Look:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= OLDEST_PYTHON
    return Look("Python", OK if good else WRONG, version, "" if good else "3.11 or newer is needed.")


def _disk(where: Route) -> Look:
    place = where.folder if where.folder is not None and where.folder.exists() else Path.cwd()
    free = shutil.disk_usage(place).free
    state = OK if free >= ENOUGH_DISK else WARN if free >= LEAST_DISK else WRONG
    return Look(
        "disk",
        state,
        f"{free / (1 << 30):.1f} GB free.",
        "" if state == OK else "Free some: 5 GB are enough.",
    )


def _port(where: Route) -> Look:
    what, port = "port of the node", where.node_port
    if ports.free(port):
        return Look(what, OK, f"{port} on loopback is free.")
    if where.folder is not None and answers(socket_of(where.folder)):
        return Look(what, OK, f"{port} is taken, and this member runs.")
    return Look(what, OK, f"{port} on this machine is taken: the node will take a free one.")


def _socket(folder: Path) -> Look:
    try:
        door.check_path(socket_of(folder))
    except FedrepayError as error:
        return Look("socket of the node", WRONG, error.cause, error.remedy)
    return Look("socket of the node", OK, "its path is short enough.")


def _network(where: Route) -> Iterator[Look]:
    """Name, port, TLS, chain and clock, each only where the one before is well."""
    steps: tuple[tuple[str, Callable[[Route], str]], ...] = (
        ("name", _name),
        ("connection", _connection),
        ("TLS http/1.1", lambda to: _protocol(to, "http/1.1")),
        ("TLS h2 (gRPC)", lambda to: _protocol(to, "h2")),
        ("chain", _chain),
    )
    for what, step in steps:
        try:
            yield Look(what, OK, step(where))
        except FedrepayError as error:
            yield Look(what, WRONG, error.cause, error.remedy)
            return
    yield _clock(where)


def _name(where: Route) -> str:
    if where.proxy is not None:
        return f"the proxy {settings.shown_proxy(where.proxy)} resolves it."
    host, port = reach.parts_of(where.address)
    try:
        found = sorted({str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except (OSError, UnicodeError) as error:
        raise NetworkError(
            f"{host} has no address here.", f"Ask for the name in DNS. {_way_out()}"
        ) from error
    return f"{host} is {', '.join(found)}."


def _connection(where: Route) -> str:
    try:
        reach.connect(where.address, where.proxy).close()
    except NetworkError as error:
        if where.proxy is not None:
            raise
        raise NetworkError(error.cause, f"{error.remedy} {_way_out()}") from error
    return f"{where.address} opens" + ("." if where.proxy is None else " through the proxy.")


def _way_out() -> str:
    """What to type where only a proxy leads out; its address may be in the environment, which programs here never follow."""
    name = next((each for each in ("HTTPS_PROXY", "https_proxy") if os.environ.get(each)), None)
    told = "" if name is None else f" ({name} is set here, and is never used by itself)"
    return f"Where only an HTTP proxy leads out{told}: --proxy http://HOST:PORT, here and with `join`."


def _blind() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # it is looked at, and nothing is sent
    return context


def _protocol(where: Route, protocol: str) -> str:
    with reach.handshake(where.address, where.proxy, _blind(), protocol) as connection:
        spoken, version = connection.selected_alpn_protocol(), connection.version()
    if spoken != protocol and protocol == "h2":
        raise NetworkError(
            f"Who answers does not speak h2 (but {spoken or 'nothing named'}).",
            "Something between ends TLS and opens it anew: ask for an exemption (see the page below).",
        )
    return f"{version}, {spoken or 'no protocol named'}."


def _chain(where: Route) -> str:
    """Who vouches for the coordinator; and that nobody between has put a certificate of its own there."""
    with reach.handshake(where.address, where.proxy, _blind(), "http/1.1") as connection:
        leaf = x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")
    authority, said = _authority(where)
    held = x509.load_pem_x509_certificate(authority)
    try:
        leaf.verify_directly_issued_by(held)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise NetworkError(
            f"The certificate was issued by {printable(leaf.issuer.rfc4514_string(), 120)}, not by the consortium's authority: "
            "a proxy that inspects TLS, or another server.",
            "Ask for an exemption of this host from inspection (see the page below).",
        ) from error
    trusted = ssl.create_default_context(cadata=authority.decode("ascii"))
    with reach.handshake(where.address, where.proxy, trusted, "http/1.1"):
        print_ = held.fingerprint(hashes.SHA256()).hex()
    return f"{said}, SHA-256 {print_}; the host's name fits."


def _authority(where: Route) -> tuple[bytes, str]:
    """The authority of the folder's consortium; without one, that which the coordinator names."""
    if where.folder is not None and (where.folder / tls.AUTHORITY).exists():
        return (where.folder / tls.AUTHORITY).read_bytes(), "the consortium's authority"
    pem, _ = tls.authority_of(Web(where.address, where.proxy).said_authority())
    return pem, "the authority that it names (`member join` compares it with your invitation)"


def _clock(where: Route) -> Look:
    pem, _ = _authority(where)
    seconds = clock.off_by(where.address, pem, where.proxy)
    if seconds is None:
        return Look("clock", WARN, "The coordinator tells no time.", "Is its front up?")
    text = clock.told(seconds)
    if text:
        return Look("clock", WRONG, text, "Set the clock (NTP): Flower refuses the node.")
    if abs(seconds) > clock.AHEAD:
        return Look("clock", WARN, f"{abs(seconds):.0f} s behind the coordinator's.", "Set the clock (NTP).")
    return Look("clock", OK, "as the coordinator's, to a few seconds.")


def _certificate(folder: Path) -> list[Look]:
    what = "client certificate"
    if not (folder / tls.CERTIFICATE).exists():
        return [Look(what, LATER, "none yet: `fedrepay member join` gets one.")]
    try:
        ends = tls.check(folder, time.time()).ends
    except FedrepayError as error:
        return [Look(what, WRONG, error.cause, error.remedy)]
    until = datetime.fromtimestamp(ends, UTC).isoformat(" ", "minutes")
    first = Look(what, OK, f"fits its key and the authority, until {until}.")
    try:
        with requests.opened(folder) as calls:
            calls.stand()
    except FedrepayError as error:
        return [first, Look("gRPC call", WRONG, error.cause, error.remedy)]
    return [first, Look("gRPC call", OK, "the coordinator takes it.")]


def firewall(where: Route) -> str:
    """A page for the people who run the firewall."""
    host, port = reach.parts_of(where.address)
    through = (
        ""
        if where.proxy is None
        else f"\nThrough the HTTP proxy {settings.shown_proxy(where.proxy)}: CONNECT {host}:{port}."
    )
    return f"""\
For the firewall: one rule.
  Direction   outbound only; nothing connects to this machine from outside
  From        this machine
  To          {host}, TCP port {port}
  Protocol    TLS 1.2 or 1.3, end to end: HTTP/1.1 and HTTP/2 (gRPC), chosen by ALPN
  Inspection  none: client certificates are used, and a proxy that opens TLS breaks them
  Idle time   connections last for hours; keepalive every 60 seconds
  Also        NTP, so that the clock is right{through}"""

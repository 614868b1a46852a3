"""A connection to a coordinator's port as a member makes it: straight, or through an HTTP proxy; and TLS over it, looked at."""

import socket
import ssl
import time
from base64 import b64encode
from urllib.parse import unquote, urlsplit

from fedrepay.client.store.settings import shown_proxy
from fedrepay.shared.errors import NetworkError
from fedrepay.shared.text import printable

SECONDS = 10.0
NO_WAY = (
    "401, 403 or 407: check user and password of `proxy`; it must allow CONNECT to the coordinator's host and port (most allow "
    "443 alone). 500 and above: the proxy itself does not reach the coordinator."
)
"""What to do where a proxy answers CONNECT with another status than 200."""
_LONGEST_HEAD = 16 << 10


def parts_of(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT, an IPv6 host without its brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def connect(address: str, proxy: str | None) -> socket.socket:
    """Open a connection.

    Args:
        address: HOST:PORT.
        proxy: http://[user:password@]host:port, or None.

    Raises:
        NetworkError: it cannot be opened, or the proxy does not let it through.
    """
    target = parts_of(address)
    if proxy is None:
        return _opened(target, address)
    url = urlsplit(proxy)
    connection = _opened((url.hostname or "", url.port or 0), f"The proxy {shown_proxy(proxy)}")
    try:
        asked = f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n"
        if url.username is not None:
            pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
            asked += f"Proxy-Authorization: Basic {b64encode(pair.encode()).decode()}\r\n"
        connection.sendall(f"{asked}\r\n".encode())
        status = _head(connection).split(b"\r\n", 1)[0].decode("latin-1")
        connection.settimeout(SECONDS)
    except OSError as error:
        connection.close()
        raise NetworkError(
            f"The proxy {shown_proxy(proxy)} does not answer: {error}.", "Check its address."
        ) from error
    if status.split()[1:2] != ["200"]:
        connection.close()
        raise NetworkError(
            f"The proxy {shown_proxy(proxy)} does not let us through: {printable(status, 80) or 'it hangs up'}.",
            NO_WAY,
        )
    return connection


def handshake(address: str, proxy: str | None, context: ssl.SSLContext, protocol: str) -> ssl.SSLSocket:
    """Open a connection and TLS over it, offering one protocol.

    Raises:
        NetworkError: it cannot be opened, or the handshake fails; naming what fails.
    """
    context.set_alpn_protocols([protocol])
    plain = connect(address, proxy)
    try:
        return context.wrap_socket(plain, server_hostname=parts_of(address)[0])
    except (OSError, ValueError) as error:
        plain.close()
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or str(error)
        raise NetworkError(
            f"TLS to {address} fails: {printable(str(reason), 200)}.", "Is it the right port?"
        ) from error


def _opened(target: tuple[str, int], what: str) -> socket.socket:
    try:
        return socket.create_connection(target, SECONDS)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error) or "no answer"
        raise NetworkError(
            f"{what} cannot be reached: {why}.", "Is it up, and does the firewall let it out?"
        ) from error


def _head(connection: socket.socket) -> bytes:
    """An answer's status line and headers, within ``SECONDS`` in all; nothing after them is read."""
    head, latest = b"", time.monotonic() + SECONDS
    while not head.endswith(b"\r\n\r\n") and len(head) < _LONGEST_HEAD:
        connection.settimeout(max(0.001, latest - time.monotonic()))
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    return head

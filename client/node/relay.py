"""Where the ClientApp finds its member: bytes in, bytes out, nothing else crosses.

An address is ``unix:PATH`` for the member's node (``fedrepay member serve``) or ``local:NAME`` for a member in
this process (simulations). Nothing heavy is imported here: Flower may start a process for every message.
"""

import socket
from typing import Protocol

from fedrepay.client.node import framing
from fedrepay.shared.errors import ProtocolError

UNIX, LOCAL = "unix:", "local:"
HOME = "local:"
"""How kinds begin that a member's own processes ask for (``house``); none is carried in from outside."""
DOOR_SECONDS = 30.0
"""How long the door may take to open; messages before ours may keep it longer, see ``deliver``."""


class Handler(Protocol):
    """A member's door."""

    def __call__(self, kind: str, shared: bytes, own: bytes) -> bytes:
        """Answer one message; the answer is an encoded, signed ``Reply``."""
        ...


_local: dict[str, Handler] = {}


def register(address: str, handler: Handler) -> None:
    """Make a member of this process reachable."""
    _local[address] = handler


def unregister(address: str) -> None:
    """Take a member away."""
    _local.pop(address, None)


def deliver(address: str, kind: str, shared: bytes, own: bytes, seconds: float = 600.0) -> bytes:
    """Hand one message to the member at ``address``.

    Args:
        address: ``unix:PATH`` or ``local:NAME``.
        kind: what the message is.
        shared: the part that is the same for all members.
        own: the part for this member alone.
        seconds: how long to wait for the answer at a socket; the message's own time to live.

    Raises:
        ProtocolError: nobody is there, the message is too large, or no whole answer came in time.
    """
    if address.startswith(UNIX):
        return _over_socket(address.removeprefix(UNIX), kind, shared, own, seconds)
    handler = _local.get(address)
    if handler is None:
        raise ProtocolError(f"No member answers at {address!r}.", "Start the member's node.")
    return handler(kind, shared, own)


def carry(address: str, kind: str, shared: bytes, own: bytes, seconds: float = 600.0) -> bytes:
    """Hand a message from outside to the member; arguments as of :func:`deliver`.

    Raises:
        ProtocolError: as :func:`deliver`; or it is of a kind that only the member's own processes ask for.
    """
    if kind.startswith(HOME):
        raise ProtocolError(
            "A coordinator asked for what only the member's own processes may.",
            "It was not carried in. Tell the others.",
        )
    return deliver(address, kind, shared, own, seconds)


def _over_socket(path: str, kind: str, shared: bytes, own: bytes, seconds: float) -> bytes:
    request = framing.request(kind, shared, own)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(min(DOOR_SECONDS, seconds))
        try:
            connection.connect(path)
        except OSError as error:
            raise ProtocolError(
                f"No member's node answers at {path}: {error.strerror or error}.",
                "Start `fedrepay member serve`, and name its socket to `fedrepay member node`.",
            ) from error
        framing.send(connection, request, seconds)
        return framing.receive_reply(connection, seconds)

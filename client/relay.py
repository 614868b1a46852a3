"""Where the ClientApp finds its member: bytes in, bytes out, nothing else crosses.

An address is ``local:NAME`` for a member in this process (simulations).
"""

from typing import Protocol

from fedrepay.shared.errors import ProtocolError


class Handler(Protocol):
    """A member's door."""

    def __call__(self, kind: str, shared: bytes, own: bytes) -> bytes:
        """Answer one message; the answer is an encoded ``Reply``."""
        ...


_local: dict[str, Handler] = {}


def register(address: str, handler: Handler) -> None:
    """Make a member of this process reachable."""
    _local[address] = handler


def unregister(address: str) -> None:
    """Take a member away."""
    _local.pop(address, None)


def deliver(address: str, kind: str, shared: bytes, own: bytes) -> bytes:
    """Hand one message to the member at ``address``.

    Raises:
        ProtocolError: nobody is there.
    """
    handler = _local.get(address)
    if handler is None:
        raise ProtocolError(f"No member answers at {address!r}.", "Start the member's node.")
    return handler(kind, shared, own)

"""A TCP proxy that is a bad line: it cuts, ends, stalls or slows what comes by, each way, after so many bytes or at a word."""

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal

Way = Literal["up", "down"]
KINDS = ("cut", "end", "stall", "slow")
_BLOCK = 1 << 14
_ABORT = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Fault:
    """What happens to one direction of a connection.

    Args:
        kind: ``cut`` (both ends hear a reset), ``end`` (both hear the other's end), ``stall`` (nothing moves any more, and
            nobody hears of it), ``slow`` (goes on by pieces).
        way: ``up`` to the server, or ``down``.
        after: bytes of that direction that pass before, of a connection that is there already from now on.
        word: or it happens where these bytes come by; they do not pass.
        times: connections that it happens to; later ones are well.
        piece: bytes at once, if slow.
        pause: seconds between them.
    """

    kind: str
    way: Way
    after: int = 0
    word: bytes = b""
    times: int = 1 << 30
    piece: int = 1
    pause: float = 0.05


@dataclass
class Between:
    """The line to a server's port.

    Attributes:
        fault: what happens from now on.
        happened: how often it has.
        carried: bytes by direction, of the newest connection.
    """

    target: tuple[str, int]
    host: str = "127.0.0.1"
    port: int = 0
    fault: Fault | None = None
    happened: int = 0
    carried: dict[str, int] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    def well(self) -> None:
        """From now on; connections that are stalled stay so."""
        self.fault = None

    def carry(self, client: socket.socket) -> None:
        """One connection, until it ends in one way or another."""
        with client, socket.create_connection(self.target) as server:
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with suppress(OSError):
                self._carry(client, server)

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        ways: dict[socket.socket, tuple[Way, socket.socket]] = {
            client: ("up", server),
            server: ("down", client),
        }
        self.carried = carried = {"up": 0, "down": 0}
        slow: dict[str, Fault] = {}
        seen, passed = self.fault, {"up": 0, "down": 0}
        while ways and not self._ended.is_set():
            for source in select.select(list(ways), [], [], 0.1)[0]:
                way, target = ways[source]
                data = source.recv(_BLOCK)
                if not data:
                    del ways[source]
                    target.shutdown(socket.SHUT_WR)
                    continue
                fault = self.fault
                if fault is not seen:
                    seen, passed = fault, {"up": 0, "down": 0}
                at = -1 if fault is None or way in slow else _where(fault, way, passed[way], data)
                if fault is not None and at >= 0:
                    target.sendall(data[:at])
                    self._happens(fault)
                    if fault.kind == "slow":
                        slow[way], data = fault, data[at:]
                    elif fault.kind == "stall":
                        self._ended.wait()
                        return
                    else:
                        if fault.kind == "cut":
                            for each in (source, target):
                                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
                        return
                self._send(target, data, slow.get(way))
                passed[way] += len(data)
                carried[way] += len(data)

    def _happens(self, fault: Fault) -> None:
        self.happened += 1
        if self.happened >= fault.times:
            self.well()

    def _send(self, target: socket.socket, data: bytes, slow: Fault | None) -> None:
        if slow is None:
            target.sendall(data)
            return
        for start in range(0, len(data), slow.piece):
            if self._ended.wait(slow.pause):
                return
            target.sendall(data[start : start + slow.piece])


def _where(fault: Fault, way: Way, passed: int, data: bytes) -> int:
    """Bytes of ``data`` that pass before it happens; -1 where it does not happen here."""
    if fault.way != way:
        return -1
    if fault.word:
        return 0 if fault.word in data else -1
    return fault.after - passed if passed <= fault.after < passed + len(data) else -1


@contextmanager
def between(port: int, host: str = "127.0.0.1") -> Iterator[Between]:
    """A line that is well until it is told otherwise.

    Args:
        port: of the server, on this machine.
        host: where the line can be reached.
    """
    line = Between(("127.0.0.1", port), host)
    threads: list[threading.Thread] = []
    with socket.create_server((host, 0)) as listener:
        line.port = listener.getsockname()[1]

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threads.append(threading.Thread(target=_each, args=(line, client)))
                    threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield line
        finally:
            line._ended.set()
            listener.shutdown(socket.SHUT_RDWR)
            for thread in (accepting, *threads):
                thread.join(20)


def _each(line: Between, client: socket.socket) -> None:
    with suppress(OSError):  # the server is away
        line.carry(client)

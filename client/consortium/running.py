"""What `fedrepay member run` keeps running: the member's own process, its Flower node, and its link."""

import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

from fedrepay.client.consortium import tls
from fedrepay.client.node import door, relay
from fedrepay.client.store import settings
from fedrepay.shared import files
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.supervision import Child
from fedrepay.shared.trust.wire import Kind

PATIENCE = 90.0
"""Seconds for the member's rows to be read before the others start all the same: they wait for it too."""
RUNNING = ".running"
FEDREPAY = (sys.executable, "-m", "fedrepay", "member")


def alone(folder: Path) -> AbstractContextManager[None]:
    """Keep a second `member run` away: it would take the first one's process for its own, and start a link beside it.

    Raises:
        ArgumentError: another one runs this folder.
        StorageError: the folder cannot be written.
    """
    taken = ArgumentError(f"Another `member run` has {folder}.", "Stop it first.")
    return files.held(folder / RUNNING, taken, "Check rights and disk.")


def socket_of(folder: Path) -> Path:
    """Where the member's door is."""
    return settings.file_of(folder, None, settings.load(folder).socket) or folder / door.SOCKET


def children(folder: Path) -> tuple[Child, ...]:
    """The processes of a member, in their order; all they need stands in the folder's settings.

    The node is left out where it is another user's: that user starts it.

    Raises:
        ArgumentError: the settings lack a file, or name no coordinator.
        NetworkError: the certificate cannot be used.
        StorageError: a file cannot be read.
    """
    held = settings.load(folder)
    if held.address is None:
        raise ArgumentError(
            f"{folder / settings.FILE} names no coordinator.",
            "`fedrepay member join` with an invitation does it.",
        )
    for name, line in (("schema", held.schema_file), ("data", held.data), ("mapping", held.mapping)):
        if line is not None and not (folder / line).is_file():
            raise ArgumentError(
                f"{name}: {folder / line} is not there.", f"Mend it in {folder / settings.FILE}."
            )
    if held.data is None and held.mapping is None:
        raise ArgumentError(
            f"{folder / settings.FILE} names no data.",
            "Set `data`, and `mapping` where columns have other names.",
        )
    tls.check(folder, time.time())
    socket = socket_of(folder)
    where = ("--folder", str(folder))
    latest = time.monotonic() + PATIENCE

    def ready() -> bool:
        return answers(socket) or time.monotonic() > latest

    serve = Child("serve", (*FEDREPAY, "serve", *where), ready=ready)
    node = Child("node", (*FEDREPAY, "node", *where))
    link = Child("link", (*FEDREPAY, "link", *where))
    return (serve, link) if held.node_user is not None else (serve, node, link)


def answers(socket: Path) -> bool:
    """Whether the member's own process answers at its door."""
    try:
        relay.deliver(f"{relay.UNIX}{socket}", Kind.HELD.value, b"", b"", 5.0)
    except ProtocolError:
        return False
    return True

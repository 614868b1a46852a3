"""What `fedrepay member run` keeps running: the member's own process, its Flower node, and its link."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Annotated

from pydantic import Field

from fedrepay.client.consortium import tls
from fedrepay.client.node import door, relay
from fedrepay.client.store import settings
from fedrepay.shared import files
from fedrepay.shared.errors import ArgumentError, ProtocolError, StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.supervision import BEAT, Child, ChildSeen, Watch
from fedrepay.shared.trust.message import Wire
from fedrepay.shared.trust.wire import Kind

PATIENCE = 90.0
"""Seconds for the member's rows to be read before the others start all the same: they wait for it too."""
RUNNING, FILE = ".running", "running.bin"
LIVES = 4 * BEAT
"""Seconds for which what `member run` wrote of its processes says something of now."""
NODE_PAUSE = 8.0
"""Seconds at most before a node is started again: the SuperLink refuses it only while it takes the dead one for alive, up to a minute."""
FEDREPAY = (sys.executable, "-m", "fedrepay", "member")


class ProcessState(Wire):
    """One process of `member run`.

    Attributes:
        name: serve, node or link.
        pid: 0 while it is dead and waits to be started again.
        since: when that began, in seconds since 1970.
        restarts: how often it was started again.
        last: how it ended last; empty before.
    """

    name: Annotated[str, Field(max_length=64)]
    pid: Annotated[int, Field(ge=0, lt=2**31)]
    since: Annotated[float, Field(ge=0, le=1e11)]
    restarts: Annotated[int, Field(ge=0, lt=2**31)]
    last: Annotated[str, Field(max_length=4000)] = ""


class RunState(Wire):
    """What `member run` knows of its processes.

    Attributes:
        at: when it wrote this, in seconds since 1970.
        pid: its own.
        processes: in the order of their start.
    """

    at: Annotated[float, Field(ge=0, le=1e11)]
    pid: Annotated[int, Field(ge=1, lt=2**31)]
    processes: Annotated[tuple[ProcessState, ...], Field(max_length=16)]


def watcher(folder: Path, clock: Callable[[], float]) -> Watch:
    """Keeps a folder's `RunState` as the supervisor's children are; none is left when it ends.

    Args:
        folder: the member's.
        clock: seconds since 1970.
    """
    since: dict[str, tuple[int, float]] = {}

    def watch(children: tuple[ChildSeen, ...]) -> None:
        if not children:
            (folder / FILE).unlink(missing_ok=True)
            return
        now = clock()
        for each in children:
            if since.get(each.name, (-1, 0.0))[0] != each.pid:
                since[each.name] = (each.pid, now)
        processes = tuple(
            ProcessState(
                name=each.name,
                pid=each.pid,
                since=since[each.name][1],
                restarts=each.restarts,
                last=each.last[:4000],
            )
            for each in children
        )
        state = RunState(at=now, pid=os.getpid(), processes=processes)
        with suppress(StorageError):  # a full disk ends none of them; what is there grows old, and says so
            write_atomically(folder / FILE, state.encode(), mode=0o600, durable=False)

    return watch


def processes(folder: Path, now: float) -> tuple[ProcessState, ...]:
    """The processes of the `member run` that has this folder now; none where none has."""
    try:
        state = RunState.decode((folder / FILE).read_bytes())
    except (OSError, ProtocolError):
        return ()
    return state.processes if now - state.at < LIVES and _lives(state.pid) else ()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # asks whether it is there, no more
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


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


def children(folder: Path, *, as_json: bool = False) -> tuple[Child, ...]:
    """The processes of a member, in their order; all they need stands in the folder's settings.

    The node is left out where it is another user's: that user starts it.

    Args:
        folder: the member's.
        as_json: whether what they say is for machines.

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
                f"{name}: {folder / line} is not there.",
                f"Mend it in {folder / settings.FILE}. A folder that `member restore` made joins again first: the operator invites you "
                "anew, and `fedrepay member join` takes its line.",
            )
    if held.data is None and held.mapping is None:
        raise ArgumentError(
            f"{folder / settings.FILE} names no data.",
            "Set `data`, and `mapping` where columns have other names.",
        )
    tls.check(folder, time.time())
    socket = socket_of(folder)
    where = ("--folder", str(folder), *(("--json",) if as_json else ()))
    latest = time.monotonic() + PATIENCE

    def ready() -> bool:
        return answers(socket) or time.monotonic() > latest

    serve = Child("serve", (*FEDREPAY, "serve", *where), ready=ready)
    node = Child("node", (*FEDREPAY, "node", *where), longest=NODE_PAUSE)
    link = Child("link", (*FEDREPAY, "link", *where))
    return (serve, link) if held.node_user is not None else (serve, node, link)


def answers(socket: Path) -> bool:
    """Whether the member's own process answers at its door."""
    try:
        relay.deliver(f"{relay.UNIX}{socket}", Kind.HELD.value, b"", b"", 5.0)
    except ProtocolError:
        return False
    return True

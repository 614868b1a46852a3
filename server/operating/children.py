"""``fedrepay coordinator serve``: its four processes, and when each does its work."""

import logging
import sys
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.database import locks
from fedrepay.server.database.engine import CoordinatorDatabase
from fedrepay.server.network import superlink
from fedrepay.server.network.superlink import Control
from fedrepay.server.operating import newcomers
from fedrepay.server.operating import settings as places
from fedrepay.server.operating.admitting import FORGOTTEN, forgotten
from fedrepay.server.operating.settings import CoordinatorSettings, listens
from fedrepay.shared.errors import NetworkError
from fedrepay.shared.supervision import Child, supervise
from fedrepay.shared.trust.message import Signed

FEDREPAY = (sys.executable, "-m", "fedrepay")
LETS_GO = 3.0
"""Seconds in which a database lets go of a `serve` that was killed just now."""


def children(folder: Path, settings: CoordinatorSettings, control: Control) -> tuple[Child, ...]:
    """The processes of a coordinator, in the order in which they start.

    The service comes before the front: who is let in to the public port finds all of it there.

    Args:
        folder: the coordinator's.
        settings: its own.
        control: of its SuperLink, by which that is known to be ready.
    """
    whole = folder.absolute()
    flower = superlink.commands(whole, settings.superlink)
    environment = superlink.environment(whole)
    ours = ("coordinator", "--folder", str(whole))
    return (
        Child("superlink", flower["superlink"], environment, lambda: answers(control)),
        Child("superexec", flower["superexec"], environment),
        Child(
            "service",
            [*FEDREPAY, ours[0], "service", *ours[1:]],
            ready=lambda: listens(places.LOOPBACK, settings.service),
        ),
        Child(
            "front",
            [*FEDREPAY, ours[0], "front", *ours[1:]],
            ready=lambda: listens(*settings.front_place),
        ),
    )


def answers(control: Control) -> bool:
    """Whether the SuperLink takes orders."""
    try:
        control.online()
    except NetworkError:
        return False
    return True


def serve(folder: Path, say: Callable[[str], None]) -> None:
    """Run everything until SIGTERM, SIGHUP or Ctrl-C.

    Args:
        folder: the coordinator's.
        say: told of every start, death and end.

    Raises:
        ArgumentError: the folder is no coordinator's.
        NetworkError: a port is taken, or a process ended at the start.
        ProtocolError: another `coordinator serve` has this folder or its database, or took it after that was away.
        StorageError: the database cannot be used, or was away too long.
    """
    settings, database = places.load(folder), CoordinatorDatabase.in_folder(folder)
    with locks.held(database, locks.SERVING, locks.waiting(LETS_GO), say) as hold:
        database.bring()
        hold.note()
        places.check_free(settings)
        if certificates.refresh(folder, time.time()):
            say("The server's certificate was issued anew, for the same key and names.")
        if names := forgotten(folder, Registry(folder)):
            say(FORGOTTEN.format(names=", ".join(names)))
        with closing(Control(settings.superlink_address, folder / certificates.AUTHORITY)) as control:
            supervise(children(folder, settings, control), say, time.monotonic, look=hold.look)


def run_front(folder: Path, max_body: int) -> None:
    """The front of a coordinator's folder, at the place of its settings.

    Raises:
        NetworkError: its port is taken.
    """
    from fedrepay.server.front import front  # noqa: PLC0415 - starlette and uvicorn are slow to import

    settings = places.load(folder)
    host, port = settings.front_place
    tls = (folder / certificates.AUTHORITY, folder / certificates.CERTIFICATE, folder / certificates.KEY)
    registry, issue = Registry(folder), partial(certificates.issue, folder)

    def join(body: bytes) -> bytes:
        return registry.join(Signed.decode(body), issue).encode()

    front.run(
        f"https://{settings.superlink_address}",
        folder,
        host,
        port,
        tls,
        max_body,
        service=(places.LOOPBACK, settings.service),
        about=partial(newcomers.about, folder),
        join=join,
    )


def run_service(folder: Path) -> None:
    """The gRPC service of a coordinator's folder, with the rosters' keeper and the metrics.

    Raises:
        NetworkError: one of its ports is taken.
    """
    from fedrepay.server.service import server  # noqa: PLC0415 - gRPC is slow to import

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settings = places.load(folder)
    server.run(folder, settings.service, settings.superlink_address, settings.metrics)

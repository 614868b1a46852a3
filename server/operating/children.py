"""``fedrepay coordinator serve``: its four processes, and when each does its work."""

import logging
import ssl
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
from fedrepay.server.operating import founding, newcomers
from fedrepay.server.operating import settings as places
from fedrepay.server.operating.admitting import FORGOTTEN, forgotten
from fedrepay.server.operating.settings import CoordinatorSettings, listens
from fedrepay.shared.errors import NetworkError, StorageError
from fedrepay.shared.files import read_bytes
from fedrepay.shared.supervision import Child, supervise
from fedrepay.shared.trust.message import Signed

FEDREPAY = (sys.executable, "-m", "fedrepay")
LETS_GO = 3.0
"""Seconds in which a database lets go of a `serve` that was killed just now."""
HEALTH = "/health"
SOON = 30 * 86400.0
"""Seconds before its certificate's end at which the SuperLink is started again for the new one."""


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
        Child(
            "superlink",
            flower["superlink"],
            environment,
            lambda: answers(control),
            aged(whole / certificates.CERTIFICATE, time.time),
        ),
        Child("superexec", flower["superexec"], environment),
        Child(
            "service",
            [*FEDREPAY, ours[0], "service", *ours[1:]],
            ready=lambda: (
                listens(places.LOOPBACK, settings.service)
                and healthy(f"http://{places.LOOPBACK}:{settings.metrics}")
            ),
        ),
        Child(
            "front",
            [*FEDREPAY, ours[0], "front", *ours[1:]],
            ready=lambda: healthy(
                f"https://{_called(*settings.front_place)}", whole / certificates.AUTHORITY
            ),
        ),
    )


def aged(path: Path, clock: Callable[[], float]) -> Callable[[], str]:
    """Whether who read a certificate when it started must read it again: its own ends soon, and there is a later one.

    It asks for no more than one start for each certificate. A run that is under way then goes on with the same command.

    Args:
        path: of the certificate.
        clock: seconds since 1970.

    Raises:
        StorageError: it cannot be read.
    """

    def ends() -> float:
        return certificates.ends(read_bytes(path, StorageError))

    read = ends()

    def stale() -> str:
        nonlocal read
        if clock() < read - SOON or (now := ends()) <= read:
            return ""
        read = now
        return "its certificate ends soon, and it reads the new one when it starts"

    return stale


def healthy(url: str, authority: Path | None = None, seconds: float = 2.0) -> bool:
    """Whether a process of ours says that it is well.

    Args:
        url: where its ``/health`` is.
        authority: certificate of who vouches for it, where it speaks TLS; by which name it is called does not matter.
        seconds: that it has for its answer.
    """
    import httpx  # noqa: PLC0415 - slow to import

    trusted = authority is not None and ssl.create_default_context(cafile=str(authority))
    if trusted:
        trusted.check_hostname = False
    try:
        return httpx.get(f"{url}{HEALTH}", verify=trusted, trust_env=False, timeout=seconds).is_success
    except httpx.HTTPError:
        return False


def _called(host: str, port: int) -> str:
    """An address that is listened at, as one on this machine calls it."""
    here = {"0.0.0.0": places.LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - nothing is bound
    return f"[{here}]:{port}" if ":" in here else f"{here}:{port}"


def ready(folder: Path, settings: CoordinatorSettings) -> str:
    """That everything answers, where, and what its operator does next.

    Raises:
        ArgumentError: the terms cannot be read.
        StorageError: nor the database.
    """
    terms, _ = founding.terms_in(folder)
    states = {each.name: each.state for each in Registry(folder).members()}
    waiting = [name for name, state in states.items() if state == "waiting"]
    if waiting:
        following = f"{', '.join(waiting)} wait: fedrepay coordinator admit --folder {folder}"
    elif not states:
        following = f"invite institutions: fedrepay coordinator invite NAME … --folder {folder}"
    elif "admitted" in states.values():
        following = f"fedrepay coordinator train --folder {folder}, or `status`"
    else:
        following = f"when institutions have joined (`members`): fedrepay coordinator admit --folder {folder}"
    host, port = settings.front_place
    return f"Ready: members call {terms.address}; the front answers at {host}:{port}. Next, in another terminal: {following}"


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
            up = partial(ready, folder, settings)
            supervise(children(folder, settings, control), say, time.monotonic, look=hold.look, up=up)


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

"""The member's door: one message at a time over a Unix socket, one process a folder.

The socket is 0600 in a 0700 folder, so only the member's own user can knock; where its node runs as another user, that one
can too (a group's rights, and the kernel's word who knocks), and asks for nothing of the house. What is asked is stored before it
is answered (``client/protocol/member.py``), so a process that ends between two messages, or within one, loses nothing.
"""

import errno
import logging
import os
import pwd
import select
import socket
import stat
import struct
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fedrepay.client.node import framing
from fedrepay.client.node.relay import DOOR_SECONDS, HOME, Handler
from fedrepay.shared import files
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.text import printable

SOCKET = "member.sock"
WAITING = 16  # callers that may queue while a message is answered
_LONGEST_PATH = 100  # bytes; the operating system's own limit is 104 to 108
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Guest:
    """Another user whose node may knock."""

    uid: int
    gid: int

    @classmethod
    def named(cls, name: str) -> "Guest":
        """The user of that name.

        Raises:
            ArgumentError: there is none, or this system does not say who knocks.
        """
        remedy = "Check `node_user` in member.toml."
        if not hasattr(socket, "SO_PEERCRED"):
            raise ArgumentError("This system does not say which user knocks at a socket.", remedy)
        try:
            found = pwd.getpwnam(name)
        except KeyError as error:
            raise ArgumentError(f"There is no user {name!r}.", remedy) from error
        return cls(found.pw_uid, found.pw_gid)


def held(folder: Path) -> AbstractContextManager[None]:
    """Keep other processes from answering out of this folder (``files.held``).

    Raises:
        ArgumentError: another process serves this folder.
        StorageError: the folder cannot be written.
    """
    taken = ArgumentError(
        f"Another process serves {folder} already.", "Stop it first: two would spend one budget twice."
    )
    return files.held(folder / ".serving", taken, "Make it with `fedrepay member init`.")


class Door:
    """A listening socket.

    Args:
        path: where the socket is made; a socket left there by a process that has ended is taken away.
        handler: answers a message; it never raises (``Member.handle``).
        seconds: how long a caller may take to send its message or to take its answer.
        guest: another user that may knock; the socket then stands in a folder of its own.

    Raises:
        ArgumentError: the path is too long, not in a folder of these users alone, or taken by something else.
    """

    def __init__(
        self, path: Path, handler: Handler, seconds: float = DOOR_SECONDS, guest: Guest | None = None
    ) -> None:
        _make_way(path, guest)
        self._guest = guest
        self.path = path
        self._handler = handler
        self._seconds = seconds
        self._wake, self._woken = socket.socketpair()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._mine = False

    def __enter__(self) -> Self:
        try:
            self._listener.bind(str(self.path))
            self._mine = True
            if self._guest is not None:
                os.chown(self.path, -1, self._guest.gid)
            # nobody else reaches it before: the folder is 0700, or 0710 for one group, and who knocks is asked for
            self.path.chmod(0o600 if self._guest is None else 0o660)
            self._listener.listen(WAITING)
        except OSError as error:
            self._close()
            raise ArgumentError(
                f"No socket can be made at {self.path}: {error.strerror}.", "Name another with --socket."
            ) from error
        return self

    def __exit__(self, *_error: object) -> None:
        self._close()

    def _close(self) -> None:
        self._listener.close()
        self._wake.close()
        self._woken.close()
        if self._mine:
            self.path.unlink(missing_ok=True)
            self._mine = False

    def stop(self) -> None:
        """End :meth:`serve` after the message under way; safe in a signal handler."""
        with suppress(OSError):  # closed already
            self._wake.send(b"x")

    def serve(self) -> None:
        """Answer callers one after the other until :meth:`stop`."""
        while True:
            ready, _, _ = select.select([self._listener, self._woken], [], [])
            if self._woken in ready:
                return
            connection, _ = self._listener.accept()
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            user = _who(connection)
            if user not in (os.getuid(), None if self._guest is None else self._guest.uid):
                raise ProtocolError(f"User {user} may not knock here.", "Its connection was closed.")
            kind, shared, own = framing.receive_request(connection, self._seconds)
            if kind.startswith(HOME) and user != os.getuid():
                raise ProtocolError(f"User {user} asked for {kind}.", "Only the member's own user may.")
            body = self._handler(kind, shared, own)
            framing.send(connection, framing.reply(body), self._seconds)
        except ProtocolError as error:
            log.warning("A caller at %s: %s", self.path, printable(str(error)))


def _who(connection: socket.socket) -> int:
    """The user at the other end, by the kernel's word; where it gives none, the socket's rights let in our own alone."""
    if not hasattr(socket, "SO_PEERCRED"):
        return os.getuid()
    said = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(said)[1])


def check_path(path: Path, remedy: str = "Name a shorter one: `socket` in member.toml, or --socket.") -> None:
    """Whether a socket can stand there: nodes are told its whole path, so that is what counts.

    Raises:
        ArgumentError: the path is too long.
    """
    whole = path.parent.resolve() / path.name
    if len(os.fsencode(whole)) > _LONGEST_PATH:
        raise ArgumentError(
            f"The socket's path has more than {_LONGEST_PATH} bytes, and operating systems allow none longer: {whole}.",
            remedy,
        )


def _make_way(path: Path, guest: Guest | None) -> None:
    check_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if guest is not None:
            _open_to(path.parent, guest)
        elif stat.S_IMODE(path.parent.stat().st_mode) & 0o077:
            raise ArgumentError(
                f"{path.parent} can be entered by other users.",
                f"chmod 700 {path.parent}, or name a socket in a folder of your own with --socket.",
            )
        if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
            raise ArgumentError(f"{path} exists and is not a socket.", "Name another with --socket.")
        if path.exists() and _answers(path):  # the folder's lock keeps no other member away from this path
            raise ArgumentError(f"Another process serves at {path}.", "Name another socket with --socket.")
        path.unlink(missing_ok=True)  # of a process that was killed
    except OSError as error:
        raise ArgumentError(
            f"No socket can be made at {path}: {error.strerror}.", "Name another with --socket."
        ) from error


def _open_to(folder: Path, guest: Guest) -> None:
    """Let the guest's group pass through a folder that holds nothing but the socket."""
    others = [each.name for each in folder.iterdir() if not stat.S_ISSOCK(each.stat().st_mode)]
    if others:
        raise ArgumentError(
            f"{folder} holds more than the socket ({others[0]}), and another user's node must enter it.",
            "Name a socket in a folder of its own: `socket` in member.toml.",
        )
    try:
        os.chown(folder, -1, guest.gid)
        folder.chmod(0o710)
    except PermissionError as error:
        raise ArgumentError(
            f"{folder} cannot be given to group {guest.gid}.",
            "Put the user of `member serve` into the group of `node_user`, or make the folder so as root.",
        ) from error


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - a full queue is an answer too
        return probe.connect_ex(str(path)) != errno.ECONNREFUSED

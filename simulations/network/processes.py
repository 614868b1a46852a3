"""Processes of a network on this machine: started with a log each, ended by their own ids, in order."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from fedrepay.shared.errors import NetworkError

READY = 180.0  # seconds for a state to come about on a busy machine
SOON, PATIENCE = 10.0, 20.0  # seconds for a process to end on SIGTERM, and after that on SIGINT
_LAST_LINES = 12


@dataclass
class Running:
    """One process and where it writes."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def last_lines(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LAST_LINES:])

    def end(self) -> None:
        """End it and what it has started; nothing where that has ended already.

        SIGTERM; SIGINT, by which uvicorn waits for no connection; SIGKILL. Its children are in its own group.
        """
        for number, seconds in (
            (signal.SIGTERM, SOON),
            (signal.SIGINT, PATIENCE),
            (signal.SIGKILL, PATIENCE),
        ):
            if self._gone(0.0):
                break
            os.kill(self.process.pid, number)
            if self._gone(seconds):
                break
        group = self.process.pid  # still its leader's, as nobody has taken its exit status
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(group, number)
            self.process.wait()
            if _empty(group, SOON):
                return

    def kill(self) -> None:
        """As a crash would end it: alone."""
        self.process.kill()
        self.process.wait()

    def _gone(self, seconds: float) -> bool:
        """Whether it ends within that time; its exit status is left where it is."""
        if self.process.returncode is not None:
            return True
        deadline = time.monotonic() + seconds
        while os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True


def _empty(group: int, seconds: float) -> bool:
    """Whether a process group is empty within that time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.05)


class Processes:
    """All processes of one network; leaving it ends them, the last started first.

    Args:
        logs: folder of their logs.
    """

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: list[Running] = []

    @property
    def running(self) -> tuple[Running, ...]:
        """What was started and not forgotten."""
        return tuple(self._running)

    def __enter__(self) -> Self:
        self._logs.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_error: object) -> None:
        """End all; a second Ctrl-C must not leave half of them behind."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN) if _main_thread() else None
        try:
            ending = list(reversed(self._running))
            for each in ending:
                if each.name.startswith("node") and each.process.poll() is None:
                    os.kill(each.process.pid, signal.SIGTERM)  # all at once: each takes a second or two
            for each in ending:
                each.end()
        finally:
            self._running.clear()
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def start(
        self, name: str, command: Sequence[object], environment: Mapping[str, str] | None = None
    ) -> Running:
        """Start a process in a session of its own: a Ctrl-C at the terminal reaches us alone, and we end it in order.

        Raises:
            NetworkError: it cannot be started.
        """
        log = self._logs / f"{name}.log"
        try:
            with log.open("ab") as file:
                process = subprocess.Popen(  # noqa: S603 - our own commands
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
        except OSError as error:
            raise NetworkError(f"{command[0]} cannot be started: {error.strerror}.", "Install it.") from error
        running = Running(name, process, log)
        self._running.append(running)
        return running

    def forget(self, running: Running) -> None:
        """Leave out one that was ended on purpose."""
        self._running.remove(running)

    def until(self, what: str, ready: Callable[[], bool], seconds: float = READY) -> None:
        """Wait for a state.

        Raises:
            NetworkError: it does not come, or one of the processes has ended meanwhile; with the end of its log.
        """
        deadline = time.monotonic() + seconds
        while not ready():
            for each in self._running:
                status = each.process.poll()
                if status is not None:
                    raise NetworkError(
                        f"{each.name} ended with status {status} before {what}:\n{each.last_lines()}",
                        f"See {each.log}.",
                    )
            if time.monotonic() > deadline:
                raise NetworkError(
                    f"{seconds:.0f} s were not enough: {what}.", f"See the logs in {self._logs}."
                )
            time.sleep(0.1)


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody listens at now."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def listens(port: int) -> bool:
    """Whether somebody does."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _main_thread() -> bool:
    import threading  # noqa: PLC0415

    return threading.current_thread() is threading.main_thread()

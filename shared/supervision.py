"""One process to start and one to stop: runs children in order, starts again what dies, and ends all of them.

On Linux a child is told to end when its supervisor dies, however that dies (prctl, ``PR_SET_PDEATHSIG``).
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType

from fedrepay.shared.errors import NetworkError

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds before a child that died is started again; doubled each time."""
SETTLED = 60.0
"""Seconds after which a child that lives counts as well again."""
READY = 120.0
"""Seconds for a child to become ready at the start."""
ENDING = 20.0
"""Seconds for a child to end on SIGTERM before it is killed."""
LOOK = 0.2
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@dataclass(frozen=True)
class Child:
    """A process that is wanted.

    Attributes:
        name: for people.
        command: program and arguments.
        environment: beside this process's own.
        ready: whether it does its work yet; None: as soon as it runs.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None


@dataclass
class _Kept:
    """A child as it is now."""

    child: Child
    process: "subprocess.Popen[bytes]"
    started: float
    pause: float = FIRST_PAUSE
    again: float | None = None  # when it is to be started again, if it is dead


def supervise(
    children: Sequence[Child],
    say: Callable[[str], None],
    clock: Callable[[], float],
    stop: threading.Event | None = None,
    up: Callable[[], str] | None = None,
) -> None:
    """Run children until SIGTERM, SIGHUP or Ctrl-C, or until ``stop`` is set; then none is left.

    Args:
        children: started in this order, each when the one before is ready, and ended in the reverse one.
        say: told in one line of every start, death and end; where it cannot write (a closed terminal, a full disk),
            the line is lost and nothing else.
        clock: seconds that only grow.
        stop: another way to end it.
        up: what to say once, when all of them are ready.

    Raises:
        NetworkError: a child ended, or was not ready in time, before all of them were; the others are ended.
    """
    told = stop or threading.Event()

    def tell(line: str) -> None:
        with suppress(OSError):
            say(line)

    with _signals(told):
        kept: list[_Kept] = []
        try:
            for child in children:
                if told.is_set():
                    break
                kept.append(_started(child, clock))
                _await(kept, child, told, clock)
                tell(f"{child.name} runs.")
            if up is not None and not told.is_set():
                tell(up())
            while not told.wait(LOOK):
                for each in kept:
                    _look(each, tell, clock)
        finally:
            for each in reversed(kept):
                _end(each, tell)


@contextmanager
def _signals(told: threading.Event) -> Iterator[None]:
    """Note what asks us to end, instead of dying of it and leaving children behind."""

    def note(_number: int, _frame: FrameType | None) -> None:
        told.set()

    before = {number: signal.signal(number, note) for number in _ENDING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _started(child: Child, clock: Callable[[], float]) -> _Kept:
    supervisor = os.getpid()

    def orphaned() -> None:
        os.setpgid(0, 0)  # Ctrl-C at the terminal reaches the supervisor alone, which ends them in order
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGTERM)
            if os.getppid() != supervisor:  # it died meanwhile
                os.kill(os.getpid(), signal.SIGTERM)

    try:
        process = subprocess.Popen(  # noqa: S603 - commands are our own
            [str(part) for part in child.command],
            env=os.environ | dict(child.environment),
            preexec_fn=orphaned,  # noqa: PLW1509 - nothing else of ours runs in threads before
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise NetworkError(
            f"{child.name} cannot be started: {error.strerror}.", "Is fedrepay installed whole?"
        ) from error
    return _Kept(child, process, clock())


def _await(kept: Sequence[_Kept], child: Child, told: threading.Event, clock: Callable[[], float]) -> None:
    deadline = clock() + READY
    while not told.is_set():
        for each in kept:
            if each.process.poll() is not None:
                raise NetworkError(
                    f"{each.child.name} ended at the start (exit status {each.process.returncode}).",
                    "Its own lines above say why: a port that is taken, a file that is missing.",
                )
        if child.ready is None or child.ready():
            return
        if clock() > deadline:
            raise NetworkError(
                f"{child.name} was not ready within {READY:.0f} s.", "Its own lines above say why."
            )
        told.wait(LOOK)


def _look(each: _Kept, say: Callable[[str], None], clock: Callable[[], float]) -> None:
    """Start a dead child again, when its time has come."""
    if each.again is None:
        if each.process.poll() is None:
            return
        if clock() - each.started > SETTLED:
            each.pause = FIRST_PAUSE
        each.again = clock() + each.pause
        status = each.process.returncode
        said = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        say(f"{each.child.name} {said}; it is started again in {each.pause:.0f} s.")
        each.pause = min(LAST_PAUSE, 2 * each.pause)
    elif clock() >= each.again:
        try:
            fresh = _started(each.child, clock)
        except NetworkError as error:  # no memory or no process more now: the others need not end for it
            each.again, each.pause = clock() + each.pause, min(LAST_PAUSE, 2 * each.pause)
            say(error.cause)
            return
        each.process, each.started, each.again = fresh.process, fresh.started, None
        say(f"{each.child.name} runs again.")


def _end(each: _Kept, say: Callable[[str], None]) -> None:
    if each.process.poll() is None:
        each.process.terminate()
        try:
            each.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            say(f"{each.child.name} does not end; it is killed.")
            each.process.kill()
            each.process.wait()
    say(f"{each.child.name} has ended.")

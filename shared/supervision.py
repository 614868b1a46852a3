"""One process to start and one to stop: runs children in order, starts again what dies, and ends all of them.

On Linux a child is told to end when its supervisor dies, however that dies (prctl, ``PR_SET_PDEATHSIG``).
"""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import FrameType
from typing import IO

from fedrepay.shared.errors import NetworkError
from fedrepay.shared.text import printable

FIRST_PAUSE, LAST_PAUSE = 1.0, 60.0
"""Seconds before a child that died is started again; doubled each time."""
SETTLED = 60.0
"""Seconds after which a child that lives counts as well again."""
READY = 120.0
"""Seconds for a child to become ready at the start."""
ENDING = 20.0
"""Seconds for a child to end on SIGTERM before it is killed."""
LOOK = 0.2
BEAT = 15.0
"""Seconds after which who watches is told again, also of nothing new: it knows by that that somebody is there."""
_LINES, _LONGEST = 50, 8192  # lines of a child's standard error that are kept, and bytes of one
_ERROR = re.compile(r"^\W*[\w.]*(Error|Exception)\b.*:|\b(ERROR|CRITICAL)\b")
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
        stale: why it must be started again although it runs; asked often; empty where it need not.
        longest: seconds, the longest pause before it is started again.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] | None = None
    stale: Callable[[], str] | None = None
    longest: float = LAST_PAUSE


@dataclass(frozen=True)
class ChildSeen:
    """How a child is.

    Attributes:
        name: for people.
        pid: of its process; 0 while it is dead.
        restarts: how often it was started again.
        last: how it ended last, and the first line of what it said of that; empty before.
    """

    name: str
    pid: int
    restarts: int = 0
    last: str = ""


Watch = Callable[[tuple[ChildSeen, ...]], None]


@dataclass
class _Kept:
    """A child as it is now."""

    child: Child
    process: "subprocess.Popen[bytes]"
    started: float
    said: "_Said | None" = None  # what it writes to standard error, where somebody watches
    pause: float = FIRST_PAUSE
    again: float | None = None  # when it is to be started again, if it is dead
    restarts: int = 0
    last: str = ""

    def seen(self) -> ChildSeen:
        """For who watches."""
        return ChildSeen(
            self.child.name, 0 if self.again is not None else self.process.pid, self.restarts, self.last
        )


class _Said:
    """Passes a child's standard error on, and knows its last lines."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._lines: deque[bytes] = deque(maxlen=_LINES)
        self._thread = threading.Thread(target=self._pass, args=(pipe,), daemon=True)
        self._thread.start()

    def _pass(self, pipe: IO[bytes]) -> None:
        for line in iter(lambda: pipe.readline(_LONGEST), b""):
            self._lines.append(line)
            with suppress(OSError):  # nobody reads it; the child need not end of that
                os.write(2, line)
        pipe.close()

    def error(self) -> str:
        """The first line of the last error; where none is seen, the last line."""
        self._thread.join(LOOK)  # who came after the child may hold the pipe
        lines = [
            text
            for line in tuple(self._lines)
            if (text := printable(line.decode("utf-8", "replace").strip()))
        ]
        errors = [line for line in lines if _ERROR.search(line)]
        return (errors or lines or [""])[-1]


def supervise(
    children: Sequence[Child],
    say: Callable[[str], None],
    clock: Callable[[], float],
    stop: threading.Event | None = None,
    look: Callable[[], None] = lambda: None,
    up: Callable[[], str] | None = None,
    watch: Watch | None = None,
) -> None:
    """Run children until SIGTERM, SIGHUP or Ctrl-C, or until ``stop`` is set; then none is left.

    Args:
        children: started in this order, each when the one before is ready, and ended in the reverse one.
        say: told in one line of every start, death and end; where it cannot write (a closed terminal, a full disk),
            the line is lost and nothing else.
        clock: seconds that only grow.
        stop: another way to end it.
        look: called again and again once all of them are ready; an error of it ends them, and is raised.
        up: what to say once, when all of them are ready.
        watch: told how all of them are, whenever that changes and every :data:`BEAT` seconds; of none, at the end.

    Raises:
        NetworkError: a child ended, or was not ready in time, before all of them were; the others are ended.
    """
    told = stop or threading.Event()

    def tell(line: str) -> None:
        with suppress(OSError):
            say(line)

    kept: list[_Kept] = []
    shown: tuple[tuple[ChildSeen, ...], float] = ((), 0.0)

    def beat() -> None:
        nonlocal shown
        now = tuple(each.seen() for each in kept), clock()
        if watch is not None and (now[0] != shown[0] or now[1] - shown[1] >= BEAT):
            watch(now[0])
            shown = now

    with _signals(told):
        try:
            for child in children:
                if told.is_set():
                    break
                kept.append(_started(child, clock, watched=watch is not None))
                beat()
                _await(kept, child, told, clock)
                tell(f"{child.name} runs.")
            if up is not None and not told.is_set():
                tell(up())
            while not told.wait(LOOK):
                look()
                for each in kept:
                    _look(each, tell, clock)
                beat()
        finally:
            for each in reversed(kept):
                _end(each, tell)
            if watch is not None:
                watch(())


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


def _started(child: Child, clock: Callable[[], float], *, watched: bool) -> _Kept:
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
            stderr=subprocess.PIPE if watched else None,
        )
    except OSError as error:
        raise NetworkError(
            f"{child.name} cannot be started: {error.strerror}.", "Is fedrepay installed whole?"
        ) from error
    return _Kept(child, process, clock(), None if process.stderr is None else _Said(process.stderr))


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
            if each.child.stale is not None and (why := each.child.stale()):
                say(f"{each.child.name} is ended, to be started again: {why}.")
                each.process.terminate()
            return
        if clock() - each.started > SETTLED:
            each.pause = FIRST_PAUSE
        each.again = clock() + each.pause
        status = each.process.returncode
        said = f"was ended by signal {-status}" if status < 0 else f"ended with exit status {status}"
        words = "" if each.said is None else each.said.error()
        each.last = f"{said}: {words}" if words else said
        say(f"{each.child.name} {said}; it is started again in {each.pause:.0f} s.")
        each.pause = min(each.child.longest, 2 * each.pause)
    elif clock() >= each.again:
        try:
            fresh = _started(each.child, clock, watched=each.said is not None)
        except NetworkError as error:  # no memory or no process more now: the others need not end for it
            each.again, each.pause = clock() + each.pause, min(each.child.longest, 2 * each.pause)
            say(error.cause)
            return
        each.process, each.started, each.said, each.again = fresh.process, fresh.started, fresh.said, None
        each.restarts += 1
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

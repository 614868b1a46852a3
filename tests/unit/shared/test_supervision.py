"""Children are started in order, started again, and none is left, however their supervisor ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fedrepay.shared.errors import NetworkError
from fedrepay.shared.supervision import Child, ChildSeen, supervise

PATIENCE = 60.0
CHILD = "import pathlib, sys, time\npathlib.Path(sys.argv[1]).open('a').write(f'{__import__(\"os\").getpid()}\\n')\ntime.sleep(600)"


def child(name: str, place: Path, code: str = CHILD) -> Child:
    return Child(name, [sys.executable, "-c", code, str(place / name)], ready=(place / name).exists)


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_in_order_again_and_ended(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()

    def act() -> None:
        try:
            until(lambda: "two runs." in said)
            os.kill(pids(tmp_path / "one")[0], signal.SIGKILL)
            until(lambda: len(pids(tmp_path / "one")) == 2)
        finally:
            stop.set()

    other = threading.Thread(target=act)
    other.start()
    both = [child("one", tmp_path), child("two", tmp_path)]
    supervise(both, said.append, time.monotonic, stop, up=lambda: "Ready.")
    other.join()
    assert said[:3] == ["one runs.", "two runs.", "Ready."]
    assert said.count("Ready.") == 1, "not again for one that came again"
    assert said[-2:] == ["two has ended.", "one has ended."], "the other way round"
    assert any("ended by signal 9" in line for line in said)
    assert "one runs again." in said
    assert not any(map(lives, pids(tmp_path / "one") + pids(tmp_path / "two")))


def test_one_that_cannot_start_ends_the_others(tmp_path: Path) -> None:
    broken = child("two", tmp_path, "import sys; sys.exit(3)")
    with pytest.raises(NetworkError, match=r"two ended at the start \(exit status 3\)"):
        supervise([child("one", tmp_path), broken], lambda _: None, time.monotonic)
    (pid,) = pids(tmp_path / "one")
    assert not lives(pid)


FAILS = """
import os, pathlib, sys, time
for line in ("Traceback", "ClockError: it is 9 s ahead.", "Set it."):
    print(line, file=sys.stderr)
path = pathlib.Path(sys.argv[1])
again = path.exists()
path.open("a").write(f"{os.getpid()}\\n")
time.sleep(600) if again else sys.exit(3)
"""


def test_who_watches_sees_who_runs_who_died_and_of_what(tmp_path: Path) -> None:
    seen: list[tuple[ChildSeen, ...]] = []
    stop = threading.Event()

    def watch(children: tuple[ChildSeen, ...]) -> None:
        seen.append(children)
        if children and children[0].restarts:
            until(lambda: len(pids(tmp_path / "one")) == 2)
            stop.set()

    one = Child("one", [sys.executable, "-c", FAILS, str(tmp_path / "one")])
    supervise([one], lambda _: None, time.monotonic, stop, watch=watch)
    first, dead, again, none = seen
    assert (first[0].name, first[0].pid > 0, first[0].restarts, first[0].last) == ("one", True, 0, "")
    assert dead == (ChildSeen("one", 0, 0, "ended with exit status 3: ClockError: it is 9 s ahead."),)
    assert (again[0].pid, again[0].restarts, again[0].last) == (pids(tmp_path / "one")[1], 1, dead[0].last)
    assert none == ()


def test_one_that_is_stale_is_ended_and_comes_again(tmp_path: Path) -> None:
    said: list[str] = []
    stop = threading.Event()
    why = ["its certificate is old"]

    def say(line: str) -> None:
        said.append(line)
        if "again." in line:
            stop.set()

    made = child("one", tmp_path)
    once = Child(made.name, made.command, ready=made.ready, stale=lambda: why.pop() if why else "")
    supervise([once], say, time.monotonic, stop)
    assert said[:3] == [
        "one runs.",
        "one is ended, to be started again: its certificate is old.",
        "one was ended by signal 15; it is started again in 1 s.",
    ]
    assert "one runs again." in said


SUPERVISOR = """
import sys, time
from pathlib import Path
from fedrepay.shared.supervision import Child, supervise
place = Path(sys.argv[1])
code = {code!r}
supervise([Child(n, [sys.executable, "-c", code, str(place / n)]) for n in ("one", "two")], print, time.monotonic)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_none_is_left(tmp_path: Path, number: signal.Signals) -> None:
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent died")
    process = subprocess.Popen([sys.executable, "-c", SUPERVISOR.format(code=CHILD), str(tmp_path)])
    until(lambda: bool(pids(tmp_path / "one") and pids(tmp_path / "two")))
    process.send_signal(number)
    process.wait(PATIENCE)
    left = pids(tmp_path / "one") + pids(tmp_path / "two")
    until(lambda: not any(map(lives, left)))
    assert process.returncode == (-9 if number == signal.SIGKILL else 0)


def test_a_line_that_cannot_be_written_ends_nobody(tmp_path: Path) -> None:
    stop, lost = threading.Event(), 0

    def closed(_line: str) -> None:
        nonlocal lost
        lost += 1
        raise BrokenPipeError

    def act() -> None:
        try:
            until(lambda: lost >= 2)  # both run
            os.kill(pids(tmp_path / "one")[0], signal.SIGKILL)
            until(lambda: len(pids(tmp_path / "one")) == 2)
        finally:
            stop.set()

    other = threading.Thread(target=act)
    other.start()
    supervise([child("one", tmp_path), child("two", tmp_path)], closed, time.monotonic, stop)
    other.join()
    assert lost >= 6, "control: it was told of starts, a death and ends"
    assert not any(map(lives, pids(tmp_path / "one") + pids(tmp_path / "two"))), (
        "all ended, not the first alone"
    )


def test_one_that_cannot_be_started_again_now_is_tried_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    stop = threading.Event()
    whole, denied = subprocess.Popen, 0

    def scarce(*args: Any, **options: Any) -> Any:
        nonlocal denied
        if "one runs." in said and denied < 1:
            denied += 1
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return whole(*args, **options)

    monkeypatch.setattr(subprocess, "Popen", scarce)

    def act() -> None:
        try:
            until(lambda: "one runs." in said)
            os.kill(pids(tmp_path / "one")[0], signal.SIGKILL)
            until(lambda: len(pids(tmp_path / "one")) == 2)
        finally:
            stop.set()

    other = threading.Thread(target=act)
    other.start()
    supervise([child("one", tmp_path)], said.append, time.monotonic, stop)
    other.join()
    assert denied == 1
    assert any("cannot be started" in line for line in said)
    assert "one runs again." in said


@pytest.mark.parametrize(
    ("longest", "pauses"), [(60.0, [1, 2, 4, 8, 16, 32, 60]), (8.0, [1, 2, 4, 8, 8, 8, 8])]
)
def test_pauses_double_up_to_the_childs_longest(longest: float, pauses: list[int]) -> None:
    """On a clock that is ten seconds on at every look, so that nobody waits long; who dies at once never counts as settled."""
    said: list[str] = []
    stop, looks = threading.Event(), count()
    dies = Child("one", [sys.executable, "-c", "raise SystemExit(3)"], longest=longest)

    def say(line: str) -> None:
        said.append(line)
        if sum("started again in" in each for each in said) == len(pauses):
            stop.set()

    supervise([dies], say, lambda: 10.0 * next(looks), stop)
    found = [int(line.rsplit(" ", 2)[1]) for line in said if "started again in" in line]
    assert found == pauses

"""`coordinator serve` by its real command: everything up, a child that dies comes again, and nothing is left by any ending."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedrepay.server.network.superlink import Control
from fedrepay.server.operating.settings import CoordinatorSettings, listens
from support.founded import founded, settings
from support.processes import until

SERVE = (sys.executable, "-m", "fedrepay", "coordinator", "serve", "--folder")


def naming(folder: Path) -> list[int]:
    """Processes that name the folder in their command or environment."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal():
                said = (each / "cmdline").read_bytes() + (each / "environ").read_bytes()
                found += [int(each.name)] if str(folder).encode() in said else []
        except OSError:
            continue  # it ended meanwhile
    return found


class Served:
    """A coordinator that is up."""

    def __init__(self, folder: Path, chosen: CoordinatorSettings) -> None:
        self.folder, self.settings, self.log = folder, chosen, folder.parent / "log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen([*SERVE, str(folder)], stdout=out, stderr=out)
        until(lambda: self.process.poll() is not None or b"Ready: " in self.log.read_bytes(), 120)
        assert self.process.poll() is None, self.log.read_text()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    chosen = settings()
    founded(tmp_path / "co", placed=chosen)
    up = Served(tmp_path / "co", chosen)
    yield up
    if up.process.poll() is None:
        up.process.terminate()
        up.process.wait(60)


def child(served: Served, word: str) -> int:
    """The process of this coordinator whose command has the word."""
    (found,) = [
        pid
        for pid in naming(served.folder)
        if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() and pid != served.process.pid
    ]
    return found


def test_what_dies_comes_again_and_a_signal_ends_all(served: Served) -> None:
    for _, host, port in served.settings.places()[:3]:
        assert listens(host, port)
    with closing(Control(served.settings.superlink_address, served.folder / "ca.pem")) as control:
        assert control.online() == ()
    os.kill(child(served, "front"), signal.SIGKILL)
    until(lambda: b"front runs again." in served.log.read_bytes(), 60)
    until(lambda: listens("127.0.0.1", served.settings.port), 60)
    taken = subprocess.run([*SERVE, str(served.folder)], capture_output=True, text=True, check=False)
    assert taken.returncode == 6
    assert "Another `coordinator serve`" in taken.stderr
    served.process.send_signal(signal.SIGHUP)
    assert served.process.wait(60) == 0, served.log.read_text()
    assert naming(served.folder) == []


def test_a_supervisor_that_is_killed_leaves_nobody(served: Served) -> None:
    assert len(naming(served.folder)) >= 4, "control"
    served.process.kill()
    served.process.wait()
    until(lambda: naming(served.folder) == [], 60)


def test_a_port_that_is_taken_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    chosen = settings()
    founded(tmp_path / "co", placed=chosen)
    with socket.socket() as taker:
        taker.bind(("127.0.0.1", chosen.port))
        taker.listen()
        done = subprocess.run([*SERVE, str(tmp_path / "co")], capture_output=True, text=True, check=False)
    assert done.returncode == 10
    assert f"The front cannot listen at 127.0.0.1:{chosen.port}" in " ".join(done.stderr.split())
    assert naming(tmp_path / "co") == []

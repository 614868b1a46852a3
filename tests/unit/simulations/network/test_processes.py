"""A simulated network's processes are ended by their own ids, with what they started, whatever happened."""

import os
import sys
from pathlib import Path

import pytest

from fedrepay.shared.errors import NetworkError
from fedrepay.simulations.network import processes as module
from fedrepay.simulations.network.processes import Processes, Running, free_ports

CHILD = """
import os, pathlib, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
{more}
partial = pathlib.Path(sys.argv[1] + ".partial")
partial.write_text(str(child.pid))
partial.rename(sys.argv[1])
time.sleep(600)
"""
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)"


def exists(pid: int) -> bool:
    try:
        return b" Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False


@pytest.mark.parametrize("more", ["", DEAF])
def test_a_process_and_its_children_are_ended_on_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    monkeypatch.setattr(module, "SOON", 0.5)
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    told = tmp_path / "child"
    started: list[Running] = []

    def work(processes: Processes) -> None:
        running = processes.start("one", [sys.executable, "-c", CHILD.format(more=more), told])
        processes.until("it runs", told.exists)
        child = int(told.read_text())
        assert exists(running.process.pid)
        assert exists(child)
        assert os.getpgid(child) != os.getpgid(0), "a Ctrl-C at the terminal reaches us alone"
        started.append(running)
        raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"), Processes(tmp_path / "logs") as processes:
        work(processes)
    assert started[0].process.returncode is not None
    assert not exists(int(told.read_text()))


def test_a_process_that_ends_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs") as processes:
        processes.start("broken", [sys.executable, "-c", "import sys; print('no port'); sys.exit(3)"])
        with pytest.raises(NetworkError, match=r"broken ended with status 3 before the sun rises:\nno port"):
            processes.until("the sun rises", lambda: False)


def test_a_state_that_does_not_come_is_an_error(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs") as processes, pytest.raises(NetworkError, match="not enough: a state"):
        processes.until("a state", lambda: False, seconds=0.2)


def test_a_command_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with Processes(tmp_path / "logs") as processes, pytest.raises(NetworkError, match="cannot be started"):
        processes.start("none", [tmp_path / "none"])


def test_free_ports_differ() -> None:
    assert len(set(free_ports(8))) == 8

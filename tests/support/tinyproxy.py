"""Debian's tinyproxy on a port of its own, with a password or without."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.fronts import free_port
from support.processes import until

USER, PASSWORD = "user", "pass"


@dataclass(frozen=True)
class Tinyproxy:
    """One that runs.

    Args:
        port: where it listens.
        log: what it says.
        password: whether it asks for one.
    """

    port: int
    log: Path
    password: bool

    def url(self, password: str = "%70ass") -> str:  # noqa: S107
        """As a member's settings name it, a letter of the password written as URLs may."""
        way = f"{USER}:{password}@" if self.password else ""
        return f"http://{way}127.0.0.1:{self.port}"

    def passed(self) -> list[str]:
        """HOST:PORT of every connection that it opened."""
        return self._after("opening connection to ")

    def asked(self) -> list[str]:
        """HOST:PORT of every CONNECT that reached it."""
        return self._after(": CONNECT ")

    def _after(self, words: str) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [line.partition(words)[2].split()[0] for line in lines if words in line]


@contextmanager
def tinyproxy(folder: Path, *, password: bool) -> Iterator[Tinyproxy]:
    """A proxy that lets CONNECT through to any port."""
    command = shutil.which("tinyproxy", path="/usr/bin:/usr/sbin:/usr/local/bin")
    if command is None:
        pytest.skip("the package tinyproxy is not installed")
    folder.mkdir()
    port = free_port()
    lines = [f"Port {port}", "Listen 127.0.0.1", "Timeout 60", "MaxClients 50", f'LogFile "{folder / "log"}"']
    lines += ["LogLevel Info", *([f"BasicAuth {USER} {PASSWORD}"] if password else [])]
    (folder / "conf").write_text("\n".join(lines) + "\n")
    with subprocess.Popen(
        [command, "-d", "-c", str(folder / "conf")], cwd=folder, stdout=subprocess.DEVNULL
    ) as process:
        log = folder / "log"
        try:
            until(lambda: process.poll() is not None or (log.exists() and "Accepting" in log.read_text()))
            assert process.poll() is None, log.read_text()
            yield Tinyproxy(port, log, password)
        finally:
            process.terminate()

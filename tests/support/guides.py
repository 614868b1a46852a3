"""The guides as their readers take them: what they show to be typed, typed at a terminal, in order."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.people import LATE

ROOT = Path(__file__).resolve().parents[2]
STAYS = "in a terminal of its own"
"""How a page says of a command that its reader goes on in another terminal."""


class Reader:
    """Who follows one guide.

    Args:
        page: ``operator``, ``member`` or ``researcher``.
        home: an empty folder that stands for the clone.
        instead: what this reader types where the page has an example.
    """

    def __init__(self, page: str, home: Path, instead: Mapping[str, str] | None = None) -> None:
        self.home, self.instead = home, dict(instead or {})
        self.sections = read(page)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        home.mkdir(parents=True, exist_ok=True)
        for name, target in (("simulations", ROOT / "simulations"), (".venv", Path(sys.prefix))):
            (home / name).symlink_to(target)

    def types(self, section: str, *numbers: int) -> str:
        """The section's blocks of these numbers, or all: what they print; those that stay are left running.

        Raises:
            AssertionError: one of them fails.
        """
        blocks = self.sections[section]
        said = ""
        for block in [blocks[number] for number in numbers] if numbers else blocks:
            script = self._typed(block)
            if STAYS in block:
                self._starts(script)
            else:
                said += self._ends(script)
        return said

    def _typed(self, block: str) -> str:
        for example, own in self.instead.items():
            block = block.replace(example, own)
        activated = "" if ". .venv" in block else ". .venv/bin/activate\n"
        return f"set -eu\n{activated}{block}"

    def _ends(self, script: str) -> str:
        with terminal() as stdin:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.home,
                env=os.environ | {"COLUMNS": "200"},
                stdin=stdin,
                capture_output=True,
                text=True,
                timeout=LATE,
                check=False,
            )
        assert done.returncode == 0, (script, done.returncode, done.stdout[-3000:], done.stderr[-3000:])
        return done.stdout

    def _starts(self, script: str) -> None:
        command = re.search(r"fedrepay \w+ (\w+)", script)
        assert command is not None
        log = (self.home / f"{command[1]}.log").open("ab")
        lines = script.splitlines()
        lines[-1] = lines[-1].rpartition("#")[0]
        at = next(number for number, line in enumerate(lines) if line.startswith("fedrepay"))
        script = "\n".join([*lines[:at], f"exec {lines[at]}", *lines[at + 1 :]])
        with terminal() as stdin:
            self.running[command[1]] = subprocess.Popen(
                ["bash", "-c", script], cwd=self.home, stdin=stdin, stdout=log, stderr=log
            )
        log.close()

    def log(self, word: str) -> str:
        """What a command that stays has printed."""
        return (self.home / f"{word}.log").read_text(errors="replace")

    def ends(self, number: int) -> None:
        """Send this signal to all that stay, the last first."""
        while self.running:
            _word, process = self.running.popitem()
            process.send_signal(number)
            try:
                process.wait(LATE)
            finally:
                process.kill()

    def waits(self, word: str) -> None:
        """Until a command that stayed has ended well."""
        code = self.running.pop(word).wait(LATE)
        assert code == 0, (word, code, self.log(word)[-3000:])


def read(page: str) -> dict[str, list[str]]:
    """A guide's blocks of shell commands, by section."""
    text = (ROOT / f"docs/guide-{page}.md").read_text()
    _, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    return {
        part.partition("\n")[0]: re.findall(r"^```sh\n(.*?)^```$", part, flags=re.MULTILINE | re.DOTALL)
        for part in parts
    }


@contextmanager
def terminal() -> Iterator[int]:
    """A keyboard at which somebody says yes to whatever is asked."""
    keyboard, screen = pty.openpty()
    try:
        os.write(keyboard, b"y\n" * 8)
        yield screen
    finally:
        os.close(screen)
        keyboards.append(keyboard)


keyboards: list[int] = []
"""Held open: a process whose terminal is closed is told to end."""

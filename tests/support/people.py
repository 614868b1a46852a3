"""An operator and the people of three banks: they type commands, each in a folder of their own, and count them."""

import csv
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedrepay.client.consortium import overview
from fedrepay.client.consortium.overview import RosterSeen

LATE = 300.0  # seconds, for a machine that is busy with other things
SCHEMA = """
name = "loans"
version = 1
[public]
n_max = 1000
prior = 0.3
one_row_per_customer = true
[[columns]]
name = "customer"
role = "customer"
type = "text"
[[columns]]
name = "balance"
role = "account"
type = "number"
bounds = [0, 10000]
edges = [100, 500, 1000, 2500, 5000]
outside = "clip"
missing = "bin"
[[columns]]
name = "late"
role = "account"
type = "integer"
bounds = [0, 6]
edges = [1, 2, 3]
outside = "clip"
[[columns]]
name = "paid"
role = "outcome"
type = "integer"
good = 1
"""
ROWS = 60


def free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment."""
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


@dataclass
class People:
    """Whoever types commands in a folder.

    Args:
        base: where all folders are.
        name: of this one's.
    """

    base: Path
    name: str
    commands: list[str] = field(default_factory=list)
    running: "subprocess.Popen[bytes] | None" = None

    @property
    def folder(self) -> Path:
        return self.base / self.name

    def types(
        self, *words: object, role: str = "member", ok: bool | None = True, where: str = "--folder"
    ) -> str:
        """A command that ends; what it prints."""
        command = [sys.executable, "-m", "fedrepay", role, *map(str, words), where, str(self.folder)]
        self.commands.append(" ".join(map(str, words)))
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=self.base,
            stdin=subprocess.DEVNULL,
            timeout=LATE,
            check=False,
        )
        assert ok is None or (done.returncode == 0) == ok, (
            command,
            done.returncode,
            done.stdout,
            done.stderr,
        )
        return done.stdout if ok else done.stderr

    def asks(self, *words: object, role: str = "member") -> Any:
        """A look that changes nothing, for machines; not counted."""
        told = self.types(*words, "--json", role=role)
        self.commands.pop()
        return json.loads(told)

    def starts(self, word: str, role: str = "member") -> None:
        """A command that runs on."""
        self.commands.append(word)
        command = [sys.executable, "-m", "fedrepay", role, word, "--folder", str(self.folder)]
        log = (self.base / f"{self.name}.log").open("ab")
        self.running = subprocess.Popen(
            command, stdout=log, stderr=log, cwd=self.base, stdin=subprocess.DEVNULL
        )
        log.close()

    def ends(self, number: int) -> None:
        """Its processes, by a signal to the one that was started."""
        if self.running is not None:
            running, self.running = self.running, None
            running.send_signal(number)
            try:
                running.wait(LATE)
            finally:
                running.kill()

    def log(self) -> str:
        """What its processes have said."""
        return (self.base / f"{self.name}.log").read_text(errors="replace")


class Operator(People):
    """Of the consortium, on ports of this machine that are free."""

    def __init__(self, base: Path) -> None:
        super().__init__(base, "coordinator")
        self.port, *self.inner = free_ports(5)
        self.called = self.port
        """What members call: another port where a line of the test's lies between."""

    def founds(self, schema: Path, *names: str) -> dict[str, str]:
        """Makes the folder; an invitation for each name."""
        named = dict(zip(("--superlink", "--front", "--service", "--metrics"), self.inner, strict=True))
        ports = [part for pair in named.items() for part in pair]
        invited = [part for name in names for part in ("--invite", name)]
        told = self.types(
            *("init", "--name", "Debt learners", "--address", f"localhost:{self.called}", "--schema", schema),
            *(
                "--minimum-cohort",
                3,
                "--yes",
                "--bind",
                "127.0.0.1",
                "--port",
                self.port,
                *ports,
                *invited,
                "--epsilon-per-year",
                1000,
                "--json",
            ),
            role="coordinator",
        )
        tokens: dict[str, str] = json.loads(told)["invitations"]
        return tokens

    def says(self, *words: object, ok: bool = True) -> str:
        return self.types(*words, role="coordinator", ok=ok)

    def invites(self, name: str) -> str:
        token: str = json.loads(self.says("invite", name, "--json"))[name]
        return token


class Bank(People):
    """A member institution with rows of its own."""

    def __init__(self, base: Path, name: str) -> None:
        super().__init__(base, name)
        self.data = base / f"{name}.csv"
        rng = random.Random(name)
        with self.data.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["customer", "balance", "late", "paid"])
            for number in range(ROWS):
                late = rng.choice([0, 0, 1, 2, 3])
                rows.writerow(
                    [
                        f"{name}-{number}",
                        round(rng.uniform(50, 9000), 2),
                        late,
                        int(rng.random() > 0.2 * late),
                    ]
                )

    def joins(self, token: str) -> str:
        """Asks to join; the words that its people read out."""
        told = json.loads(self.types("join", token, "--data", self.data, "--yes", "--no-wait", "--json"))
        limits = self.folder / "limits.toml"  # its people want to learn with two others, and say so
        text = limits.read_text().replace("minimum_cohort = 5", "minimum_cohort = 3")
        limits.write_text(re.sub(r"(?m)^epsilon_per_year = \S+", "epsilon_per_year = 1000.0", text))
        settings = self.folder / "member.toml"
        text = settings.read_text()
        settings.write_text(text.replace("node_port = 9094", f"node_port = {free_ports(1)[0]}"))
        return str(told["words"])

    def is_admitted(self, token: str) -> None:
        """Fetches its certificate, and runs."""
        self.types("join", token, "--yes")
        self.starts("run")

    def rosters(self) -> tuple[RosterSeen | None, RosterSeen | None]:
        """What `member roster` shows, the one held and the one proposed, without a process for each look."""
        return overview.rosters(self.folder)


def until(what: str, seen: Callable[[], bool], everybody: list[People]) -> None:
    """Look again and again; where it does not come about, what everybody's processes said last."""
    deadline = time.monotonic() + LATE
    while not seen():
        if time.monotonic() > deadline:
            said = {
                each.name: each.log()[-2000:]
                for each in everybody
                if (each.base / f"{each.name}.log").exists()
            }
            raise AssertionError(f"not within {LATE:.0f} s: {what}; {said}")
        time.sleep(1.0)


def enrolled(
    operator: Operator,
    newcomers: list[Bank],
    tokens: dict[str, str],
    everybody: list[People],
    others: list[Bank] | None = None,
) -> None:
    """Joined, compared, admitted, running; then all people compare the roster's words and approve them."""
    for bank in newcomers:
        read_out = bank.joins(tokens[bank.name])
        shown = {each["name"]: each["words"] for each in operator.asks("members", role="coordinator")}
        assert shown[bank.name] == read_out
    operator.says("admit", *(bank.name for bank in newcomers), "--yes")
    for bank in newcomers:
        bank.is_admitted(tokens[bank.name])
    banks = [*(others or []), *newcomers]
    names = sorted(bank.name for bank in banks)

    def proposed() -> bool:
        pending = [bank.rosters()[1] for bank in banks]
        return all(each is not None and list(each.members) == names for each in pending)

    until("everybody is shown the roster", proposed, everybody)
    words = {bank.asks("roster")["proposed"]["words"] for bank in banks}
    assert len(words) == 1
    for bank in banks:
        bank.types("approve-roster", *next(iter(words)).split())

    def complete() -> bool:
        kept = [bank.rosters()[0] for bank in banks]
        return all(each is not None and list(each.members) == names for each in kept)

    until("everybody is in the roster", complete, everybody)


def all_end(everybody: Sequence[People]) -> None:
    """The last first; where one of them does not, the others do."""
    with ExitStack() as ending:
        for each in everybody:
            ending.callback(each.ends, signal.SIGTERM)


def left_of(base: Path) -> list[str]:
    """Processes that name a folder, by their command lines."""
    found = []
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and int(each.name) != os.getpid():
                line = (each / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found += [line] if f"{base}/" in line else []
        except OSError:
            continue  # it ended meanwhile
    return found

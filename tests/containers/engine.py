"""Docker and compose as whoever types: commands, what they print, and waiting."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

FILE = Path(__file__).resolve().parents[2] / "docker" / "compose.yaml"
COORDINATOR, MEMBER = "/var/lib/fedrepay/coordinator", "/var/lib/fedrepay/member"
PROJECT, LATE = "fedrepay-demo", 600.0


class Failed(Exception):
    """Something that must be true is not."""


@dataclass(frozen=True)
class Compose:
    """The project of the demo.

    Attributes:
        words: the program: `docker compose`, or `docker-compose`.
        environment: what compose.yaml asks for.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]

    def __call__(self, *words: object, ok: bool = True, given: str | None = None) -> str:
        """A command; what it prints."""
        command = (*self.words, "-p", PROJECT, "-f", FILE, *words)
        done = subprocess.run(
            [str(each) for each in command],
            env=os.environ | self.environment,
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=LATE,
            check=False,
        )
        if ok and done.returncode:
            raise Failed(f"{' '.join(map(str, words))}: {done.stdout[-2000:]} {done.stderr[-4000:]}")
        return done.stdout

    def once(self, service: str, *words: object, options: tuple[object, ...] = ()) -> str:
        """A command in a container of its own, on the service's volumes."""
        return self("run", "--rm", "-T", "--no-deps", *options, service, *words)

    def typed(self, service: str, *words: object) -> Any:
        """A command of fedrepay in the running container; what it says to machines."""
        folder = ("--folder", COORDINATOR if service == "coordinator" else MEMBER)
        said = self("exec", "-T", service, "fedrepay", *words, *folder, "--json")
        return json.loads(said)

    def container(self, service: str) -> str:
        """Its id."""
        return self("ps", "-q", service).strip()

    def state(self, service: str) -> dict[str, Any]:
        """What the engine knows of it."""
        found = docker("inspect", self.container(service))
        seen: dict[str, Any] = json.loads(found)[0]
        return seen

    def healthy(self, *services: str) -> None:
        """Wait until health checks say so."""
        for each in services:
            until(f"{each} is healthy", partial(self._well, each))

    def _well(self, service: str) -> bool:
        return bool(self.state(service)["State"]["Health"]["Status"] == "healthy")


def docker(*words: object) -> str:
    """A command of the engine; what it prints."""
    done = subprocess.run(["docker", *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"docker {words[0]}: {done.stderr}")
    return done.stdout


def say(what: str) -> None:
    """A line with the time."""
    print(time.strftime("%H:%M:%S"), what, flush=True)


def until(what: str, seen: Callable[[], bool]) -> None:
    """Look again and again.

    Raises:
        Failed: it did not come about.
    """
    deadline = time.monotonic() + LATE
    while True:
        try:
            if seen():
                return
            why = ""
        except (Failed, json.JSONDecodeError) as error:  # a container that starts answers no command yet
            why = str(error)
        if time.monotonic() > deadline:
            raise Failed(f"Not within {LATE:.0f} s: {what}. {why}")
        time.sleep(2.0)


def must_fail(what: str, work: Callable[[], object]) -> None:
    """A control.

    Raises:
        Failed: the assertion notices nothing.
    """
    try:
        work()
    except Failed as noticed:
        say(f"  control: {what}: noticed ({str(noticed).strip().splitlines()[-1][:110]})")
        return
    raise Failed(f"The control was not noticed: {what}.")

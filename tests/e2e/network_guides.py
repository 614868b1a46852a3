"""`make guides`: what an operator and three institutions type who follow their guides from the first line to the last."""

import re
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedrepay.client.consortium import overview
from fedrepay.client.store.member_store import MemberStore
from support.guides import Reader
from support.people import LATE, free_ports, left_of
from support.processes import until

BANKS = ("bank-a", "bank-b", "bank-c")


@pytest.mark.timeout(900)
def test_the_operators_and_the_members_guides(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = tmp_path_factory.mktemp("g")  # a short path, for the sockets
    port, *inner = free_ports(5)
    ports = zip(("--superlink", "--front", "--service", "--metrics"), inner, strict=True)
    own = f"localhost:{port} --bind 127.0.0.1 " + " ".join(f"{option} {number}" for option, number in ports)
    operator = Reader("operator", base / "o", {"localhost:8443": own})
    begun = time.monotonic()
    with ExitStack() as ending:
        ending.callback(operator.ends, signal.SIGTERM)
        lines = dict(zip(BANKS, re.findall(r"fedrepay1\.\S+", operator.types("1. Found it")), strict=True))
        until(lambda: "Ready" in operator.log("serve"), LATE)
        banks = {}
        for number, name in enumerate(BANKS):
            instead = {"ID % 3 = 0": f"ID % 3 = {number}", "bank-a": name, "fedrepay1.…": lines[name]}
            banks[name] = bank = Reader(
                "member", base / name, instead | {"localhost:8443": f"localhost:{port}"}
            )
            ending.callback(bank.ends, signal.SIGTERM)
            bank.types("1. Look at your own rows")
            bank.types("2. Join", 0, 1)
        words = {name: read_out(bank.home / "join.log") for name, bank in banks.items()}
        seen = plain(operator.types("2. Let them in"))
        assert all(words[name] in seen for name in BANKS), "people compare what both screens show"
        for bank in banks.values():
            bank.waits("join")
            bank.types("2. Join", 2)
            bank.types("3. Run", 0)
        folders = [banks[name].home / name for name in BANKS]
        until(lambda: all(proposed(folder) for folder in folders), LATE)
        of_roster = proposed(folders[0])
        assert of_roster in plain(banks[BANKS[0]].types("3. Run", 1))
        for bank in banks.values():
            bank.instead["WORD …"] = of_roster
            bank.types("3. Run", 2)
        until(lambda: all(overview.rosters(folder)[0] is not None for folder in folders), LATE)
        operator.types("3. Train")
        until(lambda: all(release(folder) for folder in folders), LATE)
        assert len({release(folder) for folder in folders}) == 1
        print(f"From nothing to a first release: {(time.monotonic() - begun) / 60:.1f} minutes.")
        first = banks[BANKS[0]]  # what comes now concerns no other
        first.types("4. Use what was learned")
        assert len((first.home / "scores.csv").read_text().splitlines()) == 10_001
        first.types("5. Keep it")
        assert (first.home / "bank-a.tar").exists()
        operator.types("4. Answer a regulator")
        operator.types("5. Keep it")
        assert (operator.home / "coordinator.tar").exists()
    assert left_of(base) == []


def plain(screen: str) -> str:
    """Without lines and frames."""
    return " ".join(re.sub(r"[^\w\s.:-]", " ", screen).split())


def read_out(log: Path) -> str:
    """The twelve words that `member join` shows."""
    found: list[str] = []

    def shown() -> bool:
        found[:] = re.findall(r"^ +((?:[a-z]+ ){11}[a-z]+)$", log.read_text(), flags=re.MULTILINE)
        return bool(found)

    until(shown, LATE)
    return found[-1]


def release(folder: Path) -> tuple[int, bytes, bytes] | None:
    """The newest that a member holds."""
    return MemberStore(folder, time.time).release()


def proposed(folder: Path) -> str:
    """The words of the roster that waits for approval; empty before there is one of all three."""
    roster = overview.rosters(folder)[1]
    return "" if roster is None or len(roster.members) < len(BANKS) else roster.words

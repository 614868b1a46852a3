"""A consortium of real processes, any of which is killed, or any connection broken, at any stage; and what must hold then."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.store.member_store import MemberStore
from fedrepay.server.protocol.state import Event, State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Header
from support.between import KINDS, Between, Fault, Way, between
from support.people import LATE, SCHEMA, Bank, Operator, People, all_end, enrolled, left_of, until

OPERATOR = ("service", "front", "superlink", "superexec", "serverapp")
MEMBER = ("serve", "node", "link", "executor")
VICTIMS = (*OPERATOR, *MEMBER)
STAGES: dict[str, Callable[[State], bool]] = {
    "terms": lambda state: bool(state.answers.get("terms")),
    "ceremony": lambda state: state.introduction is not None,
    "prepare": lambda state: bool(state.ready) or bool(state.attempts),
    "round": lambda state: bool(state.attempts),
    "opening": lambda state: bool(state.sums),
    "second round": lambda state: len(state.attempts) > 1,
    "release": lambda state: state.closing is not None,
    "votes": lambda state: bool(state.votes),
}
"""When a stage has begun, as the coordinator's events tell."""
NAMES = ("a", "b", "c")
LOOK = 0.15  # seconds between two looks at the coordinator's database


@dataclass(frozen=True)
class Kill:
    """One process, killed once a stage has begun; of a member's, that of ``at``."""

    victim: str
    stage: str
    at: str = "b"

    def __str__(self) -> str:
        whose = f"{self.victim} of {self.at}" if self.victim in MEMBER else self.victim
        return f"{whose} at {self.stage}"


@dataclass(frozen=True)
class Break:
    """What happens to members' connections once a stage has begun: so many of them are cut, stall, or are slow."""

    kind: str
    way: Way
    stage: str
    after: int = 5000
    times: int = 3

    def __str__(self) -> str:
        return f"{self.times} connections {self.kind} {self.way} after {self.after} bytes at {self.stage}"


class Violated(AssertionError):
    """What must hold does not."""


class Network:
    """An operator and its banks, enrolled, their processes up.

    Args:
        base: where their folders are.
        operator: of the consortium.
        banks: its members.
    """

    def __init__(self, base: Path, operator: Operator, banks: Sequence[Bank]) -> None:
        self.base, self.operator = base, operator
        self.banks = {bank.name: bank for bank in banks}
        self.everybody: list[People] = [operator, *banks]
        self._stack = ExitStack()
        self.line: Between | None = None
        self.paused: dict[str, float] = {}
        """Seconds from each trouble until the run went on."""

    @classmethod
    def of_three(cls, base: Path) -> "Network":
        """Nothing of it is there yet; its members will call through a line that can be broken."""
        made = cls(base, Operator(base), [Bank(base, name) for name in NAMES])
        made.line = made._stack.enter_context(between(made.operator.port))
        made.operator.called = made.line.port
        return made

    def begins(self) -> None:
        """Founded, invited, joined, compared; every process runs."""
        schema = self.base / "loans.toml"
        schema.write_text(SCHEMA)
        codebook.save(codebook.build(SCHEMA.encode()), schema)
        tokens = self.operator.founds(schema, *NAMES)
        self.operator.starts("serve", "coordinator")
        until("it is ready", lambda: "Ready:" in self.operator.log(), self.everybody)
        enrolled(self.operator, list(self.banks.values()), tokens, self.everybody)

    def ends(self) -> None:
        """All processes, and none is left; a ServerApp of a killed SuperExec needs a moment to see that it is alone."""
        all_end(self.everybody)
        self._stack.close()
        until("no process is left", lambda: not left_of(self.base), [])

    @property
    def store(self) -> CoordinatorStore:
        """The coordinator's database."""
        return CoordinatorStore.in_folder(self.operator.folder)

    def state(self) -> tuple[int, State]:
        """The newest run's number and state; (0, nothing) before the first."""
        store = self.store
        terms = store.terms()
        return (0, State()) if terms is None else (terms.run, State.replayed(store.events(terms.run)))

    # --- processes ---

    def pids(self, victim: str, at: str = "b") -> list[int]:
        """Process ids of one kind of process of this network."""
        mine = str(self.operator.folder)
        if victim == "executor":
            nodes = self.pids("node", at)
            return [pid for pid, parent, _ in _processes() if parent in nodes]
        if victim == "serverapp":
            home = f"FLWR_HOME={mine}/"
            return [
                pid for pid, _, line in _processes() if "flwr-serverapp" in line and home in _environment(pid)
            ]
        if victim in ("superlink", "superexec"):
            return [
                pid for pid, _, line in _processes() if f"flower-{victim} " in line and f"{mine}/" in line
            ]
        role, folder = ("coordinator", mine) if victim in OPERATOR else ("member", str(self.banks[at].folder))
        wanted = f"fedrepay {role} {victim} --folder {folder} "
        return [pid for pid, _, line in _processes() if wanted in f"{line} "]

    def kill(self, kill: Kill) -> bool:
        """End one process as a crash would; False where there is none at this moment."""
        found = self.pids(kill.victim, kill.at)
        for pid in found[:1]:
            os.kill(pid, signal.SIGKILL)
        return bool(found)

    def strike(self, trouble: "Kill | Break") -> str:
        """Kill, or break connections from now on; what was done."""
        if isinstance(trouble, Kill):
            return f"{trouble}{'' if self.kill(trouble) else ' (there was none)'}"
        assert self.line is not None
        self.line.fault = Fault(
            trouble.kind, trouble.way, trouble.after, times=trouble.times, piece=1 << 12, pause=0.05
        )
        return str(trouble)

    # --- a run ---

    @contextmanager
    def training(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """``coordinator train``, as somebody typed it and went away."""
        command = [sys.executable, "-m", "fedrepay", "coordinator", "train", *words]
        log = (self.base / "train.log").open("a+")
        process = subprocess.Popen(
            [*command, "--folder", str(self.operator.folder)],
            stdout=log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            log.close()

    def suffers(self, troubles: "Sequence[Kill | Break]") -> str:
        """A new run in which all this happens, each at its stage; how it ended. Nobody types anything meanwhile.

        Raises:
            Violated: it does not end, or what must hold does not.
        """
        before, _ = self.state()
        with self.training("--new-run", "--rounds", "2", "--mode", "distributed") as process:
            done = []
            broken = 0 if self.line is None else self.line.happened
            for trouble in troubles:
                self._await(trouble, before, process)
                known = self.store.last()
                done.append(self.strike(trouble))
                self.paused[str(trouble)] = self._goes_on(known, process)
            try:
                code = process.wait(2 * LATE)
            except subprocess.TimeoutExpired:
                raise Violated(f"after {done} the run does not end: {self._told()}") from None
            finally:
                if self.line is not None:
                    self.line.well()
        if self.line is not None and any(isinstance(each, Break) for each in troubles):
            done.append(f"{self.line.happened - broken} broken")
        if code != 0:
            raise Violated(f"after {done} train ended with {code}: {self._told()}")
        run, state = self.state()
        self.holds(run, state)
        return f"run {run}: {'; '.join(done)}: {len(state.sums)} sums in {len(state.attempts)} attempts"

    def _await(self, trouble: "Kill | Break", before: int, process: "subprocess.Popen[str]") -> None:
        deadline = time.monotonic() + LATE
        while True:
            run, state = self.state()
            if run > before and (STAGES[trouble.stage](state) or state.over):
                return
            if process.poll() is not None or time.monotonic() > deadline:
                raise Violated(f"{trouble}: the stage does not come: {self._told()}")
            time.sleep(LOOK)

    def _goes_on(self, known: int, process: "subprocess.Popen[str]") -> float:
        """Seconds until the coordinator's database says more than it did, or the run has ended."""
        begun = time.monotonic()
        while self.store.last() == known and process.poll() is None and time.monotonic() < begun + 2 * LATE:
            time.sleep(LOOK)
        return time.monotonic() - begun

    def _told(self) -> str:
        return (self.base / "train.log").read_text()[-3000:]

    # --- what must hold ---

    def holds(self, run: int, state: State) -> None:
        """Spent ≥ sent at every member, the same sums opened and the same release stored by all of them.

        Raises:
            Violated: otherwise.
        """
        stores = {name: MemberStore(bank.folder, time.time) for name, bank in self.banks.items()}
        until("everybody has the release", lambda: _have(stores, run), self.everybody)
        opened = {name: tuple(o.values for o in store.openings(run)) for name, store in stores.items()}
        releases = {store.release() for store in stores.values()}
        if len(releases) != 1:
            raise Violated(f"run {run}: members hold different releases")
        whole = {values for values in opened.values() if len(values) == len(state.sums)}
        if len(whole) > 1:
            raise Violated(f"run {run}: members opened different sums")
        for name, store in stores.items():
            charged = {
                (e.round, e.attempt) for e in store.ledger() if e.run == run and e.status != "committed"
            }
            if missing := _sent(self.store.events(run), name) - charged:
                raise Violated(f"{name} sent {sorted(missing)} of run {run}, and its ledger does not say so")


def _have(stores: dict[str, MemberStore], run: int) -> bool:
    return all((store.release() or (0, b"", b""))[0] == run for store in stores.values())


def _sent(events: Sequence[Event], name: str) -> set[tuple[int, int]]:
    """(round, attempt) of every upload that reached the coordinator, void attempts' too."""
    headers = [
        Header.decode(Signed.decode(e.body).body) for e in events if (e.kind, e.name) == ("header", name)
    ]
    return {(each.round, each.attempt) for each in headers}


def _processes() -> Iterator[tuple[int, int, str]]:
    """(pid, parent, command line) of all processes."""
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal():
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
                yield int(each.name), parent, (each / "cmdline").read_text().replace("\0", " ").strip()
        except OSError:
            continue  # it ended meanwhile


def _environment(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""


def all_breaks(seed: int) -> list[Break]:
    """Every kind of break, each way, at every stage, in an order that the seed decides."""
    rng = random.Random(seed)
    ways: tuple[Way, Way] = ("up", "down")
    breaks = [
        Break(kind, way, stage, rng.randrange(20_000), rng.randint(1, 5))
        for kind in KINDS
        for way in ways
        for stage in STAGES
    ]
    rng.shuffle(breaks)
    return breaks


def all_kills(seed: int) -> list[Kill]:
    """Every process at every stage, in an order that the seed decides."""
    rng = random.Random(seed)
    kills = [Kill(victim, stage, rng.choice(NAMES)) for victim in VICTIMS for stage in STAGES]
    rng.shuffle(kills)
    return kills

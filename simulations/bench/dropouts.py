"""What members that vanish cost a run: attempts, charged to all, and runs that end; before and after members prepare first.

A model of the schedule in virtual time. Messages, work and outages are drawn; who is asked, who is in a cohort and when a run stops
is the product's own code (``Gathering``, ``quorum``, ``is_over``, ``TWICE``). Both ways meet the same outages.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fedrepay.server.protocol.attempts import TWICE
from fedrepay.server.protocol.gathering import Gathering
from fedrepay.shared.arrays import F64
from fedrepay.shared.trust.roster import default_colluders, quorum
from fedrepay.shared.trust.sums import is_over
from fedrepay.simulations.bench.page import table

SIZES = (10, 50, 200)
RATE, OUTAGE = 0.01, 300.0  # outages of a member an hour; seconds of each
WORKS = (2.0, 60.0, 600.0)  # median seconds to open, step, read the data and compute a contribution
SPREAD = 0.5  # of the logarithm of that, between members and sums
WIRE, SEND = 1.5, 0.5  # seconds of a message each way over a SuperLink; of noise, masks, encryption
TIMEOUT, SUMS, EXTRA = 3600.0, 5, 3
RUNS, SEED = 2000, 1


@dataclass
class DropOuts:
    """Members of one run, and when each is away.

    Args:
        size: members.
        work: median seconds of a contribution.
        rng: outages and work.
    """

    size: int
    work: float
    rng: np.random.Generator
    now: float = 0.0
    away: dict[int, list[tuple[float, float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        horizon = 40 * SUMS * (self.work + 60)
        for _ in range(self.rng.poisson(RATE / 3600 * self.size * horizon)):
            begin = self.rng.uniform(-OUTAGE, horizon)
            self.away.setdefault(int(self.rng.integers(self.size)), []).append((begin, begin + OUTAGE))

    def works(self) -> F64:
        """Seconds that each member takes for its next contribution."""
        return self.rng.lognormal(math.log(self.work), SPREAD, self.size)

    def ask(self, names: Sequence[int], seconds: F64, timeout: float) -> set[int]:
        """Send to all at once; who answers in time. Whoever vanishes at work has lost the message; who is away gets it late."""
        begun, done, ends = self.now, set(), [self.now]
        for name in names:
            at = begun + WIRE
            for begin, end in sorted(self.away.get(name, ())):
                at = end if begin <= at < end else at
            ready = at + seconds[name]
            cut = any(at < begin < ready for begin, _ in self.away.get(name, ()))
            if not cut and ready + WIRE - begun <= timeout:
                done.add(name)
                ends.append(ready + WIRE)
        self.now = max(ends) if len(done) == len(names) else begun + timeout
        return done


@dataclass
class ScheduledRun:
    """How one run went."""

    void: int = 0
    sums: int = 0
    seconds: float = 0.0


def before(world: DropOuts) -> ScheduledRun:
    """Who was lost is asked whether it is back; the others work inside the attempt."""
    away: set[int] = set()

    def cohort() -> list[int]:
        nonlocal away
        if away:
            away -= world.ask(sorted(away), np.zeros(world.size), TIMEOUT)
        return [name for name in range(world.size) if name not in away]

    def attempt(names: list[int]) -> set[int]:
        lost = set(names) - world.ask(names, world.works() + SEND, TIMEOUT)
        away.update(lost)
        return lost

    return _played(world, cohort, attempt)


def after(world: DropOuts) -> ScheduledRun:
    """All are asked to prepare, and again until all who are asked answer soon; then they send."""
    nothing, needed = np.zeros(world.size), quorum(world.size, default_colluders(world.size))

    def cohort() -> list[int]:
        gathering, names, works = Gathering(), list(map(str, range(world.size))), world.works()
        while True:
            asked, begun = [int(name) for name in gathering.waiting(names)], world.now
            here = world.ask(asked, nothing if gathering.brief else works, min(gathering.patience, TIMEOUT))
            for name in map(str, asked):
                if int(name) in here:
                    gathering.answered(name)
                else:
                    gathering.lost(name)
            gathering.took(world.now - begun)
            if gathering.again():
                continue
            if len(gathering.there) >= needed or not gathering.longer(TIMEOUT):
                return sorted(map(int, gathering.there))
            works = nothing  # they have prepared

    def attempt(names: list[int]) -> set[int]:
        return set(names) - world.ask(names, nothing + SEND, TIMEOUT)

    return _played(world, cohort, attempt)


def _played(
    world: DropOuts, cohort: Callable[[], list[int]], attempt: Callable[[list[int]], set[int]]
) -> ScheduledRun:
    run, losses = ScheduledRun(), Counter[int]()
    needed, lost_round = quorum(world.size, default_colluders(world.size)), None
    while not is_over(SUMS, "distributed", run.sums, lost_round) and run.void <= EXTRA:
        names = cohort()
        reliable = [name for name in names if losses[name] < TWICE]
        names = reliable if len(reliable) >= needed else names
        if len(names) < needed:
            break
        lost = attempt(names)
        losses.update(lost)
        lost_round = run.sums if lost else None
        run.void += bool(lost)
        run.sums += not lost
    run.seconds = world.now
    return run


def run() -> str:
    """Simulate; returns the page's section (Markdown)."""
    rows = []
    for work in WORKS:
        for size in SIZES:
            for name, way in (("worked inside", before), ("prepared", after)):
                rng = [np.random.default_rng((SEED, size, int(work), each)) for each in range(RUNS)]
                runs = [way(DropOuts(size, work, each)) for each in rng]
                rows.append(_row(work, size, name, runs))
                print(*rows[-1], sep=" | ", flush=True)
    heads = ("Work", "K", "Members", "whole runs", "charged attempts a run", "void of them", "minutes")
    return (
        f"{table(heads, rows)}\n\nA run is {SUMS} sums with shared noise. A member vanishes at {RATE:.0%} an hour for "
        f"{OUTAGE / 60:.0f} minutes; whoever does so at work has lost the message, whoever is away gets it when it is back. Work is the median "
        f"of seconds to open, step, read the data and compute (log-normal, σ {SPREAD}); a message takes {WIRE} s each way, noise, masks and "
        f"encryption {SEND} s, an answer at most {TIMEOUT / 60:.0f} minutes. *Whole*: all {SUMS} sums; a void last attempt ends a run with the "
        "sums before it. *Void*: attempts that lost a member, "
        f"charged to all others. {RUNS:,} runs a row, the same outages for both ways; 95 % intervals of a share (Wilson). The schedule is a model; cohorts, "
        "asks and stops are the product's code, and its messages are not sent here."
    )


def _wilson(share: float, runs: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): none of so many is no proof of never."""
    z2 = 1.96**2 / runs
    middle, half = share + z2 / 2, 1.96 * math.sqrt(share * (1 - share) / runs + z2 / (4 * runs))
    return (middle - half) / (1 + z2), min(1.0, (middle + half) / (1 + z2))


def _row(work: float, size: int, name: str, runs: Sequence[ScheduledRun]) -> tuple[str, ...]:
    whole = sum(each.sums == SUMS for each in runs) / len(runs)
    void = sum(each.void for each in runs) / len(runs)
    low, high = _wilson(whole, len(runs))
    minutes = float(np.median([each.seconds for each in runs])) / 60
    return (
        f"{work:.0f} s",
        str(size),
        name,
        f"{whole:.2%} [{low:.2%}, {high:.2%}]",
        f"{sum(each.void + each.sums for each in runs) / len(runs):.4f}",
        f"{void:.4f}",
        f"{minutes:.1f}",
    )

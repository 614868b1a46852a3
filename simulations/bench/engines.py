"""The batched engine beside the faithful one: seconds and CPU-ms of one member's update, ceremony and release aside.

Three runs of five secure sums on the shipped data, rows dealt to the members in turn; CPU time does not depend on what else
the machine does. The ceremony and the release are in the faithful engine's whole, and in no update.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from threadpoolctl import threadpool_limits

from fedrepay.client.learning import make_learner
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.shared.privacy.delta import usual_delta
from fedrepay.shared.trust.wire import Kind
from fedrepay.simulations.bench.page import table
from fedrepay.simulations.engines import clear
from fedrepay.simulations.rows.prepare import prepare
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA_MANY, Arguments
from fedrepay.simulations.run.consortium import Consortium, Party
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.grid import Exchange
from fedrepay.simulations.run.terms import make_terms

RUNS = 3
FAITHFUL = {20: RUNS, 200: RUNS, 1000: 2}
BATCHED = {20: RUNS, 200: RUNS, 1000: RUNS, 10_000: RUNS}
"""Members → runs. A thousand faithful members are 5,000 updates a run and most of the section's minutes: two runs."""
EPSILON, ROUNDS, ATTEMPTS = 1.0, 5, 3


@dataclass(frozen=True)
class Whole:
    """One run of an engine."""

    wall: float  # seconds, of everything
    cpu: float
    update: float  # CPU-ms of one member's update


class Clock:
    """CPU and wall seconds between two moments, and of round messages alone."""

    def __init__(self) -> None:
        self.begun = perf_counter(), process_time()
        self.last = process_time()
        self.rounds = 0.0

    def observe(self, _name: str, exchange: Exchange) -> None:
        """Add the CPU time since the exchange before, where this one is an update."""
        now = process_time()
        if exchange.kind == Kind.ROUND:
            self.rounds += now - self.last
        self.last = now

    def seconds(self) -> tuple[float, float]:
        """(wall, CPU) so far."""
        return perf_counter() - self.begun[0], process_time() - self.begun[1]


def faithful(members: int) -> Whole:
    """A whole run through the real protocol."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments = Arguments(members=members, schema=str(SHIPPED_SCHEMA_MANY))
        prepared = prepare(arguments)
        terms = make_terms(arguments, prepared.book, members)
        folder, clock = Folder(Path(scratch) / "run"), Clock()
        folder.make({})
        Consortium(folder, prepared.book, prepared.parties, terms, observe=clock.observe).run()
        wall, cpu = clock.seconds()
    return Whole(wall, cpu, 1000 * clock.rounds / (members * ROUNDS))


def batched(members: int) -> Whole:
    """The same run on the batched engine, which is nothing but updates; past 1,000 members each row has several owners."""
    prepared = prepare(Arguments(members=20, schema=str(SHIPPED_SCHEMA_MANY)))
    train = prepared.train
    parts = np.array_split(np.arange(len(train.codes)), members)
    parties = [Party(f"m{i}", train.take(rows)) for i, rows in enumerate(parts)]
    clock = Clock()
    learner = make_learner("dp-newton", prepared.book, ROUNDS)
    rows = clear.pool([snapshot(prepared.book, party.train, b"")[0] for party in parties])
    mechanisms = clear.planned(
        learner,
        epsilon=EPSILON,
        delta=usual_delta(prepared.book.schema.public),
        members=members,
        colluders=-(-members // 10),
        max_attempts=ATTEMPTS,
    )
    clear.run(learner, clear.together(learner, rows), mechanisms, members)
    wall, cpu = clock.seconds()
    return Whole(wall, cpu, 1000 * cpu / (members * ROUNDS))


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    found: dict[tuple[str, int], list[Whole]] = {}
    with threadpool_limits(limits=1):
        batched(20)  # warm: imports and the sampler's tables
        for turn in range(RUNS):
            for engine, planned in ((faithful, FAITHFUL), (batched, BATCHED)):
                for members in (members for members, runs in planned.items() if turn < runs):
                    one = engine(members)
                    found.setdefault((engine.__name__, members), []).append(one)
                    print(
                        members,
                        engine.__name__,
                        f"{one.cpu:.1f} CPU-s",
                        f"{one.update:.3f}",
                        sep=" | ",
                        flush=True,
                    )
    return body(found)


def body(found: dict[tuple[str, int], list[Whole]]) -> str:
    """The section's text, from the runs of each engine at each number of members."""
    lines = []
    for (engine, members), runs in found.items():
        base = found.get(("faithful", members))
        times = [slow.update / fast.update for slow, fast in zip(base, runs, strict=False)] if base else []
        if engine == "faithful":
            ratio = "1.00"
        else:
            ratio = f"{median(times):.0f} times less ({min(times):.0f} … {max(times):.0f})" if times else ""
        updates = [each.update for each in runs]
        lines.append(
            (
                members,
                engine,
                f"{median(each.wall for each in runs):.1f}",
                f"{median(each.cpu for each in runs):.1f}",
                f"{median(updates):.3f}",
                f"{min(updates):.3f} … {max(updates):.3f}",
                ratio,
            )
        )
    heads = (
        "Members",
        "engine",
        "whole run, s",
        "CPU, s",
        "CPU-ms a member update",
        "lowest … highest",
        "to the faithful engine",
    )
    note = (
        f"The shipped rows dealt to the members in turn, d = 203, {ROUNDS} secure sums at ε = {EPSILON:g}, c = ⌈K/10⌉, one "
        f"BLAS thread, medians of {RUNS} runs of each in turn ({FAITHFUL[1000]} of 1,000 faithful members), ratios within one of them. A faithful run holds the ceremony and the "
        "release too; its updates are the members' round messages with everything in them: snapshot, budget, noise, "
        "masks, encryption, tags, checks of the sum before, the coordinator's addition. The batched engine does none of "
        "it but rows and noise: nothing is protected between members (docs/adr/0016)."
    )
    return f"{table(heads, lines)}\n\n{note}"

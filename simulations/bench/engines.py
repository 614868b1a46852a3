"""The batched engine beside the faithful one: seconds and CPU-ms of one member's update, ceremony and release aside.

One run of five secure sums on the shipped data, rows dealt to the members in turn; CPU time does not depend on what else
the machine does. The ceremony and the release are in the faithful engine's whole, and in no update.
"""

import tempfile
from pathlib import Path
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

FAITHFUL, BATCHED = (20, 200, 1000), (20, 200, 1000, 10_000)
EPSILON, ROUNDS, ATTEMPTS = 1.0, 5, 3


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


def faithful(members: int) -> tuple[float, float, float]:
    """Wall and CPU seconds of a whole run, and CPU seconds of its updates."""
    with tempfile.TemporaryDirectory() as scratch:
        arguments = Arguments(members=members, schema=str(SHIPPED_SCHEMA_MANY))
        prepared = prepare(arguments)
        terms = make_terms(arguments, prepared.book, members)
        folder, clock = Folder(Path(scratch) / "run"), Clock()
        folder.make({})
        Consortium(folder, prepared.book, prepared.parties, terms, observe=clock.observe).run()
        wall, cpu = clock.seconds()
    return wall, cpu, clock.rounds


def batched(members: int) -> tuple[float, float]:
    """Wall and CPU seconds of the same run on the batched engine; past 1,000 members each row has several owners."""
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
    return clock.seconds()


def run() -> str:
    """Measure; returns the page's section (Markdown)."""
    lines = []
    base: dict[int, float] = {}
    with threadpool_limits(limits=1):
        batched(FAITHFUL[0])  # warm: imports and the sampler's tables
        for members in FAITHFUL:
            wall, cpu, updates = faithful(members)
            base[members] = 1000 * updates / (members * ROUNDS)
            lines.append((members, "faithful", f"{wall:.1f}", f"{cpu:.1f}", f"{base[members]:.2f}", "1.00"))
            print(*lines[-1], sep=" | ", flush=True)
        for members in BATCHED:
            wall, cpu = batched(members)
            each = 1000 * cpu / (members * ROUNDS)
            ratio = f"{base[members] / each:.0f} times less" if members in base else ""
            lines.append((members, "batched", f"{wall:.1f}", f"{cpu:.1f}", f"{each:.3f}", ratio))
            print(*lines[-1], sep=" | ", flush=True)
    heads = (
        "Members",
        "engine",
        "whole run, s",
        "CPU, s",
        "CPU-ms a member update",
        "to the faithful engine",
    )
    note = (
        f"The shipped rows dealt to the members in turn, d = 203, {ROUNDS} secure sums at ε = {EPSILON:g}, c = ⌈K/10⌉, one "
        "BLAS thread, one run each (no interval: CPU time of one run). A faithful run holds the ceremony and the "
        "release too; its updates are the members' round messages with everything in them: snapshot, budget, noise, "
        "masks, encryption, tags, checks of the sum before, the coordinator's addition. The batched engine does none of "
        "it but rows and noise: nothing is protected between members (docs/adr/0016)."
    )
    return f"{table(heads, lines)}\n\n{note}"

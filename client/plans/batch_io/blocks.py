"""The blocks of a batch, decided here or by several processes at once: the files are the same however many there are.

A block is as many accounts as the engine works on at a time. Each goes to one process with all it needs, which writes its
chunk and gives back what is summed up; this process hands out no more than a few ahead, so that memory does not grow with
the batch, and takes the sums in the batch's order.
"""

import os
import signal
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from threading import current_thread, main_thread
from typing import TypeVar

from fedrepay.client.plans.batch.caps import CapCandidates, Caps, proposed
from fedrepay.client.plans.batch_io import output
from fedrepay.client.plans.batch_io.batch_files import Parts
from fedrepay.client.plans.batch_io.verifying import Sums, sums
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.processes import cores, workers

LEAST = 20_000
"""Accounts a process, below which one more costs more than it brings: each has to start."""
MOST = 8
"""Processes at most where nobody says how many; each takes a quarter of a gigabyte."""
_AHEAD = 3
"""Blocks a process that wait for it."""


@dataclass(frozen=True, eq=False)
class Desk:
    """What any block of one batch is decided with: the engine, the day since 1970-01-01, the batch's id, where chunks go."""

    engine: Engine
    day: int
    batch_id: str
    parts: Parts


@dataclass(frozen=True, eq=False)
class Piece:
    """Some accounts, their place in the batch, and the choice within its caps, if it has any."""

    number: int
    accounts: Accounts
    caps: Caps | None


@dataclass(frozen=True)
class Done:
    """What is summed up of a block: how many ``accounts``, ``counts`` as ``output.counts``, what asking would bring."""

    accounts: int
    counts: dict[str, Counter[str]]
    verifying: Sums


def decided(desk: Desk, block: Piece) -> Done:
    """Decide a block and write its chunk."""
    engine, part = desk.engine, block.accounts
    held = None if block.caps is None else block.caps.hold
    batch = engine.decide(part, today=desk.day, batch_id=desk.batch_id, caps=held)
    whole = output.input_hashes(part, whole=True)
    facts = {"account": part.names, **batch.facts.columns, "input_hash": whole}
    asked = verify(engine, part, desk.day, None if held else batch, people=batch.handed.code > 0)
    desk.parts.add(output.table_of(engine, batch, asked), facts, block.number)
    return Done(len(part.names), output.counts(batch), sums(part.values["income_verified"], asked))


def weighed(desk: Desk, accounts: Accounts) -> CapCandidates:
    """What a batch's caps choose from, of some accounts."""
    return proposed(desk.engine, accounts, desk.day)


Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Crew:
    """Who works at a desk: this process, or some others (``pool``)."""

    desk: Desk
    pool: ProcessPoolExecutor | None = None
    ahead: int = 0

    def each(self, task: Callable[[Desk, Given], Made], given: Iterable[Given]) -> Iterator[Made]:
        """What a task makes of each, in order.

        Raises:
            StorageError: the system ended one of the processes; whatever else a task raises.
        """
        if self.pool is None:
            yield from (task(self.desk, each) for each in given)
            return
        waiting: deque[Future[Made]] = deque()
        try:
            for each in given:
                waiting.append(self.pool.submit(_at_desk, task, each))
                if len(waiting) > self.ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise StorageError(
                "The system ended one of the batch's processes, perhaps for want of memory.",
                "Run it again with fewer --processes: they need less memory.",
            ) from error


@contextmanager
def crew(desk: Desk, processes: int) -> Iterator[Crew]:
    """So many processes for a desk, this one alone where it is 1; they are gone afterwards."""
    if processes == 1:
        yield Crew(desk)
        return
    given = (desk.engine, desk.day, desk.batch_id, desk.parts.another())
    pool = workers(processes, _sit_down, given)
    try:
        _start(pool, processes)
        yield Crew(desk, pool, _AHEAD * processes)
    finally:
        with (
            _deaf_to_ctrl_c()
        ):  # a second one while the first is obeyed would leave workers that wait for ever
            pool.shutdown(cancel_futures=True)


def how_many(processes: int | None, accounts: int) -> int:
    """Processes for a batch of so many accounts, where so many are asked for, or nobody says (None).

    Raises:
        ArgumentError: fewer than one.
    """
    if processes is None:
        return max(min(cores(), MOST, accounts // LEAST), 1)
    if processes < 1:
        raise ArgumentError(f"{processes} processes decide nothing.", "Give 1 or more.")
    return processes


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Python hands SIGINT to the main thread alone, so elsewhere nothing is to be done."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_MINE: list[Desk] = []
"""The desk of a process of a pool, its only one."""


def _start(pool: ProcessPoolExecutor, processes: int) -> None:
    """Begin them all, without Ctrl-C: it reaches every process of a terminal, and this one ends the others."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # which they take over
    try:
        for _ in range(processes):
            pool.submit(os.getpid)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _sit_down(engine: Engine, day: int, batch_id: str, parts: Parts) -> None:
    _MINE.append(Desk(engine, day, batch_id, parts))


def _at_desk(task: Callable[[Desk, Given], Made], given: Given) -> Made:
    return task(_MINE[0], given)

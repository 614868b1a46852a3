"""``fedrepay simulate``, as a list of stages: read, split, run the consortium, measure, report."""

import json
from collections.abc import Callable
from time import perf_counter
from typing import Any, TypeVar

from fedrepay.simulations.arguments import Arguments, Folder, facts_of, write_atomically
from fedrepay.simulations.consortium import Consortium
from fedrepay.simulations.measure import measure
from fedrepay.simulations.prepare import make_plan, planned_drops, prepare
from fedrepay.simulations.screen import Screen

T = TypeVar("T")


def run(arguments: Arguments, folder: Folder, screen: Screen) -> dict[str, Any]:
    """Run or resume a simulation.

    Returns:
        the contents of metrics.json.

    Raises:
        FedrepayError: what stopped it; the folder resumes.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - loads every BLAS

    arguments.check()
    facts = facts_of(arguments)
    resumed = folder.holds(facts)
    if resumed and folder.metrics.exists() and folder.report.exists():
        screen.note(f"{folder.path} is finished already; choose another --out to run again.")
        finished: dict[str, Any] = json.loads(folder.metrics.read_text())
        return finished
    if resumed:
        screen.note(f"Resuming {folder.path}.")
    seconds: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], T]) -> T:
        screen.stage(stage)
        begun = perf_counter()
        result = work()
        seconds[stage] = perf_counter() - begun
        return result

    prepared = timed("read and split", lambda: prepare(arguments))
    plan = make_plan(arguments, prepared)
    drops = planned_drops(arguments, prepared, plan)
    folder.make(facts)  # only now: bad input leaves nothing behind
    consortium = Consortium(
        folder,
        prepared.book,
        prepared.parties,
        plan,
        drops,
        observe=lambda name, exchange: screen.exchanged(len(prepared.parties), name, exchange),
    )
    with folder.held(), threadpool_limits(limits=1):  # one thread: members must do the same sums
        timed("consortium", consortium.run)
        metrics, details = timed(
            "score and baselines", lambda: measure(arguments, prepared, consortium, seconds, resumed=resumed)
        )
        from fedrepay.simulations.report.render import render  # noqa: PLC0415 - the report is the last thing needed

        write_atomically(folder.report, render(metrics, details).encode())
        write_atomically(folder.metrics, json.dumps(metrics, indent=1).encode())
    return metrics

"""The run that the operator's options ask for, or the one that is not finished."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.plan import RunPlan, default_learner, default_rounds
from fedrepay.shared.trust.roster import check_size, default_colluders


@dataclass(frozen=True)
class Wishes:
    """Options of ``coordinator train``; None takes the default."""

    epsilon: float
    delta: float | None
    colluders: int | None
    mode: str
    rounds: int | None
    timeout: float


def next_run(folder: Path, book: CodeBook, members: int, wishes: Wishes) -> tuple[RunPlan, bool]:
    """Record a new run, unless the newest one is not done.

    Returns:
        the plan to carry, and whether it had begun before.

    Raises:
        ArgumentError: an option is out of bounds; every member checks budget and noise again for itself.
    """
    store = CoordinatorStore(f"sqlite:///{folder / 'coordinator.sqlite'}")
    last = store.plan()
    if last is not None and not any(event.kind == "done" for event in store.events(last.run)):
        return last, True
    if wishes.mode == "local":
        raise ArgumentError(
            "--mode local cannot be started over a network yet: its constants come from a member's module.",
            "`fedrepay simulate --mode local --engine flower` runs it on this machine.",
        )
    colluders = default_colluders(members) if wishes.colluders is None else wishes.colluders
    check_size(members, colluders)
    learner = default_learner(book.dimension)
    bound = 1 / (10 * book.schema.public.n_max)
    delta = min(1e-5, bound) if wishes.delta is None else wishes.delta
    if delta > bound:
        raise ArgumentError(
            f"--delta {delta:g} passes 1/(10·n_max) = {bound:g}.", "Every member would refuse: leave it out."
        )
    facts = {
        "run": 1 if last is None else last.run + 1,
        "schema_hash": book.schema_hash,
        "mode": wishes.mode,
        "learner": learner,
        "dimension": book.dimension,
        "heads": book.heads,
        "epsilon": wishes.epsilon,
        "delta": delta,
        "colluders": colluders,
        "rounds": wishes.rounds or default_rounds(learner),
        "timeout": wishes.timeout,
    }
    try:
        plan = RunPlan.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "--mode"
        raise ArgumentError(
            f"{field} = {first['input']!r}: {first['msg']}.", "`fedrepay coordinator train --help`."
        ) from error
    store.begin(plan)
    return plan, False

"""What members say of attempts that named one who starts with an empty ledger: in their reveal, so for one proposal only.

Who lost its store no longer knows what its year has cost. Whoever was asked for an attempt has seen its whole cohort, so
the others know. Saying nothing is a word too: ``Revealed.told`` is signed, and holds everybody whom its member knows
among those who start empty. Sizes are bounded by public constants; what does not fit is said to be left out, and then
counts as not said. docs/protocol.md, *Rosters that change*; docs/adr/0029.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from pydantic import Field

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.privacy.accounting import SMALLEST_WIDTH, Charged, Mechanism, SampledSteps
from fedrepay.shared.trust.fields import MAX_MEMBERS, Name, Small
from fedrepay.shared.trust.message import Wire

MOST_LOST = 16
"""Members that start empty, and are known, in one proposal."""
MOST_RUNS, MOST_ATTEMPTS = 512, 1 << 11
_LEAST, _MOST, _ALL = 2 << 10, 64 << 10, 2 << 20  # bytes of one member's words, and of everybody's together
_REST = 1 << 10  # bytes of a reveal beside its words
_REMEDY = "Start a new proposal; leave that member out, or let the others revoke it."
At = Annotated[int, Field(ge=0, lt=1 << 40)]
"""Whole seconds since 1970."""
Cost = tuple[
    Annotated[int, Field(ge=1, lt=1 << 53)],
    Annotated[float, Field(gt=0, le=1e60)],
    Annotated[int, Field(ge=1, le=MAX_MEMBERS)],
    Annotated[int, Field(ge=0, lt=MAX_MEMBERS)],
    Annotated[int, Field(ge=1, le=1 << 41)],
    Annotated[float, Field(ge=0, le=1)],
    Annotated[int, Field(ge=0, le=1000)],
]
"""One mechanism: sensitivity, variance, cohort, colluders, size; sampling rate and steps of local mode, else zeros."""


class ToldRun(Wire):
    """Attempts of one run.

    Attributes:
        run: its number.
        at: when the newest of them was seen.
        costs: what attempts cost, each once; one without mechanisms had no noise.
        attempts: (round, attempt, place in ``costs``).
    """

    run: Small
    at: At
    costs: Annotated[
        tuple[Annotated[tuple[Cost, ...], Field(max_length=16)], ...],
        Field(min_length=1, max_length=MOST_ATTEMPTS),
    ]
    attempts: Annotated[tuple[tuple[Small, Small, Small], ...], Field(min_length=1, max_length=MOST_ATTEMPTS)]


class Told(Wire):
    """What one member knows of another that starts empty; no run, if it was in its roster and in no attempt.

    ``whole`` is False where more was known than there was room for.
    """

    name: Name
    whole: bool
    runs: Annotated[tuple[ToldRun, ...], Field(max_length=MOST_RUNS)]


AllTold = Annotated[tuple[Told, ...], Field(max_length=MOST_LOST)]
Gone = Annotated[tuple[tuple[Name, At], ...], Field(max_length=2)]
"""Who left or was revoked last and is not back, and when: of two, one is another than who asks."""


def longest(members: int) -> int:
    """Bytes of one member's words in a proposal of so many, so that everybody's fit into one message."""
    return max(_LEAST, min(_MOST, _ALL // members))


def fitted(told: Sequence[Told], members: int) -> tuple[Told, ...]:
    """As much as there is room for; of whom most is known, that is left out first, and said to be."""
    sizes = {each.name: len(each.encode()) for each in told}
    found = {each.name: each for each in told}
    for name in sorted(sizes, key=lambda name: -sizes[name]):
        if sum(sizes.values()) <= longest(members):
            break
        found[name] = Told(name=name, whole=False, runs=())
        sizes[name] = len(found[name].encode())
    return tuple(found[each.name] for each in told)


def check(name: str, size: int, told: Sequence[Told], starting: Sequence[str]) -> None:
    """What one member says is of those who start empty, within its size, and of noise that an attempt can have.

    Args:
        name: who says it.
        size: bytes of its reveal.
        told: what it says.
        starting: of each member of the proposal: its name if it starts empty, else nothing.

    Raises:
        ProtocolError: otherwise, naming who says it: nobody takes the proposal.
    """
    if size > longest(len(starting)) + _REST:
        raise ProtocolError(f"{name} says more of lost ledgers than there is room for.", _REMEDY)
    names = [each.name for each in told]
    if names and (names != sorted(set(names)) or not set(names) <= {*starting} - {name, ""}):
        raise ProtocolError(f"{name} tells of somebody who does not start with an empty ledger.", _REMEDY)
    for run in (run for each in told for run in each.runs):
        places = [attempt[:2] for attempt in run.attempts]
        if len(set(places)) != len(places) or any(at >= len(run.costs) for _, _, at in run.attempts):
            raise ProtocolError(f"{name} tells of attempts that no run has.", _REMEDY)
        if not all(map(possible, run.costs)):
            raise ProtocolError(f"{name} tells of noise that no attempt has.", _REMEDY)


def possible(costs: Sequence[Cost]) -> bool:
    """Noise as wide as every member asks for: an attempt with less was refused by whom it named."""
    for _, variance, cohort, colluders, _, rate, steps in costs:
        shares = 1 if steps else cohort - colluders
        if bool(rate) != bool(steps) or shares < 1 or variance < SMALLEST_WIDTH**2 * shares:
            return False
    return True


def cost_of(facts: Mapping[str, Any]) -> Cost:
    """A mechanism as the ledger stores it."""
    names = ("sensitivity", "variance", "cohort", "colluders", "size", "sampling_rate", "steps")
    sensitivity, variance, cohort, colluders, size, rate, steps = (facts.get(name, 0) for name in names)
    return (sensitivity, float(variance), cohort, colluders, size, float(rate), steps)


def mechanism_of(cost: Cost) -> Charged:
    """The mechanism that was told."""
    sensitivity, variance, cohort, colluders, size, rate, steps = cost
    if steps:
        return SampledSteps(sensitivity, variance, rate, steps, cohort, size)
    return Mechanism(sensitivity, variance, cohort, colluders, size)


def event_of(costs: Sequence[Cost]) -> tuple[dict[str, Any], ...]:
    """Mechanisms as the ledger stores them."""
    return tuple(asdict(mechanism_of(cost)) for cost in costs)

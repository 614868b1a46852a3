"""What a run is, in public numbers that both sides derive alike."""

from typing import Annotated, Literal

from pydantic import Field

from fedrepay.shared.trust.wire import Digest, Heads, Small, Wire

LEARNERS = ("dp-newton", "dp-gd")
NEWTON_MAX_DIMENSION = 512


class RunPlan(Wire):
    """What the operator starts: everything but who takes part. No row counts, ever."""

    run: Small
    schema_hash: Digest
    mode: Literal["distributed", "none"]
    learner: Literal["dp-newton", "dp-gd"]
    dimension: Annotated[int, Field(ge=1, le=1 << 20)]
    heads: Heads
    epsilon: Annotated[float, Field(gt=0, le=1000)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    colluders: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=2, le=1000)]
    max_attempts: Annotated[int, Field(ge=0, le=100)] = 3
    timeout: Annotated[float, Field(gt=0)] = 600.0


def default_learner(dimension: int) -> Literal["dp-newton", "dp-gd"]:
    """DP-Newton while its Gram matrix is affordable (d ≤ 512), gradient descent beyond."""
    return "dp-newton" if dimension <= NEWTON_MAX_DIMENSION else "dp-gd"


def default_rounds(learner: str) -> int:
    """1 Gram matrix + 4 gradients, or 100 gradients."""
    return 5 if learner == "dp-newton" else 100


def is_over(rounds: int, mode: str, completed: int, last_void_round: int | None) -> bool:
    """Whether a run ends: all sums are done, or the last sum's attempt was lost with all that was left of μ².

    Args:
        rounds: sums planned.
        mode: without noise there is no budget to lose, so the last sum is tried again.
        completed: sums completed.
        last_void_round: the round of the newest attempt if that attempt is void, else None.
    """
    return completed == rounds or (mode != "none" and last_void_round == rounds - 1)


def sum_sizes(learner: str, dimension: int, rounds: int, heads: int) -> tuple[int, ...]:
    """Values in each secure sum of a run: what the coordinator must know to count ciphertexts."""
    gradient = heads * dimension
    first = dimension * (dimension + 1) // 2 if learner == "dp-newton" else gradient + 1
    return (first,) + (gradient,) * (rounds - 1)

"""The sums of a run: how many, how long, how they are packed; both sides derive them alike."""

from typing import Literal

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.secure_sum.packing import GAM, Packing, pairs, update_packing
from fedrepay.shared.secure_sum.ring import chunk_count
from fedrepay.shared.trust.fields import GRAM_LEARNERS, LearnerName
from fedrepay.shared.trust.terms import LocalTerms, RunTerms

LEARNERS: tuple[LearnerName, ...] = ("dp-newton", "dp-surrogate", "dp-gd")
GRAM_MAX_DIMENSION = 512
SURROGATE_MOST_ROUNDS = 8
"""Each further fit magnifies the last bits in which CPUs differ, and the first sum without labels would get next to no budget."""


def default_learner(dimension: int) -> Literal["dp-newton", "dp-gd"]:
    """DP-Newton while its Gram matrix is affordable (d ≤ 512), gradient descent beyond."""
    return "dp-newton" if dimension <= GRAM_MAX_DIMENSION else "dp-gd"


def chosen_learner(asked: str | None, dimension: int, rounds: int | None = None) -> LearnerName:
    """The learner of a run that is not in local mode: the one asked for, or :func:`default_learner`.

    Args:
        asked: its name; None where nobody asked.
        dimension: d of the schema.
        rounds: secure sums asked for; None for the default.

    Raises:
        ArgumentError: there is none of that name, its Gram matrix would be too large, or it takes fewer sums.
    """
    if asked is None:
        return default_learner(dimension)
    known = next((each for each in LEARNERS if each == asked), None)
    if known is None:
        raise ArgumentError(f"--learner {asked} is unknown.", f"Choose {', '.join(LEARNERS)}.")
    if known in GRAM_LEARNERS and dimension > GRAM_MAX_DIMENSION:
        raise ArgumentError(
            f"--learner {asked} opens a Gram matrix, and {dimension} columns are more than {GRAM_MAX_DIMENSION}.",
            "Leave --learner out, or give the schema fewer bins.",
        )
    check_rounds(known, rounds)
    return known


def check_rounds(learner: str, rounds: int | None) -> None:
    """Whether a learner takes so many secure sums; None, the default, is always taken.

    Raises:
        ArgumentError: it does not.
    """
    if learner == "dp-surrogate" and rounds is not None and rounds > SURROGATE_MOST_ROUNDS:
        raise ArgumentError(
            f"--rounds {rounds} is more than dp-surrogate takes, {SURROGATE_MOST_ROUNDS}.",
            "Leave --rounds out (5), or train with dp-newton.",
        )


def default_rounds(learner: str) -> int:
    """1 Gram matrix + 4 gradients, 1 Gram matrix + 1 sum of labels + 3 without, 100 gradients, or 1 count + 15 updates."""
    return {"dp-newton": 5, "dp-surrogate": 5, "dp-gd": 100, "dp-sgd": 16}[learner]


def is_over(rounds: int, mode: str, completed: int, last_void_round: int | None) -> bool:
    """Whether a run ends: all sums are done, or the last sum's attempt was lost with all that was left of μ².

    Args:
        rounds: sums planned.
        mode: only shared noise gives the last sum all that is left; in the other modes it is tried again.
        completed: sums completed.
        last_void_round: the round of the newest attempt if that attempt is void, else None.
    """
    return completed == rounds or (mode == "distributed" and last_void_round == rounds - 1)


def sum_sizes(
    learner: str, dimension: int, rounds: int, heads: int, local: LocalTerms | None = None
) -> tuple[int, ...]:
    """Values in each secure sum of a run: what the coordinator must know to count ciphertexts."""
    if local is not None:
        return (1,) + (local.parameters,) * (rounds - 1)
    gradient = heads * dimension
    first = dimension * (dimension + 1) // 2 if learner in GRAM_LEARNERS else gradient + 1
    return (first,) + (gradient,) * (rounds - 1)


def run_sizes(terms: RunTerms) -> tuple[int, ...]:
    """:func:`sum_sizes` of a run."""
    return sum_sizes(terms.learner, terms.dimension, terms.rounds, terms.heads, terms.local)


def packing(terms: RunTerms, index: int, members: int) -> Packing:
    """How the values of sum ``index`` lie in slots, for a roster of so many members.

    A Gram sum has two in a slot where the terms say so. Local mode counts customers first, in one field a slot; its
    updates are short numbers and are packed.

    Raises:
        ArgumentError: the pairs of the terms do not fit so many members.
    """
    if index == 0 and terms.pairs is not None:
        return pairs(members, terms.pairs.most, terms.pairs.offset)
    return update_packing(members) if terms.learner == "dp-sgd" and index > 0 else GAM


def run_chunks(terms: RunTerms, members: int) -> tuple[int, ...]:
    """Ciphertexts in each secure sum of a run."""
    return tuple(
        chunk_count(size, packing(terms, index, members).fields)
        for index, size in enumerate(run_sizes(terms))
    )

"""Two numbers of a Gram matrix in one slot: where public bounds leave room. Both sides derive it alike."""

import math

from fedrepay.shared.errors import ArgumentError, BudgetError
from fedrepay.shared.privacy.accounting import Segment, most_draws, plan_attempt, target_mu
from fedrepay.shared.schema.codebook import OVERFLOW_SIGMAS, CodeBook
from fedrepay.shared.secure_sum.packing import pairs
from fedrepay.shared.trust.fields import GRAM_LEARNERS
from fedrepay.shared.trust.roster import quorum
from fedrepay.shared.trust.terms import GramPairs, RunTerms

GRAM_SHARE = 0.2
"""Of μ², what the Gram matrix takes."""
LABEL_SHARE = 0.4
"""Of μ², what DP-Surrogate's sum of labels takes."""
LABEL_FREE_GROWTH = 1.3
"""Budget of a sum without labels against that of the one before: later models are nearer the released one."""


def newton_segments(book: CodeBook, rounds: int) -> tuple[tuple[Segment, ...], ...]:
    """DP-Newton's sums: the Gram matrix takes 0.2 of μ², the gradients share the rest equally."""
    d = book.dimension
    matrix = Segment(d * (d + 1) // 2, book.delta_gram, GRAM_SHARE)
    gradient = Segment(book.heads * d, book.delta_gradient, (1 - GRAM_SHARE) / (rounds - 1))
    return ((matrix,),) + ((gradient,),) * (rounds - 1)


def surrogate_segments(book: CodeBook, rounds: int) -> tuple[tuple[Segment, ...], ...]:
    """DP-Surrogate's sums: 0.2 of μ² the Gram matrix, 0.4 the labels, the rest those without, each 1.3 times the last."""
    d = book.dimension
    growth = [LABEL_FREE_GROWTH**index for index in range(rounds - 2)]
    labels = LABEL_SHARE if growth else 1 - GRAM_SHARE
    weights = [labels, *((1 - GRAM_SHARE - LABEL_SHARE) * each / math.fsum(growth) for each in growth)]
    matrix = Segment(d * (d + 1) // 2, book.delta_gram, GRAM_SHARE)
    return ((matrix,), *((Segment(book.heads * d, book.delta_label, weight),) for weight in weights))


def negative(book: CodeBook) -> bool:
    """Whether an entry of the matrix could be below 0."""
    return any(int(block.matrix.min()) < 0 for block in book.blocks)


def signal(book: CodeBook) -> int:
    """The most that one member's customers add to one entry of the matrix, grid units."""
    largest = max(int(block.matrix.max()) for block in book.blocks)
    return book.schema.public.n_max * largest**2 << book.weight_bits


def gram_pairs(terms: RunTerms, book: CodeBook, members: int) -> GramPairs | None:
    """How two numbers of the Gram sum share a slot, or None where they do not fit.

    Every entry of the matrix lies between 0 and members·n_max·max C² where no number of the code book is negative; room
    for 11σ of noise is left on both sides, of the smallest cohort and after as many lost attempts as the run may have.

    Args:
        terms: of the run.
        book: its code book.
        members: of the roster.
    """
    if terms.learner not in GRAM_LEARNERS or negative(book):
        return None
    try:
        offset = _offset(terms, book, members)
        made = GramPairs(most=signal(book) + 2 * offset, offset=offset)
        pairs(members, made.most, made.offset)
    except (
        ArgumentError,
        BudgetError,
        ValueError,
    ):  # past what a field holds, or a run that none takes part in
        return None
    return made


def _offset(terms: RunTerms, book: CodeBook, members: int) -> int:
    if terms.mode == "none":
        return 0
    make = newton_segments if terms.learner == "dp-newton" else surrogate_segments
    sums = make(book, terms.rounds)
    mu = target_mu(terms.epsilon, terms.delta, most_draws(sums, members, terms.max_attempts))
    least = quorum(members, terms.colluders)
    (worst,) = plan_attempt(mu, sums, (0,) * terms.max_attempts, 0, least, terms.colluders)
    return math.ceil(OVERFLOW_SIGMAS * math.sqrt(worst.total_variance) / least)

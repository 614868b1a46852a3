"""Whether a sum has room: mod t, and where two numbers share a slot, in its field. All from public constants."""

import math

from fedrepay.client.learning import make_learner
from fedrepay.client.learning.contribution import largest_entry
from fedrepay.shared.errors import ArgumentError, BudgetError, Code, Refusal
from fedrepay.shared.privacy.accounting import (
    Charged,
    SampledSteps,
    most_draws,
    overflow_ok,
    plan_attempt,
    target_mu,
)
from fedrepay.shared.schema.codebook import OVERFLOW_SIGMAS, PLAIN_MODULUS, CodeBook
from fedrepay.shared.secure_sum.packing import pairs
from fedrepay.shared.trust.roster import quorum
from fedrepay.shared.trust.terms import GramPairs, RunTerms


def fits(terms: RunTerms, book: CodeBook, mechanism: Charged) -> bool:
    """Whether the sum of a full cohort, noise included, stays in its range: else it would wrap unnoticed.

    Local mode's updates always do, by saturation; its count of customers is judged like any sum.
    """
    n_max = book.schema.public.n_max
    if isinstance(mechanism, SampledSteps):
        entry, noise = mechanism.sensitivity, mechanism.cohort * mechanism.variance
        return mechanism.size > 1 or overflow_ok(mechanism.cohort, n_max, entry, noise, PLAIN_MODULUS)
    if terms.pairs is not None and mechanism.sensitivity == book.delta_gram:
        noise = OVERFLOW_SIGMAS * math.sqrt(mechanism.total_variance)
        if mechanism.cohort * terms.pairs.offset < noise:
            return False
    largest = largest_entry(book)
    entry = max(largest, book.residual_scale) * largest << book.weight_bits
    return overflow_ok(mechanism.cohort, n_max, entry, mechanism.total_variance, PLAIN_MODULUS)


def gram_pairs(terms: RunTerms, book: CodeBook, members: int) -> GramPairs | None:
    """How two numbers of the Gram sum share a slot, or None where they do not fit.

    Every entry of the matrix lies between 0 and members·n_max·max C² where no number of the code book is negative; room
    for 11σ of noise is left on both sides, of the smallest cohort and after as many lost attempts as the run may have.

    Args:
        terms: of the run.
        book: its code book.
        members: of the roster.
    """
    if terms.learner != "dp-newton" or any(int(block.matrix.min()) < 0 for block in book.blocks):
        return None
    try:
        offset = _offset(terms, book, members)
        made = GramPairs(most=_signal(book) + 2 * offset, offset=offset)
        pairs(members, made.most, made.offset)
    except (
        ArgumentError,
        BudgetError,
        ValueError,
    ):  # past what a field holds, or a run that none takes part in
        return None
    return made


def _signal(book: CodeBook) -> int:
    """The most that one member's customers add to one entry of the matrix."""
    return book.schema.public.n_max * largest_entry(book) ** 2 << book.weight_bits


def _offset(terms: RunTerms, book: CodeBook, members: int) -> int:
    if terms.mode == "none":
        return 0
    sums = make_learner(terms.learner, book, terms.rounds).segments()
    mu = target_mu(terms.epsilon, terms.delta, most_draws(sums, members, terms.max_attempts))
    least = quorum(members, terms.colluders)
    (worst,) = plan_attempt(mu, sums, (0,) * terms.max_attempts, 0, least, terms.colluders)
    return math.ceil(OVERFLOW_SIGMAS * math.sqrt(worst.total_variance) / least)


def check_pairs(terms: RunTerms, book: CodeBook, members: int) -> None:
    """Refuse pairs in which this member's matrix, or the sum, could run from one field into the other.

    Whether they leave room for the noise is judged with every attempt (:func:`fits`).

    Raises:
        Refusal: code ``schema``.
    """
    if terms.pairs is None:
        return
    try:
        pairs(members, terms.pairs.most, terms.pairs.offset)
    except ArgumentError as error:
        raise Refusal(Code.SCHEMA, error.cause) from error
    negative = any(int(block.matrix.min()) < 0 for block in book.blocks)
    if negative or terms.learner != "dp-newton" or terms.pairs.most < _signal(book) + 2 * terms.pairs.offset:
        raise Refusal(
            Code.SCHEMA, "Two numbers of the Gram matrix to a slot do not fit this schema's public bounds."
        )

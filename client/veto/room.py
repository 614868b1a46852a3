"""Whether a sum has room: mod t, and where two numbers share a slot, in its field. All from public constants."""

import math

from fedrepay.client.learning.contribution import largest_entry
from fedrepay.shared.errors import ArgumentError, Code, Refusal
from fedrepay.shared.privacy.accounting import Charged, SampledSteps, overflow_ok
from fedrepay.shared.schema.codebook import OVERFLOW_SIGMAS, PLAIN_MODULUS, CodeBook
from fedrepay.shared.secure_sum.packing import pairs
from fedrepay.shared.trust.fields import GRAM_LEARNERS
from fedrepay.shared.trust.pairs import negative, signal
from fedrepay.shared.trust.terms import RunTerms


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
    narrow = terms.pairs.most < signal(book) + 2 * terms.pairs.offset
    if negative(book) or terms.learner not in GRAM_LEARNERS or narrow:
        raise Refusal(
            Code.SCHEMA, "Two numbers of the Gram matrix to a slot do not fit this schema's public bounds."
        )

"""From a run's public list of attempts to the mechanisms a member is charged for, and the gate.

σ follows from public events alone, so every member derives the same; the gate is the PLD accountant.
"""

from dataclasses import asdict
from typing import Any

from fedrepay.client.learning.contribution import largest_entry
from fedrepay.client.limits import Limits
from fedrepay.client.tables import LedgerEntry
from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy.accounting import (
    Mechanism,
    Segment,
    check_width,
    composed_epsilon,
    most_draws,
    overflow_ok,
    plan_attempt,
    target_mu,
)
from fedrepay.shared.schema.codebook import PLAIN_MODULUS, CodeBook
from fedrepay.shared.trust.wire import Attempt, RoundConfig

YEAR = 365 * 86400.0  # seconds
Event = tuple[dict[str, Any], ...]


def run_mu(config: RoundConfig, sums: tuple[tuple[Segment, ...], ...], roster_size: int) -> float:
    """The run's GDP budget μ: (ε, δ) less what all draws of all members could cost in distance."""
    return target_mu(config.epsilon, config.delta, most_draws(sums, roster_size, config.max_attempts))


def mechanisms(
    config: RoundConfig,
    sums: tuple[tuple[Segment, ...], ...],
    roster_size: int,
    attempt: Attempt | RoundConfig,
) -> tuple[Mechanism, ...]:
    """The mechanisms of one attempt of the run (empty in mode none)."""
    if config.mode == "none":
        return ()
    return plan_attempt(
        run_mu(config, sums, roster_size),
        sums,
        [each.round for each in config.history[: attempt.attempt]],
        attempt.round,
        len(attempt.cohort),
        config.colluders,
    )


def as_event(charged: tuple[Mechanism, ...]) -> Event:
    """Mechanisms as the ledger stores them."""
    return tuple(asdict(mechanism) for mechanism in charged)


def fits(book: CodeBook, mechanism: Mechanism) -> bool:
    """Whether the sum of a full cohort, noise included, stays inside ±t/2: else it would wrap unnoticed."""
    largest = largest_entry(book)
    entry = max(largest, book.residual_scale) * largest << book.weight_bits
    n_max = book.schema.public.n_max
    return overflow_ok(mechanism.cohort, n_max, entry, mechanism.total_variance, PLAIN_MODULUS)


def gate(
    config: RoundConfig,
    spent_in_run: tuple[Mechanism, ...],
    new: tuple[Mechanism, ...],
    ledger: tuple[LedgerEntry, ...],
    limits: Limits,
    book: CodeBook,
    now: float,
) -> None:
    """The last check before a reserve: width, room mod t, the run's (ε, δ), the year's budget.

    Raises:
        BudgetError: a share is too narrow, the noise too wide, or a bound would be passed.
    """
    if config.mode == "none":
        return
    for mechanism in new:
        check_width(mechanism)
        if not fits(book, mechanism):
            raise BudgetError(
                "The noise of this attempt is so wide that the sum could pass t/2.",
                "Ask for a larger ε or fewer retries; start a new run.",
            )
    epsilon = composed_epsilon(spent_in_run + new, config.delta)
    if epsilon > config.epsilon:
        raise BudgetError(
            f"This attempt would bring the run's ε to {epsilon:.6g}, above {config.epsilon:g}.",
            "The run's own budget is spent; start a new run.",
        )
    year = tuple(
        Mechanism(**facts)
        for entry in ledger
        if entry.at > now - YEAR and entry.status in ("reserved", "rolled-back")
        for facts in entry.event
    )
    limits.check_year(composed_epsilon(year + new, limits.delta_per_year))

"""From a run's public list of attempts to the mechanisms a member is charged for, and whether that is allowed.

σ follows from public events alone, so every member derives the same; the PLD accountant judges.
"""

import math
from collections import Counter
from dataclasses import asdict
from typing import Any

from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto.limits import Limits
from fedrepay.client.veto.room import fits
from fedrepay.client.veto.year import TOLD, loss, of_year, spent_words
from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy import subsampled
from fedrepay.shared.privacy.accounting import (
    Charged,
    SampledSteps,
    Segment,
    check_width,
    most_draws,
    plan_attempt,
    target_mu,
)
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.terms import LocalTerms, RunTerms
from fedrepay.shared.trust.wire import Attempt, RoundConfig

Event = tuple[dict[str, Any], ...]


def run_mu(config: RunTerms, sums: tuple[tuple[Segment, ...], ...], roster_size: int) -> float:
    """The run's GDP budget μ: (ε, δ) less what all draws of all members could cost in distance."""
    return target_mu(config.epsilon, config.delta, most_draws(sums, roster_size, config.max_attempts))


def mechanisms(
    config: RoundConfig,
    sums: tuple[tuple[Segment, ...], ...],
    roster_size: int,
    attempt: Attempt | RoundConfig,
) -> tuple[Charged, ...]:
    """The mechanisms of one attempt of the run (empty in mode none)."""
    if config.mode == "none":
        return ()
    if config.local is not None:
        count, steps = local_mechanisms(config, config.local, len(attempt.cohort))
        return (steps,) if attempt.round else (count,)
    return plan_attempt(
        run_mu(config, sums, roster_size),
        sums,
        [each.round for each in config.history[: attempt.attempt]],
        attempt.round,
        len(attempt.cohort),
        config.colluders,
    )


def local_mechanisms(terms: RunTerms, local: LocalTerms, cohort: int) -> tuple[SampledSteps, SampledSteps]:
    """What a count and a round of steps cost in local mode."""
    count = subsampled.count_mechanism(terms.epsilon, terms.delta, cohort)
    return count, subsampled.steps_mechanism(
        local.noise_multiplier, local.sampling_rate, local.local_steps, cohort, local.parameters
    )


def whole_run(
    terms: RunTerms, sums: tuple[tuple[Segment, ...], ...], roster_size: int
) -> tuple[Charged, ...]:
    """What a run is planned to cost with everybody there: lost attempts take no more μ², only more noise."""
    if terms.mode == "none":
        return ()
    if terms.local is not None:
        return planned(terms, terms.local, roster_size)
    mu = run_mu(terms, sums, roster_size)
    return tuple(
        mechanism
        for index in range(len(sums))
        for mechanism in plan_attempt(mu, sums, range(index), index, roster_size, terms.colluders)
    )


def as_event(charged: tuple[Charged, ...]) -> Event:
    """Mechanisms as the ledger stores them."""
    return tuple(asdict(mechanism) for mechanism in charged)


def planned(terms: RunTerms, local: LocalTerms, cohort: int) -> tuple[SampledSteps, ...]:
    """The most that a run in local mode can be charged with."""
    count, steps = local_mechanisms(terms, local, cohort)
    return subsampled.whole_run(count, steps, terms.rounds, terms.max_attempts)


def judge_attempt(
    config: RoundConfig,
    spent_in_run: tuple[Charged, ...],
    new: tuple[Charged, ...],
    ledger: tuple[LedgerEntry, ...],
    limits: Limits,
    book: CodeBook,
    now: float,
) -> None:
    """The last check before a reserve, as :func:`judge`.

    In local mode a run is judged as a whole at every attempt: all its steps, with every extra attempt, must stay
    within (ε, δ) and the year, and no more may be charged than was judged.

    Raises:
        BudgetError: a share is too narrow, the noise too wide, or a bound would be passed.
    """
    if config.mode == "none":
        return
    if config.local is not None:
        whole = planned(config, config.local, len(config.cohort))
        if not Counter(map(_cost, spent_in_run + new)) <= Counter(map(_cost, whole)):
            raise BudgetError(
                "This attempt is not among those the run has noise for.", "The run is spent; start a new one."
            )
        spent_in_run, new = (), whole
        ledger = tuple(entry for entry in ledger if entry.run != config.run or entry.status == TOLD)
    judge(config, spent_in_run, new, ledger, limits, book, now)


def judge(
    terms: RunTerms,
    spent_in_run: tuple[Charged, ...],
    new: tuple[Charged, ...],
    ledger: tuple[LedgerEntry, ...],
    limits: Limits,
    book: CodeBook,
    now: float,
) -> None:
    """Width, room mod t, the run's (ε, δ), the year's budget.

    Args:
        terms: of the run.
        spent_in_run: charged in the run already; part of ``ledger``.
        new: what is to be charged, or what a whole run would be.
        ledger: all entries.
        limits: the member's.
        book: schema and code book.
        now: seconds since 1970.

    Raises:
        BudgetError: a share is too narrow, the noise too wide, or a bound would be passed.
    """
    if terms.mode == "none":
        return
    _check_noise(terms, new, book)
    if (lost := loss(ledger, now)) is not None:
        raise BudgetError(*spent_words(lost))
    epsilon = composed_epsilon(spent_in_run + new, terms.delta)
    if epsilon > terms.epsilon:
        raise BudgetError(
            f"This would bring the run's ε to {epsilon:.6g}, above {terms.epsilon:g}.",
            "The run's own budget is spent; start a new run.",
        )
    delta = limits.year_delta(book.schema.public)
    limits.check_year(composed_epsilon(of_year(ledger, now) + new, delta), delta)


def _check_noise(terms: RunTerms, new: tuple[Charged, ...], book: CodeBook) -> None:
    for mechanism in new:
        check_width(mechanism)
        if not fits(terms, book, mechanism):
            raise BudgetError(
                "The noise of this attempt is so wide that the sum could pass t/2, or a field of its slots.",
                "Ask for a larger ε or fewer retries; start a new run.",
            )


def _cost(charged: Charged) -> tuple[float, float, int]:
    """What a charge costs, whoever else takes part."""
    if not isinstance(charged, SampledSteps):
        return (math.inf, 1.0, 1)  # never part of a run in local mode
    return (charged.mu(), charged.sampling_rate, charged.steps)

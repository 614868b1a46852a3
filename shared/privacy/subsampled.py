"""Local mode's noise: one public multiplier for all steps of a run, proved by the PLD accountant.

A run counts customers once (sum 0, every member with its own noise, in clear of no sampling), then takes
``local_steps`` DP-SGD steps before each other sum: Poisson-sampled customers, gradients clipped to C, the
discrete Gaussian (Abadi et al., CCS 2016; Mironov, Talwar and Zhang 2019). The whole run, every extra attempt
included, is paid for from its first attempt on, so σ never depends on what was lost. No amplification by
aggregation, shuffling or the choice of a cohort is claimed.
"""

import math
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache

from fedrepay.shared.errors import ArgumentError, BudgetError
from fedrepay.shared.privacy.accounting import SampledSteps, gdp_mu
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.multiplier import SMALLEST_MULTIPLIER

SENSITIVITY = 1 << 20
"""Δ of a step, grid units: fine enough that rounding a sum costs √parameters of it."""

COUNT_UNIT = 1 << 10
"""Grid units that a customer adds to the count."""

COUNT_SHARE = 0.01
"""Of μ²: what the count may take."""

_LEMMA_VARIANCE = 4.0  # the accountant takes it off again
_PROVABLE = 0.9999  # of ε: PLD rounds up, and a member must not refuse noise of its own
_DIGITS = 4  # of the multiplier, rounded up


def count_mechanism(epsilon: float, delta: float, cohort: int) -> SampledSteps:
    """The noise that each member adds to its count of customers; everybody is in it."""
    mu = math.sqrt(COUNT_SHARE) * gdp_mu(epsilon, delta)
    return SampledSteps(COUNT_UNIT, (COUNT_UNIT / mu) ** 2 + _LEMMA_VARIANCE, 1.0, 1, cohort, 1)


def steps_mechanism(
    noise_multiplier: float, sampling_rate: float, local_steps: int, cohort: int, parameters: int
) -> SampledSteps:
    """The steps of one attempt; the multiplier is what is left of the noise when the lemma took its part."""
    variance = (noise_multiplier * SENSITIVITY) ** 2 + _LEMMA_VARIANCE
    return SampledSteps(SENSITIVITY, variance, sampling_rate, local_steps, cohort, parameters)


def whole_run(
    count: SampledSteps, steps: SampledSteps, rounds: int, max_attempts: int
) -> tuple[SampledSteps, ...]:
    """The most that a run can be charged with, every extra attempt taken by either kind."""
    return (count,) * (1 + max_attempts) + (steps,) * (rounds - 1 + max_attempts)


@lru_cache(maxsize=64)
def calibrate(
    epsilon: float,
    delta: float,
    sampling_rate: float,
    local_steps: int,
    rounds: int,
    max_attempts: int,
    parameters: int,
) -> float:
    """Least noise multiplier (four digits, rounded up; 0.1 or more) with which a whole run stays within (ε, δ).

    Raises:
        ArgumentError: a rate outside (0, 1], or too few steps.
        BudgetError: no multiplier up to 4,096 is enough.
    """
    if not 0 < sampling_rate <= 1 or local_steps < 1 or rounds < 2:
        raise ArgumentError(
            f"Rate {sampling_rate:g}, {local_steps} steps, {rounds} rounds are not a plan for local mode.",
            "Take a rate in (0, 1], one step or more, and two rounds or more.",
        )
    count = count_mechanism(epsilon, delta, 1)

    def holds(multiplier: float) -> bool:
        steps = steps_mechanism(multiplier, sampling_rate, local_steps, 1, parameters)
        charged = whole_run(count, steps, rounds, max_attempts)
        return composed_epsilon(charged, delta) <= _PROVABLE * epsilon

    high = 1.0
    while not holds(high):
        high *= 2
        if high > 4096:
            raise BudgetError(
                f"No noise keeps {rounds} rounds of {local_steps} steps within epsilon {epsilon:g}.",
                "Ask for fewer --rounds or --local-steps, or a larger ε.",
            )
    low = high / 2
    while low > SMALLEST_MULTIPLIER and holds(low):
        low, high = low / 2, low
    while high / low > 1 + 10.0 ** (1 - _DIGITS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    unit = Decimal(1).scaleb(Decimal(high).adjusted() + 1 - _DIGITS)
    return max(SMALLEST_MULTIPLIER, float(Decimal(high).quantize(unit, rounding=ROUND_CEILING)))

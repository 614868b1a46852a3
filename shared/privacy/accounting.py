"""How much noise a run plans, by Gaussian DP; what it buys is judged in ``composition``.

Gaussian DP: Dong, Roth and Su (2022). Filter over retries: ΣΔ²/σ² ≤ μ² (Smith and Thakurta 2022;
Whitehouse et al. 2023). A sum of H discrete shares of width ≥ 4 is as private as the continuous
Gaussian whose variance is smaller by 4 (docs/protocol.md, *Noise and the accountant*). That survives Poisson sampling:
the bound on the ratio of densities holds for each sample, so for their mixture (ADR 14).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy.noise import DISTANCE

SMALLEST_WIDTH = 4
"""Least standard deviation of one member's share, grid units."""

_LEMMA_VARIANCE = 4  # grid units², taken off before the continuous accountant sees the noise
_PROVABLE = 0.9999  # of ε: PLD rounds up, and a member must not refuse noise of its own


@dataclass(frozen=True)
class Segment:
    """A slice of one sum with a mechanism of its own: ``weight`` is its public part of μ²."""

    size: int
    sensitivity: int
    weight: float


@dataclass(frozen=True)
class Mechanism:
    """Noise on ``size`` values in one attempt.

    ``variance`` (grid units²) is what the shares of the cohort − colluders honest members add up to;
    ``sensitivity`` is the L2 norm of one customer's contribution, grid units.
    """

    sensitivity: int
    variance: float
    cohort: int
    colluders: int
    size: int

    @property
    def share_variance(self) -> float:
        """Variance of one member's share, grid units²."""
        return self.variance / (self.cohort - self.colluders)

    @property
    def total_variance(self) -> float:
        """Variance of the noise in the opened sum, all members' shares, grid units²."""
        return self.share_variance * self.cohort

    def mu(self, colluders: int | None = None) -> float:
        """Gaussian-DP parameter when ``colluders`` (default: as planned) give their noise away.

        At least one member of the cohort is honest: the one whose customer asks.
        """
        honest = max(1, self.cohort - (self.colluders if colluders is None else colluders))
        left = honest * self.share_variance - _LEMMA_VARIANCE
        return self.sensitivity / math.sqrt(left) if left > 0 else math.inf


@dataclass(frozen=True)
class SampledSteps:
    """DP-SGD steps of one attempt in local mode: each samples customers with rate q and adds all noise itself.

    What a member sends is post-processing of its own steps, so neither masks nor other members' noise count.

    Attributes:
        sensitivity: L2 norm of one customer's part of a step's sum, grid units.
        variance: of the noise in a step, grid units².
        sampling_rate: q, the chance of each customer to be in a step.
        steps: how many.
        cohort: members that each add as much noise to the opened sum.
        size: values in a step.
    """

    sensitivity: int
    variance: float
    sampling_rate: float
    steps: int
    cohort: int
    size: int

    def mu(self) -> float:
        """Gaussian-DP parameter of one step on its sample."""
        left = self.variance - _LEMMA_VARIANCE
        return self.sensitivity / math.sqrt(left) if left > 0 else math.inf


Charged: TypeAlias = Mechanism | SampledSteps
"""What an attempt is charged with."""


def charged_of(facts: Mapping[str, Any]) -> Charged:
    """A charge as the ledger stores it."""
    return SampledSteps(**facts) if "sampling_rate" in facts else Mechanism(**facts)


def gdp_delta(mu: float, epsilon: float) -> float:
    """δ(ε) of a μ-Gaussian-DP mechanism: Φ(−ε/μ + μ/2) − e^ε·Φ(−ε/μ − μ/2)."""
    from scipy.special import log_ndtr  # noqa: PLC0415 - slow to import

    if mu <= 0:
        return 0.0
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return max(0.0, math.exp(first) - math.exp(min(0.0, second)))


def _bisect(holds: Callable[[float], bool]) -> tuple[float, float]:
    """Neighbouring floats (low, high) with ``holds(high)`` and not ``holds(low)``; ``holds`` is monotone."""
    low, high = 0.0, 1.0
    while not holds(high):
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (low, middle) if holds(middle) else (middle, high)
    return low, high


def gdp_epsilon(mu: float, delta: float) -> float:
    """Least ε ≥ 0 (rounded up) with δ(ε) ≤ ``delta`` for a μ-Gaussian-DP mechanism."""
    if gdp_delta(mu, 0.0) <= delta:
        return 0.0
    return _bisect(lambda epsilon: gdp_delta(mu, epsilon) <= delta)[1]


def gdp_mu(epsilon: float, delta: float) -> float:
    """Largest μ (rounded down) that is (ε, δ)-DP.

    Raises:
        BudgetError: unless ε > 0 and 0 < δ < 1.
    """
    if not (math.isfinite(epsilon) and epsilon > 0 and 0 < delta < 1):
        raise BudgetError(
            f"No noise gives epsilon {epsilon} at delta {delta}.", "Ask for epsilon > 0 and 0 < delta < 1."
        )
    return _bisect(lambda mu: gdp_delta(mu, epsilon) > delta)[0]


def most_draws(sums: Sequence[Sequence[Segment]], members: int, max_attempts: int) -> int:
    """Most noise values all members together can draw in a run, ``max_attempts`` extra attempts included."""
    sizes = [sum(segment.size for segment in segments) for segments in sums]
    return members * (sum(sizes) + max_attempts * max(sizes))


def sampler_delta(draws: int, epsilon: float) -> float:
    """What imperfect draws add to δ: a total variation of D costs D·(1 + e^ε)."""
    return draws * DISTANCE * (1 + math.exp(epsilon)) if epsilon < 700 else math.inf


def target_mu(epsilon: float, delta: float, draws: int) -> float:
    """μ of a whole run that may claim (ε, δ); ``draws`` as in :func:`most_draws`.

    Raises:
        BudgetError: if ε or δ is out of range, or the sampler's own distance uses δ up.
    """
    gdp_mu(epsilon, delta)
    left = delta - sampler_delta(draws, epsilon)
    if left <= 0:
        raise BudgetError(
            f"The sampler's distance over {draws} draws uses up delta {delta} at epsilon {epsilon}.",
            "Ask for a smaller epsilon or a larger delta.",
        )
    return gdp_mu(_PROVABLE * epsilon, left)


def plan_attempt(
    mu: float,
    sums: Sequence[Sequence[Segment]],
    earlier: Sequence[int],
    index: int,
    cohort: int,
    colluders: int,
) -> tuple[Mechanism, ...]:
    """The mechanisms of the next attempt, one a segment of sum ``index``.

    Every attempt takes its share of what is left: μᵢ² = (μ² − taken)·Wᵢ/Σⱼ≥ᵢ Wⱼ, so all attempts
    together stay within μ² whatever fails. The last sum takes all that is left: it has no second attempt.

    Args:
        mu: Gaussian-DP parameter of the whole run.
        sums: the segments of each sum of the run.
        earlier: sum index of each earlier attempt of the run, completed or void, in order.
        index: which sum this attempt is at.
        cohort: members of this attempt.
        colluders: members whose noise counts for nothing.

    Raises:
        BudgetError: if colluders leave nobody honest, or an attempt at the last sum came before.
    """
    if not 0 <= colluders < cohort:
        raise BudgetError(
            f"A cohort of {cohort} cannot bear {colluders} colluders.",
            "Wait for more members or lower --colluders.",
        )
    weights = [sum(segment.weight for segment in segments) for segments in sums]
    left = mu**2
    for attempted in earlier:
        left *= 1 - weights[attempted] / math.fsum(weights[attempted:])
    unit = left / math.fsum(weights[index:])  # μ² for each unit of weight
    if unit <= 0:
        raise BudgetError("The run's privacy budget is spent.", "Start a new run.")
    return tuple(
        Mechanism(
            sensitivity=segment.sensitivity,
            variance=segment.sensitivity**2 / (unit * segment.weight) + _LEMMA_VARIANCE,
            cohort=cohort,
            colluders=colluders,
            size=segment.size,
        )
        for segment in sums[index]
    )


def check_width(mechanism: Charged) -> None:
    """Raise BudgetError if a member's noise is narrower than 4 grid units, where the lemma would not hold."""
    variance = mechanism.variance if isinstance(mechanism, SampledSteps) else mechanism.share_variance
    width = math.sqrt(variance)
    if width < SMALLEST_WIDTH:
        raise BudgetError(
            f"A noise share {width:.2f} grid units wide is too narrow; {SMALLEST_WIDTH} is the least.",
            "Ask for a smaller epsilon or train with fewer members.",
        )


def overflow_ok(cohort: int, n_max: int, entry: int, total_variance: float, modulus: int) -> bool:
    """Whether a sum stays inside ±t/2: K·n_max·entry + 11σ < t/2 (a miss has probability ≤ 2⁻⁷⁰).

    Args:
        cohort: K, members in the attempt.
        n_max: most customers one member may bring.
        entry: largest absolute value one customer adds to one number, grid units.
        total_variance: variance of all members' noise together, grid units².
        modulus: t, the plaintext modulus.
    """
    return 2 * (cohort * n_max * entry + math.ceil(11 * math.sqrt(total_variance))) < modulus

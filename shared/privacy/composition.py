"""What mechanisms cost together: ``dp_accounting``'s PLD (privacy loss distributions) judges what ``accounting`` plans."""

import math
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from fedrepay.shared.privacy.accounting import Charged, SampledSteps, sampler_delta

_LEMMA_EPSILON = 1e-20
_COARSEST = 100.0  # grid of a loss that no ε on the wire can bear

Events: TypeAlias = tuple[tuple[float, float, int], ...]
"""(noise multiplier, sampling rate, how often)."""


@lru_cache(maxsize=1024)
def _pld_epsilon(events: Events, delta: float, draws: int) -> float:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent  # noqa: PLC0415 - slow to import
    from dp_accounting.pld import PLDAccountant  # noqa: PLC0415 - slow to import

    interval = _interval(events)
    if interval > _COARSEST:
        return math.inf
    accountant = PLDAccountant(value_discretization_interval=interval)
    for multiplier, rate, count in events:
        whole = GaussianDpEvent(multiplier)
        accountant.compose(whole if rate == 1 else PoissonSampledDpEvent(rate, whole), count)
    epsilon = 0.0
    while (left := delta - sampler_delta(draws, epsilon)) > 0:  # rises until ε pays for its own e^ε
        found = float(accountant.get_epsilon(left)) + _LEMMA_EPSILON
        if found <= epsilon:
            return epsilon
        epsilon = found + 1e-9
    return math.inf


def _interval(events: Events) -> float:
    """Grid of the privacy loss: 1e-4, coarser (still an upper bound) where the loss itself is large.

    Also where one step's is, however seldom a customer is in it: the table of losses must stay short.
    """
    mu_squared = sum(count * (rate / multiplier) ** 2 for multiplier, rate, count in events)
    return 1e-4 * max(1.0, mu_squared, *(0.25 / multiplier**2 for multiplier, _, _ in events))


def composed_epsilon(
    mechanisms: Iterable[Charged], delta: float, *, colluders: int | None = None, memberships: int = 1
) -> float:
    """ε at ``delta`` of all these mechanisms together, of one run or of many (a member's year).

    Args:
        mechanisms: every attempt that was charged.
        delta: δ of the whole composition.
        colluders: how many members give their noise away; default: what each mechanism planned for.
        memberships: how many members hold the same person; the sensitivity grows by as much where noise is
            shared, and there are as many steps where each member adds its own.

    Returns:
        ε, an upper bound; infinite if no ε holds at this δ.
    """
    counts: Counter[tuple[float, float]] = Counter()
    draws = 0
    for mechanism in mechanisms:
        if isinstance(mechanism, SampledSteps):
            mu, rate, often = mechanism.mu(), mechanism.sampling_rate, memberships * mechanism.steps
            draws += often * mechanism.size
        else:
            mu, rate, often = memberships * mechanism.mu(colluders), 1.0, 1
            draws += mechanism.cohort * mechanism.size
        if math.isinf(mu):
            return math.inf
        # Twelve digits, rounded down: equal mechanisms become one event and the bound stays a bound.
        counts[float(f"{(1 - 1e-11) / mu:.11e}"), rate] += often
    if not counts:
        return 0.0
    return _pld_epsilon(tuple(sorted((*key, often) for key, often in counts.items())), delta, draws)

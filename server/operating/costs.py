"""What runs cost a customer, in closed form: the operator's estimate from above; every member's own ledger decides.

A run with shared noise is at most μ-Gaussian DP, with the μ that its (ε, δ) allows, whatever was lost or repeated in it; such
runs compose to √Σμ² (Dong, Roth and Su 2022). Runs in local mode are only known by their (ε, δ), which add up.
"""

import math
from collections.abc import Sequence

from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.privacy.accounting import Segment, gdp_epsilon, gdp_mu, most_draws, sampler_delta
from fedrepay.shared.trust.sums import run_sizes
from fedrepay.shared.trust.terms import RunTerms

YEAR = 365 * 86400.0  # seconds
COMPOSITION = (
    "Gaussian DP in closed form (Dong, Roth and Su 2022), every run counted whole, its (ε, δ) as planned; runs in local mode "
    "added to it (basic composition). An estimate from above: each member's own ledger composes what it was charged"
)


def of_year(store: CoordinatorStore, now: float) -> tuple[RunTerms, ...]:
    """Terms of every run that began an attempt within 365 days, abandoned ones too.

    Args:
        store: the coordinator's.
        now: seconds since 1970.
    """
    return tuple(
        terms
        for terms in store.runs()
        if any(event.kind == "attempt" and at > now - YEAR for at, event in store.timed(terms.run))
    )


def composed(runs: Sequence[RunTerms], delta: float, members: int, memberships: int = 1) -> float | None:
    """ε at ``delta`` of all these runs together; None where none is finite, as after a run without noise.

    Args:
        runs: their terms.
        delta: δ of the whole.
        members: most that any of them had: all of them draw noise.
        memberships: members at which one person is a customer.
    """
    if any(terms.mode == "none" for terms in runs):
        return None
    local = [terms for terms in runs if terms.mode == "local"]
    shared = [terms for terms in runs if terms.mode != "local"]
    left = delta - memberships * math.fsum(terms.delta for terms in local)
    mu = memberships * math.sqrt(math.fsum(gdp_mu(terms.epsilon, terms.delta) ** 2 for terms in shared))
    draws = sum(_draws(terms, members) for terms in shared)
    epsilon = _epsilon(mu, left, draws)
    if epsilon is None:
        return None
    return epsilon + memberships * math.fsum(terms.epsilon for terms in local)


def if_colluding(terms: RunTerms, members: int, colluders: int, memberships: int = 1) -> float | None:
    """The most ε of one run for a customer of an honest member, where so many others give their noise away.

    The noise of those who are left is a (K − j)/(K − c) part of what was planned; the lemma's 4 grid units² of it count
    once, and a share has 16 or more of them (docs/protocol.md, *Noise and the accountant*), which bounds their part.

    Args:
        terms: of the run.
        members: K.
        colluders: j, at most K − 1.
        memberships: members at which one person is a customer.
    """
    if terms.mode == "none":
        return None
    if terms.mode == "local":
        return composed([terms], terms.delta * memberships, members, memberships)
    honest = members - colluders
    if colluders <= terms.colluders:
        part = 1.0 if colluders == terms.colluders else (members - terms.colluders) / honest
    else:
        part = (members - terms.colluders) / honest / (1 - 1 / (4 * honest))
    mu = memberships * gdp_mu(terms.epsilon, terms.delta) * math.sqrt(part)
    return _epsilon(mu, terms.delta, _draws(terms, members))


def _draws(terms: RunTerms, members: int) -> int:
    sums = [[Segment(size, 1, 1.0)] for size in run_sizes(terms)]
    return most_draws(sums, members, terms.max_attempts)


def _epsilon(mu: float, delta: float, draws: int) -> float | None:
    """ε of a μ-Gaussian-DP mechanism at δ, less what the samplers' distance takes of δ; None if none is left."""
    if delta < 0:
        return None
    if mu == 0:
        return 0.0
    epsilon = 0.0
    while (left := delta - sampler_delta(draws, epsilon)) > 0:  # rises until ε pays for its own e^ε
        found = gdp_epsilon(mu, left)
        if found <= epsilon:
            return epsilon
        epsilon = found + 1e-9
    return None

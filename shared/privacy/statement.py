"""The privacy statement of a release: the same bytes at every member, from public events alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

from fedrepay.shared.privacy.accounting import Charged, Mechanism, composed_epsilon

ADJACENCY = "add or remove one customer at one member"
ACCOUNTANT = "dp_accounting PLD over Gaussian mechanisms; discrete shares by Poisson summation"
LOCAL_ACCOUNTANT = (
    "dp_accounting PLD over Poisson-sampled Gaussian steps; discrete noise by Poisson summation"
)
MEMBERSHIPS = (1, 2, 3, 5)


@dataclass(frozen=True)
class Charge:
    """One attempt of the run: the sum it was at, whether it was completed, its mechanisms."""

    index: int
    completed: bool
    mechanisms: tuple[Charged, ...]


def statement(
    charges: Sequence[Charge],
    *,
    mode: str,
    epsilon: float,
    delta: float,
    colluders: int,
    cohort: int,
    unit: str = "customer",
    seeded: bool = False,
) -> dict[str, Any]:
    """What a release claims, as JSON-able values; every ε is rounded up to 6 significant digits.

    Args:
        charges: all attempts of the run in order, completed and void (mechanisms empty in mode ``none``).
        mode: ``distributed``, ``local`` (each member's own noise: ε is the same however many collude) or ``none``.
        epsilon: ε asked for.
        delta: δ of every ε here.
        colluders: c, members assumed to share what they know with the coordinator.
        cohort: members of the roster.
        unit: who is protected: ``customer``, or ``row`` where rows are the customers.
        seeded: noise came from a seed (tests, benchmarks), so nothing is claimed.

    Returns:
        The statement. An ε is null where none is claimed (``not_private`` says why) or none is finite.
    """
    why = "none" if mode == "none" else "seeded" if seeded else None
    mechanisms = [mechanism for charge in charges for mechanism in charge.mechanisms]

    def spent(at: int, memberships: int = 1) -> float | None:
        if why is not None:
            return None
        found = composed_epsilon(mechanisms, delta, colluders=at, memberships=memberships)
        return _up(found) if math.isfinite(found) else None

    return {
        "mode": mode,
        "not_private": why,
        "epsilon": None if why else epsilon,
        "epsilon_spent": spent(colluders),
        "delta": None if why else delta,
        "unit": unit,
        "adjacency": ADJACENCY,
        "cohort": cohort,
        "colluders": colluders,
        "epsilon_no_colluders": spent(0),
        "epsilon_if_all_others_collude": spent(cohort - 1),
        "epsilon_by_memberships": {str(m): spent(colluders, m) for m in MEMBERSHIPS},
        "accountant": None if why else LOCAL_ACCOUNTANT if mode == "local" else ACCOUNTANT,
        "attempts_charged": len(charges),
        "attempts_void": sum(not charge.completed for charge in charges),
        "retry_noise_factor": None if why else _up(_retry_factor(charges)),
    }


def _up(value: float) -> float:
    """Rounded up to 6 significant digits (a part in 10¹² is taken for the CPU's own rounding)."""
    exact = Decimal(value) * (1 - Decimal("1e-12"))
    if not exact:
        return 0.0
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - 5), rounding=ROUND_CEILING))


def _retry_factor(charges: Sequence[Charge]) -> float:
    """How much larger σ of the last completed sum is than it would be without void attempts; 1 in local mode."""
    shared = [[each for each in charge.mechanisms if isinstance(each, Mechanism)] for charge in charges]
    if not any(shared):
        return 1.0  # a run in local mode pays for all its attempts beforehand
    taken = [math.fsum(mechanism.mu() ** 2 for mechanism in mechanisms) for mechanisms in shared]
    last = max((i for i, charge in enumerate(charges) if charge.completed), default=0)
    kept = [
        1 - taken[i] / math.fsum(taken[i:]) for i, charge in enumerate(charges[:last]) if not charge.completed
    ]
    return 1 / math.sqrt(math.prod(kept))

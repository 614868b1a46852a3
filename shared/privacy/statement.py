"""The privacy statement of a release: the same bytes at every member, from public events alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any, Self

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.privacy.accounting import Charged, Mechanism
from fedrepay.shared.privacy.composition import composed_epsilon

ADJACENCY = "add or remove one customer at one member"
ACCOUNTANT = "dp_accounting PLD over Gaussian mechanisms; discrete shares by Poisson summation"
LOCAL_ACCOUNTANT = (
    "dp_accounting PLD over Poisson-sampled Gaussian steps; discrete noise by Poisson summation"
)
MEMBERSHIPS = (1, 2, 3, 5)
HEADLINE = (2, 3)
"""Members at which one person may be a customer: these stand beside ε wherever it is a headline."""
YEAR_COUNTS = (
    "all runs of the 365 days before in each ledger: abandoned ones, void and rolled back attempts too"
)
YEAR_COMPOSITION = "basic composition: the largest ε and δ of the year before, plus this run's"
YEAR_EXACT = "each member's own ledger holds its own figure, composed exactly"


@dataclass(frozen=True)
class Charge:
    """One attempt of the run: the sum it was at, whether it was completed, its mechanisms."""

    index: int
    completed: bool
    mechanisms: tuple[Charged, ...]


@dataclass(frozen=True)
class YearBefore:
    """What a member signed of its own ledger before the run: all attempts of the last 365 days that took budget.

    Attributes:
        name: the member.
        epsilon: composed over them at ``delta``, for one customer of this member, at the colluders each run bore; None:
            none is finite (a run without noise was among them).
        delta: the member's yearly δ.
        runs: in which they were.
        attempts: how many, whatever became of them.

    Raises:
        ProtocolError: a figure that no ledger gives; it may come from another member.
    """

    name: str
    epsilon: float | None
    delta: float
    runs: int
    attempts: int

    def __post_init__(self) -> None:
        """Refuse what would make the statement depend on the order of members, or say less than nothing."""
        known = self.epsilon is None or (math.isfinite(self.epsilon) and self.epsilon >= 0)
        if not (known and 0 < self.delta < 1 and 0 <= self.runs <= self.attempts):
            raise ProtocolError(
                f"What {self.name} stated of its year cannot come from a ledger: {self}.",
                "Start the run without that member.",
            )

    @classmethod
    def of(cls, name: str, epsilon: float, delta: float, *, runs: int, attempts: int) -> Self:
        """With ε rounded up to 6 significant digits, so that every processor states the same."""
        return cls(name, _up(epsilon) if math.isfinite(epsilon) else None, delta, runs, attempts)


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
    year: Sequence[YearBefore] = (),
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
        year: what each member stated of the year before this run; empty where none was asked.

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

    at_planned = spent(colluders)
    return {
        "mode": mode,
        "not_private": why,
        "epsilon": None if why else epsilon,
        "epsilon_spent": at_planned,
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
        "year": _with_year(year, at_planned, delta) if year else None,
    }


def headline(said: Mapping[str, Any]) -> str:
    """A statement's ε as one line: at one member, and beside it at 2 and 3; "none" where nothing is claimed."""
    if said.get("epsilon") is None:
        return "none"
    several = said.get("epsilon_by_memberships", {})
    others = [f"{_shown(several.get(str(number)))} of a person at {number}" for number in HEADLINE]
    one = f"ε = {said['epsilon']:g} of a {said.get('unit', 'customer')} at one member"
    return f"{one}, {', '.join(others)}; δ = {_shown(said.get('delta'))}"


def _shown(bound: float | None) -> str:
    return "none" if bound is None else f"{_up(bound, 3):g}"


def _with_year(year: Sequence[YearBefore], run: float | None, delta: float) -> dict[str, Any]:
    """The year before at the member that spent most, and an upper bound with this run, at one member's customer.

    No two members' ledgers are alike, and each figure is for that member's customers: the largest holds for all.
    """
    before = [each.epsilon for each in year]
    most = None if None in before else max(each for each in before if each is not None)
    with_run = None if most is None or run is None else _up(most + run)
    return {
        "counts": YEAR_COUNTS,
        "members": len(year),
        "runs": max(each.runs for each in year),
        "attempts": max(each.attempts for each in year),
        "epsilon_before": None if most is None else _up(most),
        "delta_before": max(each.delta for each in year),
        "epsilon_with_this_run": with_run,
        "delta_with_this_run": None if with_run is None else _up(max(each.delta for each in year) + delta),
        "composition": YEAR_COMPOSITION,
        "exact": YEAR_EXACT,
    }


def _up(value: float, digits: int = 6) -> float:
    """Rounded up to so many significant digits (a part in 10¹² is taken for the CPU's own rounding)."""
    exact = Decimal(value) * (1 - Decimal("1e-12"))
    if not exact:
        return 0.0
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), rounding=ROUND_CEILING))


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

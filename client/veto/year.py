"""What a member's ledger says of the last 365 days: the entries that cost, and the figure it states before a run."""

from collections.abc import Iterable
from itertools import chain

from fedrepay.client.store.tables import LedgerEntry
from fedrepay.shared.privacy.accounting import Charged, charged_of
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.statement import YearBefore

YEAR = 365 * 86400.0  # seconds
CHARGED = ("reserved", "rolled-back")
"""Status of the one entry that an attempt is charged with; ``committed`` follows ``reserved`` and costs nothing more."""
UNPROTECTED = "unprotected"


def of_year(ledger: Iterable[LedgerEntry], now: float) -> tuple[Charged, ...]:
    """Mechanisms of all attempts of the year: of completed and abandoned runs, void and rolled back ones too.

    Args:
        ledger: the member's ledger, whole.
        now: seconds since 1970, UTC.
    """
    recent = (each for each in ledger if each.at > now - YEAR and each.status in CHARGED)
    return tuple(charged_of(facts) for facts in chain.from_iterable(each.event for each in recent))


def year_before(
    name: str, ledger: Iterable[LedgerEntry], delta: float, now: float, run: int | None = None
) -> YearBefore:
    """What a member states of its year in the hello of an epoch.

    Args:
        name: the member's.
        ledger: its ledger, whole.
        delta: its yearly δ (``Limits.year_delta``).
        now: seconds since 1970, UTC.
        run: the run that the epoch belongs to, whose own attempts the statement counts by itself.

    Returns:
        ε at ``delta``; None where none holds, as after an attempt without noise.
    """
    counted = [
        each
        for each in ledger
        if each.at > now - YEAR and each.run != run and each.status in (*CHARGED, UNPROTECTED)
    ]
    bare = any(each.status == UNPROTECTED for each in counted)
    epsilon = float("inf") if bare else composed_epsilon(of_year(counted, now), delta)
    return YearBefore.of(
        name, epsilon, delta, runs=len({each.run for each in counted}), attempts=len(counted)
    )

"""What a member's ledger says of the last 365 days: the entries that cost, and the figure it states before a run."""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import chain

from fedrepay.client.store.tables import LedgerEntry
from fedrepay.shared.privacy.accounting import Charged, charged_of
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.statement import YearBefore

YEAR = 365 * 86400.0  # seconds
TOLD = "told"
"""Status of an attempt that others have named after this member's store was lost."""
LOST, WHOLE = "lost", "whole"
"""Status of an entry that costs nothing itself: what came before may not all be known, or all others have told it."""
CHARGED = ("reserved", "rolled-back", TOLD)
"""Status of the one entry that an attempt is charged with; ``committed`` follows ``reserved`` and costs nothing more."""
UNPROTECTED = "unprotected"


def bare(entry: LedgerEntry) -> bool:
    """Whether an attempt was without noise, so that no ε holds."""
    return entry.status == UNPROTECTED or (entry.status == TOLD and not entry.event)


def lost_mark(now: float, why: str = "the others were not asked yet") -> LedgerEntry:
    """The entry of a store that has forgotten what came before ``now`` (seconds since 1970, UTC), and why it still has."""
    return LedgerEntry(now, 0, 0, 0, LOST, (), why.encode())


def loss(ledger: Iterable[LedgerEntry], now: float) -> LedgerEntry | None:
    """The entry by which the year counts as spent, until it is a year old: what came before it is not all known.

    Args:
        ledger: the member's ledger, whole.
        now: seconds since 1970, UTC.

    Returns:
        None where no store was lost, or all others have told since, or it is a year ago.
    """
    last = [each for each in ledger if each.status in (LOST, WHOLE)][-1:]
    return next((each for each in last if each.status == LOST and each.at > now - YEAR), None)


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
        ε at ``delta``; None where none holds, as after an attempt without noise, or while the year counts as spent.
    """
    ledger = tuple(ledger)
    counted = [
        each
        for each in ledger
        if each.at > now - YEAR
        and (each.run != run or each.status == TOLD)
        and each.status in (*CHARGED, UNPROTECTED)
    ]
    unknown = loss(ledger, now) is not None or any(map(bare, counted))
    epsilon = float("inf") if unknown else composed_epsilon(of_year(counted, now), delta)
    return YearBefore.of(
        name, epsilon, delta, runs=len({each.run for each in counted}), attempts=len(counted)
    )


def spent_words(lost: LedgerEntry) -> tuple[str, str]:
    """Why the year counts as spent and until when, and what people can do; of an entry that :func:`loss` gives."""
    until = datetime.fromtimestamp(lost.at + YEAR, UTC).date().isoformat()
    cause = (
        f"This member's store was lost or set back, and the year counts as spent until {until}: {lost.window.decode()}. A new "
        "roster asks the others: `fedrepay member rotate-keys` has one made, where no `coordinator serve` runs "
        "`fedrepay coordinator train --new-roster`."
    )
    remedy = (
        "Each new roster asks the others again: bring back who did not say. One whose own store was lost or set back has no say "
        "while its own year counts as spent: that, and what nobody can say any more, is waited out."
    )
    return cause, remedy

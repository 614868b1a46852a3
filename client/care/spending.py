"""What a member's year has cost, run by run: its ledger, composed by the very code that the veto asks."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from fedrepay.client.care.home import Home
from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto.year import (
    CHARGED,
    UNPROTECTED,
    YEAR,
    bare,
    loss,
    of_year,
    spent_words,
    year_before,
)
from fedrepay.shared.privacy.composition import composed_epsilon

MEMBERSHIPS = (2, 3, 5)
EVERYBODY = "not known, so everybody's"


@dataclass(frozen=True)
class SpentAttempt:
    """One attempt that took budget. ``epsilon`` is what it would cost alone; None where none holds (no noise)."""

    round: int
    attempt: int
    at: float
    status: str  # reserved, unprotected, rolled-back, or told by others
    sent: bool
    opened: bool
    counts: bool  # within the last 365 days
    falls_out: float
    epsilon: float | None


@dataclass(frozen=True)
class SpentRun:
    """One run. ``epsilon`` composes those of its attempts that count; ``windows`` say whose rows they were made of."""

    run: int
    released: bool
    epsilon: float | None
    windows: tuple[str, ...]
    attempts: tuple[SpentAttempt, ...]


@dataclass(frozen=True)
class Spending:
    """A member's year, every ε at ``delta``; None where none holds.

    Attributes:
        epsilon: of one customer of this member.
        limit: what its limits allow for the year.
        left: the difference; a run may cost more than that, for ε composes to less than the sum.
        at_members: ε of a person who is a customer of so many members, each with a year like this one.
        by_window: ε of the attempts made of one window's rows.
        oldest_falls_out: when the oldest attempt that counts is a year old; None where none counts.
        lost: why the year counts as spent, until when, and what can be done, after this member's store was lost; else None.
    """

    delta: float
    epsilon: float | None
    limit: float
    left: float | None
    at_members: dict[int, float | None]
    by_window: dict[str, float | None]
    oldest_falls_out: float | None
    lost: str | None
    runs: tuple[SpentRun, ...]


def spending(home: Home) -> Spending:
    """What the ledger says.

    Raises:
        StorageError: an entry of the ledger is not the one that was written.
    """
    ledger, now, delta = home.store.ledger(), home.clock(), home.delta
    spent = [each for each in ledger if each.status in (*CHARGED, UNPROTECTED)]
    counted = [each for each in spent if each.at > now - YEAR]
    year = year_before("", ledger, delta, now).epsilon
    unknown = loss(ledger, now)
    none_holds = unknown is not None or any(map(bare, counted))
    charged = of_year(ledger, now)
    windows = dict.fromkeys(map(window_of, counted))
    return Spending(
        delta=delta,
        epsilon=year,
        limit=home.limits.epsilon_per_year,
        left=None if year is None else max(0.0, home.limits.epsilon_per_year - year),
        at_members={
            number: None if none_holds else finite(composed_epsilon(charged, delta, memberships=number))
            for number in MEMBERSHIPS
        },
        by_window={
            window: _composed([each for each in counted if window_of(each) == window], delta, now)
            for window in windows
        },
        oldest_falls_out=min((each.at + YEAR for each in counted), default=None),
        lost=None if unknown is None else " ".join(spent_words(unknown)),
        runs=tuple(_run(home, run, spent, now) for run in dict.fromkeys(each.run for each in spent)),
    )


def _run(home: Home, number: int, spent: Iterable[LedgerEntry], now: float) -> SpentRun:
    mine = [each for each in spent if each.run == number]
    sent = {attempt for _, attempt, _, _ in home.store.uploads(number)}
    opened = {each.attempt for each in home.store.openings(number)}
    delta = home.delta
    attempts = tuple(
        SpentAttempt(
            round=each.round,
            attempt=each.attempt,
            at=each.at,
            status=each.status,
            sent=each.attempt in sent,
            opened=each.attempt in opened,
            counts=each.at > now - YEAR,
            falls_out=each.at + YEAR,
            epsilon=_composed([each], delta, each.at),
        )
        for each in mine
    )
    return SpentRun(
        run=number,
        released=any(each.number == number for each in home.store.releases()),
        epsilon=_composed(mine, delta, now),
        windows=tuple(dict.fromkeys(map(window_of, mine))),
        attempts=attempts,
    )


def window_of(entry: LedgerEntry) -> str:
    """Whose rows an attempt was made of, without the keyed hash of the snapshot."""
    parts = [part for part in entry.window.decode().split("; ") if part and not part.startswith("snapshot ")]
    return "; ".join(parts) or EVERYBODY


def _composed(entries: list[LedgerEntry], delta: float, now: float) -> float | None:
    """As the veto composes a year, of these entries alone; None after one without noise."""
    return year_before("", entries, delta, now).epsilon


def finite(epsilon: float) -> float | None:
    """An ε, or None where none holds."""
    return epsilon if math.isfinite(epsilon) else None

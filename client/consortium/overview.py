"""What a member's people see of their consortium: connected or not, who is in, what waits for them."""

import time
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.consortium import running, standing, tls
from fedrepay.client.consortium.joining import REQUEST
from fedrepay.client.consortium.standing import LinkState
from fedrepay.client.protocol import enrolment
from fedrepay.client.scoring.in_use import Releases
from fedrepay.client.store import settings
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.year import loss, spent_words
from fedrepay.shared.errors import ArgumentError, NetworkError
from fedrepay.shared.text import printable
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.succession import KeyChange, changes


@dataclass(frozen=True)
class ProcessSeen:
    """A process of `member run`: since when it runs or is dead, how often it was started again, how it ended last."""

    name: str
    runs: bool
    since: float
    restarts: int
    last: str


@dataclass(frozen=True)
class Overview:
    """A member's place in its consortium, for a screen or a machine; times are seconds since 1970."""

    name: str
    address: str
    admitted: bool
    connected: bool
    since: float | None
    cause: str
    remedy: str
    certificate_ends: float | None
    members: tuple[tuple[str, str], ...]
    run: int
    run_state: str
    waiting_for: tuple[str, ...]
    roster: int
    in_roster: tuple[str, ...]
    approve: str
    approved: bool
    coordinator_key: KeyChange
    left: bool
    lost: str
    new_terms: bool
    releases: tuple[int, ...]
    in_use: int | None
    processes: tuple[ProcessSeen, ...]

    @property
    def down(self) -> tuple[str, ...]:
        """Processes of `member run` that are dead now."""
        return tuple(each.name for each in self.processes if not each.runs)


def seen(folder: Path, now: float) -> Overview:
    """What is known of the consortium without asking anybody.

    Raises:
        ArgumentError: the folder names no coordinator.
        StorageError: its store cannot be read.
    """
    held = settings.load(folder)
    if held.address is None:
        raise ArgumentError(
            f"{folder / settings.FILE} names no coordinator.",
            "`fedrepay member join` with an invitation does it.",
        )
    store, link = MemberStore(folder, time.time), standing.last(folder)
    fresh = link is not None and now - link.at < standing.FRESH
    said = None if link is None else link.read()
    roster, pending, admitted = (
        enrolment.held(store),
        _waiting(store, link),
        (folder / tls.CERTIFICATE).exists(),
    )
    ends, cause, remedy = _certificate(folder, now) if admitted else (None, *_outside(folder))
    if fresh and link is not None:
        cause, remedy = link.cause, link.remedy
    elif not cause:
        cause, remedy = "The link does not run.", "`fedrepay member run` keeps it up."
    found = Releases.of(folder)
    used = found.current()
    return Overview(
        name=held.name or "",
        address=held.address,
        admitted=admitted,
        connected=fresh and link is not None and link.connected,
        since=link.since if fresh and link is not None else None,
        cause=cause,
        remedy=remedy,
        certificate_ends=ends,
        members=() if said is None else said.members,
        run=0 if said is None else said.run,
        run_state="" if said is None else printable(said.state),
        waiting_for=() if said is None else said.waiting,
        roster=0 if roster is None else roster.number,
        in_roster=() if roster is None else roster.names,
        approve="" if pending is None else pending.code(),
        coordinator_key=KeyChange.KEPT if pending is None else changes(roster, pending).coordinator,
        approved=pending is not None and store.fact("approved_code") == pending.code().encode(),
        left=bool(store.fact("left")),
        lost="" if (unknown := loss(store.ledger(), now)) is None else " ".join(spent_words(unknown)),
        new_terms=(folder / standing.NEW_TERMS).exists(),
        releases=tuple(found.held),
        in_use=None if used is None else used.number,
        processes=tuple(
            ProcessSeen(each.name, each.pid != 0, each.since, each.restarts, printable(each.last))
            for each in running.processes(folder, now)
        ),
    )


def _waiting(store: MemberStore, link: LinkState | None) -> Roster | None:
    """The roster that waits for people; none that its coordinator has said it proposes no more."""
    pending = enrolment.waiting(store)
    void = b"" if link is None else link.void
    return None if pending is None or pending.hash() == void else pending


def _outside(folder: Path) -> tuple[str, str]:
    if (folder / REQUEST).exists():
        return (
            "The request to join waits for the operator.",
            "`fedrepay member join` again asks how it stands.",
        )
    return "This folder has not joined.", "`fedrepay member join` with the operator's invitation."


def _certificate(folder: Path, now: float) -> tuple[float | None, str, str]:
    try:
        return tls.check(folder, now).ends, "", ""
    except NetworkError as error:
        return None, error.cause, error.remedy


@dataclass(frozen=True)
class RosterSeen:
    """A roster for people: its number, its twelve words, its members, and what it changes in the one before it."""

    number: int
    words: str
    members: tuple[str, ...]
    joins: tuple[str, ...]
    leaves: tuple[str, ...]
    revoked: tuple[tuple[str, str], ...]
    rekeyed: tuple[str, ...]
    coordinator_key: KeyChange
    release: int


def rosters(folder: Path) -> tuple[RosterSeen | None, RosterSeen | None]:
    """The roster that this member takes part in, and the one whose words wait for its people.

    Raises:
        StorageError: the store cannot be read.
    """
    store = MemberStore(folder, time.time)
    held, pending = enrolment.held(store), _waiting(store, standing.last(folder))
    return (
        None if held is None else _roster(None, held),
        None if pending is None else _roster(held, pending),
    )


def _roster(before: Roster | None, roster: Roster) -> RosterSeen:
    found = changes(before, roster)
    return RosterSeen(
        number=roster.number,
        words=roster.code(),
        members=roster.names,
        joins=() if before is None else found.joins,
        leaves=found.leaves,
        revoked=tuple((name, printable(reason)) for name, reason in found.revoked),
        rekeyed=found.rekeyed,
        coordinator_key=found.coordinator,
        release=roster.released,
    )

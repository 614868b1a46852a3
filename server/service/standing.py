"""What the service tells members out of the coordinator's database: where things stand, releases, own headers."""

from collections.abc import Callable
from pathlib import Path

from fedrepay.server.admission.registry import Registry
from fedrepay.server.protocol import pulls
from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.protocol.state import State
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import read_bytes
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.asking import Handed, ReleaseListed, Standing
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import Resealed

AWAY = 120.0
"""Seconds without a call after which an admitted member counts as away."""


class Teller:
    """Reads the coordinator's database for members.

    Args:
        folder: the coordinator's.
        store: its runs.
        registry: its members.
        clock: seconds since 1970.
    """

    def __init__(
        self, folder: Path, store: CoordinatorStore, registry: Registry, clock: Callable[[], float]
    ) -> None:
        self._folder = folder
        self._store = store
        self._registry = registry
        self._clock = clock
        self._seen: tuple[int, bytes] = (-1, b"")  # newest event of rosters, and what was proposed then

    def standing(self) -> Standing:
        """Where the consortium stands."""
        terms = read_bytes(self._folder / agreement.FILE, ArgumentError)
        newest = self._store.terms()
        run = 0 if newest is None else newest.run
        state = State.replayed(self._store.events(run)) if run else State()
        now = self._clock()
        members = tuple(
            (each.name, "away" if each.state == "admitted" and now - each.seen > AWAY else each.state)
            for each in self._registry.members()
        )
        rounds = 0 if newest is None else newest.rounds
        return Standing(
            agreed=agreement.hashed(terms),
            terms=terms,
            members=members,
            run=run,
            state=said(state, run, rounds),
            waiting=tuple(sorted(state.away))[:4096],
            releases=self.releases(),
            proposed=self._proposed(),
        )

    def _proposed(self) -> bytes:
        """Hash of the roster whose words are compared; read again when something of rosters was stored."""
        last = self._store.last(ROSTERS)
        if last != self._seen[0]:
            rosters = self._rosters()
            complete = rosters.joinings and len(rosters.revealed) == len(rosters.joinings)
            open_ = rosters.call is not None and complete
            self._seen = last, rosters.proposed().hash() if open_ else b""
        return self._seen[1]

    def _rosters(self) -> Enrolled:
        found = Enrolled()
        for event in self._store.events(ROSTERS):
            found.apply(event)
        return found

    def releases(self) -> tuple[ReleaseListed, ...]:
        """Every release, the newest last."""
        return tuple(
            ReleaseListed(number=number, sealed=keys.digest(written.sealed), at=at)
            for number, at, written in self._store.releases()
        )

    def pulled(self, number: int, name: str) -> bytes:
        """A release for a member: as it was sealed to all when it was made, or anew by a member to one that joined since.

        Args:
            number: of the release; 0: the newest.
            name: of the member that pulls.

        Raises:
            ArgumentError: there is none of that number, or it is not sealed to this member yet.
        """
        numbers = [each.number for each in self.releases()]
        if not numbers or (number and number not in numbers):
            raise ArgumentError(f"There is no release {number or 'yet'}.", "`fedrepay member status`.")
        number = number or numbers[-1]
        state = State.replayed(self._store.events(number))
        pulled = pulls.pulled(state, number)
        assert pulled is not None  # noqa: S101 - it is done
        assert state.introduction is not None  # noqa: S101
        if name in Roster.decode_once(state.introduction.roster).names:
            return Handed(resealed=False, body=pulled.encode()).encode()
        sealed = self._rosters().resealed.get(name)
        if sealed is None or Resealed.decode(Signed.decode(sealed).body).number != number:
            raise ArgumentError(
                f"Release {number} was made before {name} joined, and no member has sealed it to {name} yet.",
                "It comes as soon as a member that holds it is connected; try again in a minute.",
            )
        return Handed(resealed=True, body=sealed).encode()

    def header(self, name: str) -> bytes:
        """The newest header that this member signed, of any run; empty before its first."""
        newest = self._store.newest("header", name)
        return b"" if newest is None else Signed.decode(newest).encode()


def said(state: State, run: int, rounds: int) -> str:
    """A run's state in a few words."""
    if not run:
        return "no run yet"
    if state.done:
        return "done"
    if state.abandoned:
        return "abandoned"
    if state.declined:
        return f"declined by {', '.join(sorted(state.declined)[:3])}"
    if state.ended:
        return "cannot go on"
    if state.closing is not None:
        return "the release is signed"
    if state.attempts:
        return f"sum {min(len(state.sums) + 1, rounds)} of {rounds}"
    return "ceremony" if state.answers else "members are asked"

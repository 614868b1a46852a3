"""Keeps the roster what the operator admitted: makes a new one when members join, leave, are revoked or have other keys.

It waits until everybody who is to be in it is connected, and takes no part of a run away: while one has begun, or a
ServerApp carries it, rosters stay as they are. People at the members approve the words whenever they have compared them.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Event as Flag

from fedrepay.server.admission import node_keys
from fedrepay.server.admission.registry import Registry
from fedrepay.server.admission.tables import MemberSeen
from fedrepay.server.network.app import ENROLMENT_SECONDS, alone, go
from fedrepay.server.network.superlink import Control
from fedrepay.server.protocol.enrolled import Enrolled, Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.resealing import Resealing
from fedrepay.server.protocol.state import State
from fedrepay.server.service.standing import AWAY
from fedrepay.server.service.waiting import Waiting
from fedrepay.server.store import ROSTERS, CoordinatorStore, key_of
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, FedrepayError, NetworkError, StorageError, WordsError
from fedrepay.shared.files import read_bytes
from fedrepay.shared.text import printable
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.roster import Revoked, Roster
from fedrepay.shared.trust.succession import Leaving

PAUSE = 2.0
"""Seconds between two looks."""
ASKED = 10.0
"""Seconds before people who have not approved the words yet are asked again."""
SETTLED = 10.0
"""Seconds for which the admitted stay the same before they are asked: an operator admits several at once."""
log = logging.getLogger(__name__)


class Keeper:
    """Makes rosters, one look at a time.

    Args:
        folder: the coordinator's.
        store: its runs and rosters.
        registry: its members.
        waiting: the wire.
        clock: seconds since 1970.
        control: of the SuperLink, where nodes are registered; None leaves that out.
    """

    def __init__(
        self,
        folder: Path,
        store: CoordinatorStore,
        registry: Registry,
        waiting: Waiting,
        clock: Callable[[], float],
        control: Callable[[], Control] | None = None,
    ) -> None:
        self._folder = folder
        self._store = store
        self._registry = registry
        self._waiting = waiting
        self._clock = clock
        self._control = control
        self._known: set[bytes] = set()  # node keys that the SuperLink has
        self._seen: tuple[object, float] = (None, 0.0)
        self._told = ""
        self._asked = 0.0
        self._given: bytes = b""  # hash of the roster that was given to everybody

    def run(self, stop: Flag) -> None:
        """Look until told to stop; whatever goes wrong is said once, and tried again."""
        while not stop.wait(PAUSE):
            try:
                self.look()
            except FedrepayError as error:
                self._say(f"{error.cause} {error.remedy}")

    def look(self) -> None:
        """Do what is to be done now.

        Raises:
            FedrepayError: it cannot be done yet.
        """
        members = self._registry.members()
        self._register(members)
        rosters = self._rosters()
        out = _revoked(members, rosters.roster)
        wanted = {each.name: each for each in members if each.state == "admitted" and each.name not in out}
        if self._clock() < self._asked + ASKED or not self._due(wanted, rosters):
            return
        now, roster = self._clock(), rosters.roster
        absent = sorted(name for name, each in wanted.items() if now - each.seen > AWAY)
        if roster is not None and not self._changed(roster, wanted):
            wanted = {name: each for name, each in wanted.items() if name not in absent}
        elif absent:
            raise CohortError(
                f"The roster waits for {', '.join(absent)}.", "They are admitted and not connected."
            )
        if self._begun():
            raise CohortError("The roster waits for the end of the run.", "`fedrepay coordinator status`.")
        with alone(self._folder, 0.0):
            self._make(wanted, members, out, rosters)

    def _rosters(self) -> Enrolled:
        found = Enrolled()
        for event in self._store.events(ROSTERS):
            found.apply(event)
        return found

    def _due(self, wanted: dict[str, MemberSeen], rosters: Enrolled) -> bool:
        """Whether another roster is wanted of people who have been the same for a while, or the one there is to be given."""
        data = read_bytes(self._folder / agreement.FILE, StorageError, "Restore it from a backup.")
        terms = agreement.parse(data, agreement.FILE)
        entries = {name: each.entry for name, each in wanted.items()}
        roster = rosters.roster
        if roster is not None and not self._changed(roster, wanted):
            return (
                self._given != roster.hash() or rosters.call is not None or self._lacking(rosters) is not None
            )
        if len(wanted) < max(3, terms.minimum_cohort):
            return False
        if self._seen[0] != entries:
            self._seen = (entries, self._clock())
        return self._clock() - self._seen[1] >= SETTLED

    def _begun(self) -> bool:
        terms = self._store.terms()
        if terms is None:
            return False
        state = State.replayed(self._store.events(terms.run))
        return bool(state.answers) and not state.over

    def _make(
        self,
        wanted: dict[str, MemberSeen],
        members: tuple[MemberSeen, ...],
        out: Mapping[str, str],
        rosters: Enrolled,
    ) -> None:
        roster = rosters.roster
        nodes = [
            Node(name, name, b"" if each.entry is None else each.entry.node) for name, each in wanted.items()
        ]
        machine = Enrolment(
            key_of(self._folder),
            nodes,
            wanted=roster is None or self._changed(roster, wanted),
            released=self._store.released(),
            leaving=[each.leaving for each in members if each.leaving is not None],
            revoked=[Revoked(name=name, reason=reason) for name, reason in sorted(out.items())],
        )
        for event in self._store.events(ROSTERS):
            machine.state.apply(event)
        try:
            self._carry(machine)
        except WordsError as error:
            self._asked = self._clock()
            self._say(f"{error.cause} {error.remedy}")
            return
        made = machine.state.roster
        assert made is not None  # noqa: S101 - it goes on to the end or raises
        for entry in made.members:
            if wanted[entry.name].entry != entry:
                self._registry.rekeyed(entry)
        self._given = made.hash()
        holders = self._lacking(machine.state)
        if holders is not None:
            self._carry(Resealing(machine.state, holders, set(wanted)))
        self._say(f"The roster of {len(made.names)} members is complete.")

    def _changed(self, roster: Roster, wanted: dict[str, MemberSeen]) -> bool:
        """Whether others are wanted than are in it, or with other keys, the coordinator's included."""
        entries = {name: each.entry for name, each in wanted.items()}
        rotates = any(each.rotation is not None for each in wanted.values())
        ours = keys.public_bytes(key_of(self._folder)) == roster.coordinator
        return rotates or not ours or {each.name: each for each in roster.members} != entries

    def _carry(self, machine: Enrolment | Resealing) -> None:
        exchange = self._waiting.exchange
        go(self._store, ROSTERS, machine, machine.state.apply, exchange, ENROLMENT_SECONDS)

    def _lacking(self, rosters: Enrolled) -> frozenset[str] | None:
        """Who could pull the last release as it was made, if somebody of the roster cannot and it is not sealed to it yet."""
        roster = rosters.roster
        if roster is None or not roster.released:
            return None
        introduction = State.replayed(self._store.events(roster.released)).introduction
        if introduction is None:
            return None  # the database was lost since
        holders = frozenset(Roster.decode_once(introduction.roster).names)
        lacking = set(roster.names) - holders - set(rosters.resealed)
        return holders if lacking else None

    def _register(self, members: tuple[MemberSeen, ...]) -> None:
        """Make admitted members' nodes known to the SuperLink; one that has them already is told by its refusal."""
        fresh = [
            each
            for each in members
            if each.state == "admitted" and each.entry is not None and each.entry.node not in self._known
        ]
        if not fresh or self._control is None:
            return
        control = self._control()
        try:
            for each in fresh:
                assert each.entry is not None  # noqa: S101
                key = self._folder / node_keys.FOLDER / f"{each.name}{node_keys.ENDING}"
                public = read_bytes(key, StorageError, f"`fedrepay coordinator admit {each.name}` writes it.")
                try:
                    control.register(public, each.name)
                except NetworkError as error:
                    if "already in use" not in error.cause:
                        raise
                self._known.add(each.entry.node)
        finally:
            control.close()

    def _say(self, line: str) -> None:
        if line != self._told:
            self._told = line
            log.info("%s", printable(line, 2000))


def _revoked(members: Iterable[MemberSeen], roster: Roster | None) -> dict[str, str]:
    """Whom the others are to put out of the roster, and why: the operator says so, or it comes again with other keys.

    Who comes again is in the roster after that one.
    """
    out = {}
    kept = {} if roster is None else {each.name: each.signing for each in roster.members}
    for each in members:
        if each.name not in kept or roster is None:
            continue
        goes = each.leaving is not None and Leaving.decode(each.leaving.body).roster == roster.hash()
        other = each.entry is None or each.entry.signing != kept[each.name]
        if each.state == "revoked" or (other and not goes):
            out[each.name] = printable(each.reason or "it comes again with other keys", 120)
    return out

"""Keeps the roster what the operator admitted: makes a new one when members join, leave, are revoked or have other keys.

It waits until everybody who is to be in it is connected, and takes no part of a run away: while one has begun, or a
ServerApp carries it, rosters stay as they are. People at the members approve the words whenever they have compared them.
"""

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from threading import Event as Flag
from threading import Lock

from fedrepay.server.admission import node_keys
from fedrepay.server.admission.registry import Registry
from fedrepay.server.admission.tables import MemberSeen
from fedrepay.server.keyring import following, key_of, settle
from fedrepay.server.network.app import ENROLMENT_SECONDS, go
from fedrepay.server.network.runs import under_way
from fedrepay.server.network.superlink import Control
from fedrepay.server.protocol.enrolled import Enrolled, Node
from fedrepay.server.protocol.enrolment import Enrolment
from fedrepay.server.protocol.resealing import Resealing
from fedrepay.server.protocol.state import State
from fedrepay.server.service import wishes
from fedrepay.server.service.standing import AWAY
from fedrepay.server.service.waiting import Waiting
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, FedrepayError, NetworkError, StorageError, WordsError
from fedrepay.shared.files import read_bytes
from fedrepay.shared.text import printable
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.roster import Revoked, Roster
from fedrepay.shared.trust.succession import Rotation

PAUSE = 2.0
"""Seconds between two looks."""
ASKED, LONGEST_PAUSE = 10.0, 600.0
"""Seconds before people who have not approved the words yet are asked again; where a member is at fault, twice as long
each time up to the second: what is asked is stored, and no run begins meanwhile."""
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
        self._wishes: object = None  # who is to be in, with which keys, and who out
        self._next, self._pause = 0.0, 0.0  # when it is tried again, and how long that was
        self._said: dict[str, bytes] = {}  # member → hash of the roster that it says it holds
        self._lost: dict[str, float] = {}  # member → when it was last believed that it lost its store
        self._lock = Lock()
        self._given: tuple[bytes, frozenset[str]] = (b"", frozenset())  # a roster's hash, and who has it

    def holds(self, name: str, roster: bytes) -> None:
        """A member says which roster it holds, by its hash: another than it was given, and it has lost its store.

        It is given it again; one that says so all the time is believed every :data:`LONGEST_PAUSE` seconds.
        """
        with self._lock:
            self._said[name] = roster

    def _believed(self) -> None:
        """Who was given the roster and says that it does not hold it was not given it."""
        with self._lock:
            said, self._said = self._said, {}
        (given, who), now = self._given, self._clock()
        lost = {
            name
            for name, roster in said.items()
            if name in who and roster != given and now >= self._lost.get(name, 0.0) + LONGEST_PAUSE
        }
        if lost:
            self._lost |= dict.fromkeys(lost, now)
            self._given = given, who - lost

    def run(self, stop: Flag) -> None:
        """Look until told to stop; whatever goes wrong is said once, and tried again."""
        while not stop.wait(PAUSE):
            try:
                self.look()
            except FedrepayError as error:
                self._say(f"{error.cause} {error.remedy}")
            except Exception:  # nobody would make a roster until the next start
                log.exception("The keeper of the roster failed; it goes on.")
                self._later()

    def look(self) -> None:
        """Do what is to be done now.

        Raises:
            FedrepayError: it cannot be done yet.
        """
        self._believed()
        rosters = self._rosters()
        if rosters.roster is not None:
            settle(self._folder, rosters.roster.coordinator)
        members = self._renewed(rosters.roster)
        self._register(members)
        out = wishes.revoked(members, rosters.roster)
        wanted = {each.name: each for each in members if each.state == "admitted" and each.name not in out}
        now, roster = self._clock(), rosters.roster
        asked = {name: each.entry for name, each in wanted.items()}, out, self._coming()
        if asked != self._wishes:
            self._wishes, self._next, self._pause = asked, 0.0, 0.0
        absent = sorted(name for name, each in wanted.items() if now - each.seen > AWAY)
        if now < self._next or not self._due(wanted, rosters, absent):
            return
        another = roster is None or self._changed(roster, wanted)
        if not another:
            wanted = {name: each for name, each in wanted.items() if name not in absent}
        elif absent:
            raise CohortError(
                f"The roster waits for {', '.join(absent)}.", "They are admitted and not connected."
            )
        if run := under_way(self._store):
            raise CohortError(
                f"The roster waits for the end of run {run}.",
                "`fedrepay coordinator train` or `abandon` ends it.",
            )
        with self._store.alone(0.0):
            try:
                self._make(wanted, members, out, another=another)
            except FedrepayError:
                self._later()
                raise

    def _later(self) -> None:
        self._pause = min(LONGEST_PAUSE, max(ASKED, 2 * self._pause))
        self._next = self._clock() + self._pause

    def _renewed(self, roster: Roster | None) -> tuple[MemberSeen, ...]:
        """Everybody, after keys that the roster holds were noted as theirs: also of a process that ended before it did."""
        members = self._registry.members()
        held = {} if roster is None else {entry.name: entry for entry in roster.members}
        theirs = [
            held[each.name] for each in members if each.name in held and wishes.renews(each, held[each.name])
        ]
        for entry in theirs:
            self._registry.rekeyed(entry)
        return self._registry.members() if theirs else members

    def _rosters(self) -> Enrolled:
        found = Enrolled()
        for event in self._store.events(ROSTERS):
            found.apply(event)
        return found

    def _due(self, wanted: dict[str, MemberSeen], rosters: Enrolled, absent: Collection[str]) -> bool:
        """Whether another roster is wanted of people who have been the same for a while, or the one there is to be given."""
        data = read_bytes(self._folder / agreement.FILE, StorageError, "Restore it from a backup.")
        terms = agreement.parse(data, agreement.FILE)
        entries = {name: each.entry for name, each in wanted.items()}
        roster = rosters.roster
        if roster is not None and not self._changed(roster, wanted):
            given, who = self._given
            lacking = set(roster.names) - who - set(absent) if given == roster.hash() else True
            return bool(lacking) or rosters.call is not None or self._lacking(rosters) is not None
        if len(wanted) < max(3, terms.minimum_cohort):
            return False
        if self._seen[0] != entries:
            self._seen = (entries, self._clock())
        return self._clock() - self._seen[1] >= SETTLED

    def _make(
        self,
        wanted: dict[str, MemberSeen],
        members: tuple[MemberSeen, ...],
        out: Mapping[str, str],
        *,
        another: bool,
    ) -> None:
        nodes = [
            Node(name, name, b"" if each.entry is None else each.entry.node) for name, each in wanted.items()
        ]
        machine = Enrolment(
            key_of(self._folder),
            nodes,
            # where we know none, members may give one back: what it lacks is seen at the next look
            wanted=another and self._rosters().roster is not None,
            released=self._store.released(),
            leaving=[each.leaving for each in members if each.leaving is not None],
            revoked=[Revoked(name=name, reason=reason) for name, reason in sorted(out.items())],
            following=following(self._folder),
        )
        for event in self._store.events(ROSTERS):
            machine.state.apply(event)
        try:
            self._carry(machine)
        except WordsError as error:
            self._next, self._pause = self._clock() + ASKED, 0.0
            self._say(wishes.waits(machine.state, error))
            return
        made = machine.state.roster
        assert made is not None  # noqa: S101 - it goes on to the end or raises
        settle(self._folder, made.coordinator)
        self._renewed(made)
        had = self._given[1] if self._given[0] == made.hash() else frozenset[str]()
        self._given = made.hash(), had | machine.given()
        if set(wanted) & set(made.names) - machine.given():
            self._later()  # they are here, and do not take it
        holders = self._lacking(machine.state)
        if holders is not None:
            self._carry(Resealing(machine.state, holders, set(wanted)))
        self._say(f"The roster of {len(made.names)} members is complete.")

    def _changed(self, roster: Roster, wanted: dict[str, MemberSeen]) -> bool:
        """Whether others are wanted than are in it, or with other keys, the coordinator's included.

        A rotation is for what follows the roster that it names: whoever did not join with its new key then has to say so anew.
        """
        entries = {name: each.entry for name, each in wanted.items()}
        told = [Rotation.decode(each.rotation.body) for each in wanted.values() if each.rotation is not None]
        rotates = any(each.roster == roster.hash() for each in told)
        return (
            rotates
            or roster.coordinator != self._coming()
            or {each.name: each for each in roster.members} != entries
        )

    def _coming(self) -> bytes:
        """The coordinator's public key that a roster is to hold."""
        return keys.public_bytes(following(self._folder) or key_of(self._folder))

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

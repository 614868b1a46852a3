"""``fedrepay coordinator train``: one Flower run after the other until the fedrepay run is done.

A Flower run is only a vehicle. What is done stands in the coordinator's database; whatever Flower run carried it
before is stopped, and a new one goes on from the last event.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol, TypeVar

from fedrepay.server.network import bundle
from fedrepay.server.network.superlink import RunSeen
from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ASKED, ROSTERS, STOPS, CoordinatorStore
from fedrepay.shared.errors import (
    ArgumentError,
    CohortError,
    NetworkError,
    ProtocolError,
    TermsError,
    WordsError,
)
from fedrepay.shared.trust.terms import NumberedTerms

POLL = 0.3  # seconds
LOOKS = 400  # two minutes for a SuperExec to take the run
LIVES, BARREN = (
    20,
    4,
)  # Flower runs that may die under one command, and one after the other without anything done
GONE = (
    50  # looks, a quarter of a minute, from where nobody carries the run to where its ServerApp is given up
)
TRIES, PAUSE = (
    6,
    30,
)  # so often a run that too few members were there for is tried again, and looks before each
SELDOM = 33
"""Looks, ten seconds, between two questions about a Flower run while a ServerApp has the lock: it may hang, or be another run's."""
COMES_BACK = 600  # looks, three minutes, for a SuperLink that is started again
WAITING, FINISHED, COMPLETED, FAILED = "pending", "finished", "completed", "failed"
T = TypeVar("T")


class Vehicle(Protocol):
    """What is asked of a SuperLink (``network.superlink.Control``)."""

    def start(self, bundle: bytes, config: dict[str, str | int]) -> int: ...  # noqa: D102
    def runs(self, run_id: int | None = None) -> dict[int, RunSeen]: ...  # noqa: D102
    def stop(self, run_id: int) -> None: ...  # noqa: D102


def train(
    control: Vehicle,
    folder: Path,
    members: int,
    observe: Callable[[Event], None] = lambda _event: None,
    sleep: Callable[[float], None] = time.sleep,
    options: Mapping[str, str | int] | None = None,
    say: Callable[[str], None] = lambda _line: None,
) -> RunSeen:
    """Carry the newest run of the coordinator's store to its end over the network, whatever dies on the way.

    Args:
        control: the SuperLink.
        folder: the coordinator's, on this machine.
        members: how many nodes are waited for.
        observe: told of every event, those of earlier starts excepted.
        sleep: between two looks.
        options: more of the run's configuration (``shared.trust.bundle``).
        say: told in a line what died and was started again.

    Raises:
        ArgumentError: there is no run to carry.
        NetworkError: no SuperExec takes the Flower run, no SuperLink comes back, or too many of them died.
        WordsError: people have not approved the roster's words yet.
        TermsError: a member says no to the terms.
        ProtocolError: the ServerApp stopped, with its own words; the run resumes, unless they say otherwise.
    """
    store = CoordinatorStore.in_folder(folder)
    if store.terms() is None:
        raise ArgumentError("The coordinator's store holds no run.", "Plan one first.")
    for number, seen in control.runs().items():
        if seen.status != FINISHED:
            control.stop(number)
    config: dict[str, str | int] = {"coordinator-folder": str(folder.resolve()), "members": members}
    vehicle = _Vehicle(control, store, observe, sleep, say)
    number, seen = vehicle.carry(config | dict(options or {}))
    _check_end(store, number, seen)
    return seen


def ask(
    control: Vehicle,
    folder: Path,
    terms: NumberedTerms,
    members: int,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Event]:
    """Ask every member that is there about terms of a run that is not begun: nothing is reserved or spent.

    Args:
        control: the SuperLink.
        folder: the coordinator's, on this machine.
        terms: which would be the run's.
        members: how many nodes are waited for.
        sleep: between two looks.

    Returns:
        what they said, as a run's events say it: ``answer:terms``, ``declined``, ``away``, ``floor``.

    Raises:
        NetworkError: no SuperExec takes the Flower run.
        ProtocolError: another Flower run is under way, or the ServerApp stopped, with its own words.
    """
    if busy := [number for number, seen in control.runs().items() if seen.status != FINISHED]:
        raise ProtocolError(f"Flower run {busy[0]} is under way.", "Wait for its end, then ask again.")
    store = CoordinatorStore.in_folder(folder)
    config: dict[str, str | int] = {
        "coordinator-folder": str(folder.resolve()),
        "members": members,
        "ask-only": terms.encode().hex(),
    }
    before = len(store.events(ASKED))
    number, seen = _Vehicle(control, store, lambda _event: None, sleep, lambda _line: None).carry(config)
    said = store.events(ASKED)[before:]
    if seen.outcome != COMPLETED:
        raise ProtocolError(
            f"The Flower run {number} ended ({seen.outcome}): {seen.details or 'no reason given'}",
            "Nothing was spent. Ask again.",
        )
    return said


class _Vehicle:
    """One Flower run after the other, until one of them ends by its own word; arguments as of :func:`train`.

    A ServerApp that dies lets go of the coordinator's lock at once, while its SuperLink takes a minute to notice; what it says when it stops
    stands in the store. So a Flower run that nobody carries any more, or that failed without a word, died, and the next goes on.
    """

    def __init__(
        self,
        control: Vehicle,
        store: CoordinatorStore,
        observe: Callable[[Event], None],
        sleep: Callable[[float], None],
        say: Callable[[str], None],
    ) -> None:
        self._control, self._store, self._observe, self._sleep, self._say = (
            control,
            store,
            observe,
            sleep,
            say,
        )
        self._shown = store.last()

    def carry(self, config: dict[str, str | int]) -> tuple[int, RunSeen]:
        """A Flower run that ended by its own word: its number and how.

        Raises:
            NetworkError: as of :func:`train`.
        """
        few, barren = 0, 0
        for _ in range(LIVES):
            before = self._shown
            stops = len(self._store.events(STOPS))
            number = self._patiently(lambda: self._control.start(bundle.build(), config))
            seen = self._watched(number)
            said = self._store.events(STOPS)[stops:]
            if said and said[-1].name == CohortError.__name__ and few < TRIES:
                few += 1
                self._say(
                    f"{said[-1].body.decode()} No command is needed now: this one tries again in {PAUSE * POLL:.0f} s."
                )
                for _look in range(PAUSE):
                    self._sleep(POLL)
                continue
            if seen is not None and (said or seen.outcome != FAILED):
                return number, seen
            barren = barren + 1 if self._shown == before else 0
            if barren == BARREN:
                break
            self._say("The process that carried the run has died; another goes on.")
        said_last = "" if seen is None else f" Flower says: {seen.details or 'nothing'}."
        raise NetworkError(
            f"The process that carries the run dies again and again.{said_last}",
            "The lines of `fedrepay coordinator serve` say why. Nothing is lost: the same command goes on.",
        )

    def _watched(self, number: int) -> RunSeen | None:
        """How a Flower run ended; None where its ServerApp died, and it is stopped."""
        looks, gone, held, carried = 0, 0, 0, False
        while True:
            here = self._store.carried()  # then a ServerApp lives, and the SuperLink has enough to do
            held = held + 1 if here else 0
            asks = held % SELDOM == 0
            seen = self._patiently(lambda: self._control.runs(number)[number]) if asks else None
            looks = 0 if seen is not None and seen.status != WAITING else looks + 1
            if looks > LOOKS:
                self._control.stop(number)
                raise NetworkError(
                    f"No ServerApp has started for the Flower run {number}.",
                    "Does `fedrepay coordinator serve` run? Its lines say why; then the same command goes on.",
                )
            for seq, event in self._store.since(self._shown):
                self._observe(event)
                self._shown = seq
            if seen is not None and seen.status == FINISHED:
                return seen
            carried, gone = carried or here, gone + 1 if carried and not here else 0
            if gone > GONE:
                self._patiently(lambda: self._control.stop(number))
                return None
            self._sleep(POLL)

    def _patiently(self, call: Callable[[], T]) -> T:
        """Ask a SuperLink that may just be started again."""
        for look in range(COMES_BACK):
            try:
                return call()
            except NetworkError as error:
                if not look:
                    self._say(f"{error.cause} It is waited for.")
            self._sleep(POLL)
        return call()


def _check_end(store: CoordinatorStore, number: int, seen: RunSeen) -> None:
    """Why the Flower run ended, if the fedrepay run is not done."""
    terms = store.terms()
    kinds = {event.kind for event in store.events(terms.run)} if terms is not None else set()
    if "done" in kinds:
        return
    rosters = Enrolled()
    for event in store.events(ROSTERS):
        rosters.apply(event)
    said = seen.details or "no reason given"
    if rosters.call is not None and rosters.joinings and len(rosters.revealed) == len(rosters.joinings):
        raise WordsError(
            said, "People compare the words by telephone and approve them; then the same command goes on."
        )
    if "declined" in kinds:
        raise TermsError(said, "Nothing was spent. Train again with terms that all accept.")
    raise ProtocolError(
        f"The Flower run {number} ended ({seen.outcome}): {said}",
        "Nothing done so far is lost: the same command goes on, unless the text above names another.",
    )

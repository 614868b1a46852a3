"""``fedrepay coordinator train``: one Flower run after the other until the fedrepay run is done.

A Flower run is only a vehicle. What is done stands in the coordinator's database; whatever Flower run carried it
before is stopped, and a new one goes on from the last event.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from fedrepay.server.network import bundle
from fedrepay.server.network.superlink import RunSeen
from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ASKED, ROSTERS, CoordinatorStore
from fedrepay.shared.errors import ArgumentError, NetworkError, ProtocolError, TermsError, WordsError
from fedrepay.shared.trust.terms import NumberedTerms

POLL = 0.3  # seconds
LOOKS = 400  # two minutes for a SuperExec to take the run
WAITING, FINISHED, COMPLETED = "pending", "finished", "completed"


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
) -> RunSeen:
    """Carry the newest run of the coordinator's store to its end over the network.

    Args:
        control: the SuperLink.
        folder: the coordinator's, on this machine.
        members: how many nodes are waited for.
        observe: told of every event, those of earlier starts excepted.
        sleep: between two looks.
        options: more of the run's configuration (``shared.trust.bundle``).

    Raises:
        ArgumentError: there is no run to carry.
        NetworkError: no SuperExec takes the Flower run.
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
    number, seen = _carried(control, store, config | dict(options or {}), observe, sleep)
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
    number, seen = _carried(control, store, config, lambda _event: None, sleep)
    said = store.events(ASKED)[before:]
    if seen.outcome != COMPLETED:
        raise ProtocolError(
            f"The Flower run {number} ended ({seen.outcome}): {seen.details or 'no reason given'}",
            "Nothing was spent. Ask again.",
        )
    return said


def _carried(
    control: Vehicle,
    store: CoordinatorStore,
    config: dict[str, str | int],
    observe: Callable[[Event], None],
    sleep: Callable[[float], None],
) -> tuple[int, RunSeen]:
    """A Flower run from its start to its end."""
    shown = store.last()
    number = control.start(bundle.build(), config)
    looks = 0
    while True:
        seen = control.runs(number)[number]
        looks = looks + 1 if seen.status == WAITING else 0
        if looks > LOOKS:
            control.stop(number)
            raise NetworkError(
                f"No ServerApp has started for the Flower run {number}.",
                "Does `fedrepay coordinator serve` run? Its lines say why; then the same command goes on.",
            )
        for seq, event in store.since(shown):
            observe(event)
            shown = seq
        if seen.status == FINISHED:
            return number, seen
        sleep(POLL)


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

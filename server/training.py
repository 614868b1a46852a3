"""``fedrepay coordinator train``: one Flower run after the other until the fedrepay run is done.

A Flower run is only a vehicle. What is done stands in the coordinator's database; whatever Flower run carried it
before is stopped, and a new one goes on from the last event.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from fedrepay.server import bundle
from fedrepay.server.network.superlink import RunSeen
from fedrepay.server.state import Event
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import ArgumentError, NetworkError, ProtocolError

POLL = 0.3  # seconds
LOOKS = 400  # two minutes for a SuperExec to take the run
WAITING, FINISHED = "pending", "finished"


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
) -> RunSeen:
    """Carry the newest run of the coordinator's store to its end over the network.

    Args:
        control: the SuperLink.
        folder: the coordinator's, on this machine.
        members: how many nodes must be there.
        observe: told of every event of the run, those of earlier starts excepted.
        sleep: between two looks.

    Raises:
        ArgumentError: there is no run to carry.
        NetworkError: no SuperExec takes the Flower run.
        ProtocolError: the ServerApp failed, with its own words; the run resumes.
    """
    store = CoordinatorStore(f"sqlite:///{folder / 'coordinator.sqlite'}")
    plan = store.plan()
    if plan is None:
        raise ArgumentError("The coordinator's store holds no run.", "Plan one first.")
    for number, seen in control.runs().items():
        if seen.status != FINISHED:
            control.stop(number)
    before = store.events(plan.run)
    shown, done = len(before), any(event.kind == "done" for event in before)
    number = control.start(bundle.build(), {"coordinator-folder": str(folder.resolve()), "members": members})
    looks = 0
    while True:
        seen = control.runs(number)[number]
        looks = looks + 1 if seen.status == WAITING else 0
        if looks > LOOKS:
            control.stop(number)
            raise NetworkError(
                f"No ServerApp has started for the Flower run {number}.",
                "Is flower-superexec running? Its log says why it ended; then the same command goes on.",
            )
        fresh = store.events(plan.run, shown)
        for event in fresh:
            observe(event)
            done = done or event.kind == "done"
        shown += len(fresh)
        if seen.status == FINISHED:
            break
        sleep(POLL)
    if not done:
        raise ProtocolError(
            f"The Flower run {number} ended ({seen.outcome}): {seen.details or 'no reason given'}",
            "Nothing done so far is lost: the same command goes on.",
        )
    return seen

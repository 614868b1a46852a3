"""What `train` shows while a run is carried: each event in plain words, and at the end what came of it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from fedrepay.server.protocol.state import Event
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.text import printable
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import RoundConfig

SAID: Mapping[str, str] = {
    "call": "A roster is being made.",
    "approval": "The people of a member have approved the roster's words.",
    "roster": "The roster is complete.",
    "answer:terms": "{name} says yes to the run.",
    "declined": "{name} says no to the run: {why}",
    "floor": "The run's number is in use at a member; the run takes a higher one.",
    "introduction": "Everybody has taken the others' keys.",
    "retry": "{name} could not answer, and is asked again: {why}",
    "away": "{name} takes no part for now: {why}",
    "failed": "A sum is not what members have sent: they look for whose part does not fit.",
    "dismissed": "All parts fit: the sum is asked for again.",
    "complaint": "{name} refuses a sum: {why}",
    "ended": "The run cannot go on: {why}",
    "abandoned": "The run was given up.",
    "closing": "All sums are done; a member writes the release.",
    "written": "{name} has written the release; the others check and sign it.",
    "unwritten": "The others refuse what {name} wrote; another member writes it.",
    "vote": "{name} has signed the release.",
}
"""Of events that say all of it alone; those of attempts need what came before."""
QUIET = frozenset(
    [
        "joining",
        "before",
        "proposal",
        "revealed",
        "seat",
        "resealed",
        "answer:hello",
        "answer:introduce",
        "answer:seed",
        "answer:confirm",
        "need",
        "ready",
        "header",
        "disputed",
        "verdict",
        "stored",
        "stopped",
        "done",
    ]
)
"""Steps within one that is told of."""
_LONGEST = 500  # characters of a member's reason


class Narrator:
    """Tells a run as it goes.

    Args:
        rounds: sums that it has.
        show: told a line.
    """

    def __init__(self, rounds: int, show: Callable[[str], None]) -> None:
        self._rounds, self._show = rounds, show
        self._sum = 0  # the open one, from 1 on

    def tell(self, event: Event) -> None:
        """Show an event, if it is one for people."""
        if event.kind in QUIET:
            return
        if event.kind in ("attempt", "sum", "void"):
            self._show(self._of_attempt(event))
            return
        why = (
            printable(event.body.decode("utf-8", "replace"), _LONGEST) if "{why}" in SAID[event.kind] else ""
        )
        self._show(SAID[event.kind].format(name=printable(event.name), why=why))

    def _of_attempt(self, event: Event) -> str:
        if event.kind == "attempt":
            self._sum = RoundConfig.decode(Signed.decode(event.body).body).round + 1
            return f"Sum {self._sum} of {self._rounds}: members send their parts."
        if not self._sum:
            return "Nobody wants the proposed roster any more, or it failed; another is made."
        done, self._sum = self._sum, 0
        if event.kind == "sum":
            return f"Sum {done} of {self._rounds} is done."
        lost = ", ".join(event.body.decode().split())
        return f"Sum {done} of {self._rounds} did not come about{f': {lost} sent nothing' if lost else ''}. It is tried again."


def ending(store: CoordinatorStore, folder: Path) -> tuple[int, str, tuple[str, ...]]:
    """What came of a run that is done: number and SHA-256 of the release, and lines for people.

    Args:
        store: the coordinator's.
        folder: that it lies in.
    """
    number, digest = store.released()
    looked = f"fedrepay coordinator releases --folder {folder}, and `report {number}`"
    used = f"fedrepay member releases, fedrepay member use {number}"
    lines = (
        f"Done: release {number} is out, SHA-256 {digest.hex()}.",
        f"What is known of it here: {looked}. The model itself is with the members alone.",
        f"Members that run take it in by themselves within a minute. Their people look at it and say yes to it: {used}.",
    )
    return number, digest.hex(), lines

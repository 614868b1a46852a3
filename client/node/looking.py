"""How often a member's SuperNode looks for a message, and for a reply that waits."""

from collections.abc import Callable
from typing import Any

FASTER, SHARE = 0.1, 0.05
"""Of Flower's own pauses, at the least; and of the time since the last message: each look costs SuperLink and front.

So a message that comes after a while is found a twentieth of that while late at most, and never later than Flower would.
"""


class Pace:
    """How long a node pauses between two looks: short while messages come, in the end as long as Flower itself.

    Args:
        clock: seconds.
        sleep: of the process.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock, self._sleep = clock, sleep
        self._last = clock()

    def message(self) -> None:
        """One has come, or is answered."""
        self._last = self._clock()

    def sleep(self, seconds: float) -> None:
        """In place of a pause of Flower's of so many seconds."""
        quiet = self._clock() - self._last
        self._sleep(min(seconds, max(seconds * FASTER, quiet * SHARE)))


def receive(received: Callable[..., int | None], pace: Pace, *, state: Any, **options: Any) -> int | None:
    """Receive a message as Flower does, or say that a reply waits: the SuperNode then pushes it.

    By itself it looks for a reply only after a message, and takes whichever comes first. When a stopped run's reply comes
    in place of the new run's, the new one would wait for the next message, which waits for it.

    Returns:
        the message's Flower run; 0 for a reply without one; None where neither is there.
    """
    run = received(state=state, **options)
    kept = list(state.msg_store.values())
    waiting = any(each.message.metadata.reply_to_message_id and not each.is_retrieved for each in kept)
    if run is None and not waiting:
        return None
    pace.message()
    return 0 if run is None else run

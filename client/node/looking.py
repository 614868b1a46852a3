"""How often a member's SuperNode looks for a message, and for a reply that waits; and when its executor does."""

import os
import select
from collections.abc import Callable
from typing import Any

FASTER, SHARE = 0.1, 0.05
"""Of Flower's own pauses, at the least; and of the time that the next message is waited for, or the last two were: each look costs
SuperLink and front, and one of many members waits for long.

So a message is found a twentieth of such a while late at most, and never later than Flower would.
"""


class Bell:
    """Wakes a process that pauses, from another: made before the fork between them."""

    def __init__(self) -> None:
        self._hears, self._rings = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def ring(self) -> None:
        """Whoever pauses goes on; if nobody does, who pauses next."""
        try:
            os.write(self._rings, b"!")
        except BlockingIOError:
            return  # it has been rung more often than anybody can have missed

    def pause(self, seconds: float) -> None:
        """In place of a sleep: it ends at the next ring."""
        if select.select([self._hears], [], [], seconds)[0]:
            os.read(self._hears, 1 << 16)


class Pace:
    """How long a node pauses between two looks: short while messages come, in the end as long as Flower itself.

    Args:
        clock: seconds.
        sleep: of the process.
    """

    def __init__(self, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._clock, self._sleep = clock, sleep
        self._since, self._waits, self._at_work = clock(), (0.0, 0.0), False

    def message(self) -> None:
        """One has come."""
        self._waits = (self._waits[1], self._clock() - self._since)
        self._at_work = True

    def looks(self) -> None:
        """Once more; where a message had come, it is answered by now."""
        if self._at_work:
            self._since, self._at_work = self._clock(), False

    def sleep(self, seconds: float) -> None:
        """In place of a pause of Flower's of so many seconds."""
        quiet = max(self._clock() - self._since, min(self._waits))
        self._sleep(min(seconds, max(seconds * FASTER, quiet * SHARE)))


def receive(
    received: Callable[..., int | None], pace: Pace, bell: Bell, *, state: Any, **options: Any
) -> int | None:
    """Receive a message as Flower does, or say that a reply waits: the SuperNode then pushes it.

    By itself it looks for a reply only after a message, and takes whichever comes first. When a stopped run's reply comes
    in place of the new run's, the new one would wait for the next message, which waits for it.

    Returns:
        the message's Flower run; 0 for a reply without one; None where neither is there.
    """
    pace.looks()
    run = received(state=state, **options)
    kept = list(state.msg_store.values())
    waiting = any(each.message.metadata.reply_to_message_id and not each.is_retrieved for each in kept)
    if run is None and not waiting:
        return None
    pace.message()
    if run is None:
        return 0
    bell.ring()
    return run

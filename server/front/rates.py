"""How often each address may ask."""

import time
from collections.abc import Callable

MINUTE = 60.0
_ADDRESSES = 4096


class Rate:
    """A bucket of tokens for each address: full at first, filled again over a minute.

    Args:
        a_minute: askings; so many may come at once.
        clock: seconds, of a clock that is never set.
    """

    def __init__(self, a_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = float(a_minute), clock
        self._left: dict[str, tuple[float, float]] = {}  # tokens and when; whoever asked last stands last

    def wait(self, address: str) -> float:
        """Take a token: 0, or the seconds until there is one."""
        now = self._clock()
        tokens, then = self._left.pop(address, (self._most, now))
        tokens = min(self._most, tokens + (now - then) * self._most / MINUTE)
        allowed = tokens >= 1
        self._left[address] = (tokens - allowed, now)
        while len(self._left) > _ADDRESSES:  # who asked longest ago is nearest to a full bucket
            del self._left[next(iter(self._left))]
        return 0.0 if allowed else (1 - tokens) * MINUTE / self._most

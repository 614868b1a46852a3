"""Who is there for the next attempt, asked right before it. Pure; nothing of it is stored, so that a restart asks again.

An attempt that loses a member is void, and everybody in it is charged. So members do first what takes long, and are
asked again, shortly, until all who were asked have answered, and soon.
"""

from collections.abc import Iterable

FRESH = 5.0
"""Seconds: where answers took longer, the first of them says little about who is there at the last."""
ASKS = 3
"""So often members are asked before an attempt begins with those who answered last."""


class Gathering:
    """Asks before one attempt; :meth:`reset` before the next."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Everybody is asked anew."""
        self._among: frozenset[str] | None = None
        self._answered: set[str] = set()
        self._lost: set[str] = set()
        self._asks = 0

    @property
    def brief(self) -> bool:
        """Whether those who are asked have prepared before: their answer takes a moment."""
        return self._among is not None

    @property
    def there(self) -> frozenset[str]:
        """Who has answered the last ask."""
        return frozenset(self._answered)

    def waiting(self, names: Iterable[str]) -> list[str]:
        """Of those who may be there, whom to ask now: who has not answered, nor failed to, in this ask."""
        return [
            name
            for name in names
            if (self._among is None or name in self._among) and name not in self._answered | self._lost
        ]

    def answered(self, name: str) -> None:
        """It is there, and has prepared."""
        self._answered.add(name)

    def lost(self, name: str) -> None:
        """It is not there, or refuses."""
        self._lost.add(name)

    def again(self, seconds: float) -> bool:
        """After the answers to one ask, or what there is of them: whether who answered is asked once more.

        Args:
            seconds: that they took.
        """
        self._asks += 1
        if self._asks >= ASKS or not self._answered or (not self._lost and seconds <= FRESH):
            return False
        self._among, self._answered, self._lost = frozenset(self._answered), set(), set()
        return True

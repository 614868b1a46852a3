"""Who is there for the next attempt, asked right before it. Pure; nothing of it is stored, so that a restart asks again.

An attempt that loses a member is void, and everybody in it is charged. So members do first what takes long, and are
asked again, shortly, until all who were asked have answered, and soon.
"""

import math
from collections.abc import Iterable

FRESH = 1000.0
"""Members × seconds: where answers took longer, the first of them says little about who is there at the last.

Of members that vanish at 1 % an hour, an attempt loses one in 0.3 % of such times: 5 s with 200 members, 50 s with 20.
"""
LONGEST = 60.0
"""Seconds after which few members' answers are old too: beside such work another ask costs nothing."""
ASKS = 3
"""So often members are asked before an attempt begins with those who answered last."""
BRIEF = 30.0
"""Seconds for an answer that takes a moment, over a SuperLink too."""


class Gathering:
    """Asks before one attempt; :meth:`reset` before the next."""

    def __init__(self) -> None:
        self._brief = BRIEF
        self.reset()

    def reset(self) -> None:
        """Everybody is asked anew."""
        self._among: frozenset[str] | None = None
        self._answered: dict[str, int] = {}
        self._lost: set[str] = set()
        self._asks, self._parts, self._seconds = 0, 0, 0.0
        self._hurried = False

    @property
    def brief(self) -> bool:
        """Whether those who are asked have prepared before: their answer takes a moment."""
        return self._among is not None

    @property
    def patience(self) -> float:
        """Seconds for the answers to this ask; infinite where members have work to do first."""
        return self._brief if self.brief else math.inf

    @property
    def there(self) -> dict[str, int]:
        """Who has answered the last ask, and of how many members an attempt must be for it to take part."""
        return dict(self._answered)

    def waiting(self, names: Iterable[str]) -> list[str]:
        """Of those who may be there, whom to ask now: who has not answered, nor failed to, in this ask."""
        return [
            name
            for name in names
            if (self._among is None or name in self._among) and name not in self._answered.keys() | self._lost
        ]

    def answered(self, name: str, least: int = 0) -> None:
        """It is there, and has prepared an attempt of so many members or more."""
        self._answered[name] = least

    def lost(self, name: str) -> None:
        """It is not there, or refuses."""
        self._lost.add(name)
        self._hurried |= self.brief

    def longer(self, most: float) -> bool:
        """Where too few are left for an attempt: whether everybody is asked anew, with twice as long for brief answers.

        So it is where somebody was lost in a brief ask, which may have been too brief: messages of many members, or by a slow
        SuperLink, are on their way for longer. Who has answered an ask that was not brief was there.

        Args:
            most: seconds a member has for any answer; a brief ask is not given more.
        """
        if not self._hurried or self._brief >= most:
            return False
        self._brief *= 2
        self.reset()
        return True

    def took(self, seconds: float) -> None:
        """So long it was until everybody who was asked had answered, or said what it needs first."""
        self._parts += 1
        self._seconds += seconds

    def again(self) -> bool:
        """After everybody's answer, or what there is of them: whether who answered is asked once more.

        Where a brief ask took long, another would too: it is asked again only if somebody was lost. That holds of one in which nobody
        needed older sums first: whoever asks for them round by round has the others' answers wait each time.
        """
        self._asks += 1
        soon = self._seconds <= min(LONGEST, FRESH / max(len(self._answered), 1))
        fresh = soon or (self.brief and self._parts == 1)
        if self._asks >= ASKS or not self._answered or (fresh and not self._lost):
            return False
        self._among, self._answered, self._lost = frozenset(self._answered), {}, set()
        self._parts, self._seconds = 0, 0.0
        return True

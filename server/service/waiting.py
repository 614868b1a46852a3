"""Messages of a roster's making, on the wire that members themselves open: asks wait here until a member calls for its own.

To the machine that asks (``server/protocol/enrolment``) this is one more wire, as Flower's is (``server/network/app``); a
node's id is its member's name here.
"""

from collections import deque
from collections.abc import Callable, Iterator
from threading import Condition

from fedrepay.server.network.app import Answer, Machine
from fedrepay.server.protocol.state import Ask
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.asking import Answered, AskedOf
from fedrepay.shared.trust.message import Signed

MOST_WAITING = 192
"""Members that may wait in a call at once; another is told at once that there is nothing now."""

LOOK = 1.0
"""Seconds between two looks for members that are gone while their answers are waited for."""


class Waiting:
    """Asks that wait for members, and members that wait for asks.

    Args:
        clock: seconds that only grow.
        gone: whether a member may call no more: it was revoked, or has left.
    """

    def __init__(self, clock: Callable[[], float], gone: Callable[[str], bool] = lambda _name: False) -> None:
        self._clock = clock
        self._gone = gone
        self._changed = Condition()
        self._asks: dict[str, AskedOf] = {}  # by member
        self._answers: deque[tuple[str, Signed | None, str]] = deque()
        self._number = 0
        self._waiting = 0
        self._woken = 0

    def exchange(self, _machine: Machine, ask: Ask, timeout: float) -> Iterator[Answer]:
        """Put an ask before its members and give each answer as it comes; as ``network.app.Exchange``."""
        deadline = self._clock() + timeout
        with self._changed:
            for name, (shared, own) in ask.parts.items():
                self._number += 1
                self._asks[name] = AskedOf(ask=self._number, kind=ask.kind.value, shared=shared, own=own)
            self._changed.notify_all()
        missing = set(ask.parts)
        try:
            while missing:
                answer = self._next(min(deadline, self._clock() + LOOK))
                if answer is None:
                    left = next((name for name in sorted(missing) if self._gone(name)), None)
                    if left is None and self._clock() >= deadline:
                        break
                    answer = None if left is None else (left, None, "it may call no more")
                if answer is not None:
                    missing.discard(answer[0])
                    yield answer
        finally:
            with self._changed:
                self._asks.clear()
                self._answers.clear()
        for name in sorted(missing):
            yield name, None, f"no answer within {timeout:.0f} s"

    def _next(self, until: float) -> Answer | None:
        with self._changed:
            while not self._answers and (left := until - self._clock()) > 0:
                self._changed.wait(left)
            return self._answers.popleft() if self._answers else None

    def wait(self, name: str, seconds: float) -> AskedOf:
        """The ask that waits for this member, as soon as there is one; number 0 where none came.

        A member that lost its answer on the way gets the same ask again.
        """
        deadline = self._clock() + seconds
        with self._changed:
            if self._waiting >= MOST_WAITING:
                return self._asks.get(name, AskedOf(ask=0))
            self._waiting += 1
            try:
                woken = self._woken
                while (
                    name not in self._asks and self._woken == woken and (left := deadline - self._clock()) > 0
                ):
                    self._changed.wait(left)
                return self._asks.get(name, AskedOf(ask=0))
            finally:
                self._waiting -= 1

    def wake(self) -> None:
        """Let everybody who waits go with nothing: the service ends."""
        with self._changed:
            self._woken += 1
            self._changed.notify_all()

    def answer(self, name: str, answered: Answered) -> None:
        """Take a member's reply to the ask that waits for it; to an older one it counts as none.

        Raises:
            ProtocolError: it is no signed reply.
        """
        with self._changed:
            asked = self._asks.get(name)
            if asked is None or asked.ask != answered.ask:
                return
            del self._asks[name]
            try:
                self._answers.append((name, Signed.decode(answered.reply), ""))
            except ProtocolError as error:
                self._answers.append((name, None, error.cause))
                raise
            finally:
                self._changed.notify_all()

"""Answers of pure checks, kept for a while: in a simulation a thousand members check the very same bytes.

Whether a signature verifies, and what bytes parse to, depends on nothing but the bytes (and the key) asked about, so
asking again cannot give another answer. The whole of them is the key, a hash stands for nothing; messages are frozen,
so no member can change another's; a refusal is never kept, it is found anew. Nothing that is secret beyond one attempt
may be kept here, as a question or as an answer: it would outlive its epoch (docs/adr/0016).
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")
OVERHEAD = 2048  # bytes: what an entry costs beside its message
EXPANSION = 4  # a parsed message may take so many times its bytes


class Remembered(Generic[T]):
    """The most recent answers, bounded in bytes.

    Args:
        limit: bytes that all answers together may take, by estimate.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._kept: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = Lock()

    def get(self, asked: Hashable, size: int, answer: Callable[[], T]) -> T:
        """The answer, found anew where it is not kept; what ``answer`` raises is raised and not kept.

        Args:
            asked: everything that ``answer`` depends on.
            size: bytes of the message it is about.
            answer: a pure function of ``asked``.
        """
        with self._lock:
            kept = self._kept.get(asked)
            if kept is not None:
                self._kept.move_to_end(asked)
                return kept[0]
        found, cost = answer(), EXPANSION * size + OVERHEAD
        with self._lock:
            if cost <= self._limit and asked not in self._kept:
                self._kept[asked] = (found, cost)
                self._size += cost
                while self._size > self._limit:
                    _, (_, freed) = self._kept.popitem(last=False)
                    self._size -= freed
        return found

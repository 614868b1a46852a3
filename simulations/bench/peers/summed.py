"""The one sum of ``make bench NAME=secure_sum`` for peers that do without encryption, and what they measured.

NumPy and the standard library only: each peer has an environment of its own.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

VALUES, MEMBERS = 24_570, 5
"""Six ciphertexts of ours, as many as the Gram matrix of the shipped data fills (20,706 values), and so no slot is empty."""
BITS = 27
"""A member's values, with their sign: the public range of that sum."""
REPEATS = 15
"""Timed sums; one before warms up."""


@dataclass(frozen=True)
class SumMeasured:
    """One peer on the sum; what all parties spend is divided by the members, whoever computes."""

    cpu_ms: list[float]  # a member's share of one sum, from its values to the opened sum
    sent: float  # bytes a value that a member sends

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def values(member: int) -> NDArray[np.int32]:
    """One member's integers, shape (VALUES,); all members' sums stay below 2³¹ too."""
    top = 1 << (BITS - 1)
    return np.random.default_rng(member).integers(-top, top, VALUES, dtype=np.int32)


def check(opened: NDArray[np.int64]) -> None:
    """Raise unless this is the exact sum: other figures would say nothing.

    Raises:
        AssertionError: it is not.
    """
    exact = np.sum([values(member) for member in range(MEMBERS)], axis=0, dtype=np.int64)
    if not np.array_equal(opened, exact):
        raise AssertionError("the opened sum is not the integer sum: the figures would say nothing")

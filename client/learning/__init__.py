"""Learners: their steps are pure numpy, from public constants and opened sums only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedrepay.client.learning.dp_gd import DPGD
from fedrepay.client.learning.dp_newton import DPNewton
from fedrepay.client.learning.dp_surrogate import DPSurrogate
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.trust.sums import check_rounds

if TYPE_CHECKING:
    from fedrepay.client.learning.base import Additive
    from fedrepay.shared.schema.codebook import CodeBook


def make_learner(name: str, book: CodeBook, rounds: int) -> Additive[Any]:
    """The additive model's learner called ``name`` (``shared.trust.sums`` holds the names and defaults).

    Raises:
        ArgumentError: for an unknown name, or rounds that it does not take.
    """
    if rounds < 2:
        raise ArgumentError(f"{rounds} secure sums are too few.", "Ask for --rounds 2 or more.")
    if name == "dp-newton":
        return DPNewton(book, rounds)
    check_rounds(name, rounds)
    if name == "dp-surrogate":
        return DPSurrogate(book, rounds)
    if name == "dp-gd":
        return DPGD(book, rounds)
    raise ArgumentError(f"There is no learner {name!r}.", "Choose dp-newton, dp-surrogate or dp-gd.")

"""The discrete Gaussian, drawn by inverse CDF: P(x) proportional to exp(−x²/2σ²) on the integers.

One table of 256-bit thresholds serves widths up to 1,024; a 64-bit word decides, and 192 more bits
only where the first equals a threshold's upper 64 bits; a guide table finds the place. Wider noise is
layered from such tables, X = X₁ + k·X₂ (Micciancio and Walter, CRYPTO 2017); ``docs/adr/0003-layered-sampler.md`` has the proof.
Nothing is rejected or drawn again, and ``variance`` is met exactly: all parameters are fractions.
"""

import math
from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

import numpy as np

from fedrepay.shared.arrays import I64, U16, U64
from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy.entropy import Entropy

DISTANCE = 1e-70
"""Bound on the total variation between one draw and the exact discrete Gaussian."""

_DIRECT = 1024  # widest single table, grid units
_INNER = 6  # X₁ has width 6k, so that the lemma's τ is at least 4
_LARGEST_STEP = 128  # so that X₁'s table is direct too: 6·128 = 768
_DIGITS = 250  # decimal digits of the two exponentials
_BITS = 768  # fixed-point fraction bits of the recurrence
_TAIL_BITS = 300  # probabilities below 2⁻³⁰⁰ of the mode's are left out
_UNIT = 1 << 256
_GUIDE_BITS = 16
_BLOCK = 1 << 14  # words looked up at a time: what they touch stays in the processor's cache


@dataclass(frozen=True)
class _Guide:
    """Where to look: a word's upper ``_GUIDE_BITS`` bits name a cell, and most cells hold one threshold or none.

    It only replaces a binary search, so the draws are those of ``searchsorted`` on the same words.
    """

    below: U16  # thresholds' upper words below each cell
    first: np.uint64  # words from ``first``, ``span`` of them, lie in cells with one threshold at most
    span: np.uint64

    @classmethod
    def of(cls, thresholds: U64) -> "_Guide":
        """For the upper words of a table's thresholds, in order."""
        starts = np.arange(1 << _GUIDE_BITS, dtype=np.uint64) << np.uint64(64 - _GUIDE_BITS)
        below = np.searchsorted(thresholds, starts, side="left")
        crowded = np.flatnonzero(np.diff(below, append=len(thresholds)) > 1)
        middle = len(starts) // 2
        low = int(crowded[crowded < middle].max(initial=-1)) + 1
        # one cell less than could be: no overflow
        high = int(crowded[crowded >= middle].min(initial=len(starts) - 1))
        span = (max(high, low) - low) << (64 - _GUIDE_BITS)
        return cls(below.astype(np.uint16), starts[min(low, len(starts) - 1)], np.uint64(span))


@dataclass(frozen=True)
class _Table:
    """One direct sampler: ``first`` + the number of 256-bit thresholds ≤ a uniform 256-bit word."""

    first: int
    thresholds: tuple[int, ...]
    upper: U64  # upper words of the thresholds, with a sentinel at both ends
    guide: _Guide
    distance: float

    def sample(self, n: int, entropy: Entropy) -> I64:
        places = np.empty(n, dtype=np.int64)
        for start in range(0, n, _BLOCK):
            part = places[start : start + _BLOCK]
            part[:] = self._places(np.frombuffer(entropy.draw(8 * len(part)), dtype="<u8"), entropy)
        places += self.first
        return places

    def _places(self, words: U64, entropy: Entropy) -> I64:
        """How many thresholds are at most each word, with more bits where a word does not decide."""
        cells = (words >> np.uint64(64 - _GUIDE_BITS)).view(np.int64)
        places: I64 = self.guide.below.take(cells).astype(np.int64)
        following = self.upper[1:].take(places)
        places += following <= words
        undecided = following == words
        crowded = np.flatnonzero(words - self.guide.first >= self.guide.span)
        found = np.searchsorted(self.upper[1:-1], words[crowded], side="right")
        places[crowded] = found
        undecided[crowded] = (self.upper[found] == words[crowded]) & (found > 0)
        for i in np.flatnonzero(undecided):
            word = int(words[i]) << 192 | int.from_bytes(entropy.draw(24), "little")
            places[i] = bisect_right(self.thresholds, word)
        return places


def _weights(variance: Fraction) -> list[int]:
    """exp(−x²/2σ²)·2⁷⁶⁸ for x = 0, 1, … until it falls below 2⁻³⁰⁰, by w·r, r·q (error < 2⁻⁷²⁰)."""
    with localcontext() as context:
        context.prec = _DIGITS
        exponent = Decimal(variance.denominator) / Decimal(variance.numerator)
        ratio = int((-exponent / 2).exp() * (1 << _BITS))  # e^(−1/2σ²)
        decay = int((-exponent).exp() * (1 << _BITS))  # e^(−1/σ²)
    weight, weights = 1 << _BITS, []
    while weight >> (_BITS - _TAIL_BITS):
        weights.append(weight)
        weight = weight * ratio >> _BITS
        ratio = ratio * decay >> _BITS
    return weights


@lru_cache(maxsize=64)
def _table(variance: Fraction) -> _Table:
    weights = _weights(variance)
    total = 2 * sum(weights) - weights[0]
    last = max(x for x, weight in enumerate(weights) if weight * _UNIT >= total)
    tail = sum(weights[last + 1 :])
    thresholds, cumulated, before, error = [], tail, 0, 2 * tail * _UNIT
    for x in range(-last, last + 1):
        cumulated += weights[abs(x)]
        threshold = (2 * cumulated * _UNIT + total) // (2 * total) if x < last else _UNIT
        error += abs((threshold - before) * total - weights[abs(x)] * _UNIT)
        thresholds.append(threshold)
        before = threshold
    thresholds.pop()  # 2²⁵⁶ itself: every word is below it
    upper = np.array([0, *(threshold >> 192 for threshold in thresholds), 2**64 - 1], dtype=np.uint64)
    distance = float(Fraction(error, 2 * total * _UNIT)) + 2.0**-270  # 2⁻²⁷⁰: the part never tabulated
    return _Table(-last, tuple(thresholds), upper, _Guide.of(upper[1:-1]), distance)


class DiscreteGaussian:
    """Noise of one width.

    ``variance`` is the parameter σ² in squared grid units, met exactly; ``distance`` bounds the total
    variation between a draw and the exact distribution, at most ``DISTANCE``.

    Args:
        variance: σ², finite and positive.

    Raises:
        BudgetError: for a variance that is not finite and positive, or above 10²⁰, where a sum could
            pass the 64-bit range.
    """

    def __init__(self, variance: float) -> None:
        if not 0 < variance <= 1e20:  # NaN is outside too
            raise BudgetError(
                f"Noise of variance {variance} cannot be drawn.", "Check epsilon and the cohort."
            )
        self.variance = variance
        self.distance = 0.0
        self._layers: list[tuple[int, _Table]] = []
        step, rest = 1, Fraction(variance)
        while rest > _DIRECT**2:
            # smallest k with (rest/k² − 36) ≤ 1024², or 128 and one more layer
            k = min(_LARGEST_STEP, math.isqrt(math.ceil(rest / (_DIRECT**2 + _INNER**2)) - 1) + 1)
            outer = rest / k**2 - _INNER**2
            self._layer(step, Fraction(_INNER * k) ** 2)
            tau2 = _INNER**2 * float(outer) / float(_INNER**2 + outer)
            self.distance += 4 * math.exp(-2 * math.pi**2 * tau2)
            step, rest = step * k, outer
        self._layer(step, rest)
        if self.distance > DISTANCE:
            raise BudgetError(
                f"Noise of variance {variance} is too coarse.", "Lower the members or raise epsilon."
            )

    def _layer(self, step: int, variance: Fraction) -> None:
        table = _table(variance)
        self._layers.append((step, table))
        self.distance += table.distance

    def sample(self, n: int, entropy: Entropy) -> I64:
        """Draws of noise in grid units, shape (n,)."""
        noise = np.zeros(n, dtype=np.int64)
        for step, table in self._layers:
            noise += step * table.sample(n, entropy)
        return noise

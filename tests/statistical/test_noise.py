"""The sampler: accepts σ, rejects 2σ/3 and 3σ/2, and is exact where it can be computed by brute force."""

import math
from dataclasses import replace
from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from scipy.special import kolmogorov, ndtr

from fedrepay.shared.arrays import F64, I64, U64
from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy import noise
from fedrepay.shared.privacy.entropy import Entropy, OsEntropy, SeededEntropy
from fedrepay.shared.privacy.noise import DISTANCE, DiscreteGaussian

WIDTHS = [4.0, 37.5, 1023.9, 1025.0, 130_000.0, 1e7, 3e9]
DRAWS = 20_000


def p_value(sample: I64, width: float) -> float:
    """Kolmogorov–Smirnov against Φ((x + ½)/σ), within 6e-4 of the exact CDF at σ ≥ 4."""
    values, counts = np.unique(sample, return_counts=True)
    gap = np.abs(np.cumsum(counts) / len(sample) - ndtr((values + 0.5) / width)).max()
    return float(kolmogorov(math.sqrt(len(sample)) * gap))


@pytest.mark.parametrize("width", WIDTHS)
def test_draws_have_the_width_asked_for(width: float) -> None:
    sample = DiscreteGaussian(width**2).sample(DRAWS, SeededEntropy(b"accept"))
    assert p_value(sample, width) > 0.001


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("factor", [2 / 3, 3 / 2])
def test_a_wrong_width_is_rejected(width: float, factor: float) -> None:
    sample = DiscreteGaussian((factor * width) ** 2).sample(DRAWS, SeededEntropy(b"reject"))
    assert p_value(sample, width) < 1e-9


@pytest.mark.parametrize("width", WIDTHS)
def test_layers_add_up_to_the_variance_and_stay_within_the_distance(width: float) -> None:
    sampler = DiscreteGaussian(width**2)
    total = 0.0
    for step, table in sampler._layers:
        edges = np.array([0, *table.thresholds, 1 << 256], dtype=object)
        chances = np.diff(edges).astype(float) / 2.0**256
        values = np.arange(len(chances)) + table.first
        assert abs(float(chances @ values)) < 1e-9
        total += step**2 * float(chances @ values**2)
    assert total == pytest.approx(width**2, rel=1e-9)
    assert sampler.variance == width**2
    assert 0 < sampler.distance <= DISTANCE <= 2e-15


def test_a_table_equals_the_distribution_to_the_distance_it_states() -> None:
    """Brute force: every probability from its own exponential, at 100 digits."""
    with localcontext() as context:
        context.prec = 100
        table = noise._table(Fraction(123, 7))
        edges = [0, *table.thresholds, 1 << 256]
        weights = {x: (Decimal(-7 * x * x) / 246).exp() for x in range(-150, 151)}
        total = sum(weights.values())
        off = Decimal(0)
        for x, weight in weights.items():
            i = x - table.first
            inside = 0 <= i < len(edges) - 1
            mine = Decimal(edges[i + 1] - edges[i]) / (1 << 256) if inside else Decimal(0)
            off += abs(mine - weight / total)
    assert 0 < float(off) / 2 <= table.distance < DISTANCE


def convolved(inner: float, step: int, outer: float) -> float:
    """Total variation between X₁ + step·X₂ and the discrete Gaussian of the same variance, by brute force."""
    reach = 400
    values = np.arange(-reach, reach + 1)

    def chances(variance: float) -> F64:
        weights = np.exp(-(values**2) / (2 * variance))
        return np.asarray(weights / weights.sum())

    spread = np.zeros(2 * reach * step + 1)
    spread[::step] = chances(outer)
    layered = np.convolve(chances(inner), spread)
    middle = len(layered) // 2
    layered = layered[middle - reach : middle + reach + 1]
    return float(np.abs(layered - chances(inner + step**2 * outer)).sum() / 2)


def test_layering_is_exact_where_the_inner_layer_is_wide() -> None:
    assert convolved((6 * 3) ** 2, 3, 30.0) < 1e-13


def test_layering_fails_where_the_inner_layer_is_narrow() -> None:
    assert convolved(1.0, 3, 30.0) > 0.01


class Script:
    """Entropy that hands out prepared bytes."""

    private = False

    def __init__(self, *parts: bytes) -> None:
        self._parts = list(parts)

    def draw(self, n: int) -> bytes:
        part = self._parts.pop(0)
        assert len(part) == n
        return part


@pytest.mark.parametrize("place", [0, 1, 20, -1])
def test_a_word_on_a_threshold_is_decided_by_the_bits_below_it(place: int) -> None:
    table = noise._table(Fraction(16))
    threshold = table.thresholds[place]
    word = (threshold >> 192).to_bytes(8, "little")
    rest = threshold % (1 << 192)
    at = table.sample(1, Script(word, rest.to_bytes(24, "little")))
    below = table.sample(1, Script(word, (rest - 1).to_bytes(24, "little")))
    assert at[0] == below[0] + 1 == table.first + place % len(table.thresholds) + 1


def test_two_draws_from_the_system_differ_and_a_seed_repeats() -> None:
    sampler = DiscreteGaussian(1e6)
    one, two = sampler.sample(64, OsEntropy()), sampler.sample(64, OsEntropy())
    assert not np.array_equal(one, two)
    again = [sampler.sample(64, SeededEntropy(seed)) for seed in (b"a", b"a", b"b")]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])
    assert OsEntropy().private
    assert not SeededEntropy(b"a").private


def test_no_draws_are_fine() -> None:
    assert DiscreteGaussian(100.0).sample(0, OsEntropy()).shape == (0,)


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf, 1e21])
def test_a_senseless_variance_is_refused(variance: float) -> None:
    with pytest.raises(BudgetError):
        DiscreteGaussian(variance)


def searched(table: noise._Table, words: U64, entropy: Entropy) -> I64:
    """What a binary search over the thresholds gives for the same words."""
    upper = table.upper[:-1]
    places = np.searchsorted(upper[1:], words, side="right")
    for i in np.flatnonzero((upper[places] == words) & (places > 0)):
        word = int(words[i]) << 192 | int.from_bytes(entropy.draw(24), "little")
        places[i] = sum(threshold <= word for threshold in table.thresholds)
    return places.astype(np.int64)


@pytest.mark.parametrize("variance", [Fraction(1, 100), Fraction(1, 3), Fraction(16), Fraction(1024) ** 2])
def test_the_guide_finds_the_place_that_a_binary_search_finds(variance: Fraction) -> None:
    """Words on, just below and just above every threshold (of wide tables: every 97th) and every cell's edge, and random ones."""
    table = noise._table(variance)
    upper = table.upper if len(table.upper) < 1000 else np.append(table.upper[:200], table.upper[::97])
    edges = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
    random = np.random.default_rng(1).integers(0, 2**64 - 1, 100_000, dtype=np.uint64, endpoint=True)
    near = [values + shift for values in (upper, edges) for shift in np.array([0, 1, -1]).astype(np.uint64)]
    words = np.concatenate([*near, random])
    mine = table._places(words, SeededEntropy(b"rest"))
    assert np.array_equal(mine, searched(table, words, SeededEntropy(b"rest")))
    assert int(table.guide.span) > 0.95 * 2**64  # and it is the guide that found most of them


def test_a_guide_of_another_table_does_not() -> None:
    """The control: with a guide that is wrong by one cell, places are wrong."""
    table = noise._table(Fraction(16))
    words = np.random.default_rng(1).integers(0, 2**64 - 1, 100_000, dtype=np.uint64, endpoint=True)
    off = replace(table, guide=replace(table.guide, below=np.roll(table.guide.below, -1)))
    assert not np.array_equal(
        off._places(words, SeededEntropy(b"")), searched(table, words, SeededEntropy(b""))
    )

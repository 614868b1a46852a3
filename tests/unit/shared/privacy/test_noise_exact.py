"""What the sampler draws from given words, to the last bit, and the bounds its documentation states."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy import noise
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.privacy.noise import DISTANCE, DiscreteGaussian

DRAWN = {
    16.0: "8206792212031b5a",
    100.5: "72b9bc68cf008df3",
    1024.0**2: "848d30dca6dcf27e",
    1024.0**2 + 1: "3455671e42083c46",
    3e10: "1bee22ddf316150f",
    1e20: "e2815d4c22f08d33",
}
"""Variance → SHA-256 of 20,000 draws; the distribution behind them is judged in tests/statistical/test_noise.py."""


def draws(variance: float) -> str:
    sampler = DiscreteGaussian(variance)
    sample = sampler.sample(20_000, SeededEntropy(b"exact"))
    assert sample.dtype == np.int64
    return sha256(sample.astype("<i8").tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("variance", DRAWN)
def test_the_same_words_give_the_same_draws(variance: float) -> None:
    """A seeded simulation repeats; a changed table, layer or order of bytes shows."""
    assert draws(variance) == DRAWN[variance]


@pytest.mark.parametrize("variance", [Fraction(16), Fraction(123, 7), Fraction(1, 3)])
def test_weights_are_exact_to_720_bits_and_reach_to_300(variance: Fraction) -> None:
    weights = noise._weights(variance)
    assert weights[0] == 1 << 768
    with localcontext() as context:
        context.prec = 400
        for x, weight in enumerate(weights):
            exact = (Decimal(-x * x * variance.denominator) / (2 * variance.numerator)).exp() * (1 << 768)
            assert abs(weight - exact) < 1 << 48
        after = (Decimal(-(len(weights) ** 2) * variance.denominator) / (2 * variance.numerator)).exp()
        assert weights[-1] >= 1 << 468 > after * (1 << 768)


def test_tails_of_a_wide_table_end_at_300_bits() -> None:
    """Where neighbours differ little, the last weight is just above 2⁻³⁰⁰ of the mode's."""
    weights = noise._weights(Fraction(10**6))
    assert 1 << 468 <= weights[-1] < 103 * (1 << 468) // 100


@pytest.mark.parametrize("variance", [Fraction(16), Fraction(123, 7), Fraction(1, 3), Fraction(2500)])
def test_a_tables_thresholds_are_the_rounded_distribution(variance: Fraction) -> None:
    """Threshold by threshold, from the weights alone; and no more values than one draw in 2²⁵⁶ asks for."""
    table, weights = noise._table(variance), noise._weights(variance)
    total = 2 * sum(weights) - weights[0]
    reach = -table.first
    assert weights[reach] << 256 >= total > weights[reach + 1] << 256
    assert len(table.thresholds) == 2 * reach
    below = sum(weights[reach + 1 :])
    off = Fraction(2 * below, total)
    last = 0
    for x, threshold in zip(range(-reach, reach + 1), (*table.thresholds, 1 << 256), strict=True):
        below += weights[abs(x)]
        if x < reach:
            assert abs(Fraction(below << 256, total) - threshold) <= Fraction(1, 2)
        off += abs(Fraction(threshold - last, 1 << 256) - Fraction(weights[abs(x)], total))
        last = threshold
    assert table.upper.tolist() == [0, *(each >> 192 for each in table.thresholds), 2**64 - 1]
    assert table.distance == pytest.approx(float(off / 2) + 2.0**-270, rel=1e-12, abs=0)


@pytest.mark.parametrize("variance", [Fraction(1, 100), Fraction(1, 3), Fraction(16), Fraction(1024**2)])
def test_a_guide_counts_the_thresholds_below_each_cell_and_knows_where_it_is_alone(
    variance: Fraction,
) -> None:
    table = noise._table(variance)
    upper = table.upper[1:-1]
    cells = 1 << 16
    starts = np.arange(cells, dtype=np.uint64) << np.uint64(48)
    below = np.searchsorted(upper, starts, side="left")
    assert np.array_equal(table.guide.below, below)
    within = np.diff(np.append(below, len(upper)))
    low = int(table.guide.first) >> 48
    high = low + (int(table.guide.span) >> 48)
    assert int(table.guide.first) % (1 << 48) == int(table.guide.span) % (1 << 48) == 0
    assert within[low:high].max() <= 1
    assert high > cells // 2 > low
    assert (low == 0) == (within[: cells // 2].max() <= 1)
    assert low == 0 or within[low - 1] > 1  # as wide as it can be
    assert high == cells - 1 or within[high] > 1


class Rest:
    """Hands out 24 bytes a question: nothing, everything, or what lies between, in turn."""

    private = False

    def __init__(self) -> None:
        self.asked = 0

    def draw(self, n: int) -> bytes:
        assert n == 24
        self.asked += 1
        return [bytes(24), b"\xff" * 24, b"\x7f" * 24][self.asked % 3]


@pytest.mark.parametrize("variance", [Fraction(1, 100), Fraction(1, 69), Fraction(1, 3), Fraction(16)])
def test_a_words_place_is_how_many_thresholds_it_reaches(variance: Fraction) -> None:
    """Words on every threshold, beside it, at its cell's edges and at both ends; one that is on asks for more bits.

    At 1/69 a single threshold is below 2¹⁹², in a cell with another.
    """
    table = noise._table(variance)
    uppers = [threshold >> 192 for threshold in table.thresholds]
    cells = {cell + by for cell in (u >> 48 for u in uppers) for by in (0, 1)} | {0, 1, (1 << 16) - 1}
    near = {at + by for at in (*uppers, *(cell << 48 for cell in cells)) for by in (-1, 0, 1)}
    words = sorted(each for each in near | {0, 1, 2**64 - 1, 2**63} if 0 <= each < 2**64)
    rest, expected = Rest(), []
    for word in words:
        more = int.from_bytes(rest.draw(24), "little") if word in set(uppers) else 0
        expected.append(sum(threshold <= word << 192 | more for threshold in table.thresholds))
    asked = Rest()
    found = table._places(np.array(words, dtype=np.uint64), asked)
    assert found.tolist() == expected
    assert asked.asked == rest.asked > 0


@pytest.mark.parametrize(
    ("variance", "layers"),
    [
        (1024.0**2, []),
        (1024.0**2 + 1, [1]),
        (1024.0**2 + 36, [1]),
        (1024.0**2 + 37, [2]),
        (4 * (1024.0**2 + 36), [2]),
        (4 * (1024.0**2 + 36) + 1, [3]),
        (16384 * (1024.0**2 + 36), [128]),
        (16384 * (1024.0**2 + 36) + 2**20, [128, 2]),
    ],
)
def test_layers_are_the_fewest_and_their_variances_add_up_exactly(variance: float, layers: list[int]) -> None:
    sampler = DiscreteGaussian(variance)
    steps = [step for step, _ in sampler._layers]
    assert steps[0] == 1
    assert [after // before for before, after in pairwise(steps)] == layers
    rest, bound = Fraction(variance), 0.0
    for k, (_, table) in zip(layers, sampler._layers, strict=False):
        assert table is noise._table(Fraction(36 * k * k))
        rest = rest / k**2 - 36
        bound += table.distance + 4 * math.exp(-2 * math.pi**2 * 36 * float(rest) / float(36 + rest))
    assert sampler._layers[-1][1] is noise._table(rest)
    assert sampler.distance == pytest.approx(bound + sampler._layers[-1][1].distance, rel=1e-12, abs=0)


def test_distances_are_bounded_as_stated_and_the_bound_is_enforced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert DISTANCE == 1e-70
    wide = DiscreteGaussian(1e12)
    monkeypatch.setattr(noise, "DISTANCE", wide.distance)
    assert DiscreteGaussian(1e12).distance == wide.distance
    monkeypatch.setattr(noise, "DISTANCE", math.nextafter(wide.distance, 0))
    with pytest.raises(BudgetError, match="too coarse"):
        DiscreteGaussian(1e12)


def test_a_narrow_inner_layer_would_be_too_coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lemma's own term, which is nothing at width 6, is 4·e^(−2π²τ²) with τ below the inner width."""
    monkeypatch.setattr(noise, "_INNER", 3)
    assert DiscreteGaussian(1e8).distance < DISTANCE
    for narrow in (1, 2):
        monkeypatch.setattr(noise, "_INNER", narrow)
        with pytest.raises(BudgetError, match="too coarse"):
            DiscreteGaussian(1e8)
    monkeypatch.setattr(noise, "DISTANCE", 4 * math.exp(-2 * math.pi**2 * 4) * 1.001)
    assert DiscreteGaussian(1e8).distance > 4 * math.exp(-2 * math.pi**2 * 4)  # and no coarser than stated


def test_variances_up_to_a_hundred_quintillions_can_be_drawn() -> None:
    assert DiscreteGaussian(1e20).variance == 1e20
    for refused in (math.nextafter(1e20, math.inf), 0.0, -1.0, math.inf, -math.inf, math.nan):
        with pytest.raises(BudgetError, match="cannot be drawn"):
            DiscreteGaussian(refused)
    assert DiscreteGaussian(0.5).variance == 0.5


def test_tables_are_kept() -> None:
    """Sixty-four of them: a run needs a few, and the widest take a second."""
    assert noise._table(Fraction(16)) is noise._table(Fraction(16))

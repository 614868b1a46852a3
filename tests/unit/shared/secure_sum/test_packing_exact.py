"""Packings number by number: which are taken, what they fill, and the ones the product makes."""

from dataclasses import replace

import numpy as np
import pytest

from fedrepay.client.learning.dp_newton import DPNewton
from fedrepay.client.veto import room
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.accounting import Mechanism, Segment
from fedrepay.shared.schema import codebook
from fedrepay.shared.secure_sum import packing as packings
from fedrepay.shared.secure_sum.packing import GAM, Packing, pairs, update_limit, update_packing
from fedrepay.shared.trust.pairs import negative, newton_segments, signal
from fedrepay.shared.trust.terms import GramPairs, RunTerms
from fedrepay.simulations.market.records import SCHEMA as MARKET
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA

UCI, LENDERS = codebook.load(SHIPPED_SCHEMA), codebook.load(MARKET)


@pytest.mark.parametrize(
    "taken", [(46,), (46, 2, 64, 0, 63), (46, 2, 64, 63, 63), (46, 3, 2, 0, 1), (46, 2, 2, 1, 1)]
)
def test_packings_that_can_be(taken: tuple[int, ...]) -> None:
    Packing(*taken)


@pytest.mark.parametrize(
    "bad",
    [
        *(
            (46, 2, 64, -1, 63),
            (46, 2, 64, 64, 63),
            (46, 2, 64, 0, 0),
            (46, 2, 0, 0, 63),
            (46, 2, -64, 0, 63),
        ),
        *(
            (46, 0),
            (46, 0, 64, 0, 63),
            (46, -1, 64, 0, 63),
            (46, 1, 64, 0, 63),
            (46, 1, 0, 1, 1),
            (46, 1, 0, 0, 1),
            (46, 1, 1),
            (46, 4, 64, 0, 63),
        ),
        *((46, 2, 64, 0, 64), (46, 2, (1 << 23) + 1, 0, 1), (46, 3, 1 << 16, 0, 1)),
    ],
)
def test_packings_that_cannot_be(bad: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError):
        Packing(*bad)


@pytest.mark.parametrize("packing", [GAM, Packing(46, 2, 64, 5, 63), Packing(46, 3, 64, 5, 63)])
def test_filled_is_what_holds_numbers_and_canaries_up_to_the_last_but_one(packing: Packing) -> None:
    per = packing.fields * 4095
    for size in (
        1,
        2,
        4094,
        4095,
        4096,
        8190,
        8191,
        per - 1,
        per,
        per + 1,
        2 * per,
        2 * per + 1,
        3 * per - 1,
    ):
        chunks = -(-size // per)
        last = size - (chunks - 1) * per
        assert packing.filled(size) == 4096 * (chunks - 1) + min(last, 4095)
        slots = packing.pack(np.full(size, 1))
        assert slots.dtype == np.uint64
        assert slots.shape == (chunks, 4096)
        held = np.flatnonzero(slots)
        assert held.max() < packing.filled(size)
        assert packing.unpack(slots, 1, size).dtype == np.int64
        assert packing.unpack(slots, 1, size).tolist() == [1] * size


def test_a_cohort_past_a_packing_is_not_unpacked() -> None:
    packing = Packing(46, 2, 64, 5, 63)
    with pytest.raises(ArgumentError, match="2 members overflow"):
        packing.unpack(packing.pack(np.zeros(3, np.int64)), 2, 3)


@pytest.mark.parametrize(("members", "bits"), [(1, 22), (2, 22), (3, 21), (4, 21), (5, 20), (256, 15)])
def test_updates_are_two_of_twenty_three_bits(members: int, bits: int) -> None:
    made = Packing(46, 2, 1 << 23, 1 << (bits - 1), (1 << bits) - 1)
    assert update_packing(members) == made
    assert update_limit(made) == (1 << (bits - 1)) - 1


def test_updates_of_more_members_are_one_a_slot() -> None:
    assert (update_packing(257), GAM) == (GAM, Packing(46))
    assert update_limit(GAM) == (1 << 29) - 1
    assert packings.SMALLEST_UPDATE_BITS == 15


def test_pairs_take_the_largest_modulus_and_every_members_most() -> None:
    assert pairs(5, 1000, 30) == Packing(56, 2, 5001, 30, 1000)
    assert pairs(97, 1000, 30) == Packing(54, 2, 97_001, 30, 1000)
    largest = ((1 << 27) - 1) // 97  # 97·most + 1 ≤ 2²⁷
    pairs(97, largest, 0)
    with pytest.raises(ArgumentError):
        pairs(97, largest + 1, 0)


# --- what the Gram matrix gives ---


def test_newtons_sums() -> None:
    matrix = Segment(203 * 204 // 2, UCI.delta_gram, 0.2)
    gradient = Segment(203, UCI.delta_gradient, 0.2)
    assert newton_segments(UCI, 5) == DPNewton(UCI, 5).segments() == ((matrix,), *((gradient,),) * 4)
    assert newton_segments(UCI, 3)[1:] == ((replace(gradient, weight=0.4),),) * 2
    assert newton_segments(LENDERS, 5)[1][0].size == LENDERS.heads * LENDERS.dimension


def test_the_signal_is_the_largest_square_of_n_max_customers_at_full_weight() -> None:
    assert signal(UCI) == 10_000 * 14**2
    assert signal(LENDERS) == LENDERS.schema.public.n_max * 11**2 * 64
    first, *others = UCI.blocks
    assert not negative(UCI)
    changed = first.matrix.copy()
    changed[0, 0] = -1
    assert negative(replace(UCI, blocks=(replace(first, matrix=changed), *others)))


def test_the_noise_may_reach_the_offsets_of_all_and_not_pass_them() -> None:
    terms = RunTerms.model_construct(pairs=GramPairs(most=14**2 * 10_000 + 22, offset=11))
    exactly = Mechanism(UCI.delta_gram, 16.0, 4, 0, 20_706)  # 11·σ = 44 = 4·11
    assert room.fits(terms, UCI, exactly) is True
    assert room.fits(terms, UCI, replace(exactly, variance=16.1)) is False

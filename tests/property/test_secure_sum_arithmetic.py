"""Stream, masks, packing, tag and the coordinator's addition against plain Python integers."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.secure_sum import tag
from fedrepay.shared.secure_sum.ciphertext import SEED_BYTES, PublicSum, second_polynomial, summed
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context
from fedrepay.shared.secure_sum.packing import GAM, Packing, pairs, update_packing
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, MEMBERS_MAX, SLOTS, VALUES, N, Q
from fedrepay.shared.secure_sum.stream import uniform
from fedrepay.shared.secure_sum.tag import AttemptTags
from support.keystream import slow_uniform

UPDATES = update_packing(256)
TRIPLES = Packing(48, fields=3, base=1 << 16, offset=1 << 10, most=(1 << 11) - 1)
GRAM = pairs(97, 1_000_003, 1_234)
"""An odd base, and sums that are nearly never negative: what a Gram matrix is packed in."""
KEYS = st.binary(min_size=32, max_size=32)
FEW = settings(max_examples=25, deadline=None)


@FEW
@given(KEYS, st.sampled_from([2, 3, (1 << 45) + 1, 1 << 46, Q, 1 << 64]), st.integers(0, 400))
def test_stream_equals_the_word_by_word_oracle(key: bytes, modulus: int, count: int) -> None:
    assert uniform(key, modulus, count).tolist() == slow_uniform(key, modulus, count)


@FEW
@given(st.integers(2, 6), st.integers(1, 2), st.sampled_from([1 << bits for bits in MEMBERS_MAX]), KEYS)
def test_masks_of_a_cohort_cancel(k: int, chunks: int, t: int, salt: bytes) -> None:
    hashes = [sha256(salt + bytes([i])).digest() for i in range(k)]
    context = attempt_context(1, 2, 3, bytes(32))
    total = np.zeros((chunks, SLOTS), dtype=np.uint64)
    for mine in hashes:
        pairs_ = {peer: sha256(min(mine, peer) + max(mine, peer)).digest() for peer in hashes if peer != mine}
        masked = apply_masks(np.zeros_like(total), total.size - 1, mine, pairs_, context, t)
        assert masked.max() < t
        assert np.count_nonzero(masked) > SLOTS // 2  # masks are there at all
        total += masked
    assert not np.any(total % np.uint64(t))


def centred(total: int, t: int) -> int:
    """The representative of ``total`` mod t in (−t/2, t/2)."""
    return (total + t // 2) % t - t // 2


def values_of(packing: Packing) -> st.SearchStrategy[int]:
    half = packing.t // 2
    low, high = (-half, half) if packing.fields == 1 else (-packing.offset, packing.most - packing.offset)
    return st.one_of(st.sampled_from([low, -1, 0, 1, high]), st.integers(low, high))


@st.composite
def contributions(draw: st.DrawFn) -> tuple[Packing, list[list[int]]]:
    packing = draw(st.sampled_from([GAM, Packing(48), UPDATES, TRIPLES, GRAM]))
    k = draw(st.integers(1, 6))
    n = draw(st.integers(1, 12))
    rows = draw(st.lists(st.lists(values_of(packing), min_size=n, max_size=n), min_size=k, max_size=k))
    return packing, rows


@settings(max_examples=60, deadline=None)
@given(contributions(), st.sampled_from([0, VALUES - 3, 2 * VALUES - 5]))
def test_sums_of_slots_unpack_to_sums_of_values(case: tuple[Packing, list[list[int]]], lead: int) -> None:
    """``lead`` zeros first put the values across the borders of fields and chunks."""
    packing, rows = case
    padded = np.pad(np.array(rows, dtype=np.int64), ((0, 0), (lead, 0)))
    slots = np.sum([packing.pack(row) for row in padded], axis=0) % np.uint64(packing.t)
    opened = packing.unpack(slots, len(rows), padded.shape[1])
    totals = [sum(column) for column in zip(*rows, strict=True)]
    expected = [centred(total, packing.t) for total in totals] if packing.fields == 1 else totals
    assert opened[lead:].tolist() == expected
    assert not opened[:lead].any()


@pytest.mark.parametrize(("packing", "most"), [(UPDATES, 256), (TRIPLES, 32), (GRAM, 97), (GAM, 1500)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_cohort_at_the_largest_values(packing: Packing, most: int, sign: int) -> None:
    low, high = -packing.offset, packing.most - packing.offset
    value = (low if sign < 0 else high) if packing.fields > 1 else sign * (packing.t // 2 // most)
    slots = packing.pack(np.full(3 * VALUES, value, dtype=np.int64))
    summed = slots * np.uint64(most) % np.uint64(packing.t)
    assert np.all(packing.unpack(summed, most, 3 * VALUES) == most * value)
    with pytest.raises(ArgumentError):
        packing.check_cohort(most + 1)


def test_past_the_assertion_fields_run_into_each_other() -> None:
    """Control: the sums of 300 members under ``UPDATES`` come out wrong, so the refusal is needed."""
    value, k = UPDATES.most - UPDATES.offset, 300
    slots = UPDATES.pack(np.full(2 * VALUES, value, dtype=np.int64))
    together = slots * np.uint64(k) % np.uint64(UPDATES.t)
    field = (together[0, :-1].astype(np.int64) & ((1 << 23) - 1)) - k * UPDATES.offset
    assert not np.any(field == k * value)


def test_single_values_may_be_negative_where_only_sums_may_not() -> None:
    """What a share of noise does to an empty cell: the fields of one member run into each other, those of the sum do not."""
    k, low = 97, np.array([-5_000, 700_000, -40_000], dtype=np.int64)
    high = np.array([60_000, -7_000, 50_000], dtype=np.int64)
    slots = GRAM.pack(low)
    for _ in range(k - 1):
        slots = (slots + GRAM.pack(high)) % np.uint64(GRAM.t)
    assert GRAM.unpack(slots, k, 3).tolist() == (low + (k - 1) * high).tolist()


@FEW
@given(st.integers(-(1 << 40), 1 << 40))
def test_a_value_out_of_range_is_not_refused(value: int) -> None:
    assert int(UPDATES.pack(np.array([value], dtype=np.int64)).max()) < UPDATES.t


COEFFICIENT = st.one_of(st.sampled_from([0, 1, Q // 2, Q - 1]), st.integers(0, Q - 1))


def stretched(pattern: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.resize(np.array(pattern, dtype=np.uint64), COEFFICIENTS)


@FEW
@given(st.lists(COEFFICIENT, min_size=1, max_size=7), st.lists(COEFFICIENT, min_size=1, max_size=7))
def test_inner_product_is_exact(left: list[int], right: list[int]) -> None:
    a, b = stretched(left), stretched(right)
    assert tag.inner_product(a, b) == sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True)) % Q


def test_inner_product_of_the_largest_limbs_is_exact() -> None:
    full = np.full(COEFFICIENTS, (1 << 64) - 1, dtype=np.uint64)
    assert tag.inner_product(full, full) == COEFFICIENTS * ((1 << 64) - 1) ** 2 % Q


@FEW
@given(st.lists(st.lists(COEFFICIENT, min_size=1, max_size=5), min_size=1, max_size=6), KEYS)
def test_the_coordinators_sum_and_tags_equal_integer_arithmetic(rows: list[list[int]], seed: bytes) -> None:
    context = attempt_context(1, 0, 0, bytes(32))
    names = tuple(f"m{i}" for i in range(len(rows)))
    seconds = [bytes([i]) * SEED_BYTES for i in range(len(rows))]
    uploads = [
        np.stack(
            [np.concatenate((stretched(each)[:N], second_polynomial(second))) for each in (row, row[::-1])]
        )
        for row, second in zip(rows, seconds, strict=True)
    ]
    tags, total = AttemptTags(seed, context, names), PublicSum(2)
    for name, chunks, second in zip(names, uploads, seconds, strict=True):
        payload = b"".join(chunk[:N].astype("<u8").tobytes() + second for chunk in chunks)
        total.add(payload, tags.tags(chunks, name))
    sums = summed(total.payload(), 2)
    exact = np.sum([chunks.astype(object) for chunks in uploads], axis=0) % Q
    assert sums.tolist() == exact.tolist()
    assert total.count == len(rows)
    assert tags.first_misfit(sums, total.tags) is None
    assert AttemptTags(seed, context, (*names, "more")).first_misfit(sums, total.tags) == 0
    assert tags.first_misfit(sums, [*total.tags[:1], (total.tags[1] + 1) % Q]) == 1

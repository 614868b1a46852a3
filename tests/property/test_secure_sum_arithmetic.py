"""Stream, masks, packing, tag and the coordinator's addition against plain Python integers."""

from hashlib import sha256

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.secure_sum import tag
from fedrepay.shared.secure_sum.ciphertext import PublicSum
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context
from fedrepay.shared.secure_sum.packing import GAM, TORCH_PAIRS, TORCH_TRIPLES, Packing
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, PLAIN_MODULI, SLOTS, VALUES, Q
from fedrepay.shared.secure_sum.stream import uniform

PAIRS_46 = Packing(46, fields=2, field_bits=23, value_bits=15)
KEYS = st.binary(min_size=32, max_size=32)
FEW = settings(max_examples=25, deadline=None)


def slow_uniform(key: bytes, modulus: int, count: int) -> list[int]:
    encryptor = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    found: list[int] = []
    while len(found) < count:
        word = int.from_bytes(encryptor.update(bytes(8)), "little") % (1 << modulus.bit_length())
        if word < modulus:
            found.append(word)
    return found


@FEW
@given(KEYS, st.sampled_from([2, 3, (1 << 45) + 1, *PLAIN_MODULI.values(), Q]), st.integers(0, 400))
def test_stream_equals_the_word_by_word_oracle(key: bytes, modulus: int, count: int) -> None:
    assert uniform(key, modulus, count).tolist() == slow_uniform(key, modulus, count)


@FEW
@given(st.integers(2, 6), st.integers(1, 2), st.sampled_from(sorted(PLAIN_MODULI.values())), KEYS)
def test_masks_of_a_cohort_cancel(k: int, chunks: int, t: int, salt: bytes) -> None:
    hashes = [sha256(salt + bytes([i])).digest() for i in range(k)]
    context = attempt_context(1, 2, 3, bytes(32))
    total = np.zeros((chunks, SLOTS), dtype=np.uint64)
    for mine in hashes:
        pairs = {peer: sha256(min(mine, peer) + max(mine, peer)).digest() for peer in hashes if peer != mine}
        masked = apply_masks(np.zeros_like(total), mine, pairs, context, t)
        assert masked.max() < t
        assert np.count_nonzero(masked) > SLOTS // 2  # masks are there at all
        total += masked
    assert not np.any(total % np.uint64(t))


def centred(total: int, t: int) -> int:
    """The representative of ``total`` mod t in (−t/2, t/2)."""
    return (total + t // 2) % t - t // 2


def values_of(packing: Packing) -> st.SearchStrategy[int]:
    half = packing.t // 2 if packing.fields == 1 else 1 << (packing.value_bits - 1)
    low, high = (-half, half) if packing.fields == 1 else (-half, half - 1)
    return st.one_of(st.sampled_from([low, -1, 0, 1, high]), st.integers(low, high))


@st.composite
def contributions(draw: st.DrawFn) -> tuple[Packing, list[list[int]]]:
    packing = draw(st.sampled_from([GAM, Packing(48), PAIRS_46, TORCH_PAIRS, TORCH_TRIPLES]))
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


@pytest.mark.parametrize(
    ("packing", "most"), [(PAIRS_46, 256), (TORCH_PAIRS, 32), (TORCH_TRIPLES, 32), (GAM, 1500)]
)
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_cohort_at_the_largest_values(packing: Packing, most: int, sign: int) -> None:
    largest = 1 << (packing.value_bits - 1) if packing.fields > 1 else packing.t // 2 // most
    value = -largest if sign < 0 else largest - (packing.fields > 1)
    slots = packing.pack(np.full(3 * VALUES, value, dtype=np.int64))
    summed = slots * np.uint64(most) % np.uint64(packing.t)
    assert np.all(packing.unpack(summed, most, 3 * VALUES) == most * value)
    with pytest.raises(ArgumentError):
        packing.check_cohort(most + 1)


def test_past_the_assertion_fields_run_into_each_other() -> None:
    """Control: the sums of 300 members under PAIRS_46 come out wrong, so the refusal is needed."""
    value, k = (1 << 14) - 1, 300
    slots = PAIRS_46.pack(np.full(2 * VALUES, value, dtype=np.int64))
    summed = slots * np.uint64(k) % np.uint64(PAIRS_46.t)
    field = (summed[0, :-1].astype(np.int64) & ((1 << 23) - 1)) - k * (1 << 14)
    assert not np.any(field == k * value)


@FEW
@given(st.integers(-(1 << 40), 1 << 40))
def test_a_value_out_of_range_wraps_and_is_not_refused(value: int) -> None:
    slots = TORCH_PAIRS.pack(np.array([value], dtype=np.int64))
    half = 1 << 18
    assert TORCH_PAIRS.unpack(slots, 1, 1)[0] == (value + half) % (2 * half) - half


COEFFICIENT = st.one_of(st.sampled_from([0, 1, Q // 2, Q - 1]), st.integers(0, Q - 1))


def stretched(pattern: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.resize(np.array(pattern, dtype=np.uint64), COEFFICIENTS)


@FEW
@given(st.lists(COEFFICIENT, min_size=1, max_size=7), st.lists(COEFFICIENT, min_size=1, max_size=7))
def test_inner_product_is_exact(left: list[int], right: list[int]) -> None:
    a, b = stretched(left), stretched(right)
    assert tag.inner_product(a, b) == sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True)) % Q


def test_inner_product_of_the_largest_limbs_is_exact() -> None:
    full = np.full(COEFFICIENTS, (1 << 60) - 1, dtype=np.uint64)
    assert tag.inner_product(full, full) == COEFFICIENTS * ((1 << 60) - 1) ** 2 % Q


@FEW
@given(st.lists(st.lists(COEFFICIENT, min_size=1, max_size=5), min_size=1, max_size=6), KEYS)
def test_the_coordinators_sum_and_tags_equal_integer_arithmetic(rows: list[list[int]], seed: bytes) -> None:
    context = attempt_context(1, 0, 0, bytes(32))
    uploads = [np.stack([stretched(row), stretched(row[::-1])]) for row in rows]
    names = [f"m{i}" for i in range(len(rows))]
    total = PublicSum(2)
    for name, chunks in zip(names, uploads, strict=True):
        total.add(chunks.astype("<u8").tobytes(), tag.tags(seed, context, chunks, name))
    summed = np.frombuffer(total.payload(), dtype="<u8").reshape(2, -1)
    exact = np.sum([chunks.astype(object) for chunks in uploads], axis=0) % Q
    assert summed.tolist() == exact.tolist()
    assert total.count == len(rows)
    assert tag.verify(seed, context, names, summed, total.tags)
    assert not tag.verify(seed, context, names[1:], summed, total.tags)
    assert not tag.verify(seed, context, names, summed, [*total.tags[:1], (total.tags[1] + 1) % Q])

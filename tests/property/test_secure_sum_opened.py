"""TenSEAL's side: the numpy sum is its sum, and an opened masked sum is the plain integer sum."""

import numpy as np
import pytest
import tenseal as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.crypto.he import open_sum
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import Refusal
from fedrepay.shared.secure_sum import ring, tag
from fedrepay.shared.secure_sum.ciphertext import CHUNK_BYTES, PublicSum
from fedrepay.shared.secure_sum.masking import attempt_context
from fedrepay.shared.secure_sum.packing import GAM, TORCH_PAIRS, TORCH_TRIPLES, Packing
from support.secure_cohort import SEED, Cohort, added, group


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 6), st.sampled_from([46, 48]), st.integers(0, 2**32 - 1))
def test_numpy_sum_equals_tenseal_sum_bit_for_bit(k: int, t_bits: int, seed: int) -> None:
    keys = group(t_bits)
    slots = np.random.default_rng(seed).integers(0, keys.t, (k, ring.SLOTS), dtype=np.uint64)
    uploads = keys.encrypt(slots)
    header = keys._header
    vectors = [ts.bfv_vector_from(keys._context, header + each.astype("<u8").tobytes()) for each in uploads]
    native = vectors[0]
    for vector in vectors[1:]:
        native = native + vector
    serialised = native.serialize()
    total = PublicSum(1)
    for each in uploads:
        total.add(each.astype("<u8").tobytes(), [0])
    assert header + total.payload() == serialised
    assert len(serialised) == 131 + CHUNK_BYTES == 65667


def drawn(packing: Packing, k: int, n: int, seed: int) -> I64:
    """Values over the packing's whole range, its ends among them."""
    rng = np.random.default_rng(seed)
    low = -(packing.t // 2) if packing.fields == 1 else -(1 << (packing.value_bits - 1))
    high = -low if packing.fields == 1 else -low - 1
    values = rng.integers(low, high, (k, n), endpoint=True)
    ends = rng.random((k, n)) < 0.2
    values[ends] = np.where(rng.random(int(ends.sum())) < 0.5, low, high)
    return values


@settings(max_examples=15, deadline=None)
@given(
    st.integers(2, 6),
    st.sampled_from([1, 7, ring.VALUES, ring.VALUES + 1, 2 * ring.VALUES + 3]),
    st.sampled_from([GAM, Packing(48), TORCH_PAIRS, TORCH_TRIPLES]),
    st.integers(0, 2**32 - 1),
)
def test_opened_masked_sum_equals_the_integer_sum(k: int, n: int, packing: Packing, seed: int) -> None:
    cohort = Cohort(k, packing=packing)
    values = drawn(packing, k, n, seed)
    total = added(cohort.uploads(dict(zip(cohort.names, values, strict=True))))
    exact = values.sum(axis=0)
    if packing.fields == 1:
        half = packing.t // 2
        exact = (exact + half) % packing.t - half
    assert np.array_equal(cohort.open(total.payload(), total.tags, n), exact)


@pytest.mark.parametrize(("t_bits", "k"), [(46, 1500), (48, 32)])
def test_the_largest_cohort_of_the_table_opens_exactly(t_bits: int, k: int) -> None:
    keys, packing = group(t_bits), Packing(t_bits)
    names = [f"m{i}" for i in range(k)]
    context = attempt_context(1, 0, 0, bytes(32))
    rng = np.random.default_rng(k)
    total, exact = PublicSum(1), np.zeros(ring.VALUES, dtype=np.int64)
    for name in names:
        values = rng.integers(-packing.t // (2 * k), packing.t // (2 * k), ring.VALUES)
        slots = packing.pack(values)
        slots[0, -1] = tag.canary(SEED, context, 0, name, packing.t)
        chunk = keys.encrypt(slots)
        total.add(chunk.astype("<u8").tobytes(), tag.tags(SEED, context, chunk, name))
        exact += values
    opened = open_sum(keys, SEED, context, names, total.payload(), total.tags, ring.VALUES, packing)
    assert np.array_equal(opened, exact)


def test_past_the_noise_budget_decryption_is_silently_wrong() -> None:
    """Control of the (t, K) table: one upload added 400 times has the noise of 160,000 members."""
    packing = Packing(48)
    slots = packing.pack(np.arange(1, ring.VALUES + 1))
    slots[0, -1] = 1  # where a canary would stand
    chunk = group(48).encrypt(slots)
    total = PublicSum(1)
    for _ in range(400):
        total.add(chunk.astype("<u8").tobytes(), [0])
    wrong = group(48).decrypt(np.frombuffer(total.payload(), dtype="<u8").reshape(1, -1))  # no error
    assert np.mean(wrong[0] == slots[0] * 400) < 0.01
    assert wrong[0, -1] != 400


@pytest.mark.parametrize("noise", [0.4, 1.6])
def test_the_canary_tells_exhausted_noise_under_a_right_tag(noise: float) -> None:
    """One coefficient off by ``noise`` times the budget q/2t: half of it opens, more is refused."""
    cohort = Cohort(2)
    masked = [cohort.masked(name, np.arange(ring.VALUES)) for name in cohort.names]
    chunks = [group(46).encrypt(slots) for slots in masked]
    chunks[1][0, 5] = (int(chunks[1][0, 5]) + int(noise * ring.Q / (2 * GAM.t))) % ring.Q
    total = PublicSum(1)
    for name, chunk in zip(cohort.names, chunks, strict=True):
        total.add(chunk.astype("<u8").tobytes(), tag.tags(SEED, cohort.context, chunk, name))
    if noise < 1:
        opened = cohort.open(total.payload(), total.tags, ring.VALUES)
        assert np.array_equal(opened, 2 * np.arange(ring.VALUES))
        return
    with pytest.raises(Refusal) as refused:
        cohort.open(total.payload(), total.tags, ring.VALUES)
    assert refused.value.code == "canary"

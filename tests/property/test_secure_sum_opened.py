"""An opened masked sum is the plain integer sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.crypto.opening import open_sum
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import Refusal
from fedrepay.shared.privacy.entropy import OsEntropy
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import SEED_BYTES, PublicSum
from fedrepay.shared.secure_sum.masking import attempt_context
from fedrepay.shared.secure_sum.packing import GAM, Packing, pairs, update_packing
from fedrepay.shared.secure_sum.tag import AttemptTags
from support.secure_cohort import GROUP, SEED, Cohort, added

UPDATES = update_packing(256)
TRIPLES = Packing(48, fields=3, base=1 << 16, offset=1 << 10, most=(1 << 11) - 1)


def drawn(packing: Packing, k: int, n: int, seed: int) -> I64:
    """Values over the packing's whole range, its ends among them."""
    rng = np.random.default_rng(seed)
    low = -(packing.t // 2) if packing.fields == 1 else -packing.offset
    high = -low if packing.fields == 1 else packing.most - packing.offset
    values = rng.integers(low, high, (k, n), endpoint=True)
    ends = rng.random((k, n)) < 0.2
    values[ends] = np.where(rng.random(int(ends.sum())) < 0.5, low, high)
    return values


@settings(max_examples=15, deadline=None)
@given(
    st.integers(2, 6),
    st.sampled_from([1, 7, ring.VALUES, ring.VALUES + 1, 2 * ring.VALUES + 3]),
    st.sampled_from([GAM, Packing(48), UPDATES, TRIPLES, pairs(97, 1_000_003, 1_234)]),
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


@pytest.mark.parametrize(("packing", "k"), [(GAM, 1500), (pairs(97, 1_300_000, 40_000), 97), (UPDATES, 256)])
def test_the_largest_cohort_opens_exactly(packing: Packing, k: int) -> None:
    names = tuple(f"m{i}" for i in range(k))
    tags = AttemptTags(SEED, attempt_context(1, 0, 0, bytes(32)), names)
    rng, n_values = np.random.default_rng(k), packing.fields * ring.VALUES
    total, exact = PublicSum(1), np.zeros(n_values, dtype=np.int64)
    for name in names:
        low, high = -packing.t // (2 * k), packing.t // (2 * k)
        if packing.fields > 1:
            low, high = -packing.offset, packing.most - packing.offset
        values = rng.integers(low, high, n_values)
        slots = packing.pack(values)
        slots[:, -1] = tags.canaries(1, name, packing.t)
        payload, chunks = GROUP.encrypt(slots, packing.t_bits, OsEntropy())
        total.add(payload, tags.tags(chunks, name))
        exact += values
    assert np.array_equal(open_sum(GROUP, tags, total.payload(), total.tags, n_values, packing), exact)


@pytest.mark.parametrize("noise", [0.4, 1.6])
def test_the_canary_tells_exhausted_noise_under_a_right_tag(noise: float) -> None:
    """Its own coefficient off by ``noise`` times the budget q/2t: half of it opens, more is refused."""
    cohort = Cohort(2)
    masked = [cohort.masked(name, np.arange(ring.VALUES)) for name in cohort.names]
    total = PublicSum(1)
    for name, slots in zip(cohort.names, masked, strict=True):
        payload, chunks = GROUP.encrypt(slots, 46, OsEntropy())
        if name == cohort.names[1]:
            chunks[0, ring.N - 1] = (int(chunks[0, ring.N - 1]) + int(noise * ring.Q / (2 * GAM.t))) % ring.Q
            payload = chunks[0, : ring.N].astype("<u8").tobytes() + payload[-SEED_BYTES:]
        total.add(payload, cohort.tags.tags(chunks, name))
    if noise < 1:
        opened = cohort.open(total.payload(), total.tags, ring.VALUES)
        assert np.array_equal(opened, 2 * np.arange(ring.VALUES))
        return
    with pytest.raises(Refusal) as refused:
        cohort.open(total.payload(), total.tags, ring.VALUES)
    assert refused.value.code == "canary"

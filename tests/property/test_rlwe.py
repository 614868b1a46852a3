"""The group's encryption against exact integers: products, noise, decryption, and where it would fail."""

import math
from functools import cache
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from fedrepay.client.crypto import rlwe
from fedrepay.client.crypto.rlwe import GroupKey
from fedrepay.shared.arrays import I64, U64
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.privacy.entropy import OsEntropy, SeededEntropy
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES, PublicSum, summed, uploaded
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, MEMBERS_MAX, N, Q

FEW = settings(max_examples=12, deadline=None)
WIDTH = 20  # bytes of a coefficient where polynomials are one large integer: 64 + 12 bits fit


def negacyclic(numbers: U64, secret: I64) -> list[int]:
    """a·s mod Xᴺ + 1 and q by Kronecker substitution: two products of Python's own integers."""

    def integer(coefficients: list[int]) -> int:
        return int.from_bytes(b"".join(each.to_bytes(WIDTH, "little") for each in coefficients), "little")

    def product(factor: I64) -> list[int]:
        whole = (integer(numbers.tolist()) * integer(factor.tolist())).to_bytes(2 * N * WIDTH, "little")
        return [int.from_bytes(whole[i : i + WIDTH], "little") for i in range(0, len(whole), WIDTH)]

    plus, minus = product((secret == 1).astype(np.int64)), product((secret == -1).astype(np.int64))
    signed = [a - b for a, b in zip(plus, minus, strict=True)]
    return [(signed[i] - signed[i + N]) % Q for i in range(N)]


def secrets(kind: str) -> I64:
    """Keys: drawn, and the ones that make products and their errors largest."""
    if kind == "drawn":
        return np.random.default_rng(7).integers(-1, 2, N)
    if kind == "alternating":
        return np.where(np.arange(N) % 2, -1, 1)
    return np.full(N, {"ones": 1, "minus ones": -1}[kind])


KINDS = ("drawn", "ones", "minus ones", "alternating")
EXTREMES = (0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 64) - (1 << 32), Q - 1)


@FEW
@given(
    st.lists(st.sampled_from(EXTREMES) | st.integers(0, Q - 1), min_size=1, max_size=9),
    st.sampled_from(KINDS),
)
def test_the_product_is_exact(pattern: list[int], kind: str) -> None:
    numbers = np.resize(np.array(pattern, dtype=np.uint64), N)
    low, high = GroupKey(secrets(kind))._product(numbers)
    exact = [(int(a) + (int(b) << 32)) % Q for a, b in zip(low, high, strict=True)]
    assert exact == negacyclic(numbers, secrets(kind))
    assert rlwe._reduced(low, high).tolist() == exact


def test_the_error_of_the_transform_stays_far_below_one_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Proven below 0.16; a bound of 1/64 would refuse nothing that is seen, and one of 10⁻⁷ refuses (control)."""
    drawn = np.random.default_rng(1).integers(0, Q, (20, N), dtype=np.uint64)
    hardest = np.array([np.full(N, value, np.uint64) for value in EXTREMES])
    monkeypatch.setattr(rlwe, "_LARGEST_ERROR", 1 / 64)
    for kind in KINDS:
        for numbers in (*drawn, *hardest):
            GroupKey(secrets(kind))._product(numbers)
    monkeypatch.setattr(rlwe, "_LARGEST_ERROR", 1e-7)
    with pytest.raises(ProtocolError, match="not exact enough"):
        GroupKey(secrets("ones"))._product(drawn[0])


WHOLE = st.integers(-(1 << 61), 1 << 61)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(WHOLE, WHOLE), min_size=1, max_size=8))
def test_reduction_equals_integers(pairs: list[tuple[int, int]]) -> None:
    low, high = (np.array(each, dtype=np.int64) for each in zip(*pairs, strict=True))
    assert rlwe._reduced(low, high).tolist() == [(a + (b << 32)) % Q for a, b in pairs]


@pytest.mark.parametrize("near", [0, 1 << 64, -(1 << 64), Q, -Q, 3 << 64, (1 << 64) - 1])
def test_reduction_where_a_word_wraps(near: int) -> None:
    """The branch that one in 2³⁵ coefficients takes."""
    around = [
        near + step for step in (-2, -1, 0, 1, 2, ring.Q_GAP, -ring.Q_GAP, 4 * ring.Q_GAP, -4 * ring.Q_GAP)
    ]
    low = np.array([each % (1 << 32) for each in around], dtype=np.int64)
    high = np.array([each >> 32 for each in around], dtype=np.int64)
    assert rlwe._reduced(low, high).tolist() == [each % Q for each in around]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, Q - 1), st.integers(0, Q - 1)), min_size=1, max_size=8))
def test_addition_mod_q_equals_integers(pairs: list[tuple[int, int]]) -> None:
    pairs = [*pairs, (0, 0), (Q - 1, Q - 1), (Q - 1, 1), (Q - 1, 0), (Q - ring.Q_GAP, ring.Q_GAP)]
    left, right = (np.array(each, dtype=np.uint64) for each in zip(*pairs, strict=True))
    ring.add(left, right, left)
    assert left.tolist() == [(a + b) % Q for a, b in pairs]


@FEW
@given(st.sampled_from(sorted(MEMBERS_MAX)), st.data())
def test_scaling_is_to_the_nearest(bits: int, data: st.DataObject) -> None:
    numbers = [0, 1, (1 << bits) - 1, 1 << (bits - 1), *data.draw(st.lists(st.integers(0, (1 << bits) - 1)))]
    scaled = rlwe._scaled(np.array(numbers, dtype=np.uint64), bits).tolist()
    for number, found in zip(numbers, scaled, strict=True):
        assert abs(found * 2**bits - Q * number) <= 2 ** (bits - 1) + 2 ** (bits - 13)


# --- encryption ---

KEY = GroupKey.derive(bytes(32), b"e" * 32)


@cache
def ternary() -> I64:
    """KEY's own polynomial: what (0, Δ) decrypts to."""
    only = np.zeros((1, COEFFICIENTS), np.uint64)
    only[0, N] = Q >> 46
    found = KEY.decrypt(only, 46)[0].astype(np.int64)
    centred: I64 = np.where(found > 1, found - (1 << 46), found)
    return centred


def noise_of(chunks: U64, slots: U64, bits: int) -> I64:
    """c₀ + a·s − Δ·m in centred integers."""
    scaled = rlwe._scaled(slots, bits).tolist()
    found = [
        (int(c) + x - m) % Q
        for c, x, m in zip(chunks[:N].tolist(), negacyclic(chunks[N:], ternary()), scaled, strict=True)
    ]
    return np.array([each - Q if each > Q // 2 else each for each in found], dtype=np.int64)


def test_the_key_is_uniform_on_three_values_and_follows_from_the_seed() -> None:
    counts = np.bincount(ternary() + 1, minlength=3)
    assert counts.sum() == N
    assert chisquare(counts).pvalue > 1e-6
    assert GroupKey.derive(bytes(32), b"e" * 32) is KEY, "members of one process share it"
    slots = np.arange(N, dtype=np.uint64).reshape(1, N)
    for seed, epoch in ((b"x" * 32, b"e" * 32), (bytes(32), b"f" * 32)):
        other = GroupKey.derive(seed, epoch)
        assert np.count_nonzero(other.decrypt(KEY.encrypt(slots, 46, OsEntropy())[1], 46) == slots) < 3


def test_a_key_stays_what_it_is() -> None:
    """Members of two versions must derive the same one: this is the digest of one seed's."""
    found = sha256(ternary().astype(np.int8).tobytes()).hexdigest()
    assert found == "47ccff1b5dad64351411cf4d6225d836fd7c1e18a7512469544e616809f07e77"


@pytest.mark.parametrize("bits", sorted(MEMBERS_MAX))
def test_what_is_encrypted_opens(bits: int) -> None:
    slots = np.random.default_rng(bits).integers(0, 1 << bits, (2, N), dtype=np.uint64)
    slots[0, :4] = (0, 1, (1 << bits) - 1, 1 << (bits - 1))
    payload, chunks = KEY.encrypt(slots, bits, OsEntropy())
    assert len(payload) == 2 * UPLOAD_BYTES
    assert np.array_equal(uploaded(payload, 2), chunks)
    assert np.array_equal(KEY.decrypt(chunks, bits), slots)


def test_encryption_noise_is_the_centred_binomial() -> None:
    """At most 21, of variance 10.5: what the table of members and the hardness of the key rest on."""
    slots = np.random.default_rng(3).integers(0, 1 << 55, (6, N), dtype=np.uint64)
    _, chunks = KEY.encrypt(slots, 55, OsEntropy())
    noise = np.concatenate([noise_of(c, s, 55) for c, s in zip(chunks, slots, strict=True)])
    assert np.abs(noise).max() <= 21
    counts = np.bincount(np.clip(noise, -9, 9) + 9, minlength=19)
    chance = np.array([math.comb(42, 21 + value) for value in range(-21, 22)]) / 2.0**42
    expected = np.concatenate(([chance[:13].sum()], chance[13:30], [chance[30:].sum()]))
    assert chisquare(counts, expected * noise.size).pvalue > 1e-6


def test_nothing_of_two_encryptions_is_the_same() -> None:
    """Fresh seeds, fresh noise, between calls and within one; a member's entropy is its own."""
    slots = np.ones((2, N), dtype=np.uint64)
    source = SeededEntropy(b"one member")
    several = [*KEY.encrypt(slots, 46, source)[1], *KEY.encrypt(slots, 46, source)[1]]
    several += [*KEY.encrypt(slots, 46, SeededEntropy(b"another"))[1]]
    for i, first in enumerate(several):
        for second in several[:i]:
            assert np.count_nonzero(first == second) < 3
    again = KEY.encrypt(slots, 46, SeededEntropy(b"one member"))[1]  # control: entropy is all there is
    assert np.array_equal(again, np.array(several[:2]))


@pytest.mark.parametrize("bits", [52, 53, 54, 55, 56])
def test_the_most_members_of_the_table_open_exactly(bits: int) -> None:
    rng, members = np.random.default_rng(bits), MEMBERS_MAX[bits]
    total, exact = PublicSum(1), np.zeros((1, N), dtype=np.uint64)
    for _ in range(members):
        slots = rng.integers(0, 1 << bits, (1, N), dtype=np.uint64)
        total.add(KEY.encrypt(slots, bits, OsEntropy())[0], [0])
        exact += slots
    assert np.array_equal(KEY.decrypt(summed(total.payload(), 1), bits), exact & np.uint64((1 << bits) - 1))


def test_past_the_table_decryption_is_silently_wrong() -> None:
    """Control: one upload added 400 times has the noise of 160,000 members."""
    slots = np.arange(1, N + 1, dtype=np.uint64).reshape(1, N)
    payload, _ = KEY.encrypt(slots, 55, OsEntropy())
    total = PublicSum(1)
    for _ in range(400):
        total.add(payload, [0])
    wrong = KEY.decrypt(summed(total.payload(), 1), 55)  # no error
    assert np.mean(wrong == slots * np.uint64(400)) < 0.5


def test_noise_is_the_difference_of_two_counts_of_twenty_one_bits() -> None:
    words = np.frombuffer(SeededEntropy(b"bits").draw(8 * N), "<u8").tolist()
    counted = [(word & 0x1FFFFF).bit_count() - (word >> 21 & 0x1FFFFF).bit_count() for word in words]
    assert rlwe._noise(SeededEntropy(b"bits")).tolist() == counted


@pytest.mark.parametrize("bits", [46, 51, 56])
@pytest.mark.parametrize("share", [-0.98, -0.6, 0.6, 0.98])
def test_noise_within_the_budget_opens_whichever_its_sign(bits: int, share: float) -> None:
    """Of q/2t less what one ciphertext's own noise takes; a little more than all of it does not open (control)."""
    slots = np.random.default_rng(5).integers(0, 1 << bits, (1, N), dtype=np.uint64)
    _, chunks = KEY.encrypt(slots, bits, OsEntropy())
    budget = (1 << (63 - bits)) - 25
    for moved, opens in ((int(share * budget), True), (int(np.sign(share)) * (budget + 60), False)):
        changed = chunks.copy()
        changed[0, :N] = [(int(c) + moved) % Q for c in chunks[0, :N]]
        found = KEY.decrypt(changed, bits)
        assert found.dtype == np.uint64
        assert np.array_equal(found, slots) == opens


@pytest.mark.parametrize(
    ("error", "refused"), [(0.2, False), (-0.2, False), (0.3, True), (-0.3, True), (math.nan, True)]
)
def test_a_transform_that_is_a_quarter_off_is_refused(
    error: float, monkeypatch: pytest.MonkeyPatch, *, refused: bool
) -> None:
    inverse = rlwe._inverse

    def worse(values: object) -> object:
        product = inverse(values)  # type: ignore[arg-type]
        product[0, 7] += error
        return product

    key = GroupKey(secrets("drawn"))
    monkeypatch.setattr(rlwe, "_inverse", worse)
    numbers = np.arange(N, dtype=np.uint64)
    if not refused:
        key._product(numbers)
        return
    with pytest.raises(ProtocolError, match="not exact enough"):
        key._product(numbers)

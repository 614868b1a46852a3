"""Streams, masks, tags and canaries against plain integers and RFC primitives, word by word."""

import math
from dataclasses import replace
from hashlib import blake2b, sha256
from itertools import product

import numpy as np
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedrepay.shared.arrays import U64
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.secure_sum import ring, tag
from fedrepay.shared.secure_sum.masking import apply_masks, attempt_context, mask_context, pair_mask
from fedrepay.shared.secure_sum.stream import uniform
from fedrepay.shared.secure_sum.tag import AttemptTags
from support.keystream import slow_uniform

T46, T55, Q = 1 << 46, 1 << 55, 18446744073709436929
SEED, CONTEXT = bytes(range(32)), attempt_context(1, 2, 3, bytes(32))
NAMES = ("ada", "bob", "cyd")


def derived(secret: bytes, label: str, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, b"fedrepay/" + label.encode() + b"\x00" + info).derive(secret)


# --- streams ---


@pytest.mark.parametrize("modulus", [2, 3, 4, 5, (1 << 45) + 1, T46, Q, (1 << 63) - 1, 1 << 64])
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 1000])
def test_a_stream_is_the_accepted_words_in_order(modulus: int, count: int) -> None:
    """Half of the words are skipped for 2⁴⁵ + 1, none for a power of two."""
    found = uniform(SEED, modulus, count)
    assert found.dtype == np.uint64
    assert found.tolist() == slow_uniform(SEED, modulus, count)


@pytest.mark.parametrize("modulus", [T46, (1 << 45) + 1])
def test_a_stream_of_many_blocks_is_one_stream(modulus: int) -> None:
    for count in (131_071, 131_072, 131_073, 140_001):  # a nonce has 131,072 words
        assert uniform(SEED, modulus, count).tolist() == slow_uniform(SEED, modulus, count)


# --- the ring ---


def test_constants_of_the_ring() -> None:
    assert (ring.N, ring.SLOTS, ring.VALUES, ring.COEFFICIENTS) == (4096, 4096, 4095, 8192)
    assert (ring.Q, ring.Q_GAP) == (Q, 2**64 - Q)
    few = {52: 1050, 53: 333, 54: 97, 55: 26, 56: 6}
    assert dict(ring.MEMBERS_MAX) == dict.fromkeys(range(46, 52), 1500) | few
    assert (ring.plain_modulus(46), ring.plain_modulus(55)) == (T46, T55)


def test_q_is_the_largest_prime_of_its_kind() -> None:
    larger = range(Q + 2 * ring.N, 1 << 64, 2 * ring.N)
    assert len(larger) == 13
    assert all(pow(3, candidate - 1, candidate) != 1 for candidate in larger)
    assert [pow(base, Q - 1, Q) for base in (2, 3, 5, 7)] == [1] * 4
    assert Q % (2 * ring.N) == 1


@pytest.mark.parametrize(("bits", "most"), ring.MEMBERS_MAX.items())
def test_the_table_keeps_failure_below_2_to_the_minus_128(bits: int, most: int) -> None:
    """Hoeffding's bound for 2²⁰ coefficients, and one member more passes it, where the roster's own limit does not bind."""

    def failure(k: int) -> float:
        room = Q / 2 ** (bits + 1) - 0.51 * k - 2
        return 21.0 - float(room**2 / (21 * k)) / math.log(2)

    assert failure(most) < -128
    assert most == 1500 or failure(most + 1) > -130


@pytest.mark.parametrize(("bits", "most"), [(46, 1500), (55, 26)])
def test_from_one_member_to_the_most(bits: int, most: int) -> None:
    for k in (1, most):
        ring.check_cohort(bits, k)
    for k in (-1, 0, most + 1):
        with pytest.raises(ArgumentError, match=f"A sum of {k} members"):
            ring.check_cohort(bits, k)
    for other in (45, 57):
        with pytest.raises(ArgumentError, match=f"of {other} bits"):
            ring.check_cohort(other, 3)
        with pytest.raises(ArgumentError, match=f"of {other} bits"):
            ring.plain_modulus(other)


def test_the_largest_modulus_of_a_roster() -> None:
    for k, bits in (
        (1, 56),
        (6, 56),
        (7, 55),
        (26, 55),
        (27, 54),
        (97, 54),
        (98, 53),
        (1050, 52),
        (1051, 51),
    ):
        assert ring.most_bits(k) == bits
    for k in (0, 1501):
        with pytest.raises(ArgumentError):
            ring.most_bits(k)


@pytest.mark.parametrize(
    ("values", "fields", "chunks"),
    [(0, 1, 0), (1, 1, 1), (4095, 1, 1), (4096, 1, 2), (8190, 2, 1), (8191, 2, 2), (12285, 3, 1)],
)
def test_chunks(values: int, fields: int, chunks: int) -> None:
    assert ring.chunk_count(values, fields) == chunks
    if fields == 1:
        assert ring.chunk_count(values) == chunks


# --- masks ---


def test_the_bytes_of_an_attempt() -> None:
    config = bytes(range(32))
    assert attempt_context(1, 2, 3, config) == bytes(7) + b"\1" + bytes(3) + b"\2" + bytes(3) + b"\3" + config
    most = attempt_context((1 << 64) - 1, (1 << 32) - 1, (1 << 32) - 1, config)
    assert most == b"\xff" * 16 + config
    assert attempt_context(0, 0, 0, config) == bytes(16) + config
    for numbers in ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (1 << 64, 0, 0), (0, 1 << 32, 0), (0, 0, 1 << 32)):
        with pytest.raises(ProtocolError, match="are not numbers of a run"):
            attempt_context(*numbers, config)
    for length in (0, 31, 33):
        with pytest.raises(ProtocolError, match=f"A config hash of {length} bytes"):
            attempt_context(1, 2, 3, bytes(length))


def test_masks_are_derived_for_the_attempt_and_what_was_opened() -> None:
    config, opened = bytes(range(32)), b"\x07" * 32
    both = sha256(b"".join(len(part).to_bytes(8, "big") + part for part in (config, opened))).digest()
    assert mask_context(1, 2, 3, config, opened) == attempt_context(1, 2, 3, both)


@pytest.mark.parametrize("t", [T46, T55])
@pytest.mark.parametrize("chunks", [1, 2])
def test_a_pairs_mask_is_one_stream_of_its_secret_its_attempt_and_both_names(t: int, chunks: int) -> None:
    low, high = bytes(32), b"\x01" * 32
    key = blake2b(CONTEXT + low + high, key=SEED, digest_size=32, person=b"fedrepay/mask").digest()
    for filled in (1 + 4096 * (chunks - 1), 4096 * chunks - 1):
        expected = slow_uniform(key, t, filled + 1)
        for pair in ((low, high), (high, low)):
            mask = pair_mask(SEED, pair, CONTEXT, filled, t)
            assert mask.shape == (chunks, 4096)
            assert [*mask.ravel()[:filled].tolist(), int(mask[-1, -1])] == expected
            assert not mask.ravel()[filled:-1].any()


@pytest.mark.parametrize("t", [T46, T55])
def test_masks_of_higher_peers_are_added_and_of_lower_ones_subtracted(t: int) -> None:
    mine = b"\x05" * 32
    peers = {bytes([i]) * 32: bytes([9 + i]) * 32 for i in (1, 3, 7, 8)}
    slots = np.random.default_rng(0).integers(0, t, (2, 4096), dtype=np.uint64)
    slots[0, :3] = (0, 1, t - 1)
    before = slots.copy()
    masked = apply_masks(slots, 2 * 4096 - 1, mine, peers, CONTEXT, t)
    assert np.array_equal(slots, before)
    total = [int(value) for value in slots.ravel()]
    for peer, secret in peers.items():
        info = CONTEXT + min(mine, peer) + max(mine, peer)
        key = blake2b(info, key=secret, digest_size=32, person=b"fedrepay/mask").digest()
        mask = slow_uniform(key, t, 2 * 4096)
        sign = 1 if mine < peer else -1
        total = [value + sign * part for value, part in zip(total, mask, strict=True)]
    assert masked.shape == slots.shape
    assert masked.ravel().tolist() == [value % t for value in total]


def test_only_lower_peers_and_no_mask_at_a_slot_still_give_numbers_below_t() -> None:
    """A subtracted mask of 0 leaves the slot as it is, and not at t."""
    mine, peer, t = b"\x05" * 32, b"\x01" * 32, T46
    slots = pair_mask(SEED, (mine, peer), CONTEXT, 4095, t)
    assert not apply_masks(slots, 4095, mine, {peer: SEED}, CONTEXT, t).any()


def test_an_update_never_leaves_unmasked() -> None:
    slots, mine = np.zeros((1, 4096), dtype=np.uint64), bytes(32)
    for peers in ({}, {mine: SEED}, {mine: SEED, b"\x01" * 32: SEED}):
        with pytest.raises(ProtocolError, match="cannot be masked"):
            apply_masks(slots, 4095, mine, peers, CONTEXT, T46)


# --- tags ---


def ciphertexts(seed: int, chunks: int = 2) -> U64:
    return np.random.default_rng(seed).integers(0, Q, (chunks, 8192), dtype=np.uint64)


def pads_of(chunk: int) -> list[int]:
    """In the cohort's order."""
    return slow_uniform(derived(SEED, "pad", CONTEXT + chunk.to_bytes(4, "big")), Q, len(NAMES))


def linear(chunk: U64, index: int, seed: bytes = SEED, context: bytes = CONTEXT) -> int:
    key = slow_uniform(derived(seed, "tag", context + index.to_bytes(4, "big")), Q, 8192)
    return sum(k * int(c) for k, c in zip(key, chunk, strict=True)) % Q


@pytest.mark.parametrize("fill", [0, 1, (1 << 16) - 1, 1 << 16, (1 << 48) - 1, 1 << 48, Q - 1, (1 << 64) - 1])
def test_inner_products_are_exact(fill: int) -> None:
    full = np.full(8192, fill, dtype=np.uint64)
    other = np.random.default_rng(1).integers(0, Q, 8192, dtype=np.uint64)
    for right in (full, other):
        exact = sum(int(a) * int(b) for a, b in zip(full, right, strict=True)) % Q
        assert tag.inner_product(full, right) == exact


TAGS = AttemptTags(SEED, CONTEXT, NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_tag_is_the_inner_product_with_the_cohorts_key_and_the_members_pad(name: str) -> None:
    chunks = ciphertexts(2)
    expected = [(linear(c, i) + pads_of(i)[NAMES.index(name)]) % Q for i, c in enumerate(chunks)]
    assert TAGS.tags(chunks, name) == expected
    assert all(0 <= each < Q for each in expected)


def cohort() -> tuple[U64, list[int]]:
    """The sum of everybody's ciphertexts and tags."""
    total, tags = np.zeros((2, 8192), dtype=object), [0, 0]
    for seed, name in enumerate(NAMES):
        chunks = ciphertexts(seed)
        total = (total + chunks.astype(object)) % Q
        tags = [(a + b) % Q for a, b in zip(tags, TAGS.tags(chunks, name), strict=True)]
    return total.astype(np.uint64), tags


def test_the_sum_of_the_cohort_verifies_and_nothing_else() -> None:
    total, tags = cohort()
    assert TAGS.first_misfit(total, tags) is None
    for other in (
        replace(TAGS, seed=bytes(32)),
        replace(TAGS, context=attempt_context(1, 2, 4, bytes(32))),
        *(replace(TAGS, members=names) for names in (NAMES[:2], (), (*NAMES, "dan"))),
    ):
        assert other.first_misfit(total, tags) == 0
    for chunk, at in ((0, 0), (0, 8191), (1, 0), (1, 4096)):
        moved = total.copy()
        moved[chunk, at] = (int(moved[chunk, at]) + 1) % Q
        assert TAGS.first_misfit(moved, tags) == chunk
    assert TAGS.first_misfit(total[::-1], tags) == 0


@pytest.mark.parametrize("by", [-1, 1, Q, -Q])
@pytest.mark.parametrize("chunk", [0, 1])
def test_each_chunks_tag_counts_and_is_below_q(chunk: int, by: int) -> None:
    total, tags = cohort()
    tags[chunk] += by
    assert TAGS.first_misfit(total, tags) == chunk
    assert not TAGS.fits(chunk, total[chunk], tags[chunk])


def test_tags_are_as_many_as_chunks() -> None:
    total, tags = cohort()
    for wrong in (tags[:1], [*tags, 0], []):
        assert TAGS.first_misfit(total, wrong) == 0
    assert TAGS.first_misfit(total[:0], []) == 0
    assert TAGS.first_misfit(total[:1], tags[:1]) is None


def test_parts_of_a_cohort_and_single_chunks() -> None:
    """What a verdict looks at: one member's ciphertext alone, wherever it lies in the upload."""
    for seed, name in enumerate(NAMES):
        chunks = ciphertexts(seed)
        tags = TAGS.tags(chunks, name)
        for index in (0, 1):
            assert TAGS.fits(index, chunks[index], tags[index], [name])
            assert not TAGS.fits(index, chunks[index], tags[index], [NAMES[seed - 1]])
            assert not TAGS.fits(1 - index, chunks[index], tags[index], [name])
            assert not TAGS.fits(index, chunks[index], tags[index])


def test_a_tag_of_zero_is_a_tag() -> None:
    """One coefficient is chosen so that the sum's tag is 0, and then Q − 1."""
    total, tags = cohort()
    key = slow_uniform(derived(SEED, "tag", CONTEXT + bytes(4)), Q, 1)[0]
    for wanted in (0, Q - 1):
        moved = total.copy()
        moved[0, 0] = (int(moved[0, 0]) + (wanted - tags[0]) * pow(key, -1, Q)) % Q
        assert TAGS.first_misfit(moved, [wanted, tags[1]]) is None


# --- canaries ---


def test_canaries_and_their_sums() -> None:
    contexts = (CONTEXT, attempt_context(1, 2, 4, bytes(32)))
    for seed, context, t in product((SEED, bytes(32)), contexts, (T46, T55)):
        tags, found = AttemptTags(seed, context, NAMES), slow_uniform(derived(seed, "canary", context), t, 9)
        expected = [found[at : at + 3] for at in (0, 3, 6)]
        for at, name in enumerate(NAMES):
            assert tags.canaries(3, name, t).tolist() == [each[at] for each in expected]
        assert tags.canary_sums(3, t).tolist() == [sum(each) % t for each in expected]


def test_no_pad_and_no_canary_is_another_chunks_or_members() -> None:
    """Of two ciphertexts under one pad the difference of tags would tell the key."""
    canaries = TAGS._canaries(500, T46)
    assert canaries.shape == (3, 500)
    for found in (canaries, np.array([TAGS._pads(index) for index in range(500)], dtype=np.uint64)):
        assert len(np.unique(found)) == 1500


def test_numbers_mod_q_add_as_pythons_do_also_past_a_word() -> None:
    edges = [0, 1, Q - 1, Q // 2, Q // 2 + 1, 2**63, 2**64 - Q]
    left = np.array([a for a in edges for _ in edges], dtype=np.uint64)
    right = np.array(edges * len(edges), dtype=np.uint64)
    wanted = [(int(a) + int(b)) % Q for a, b in zip(left, right, strict=True)]
    assert any(int(a) + int(b) >= 2**64 for a, b in zip(left, right, strict=True)), (
        "a word does not hold all of them"
    )
    found = np.empty_like(left)
    ring.add(left, right, found)
    assert found.tolist() == wanted
    ring.add(left, right, left)
    assert left.tolist() == wanted, "in place too"

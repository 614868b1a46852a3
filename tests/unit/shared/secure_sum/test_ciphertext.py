"""The wire form and the coordinator's sum: what is taken and what is not."""

import tracemalloc
from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import (
    SEED_BYTES,
    SUM_BYTES,
    UPLOAD_BYTES,
    PublicSum,
    hashes,
    second_polynomial,
    summed,
    uploaded,
)
from fedrepay.shared.secure_sum.packing import GAM, Packing
from support.secure_cohort import Cohort, added


def test_sizes_on_the_wire() -> None:
    assert (SEED_BYTES, UPLOAD_BYTES, SUM_BYTES) == (32, 32_800, 65_536)


@pytest.mark.parametrize(
    ("values", "fields", "chunks"),
    [(0, 1, 0), (1, 1, 1), (4095, 1, 1), (4096, 1, 2), (11325, 1, 3), (8190, 2, 1), (8191, 2, 2)],
)
def test_chunks_of_a_sum(values: int, fields: int, chunks: int) -> None:
    assert ring.chunk_count(values, fields) == chunks


@pytest.mark.parametrize(
    "bad",
    [
        (46, 0),
        (46, 4, 1 << 10, 16, 31),
        (46, 2),
        (46, 2, 1 << 10, 0, 0),
        (46, 2, 1 << 10, 40, 31),
        (46, 2, 1 << 10, 0, 1 << 10),
        (46, 1, 1 << 23, 1, 3),
        (48, 2, 1 << 30, 1, 3),
        (45,),
    ],
)
def test_packings_that_cannot_be(bad: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError):
        Packing(*bad)


def test_slots_of_another_size_are_not_unpacked() -> None:
    with pytest.raises(ArgumentError):
        GAM.unpack(np.zeros((1, ring.SLOTS), dtype=np.uint64), 3, ring.SLOTS)


def one(coefficient: int, seed: bytes = bytes(32)) -> bytes:
    chunk = np.zeros(ring.N, dtype="<u8")
    chunk[77] = coefficient
    return chunk.tobytes() + seed


@pytest.mark.parametrize(
    ("payload", "tags"),
    [
        (b"", [0]),
        (one(1)[:-1], [0]),
        (one(1) + b"\x00", [0]),
        (one(1) * 2, [0]),
        (one(ring.Q), [0]),
        (one((1 << 64) - 1), [0]),
        (one(1), []),
        (one(1), [0, 0]),
        (one(1), [ring.Q]),
        (one(1), [-1]),
    ],
)
def test_a_bad_upload_changes_nothing(payload: bytes, tags: Sequence[int]) -> None:
    total = PublicSum(1)
    total.add(one(ring.Q - 1), [ring.Q - 1])
    with pytest.raises(ProtocolError):
        total.add(payload, tags)
    before = uploaded(one(ring.Q - 1), 1).astype("<u8").tobytes()
    assert (total.payload(), total.tags, total.count) == (before, [ring.Q - 1], 1)
    total.add(one(2), [2])
    assert summed(total.payload(), 1)[0, 77] == 1
    assert (total.tags, total.count) == ([1], 2)


@pytest.mark.usefixtures("tidy")
def test_adding_takes_constant_memory() -> None:
    payload = bytes(20 * UPLOAD_BYTES)

    def peak(uploads: int) -> int:
        tracemalloc.start()
        total = PublicSum(20)
        for _ in range(uploads):
            total.add(payload, [0] * 20)
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    peak(1)
    assert peak(60) < 1.1 * peak(2) < 3.5 * 20 * SUM_BYTES


def test_an_upload_is_half_of_its_sum() -> None:
    cohort = Cohort(3)
    uploads = cohort.uploads({name: np.arange(ring.VALUES + 1) for name in cohort.names})
    assert {len(upload.payload) for upload in uploads} == {2 * 32_800}
    assert len(added(uploads).payload()) == 2 * 65_536


def test_hashes_are_of_single_ciphertexts() -> None:
    payload = one(5) + one(6)
    assert hashes(payload) == (sha256(one(5)).digest(), sha256(one(6)).digest())
    assert hashes(b"") == ()


def test_the_second_polynomial_is_the_stream_of_its_seed() -> None:
    """AES-256 in counter mode from counter 2; q is so near 2⁶⁴ that no word of these is skipped."""
    seed = bytes(range(32))
    stream = Cipher(AES(seed), modes.CTR(bytes(15) + b"\2")).encryptor().update(bytes(8 * ring.N))
    assert second_polynomial(seed).tolist() == np.frombuffer(stream, "<u8").tolist()
    known = bytes.fromhex(
        "cea7403d4d606b6e074ec5d3baf39d18"
    )  # GCM's own test case 14: the zero key on a block of zeros
    assert second_polynomial(bytes(32))[:2].tolist() == np.frombuffer(known, "<u8").tolist()
    whole = uploaded(one(7, seed) + one(8), 2)
    assert whole[:, 77].tolist() == [7, 8]
    assert np.array_equal(whole[0, ring.N :], second_polynomial(seed))
    assert np.array_equal(whole[1, ring.N :], second_polynomial(bytes(32)))


def test_a_sum_is_taken_whole_or_not() -> None:
    numbers = np.arange(2 * ring.COEFFICIENTS, dtype="<u8").reshape(2, -1)
    assert np.array_equal(summed(numbers.tobytes(), 2), numbers)
    numbers[1, 8191] = ring.Q - 1
    assert summed(numbers.tobytes(), 2)[1, 8191] == ring.Q - 1
    numbers[1, 8191] = ring.Q
    for payload, chunks in (
        (numbers.tobytes(), 2),
        (bytes(SUM_BYTES), 2),
        (bytes(SUM_BYTES - 1), 1),
        (b"x", 0),
    ):
        with pytest.raises(ProtocolError):
            summed(payload, chunks)

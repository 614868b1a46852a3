"""The wire form, the coordinator's sum and the group's keys: what is taken and what is not."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
import tenseal as ts

from fedrepay.client.crypto.he import GroupContext
from fedrepay.shared.errors import ArgumentError, ProtocolError
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ciphertext import CHUNK_BYTES, PublicSum
from fedrepay.shared.secure_sum.packing import GAM, Packing
from support.secure_cohort import Cohort, added, group


def test_the_constants_are_seals_own() -> None:
    """GroupContext compares SEAL's moduli with the constants; the primes are the largest of their kind."""
    for t_bits, t in ring.PLAIN_MODULI.items():
        assert GroupContext.create(t_bits).t == t
    for bits, prime in [(60, ring.Q), *ring.PLAIN_MODULI.items()]:
        assert prime < 1 << bits
        larger = range(prime + 2 * ring.N, 1 << bits, 2 * ring.N)
        assert all(pow(3, candidate - 1, candidate) != 1 for candidate in larger)
        assert pow(3, prime - 1, prime) == prime % 2 * pow(2, prime - 1, prime) == 1
    assert CHUNK_BYTES == 65536


@pytest.mark.parametrize(("t_bits", "k"), [(46, 1501), (48, 33), (46, 0), (50, 3)])
def test_a_cohort_outside_the_table_is_an_error(t_bits: int, k: int) -> None:
    with pytest.raises(ArgumentError):
        ring.check_cohort(t_bits, k)


@pytest.mark.parametrize(
    ("values", "fields", "chunks"),
    [(0, 1, 0), (1, 1, 1), (4095, 1, 1), (4096, 1, 2), (11325, 1, 3), (8190, 2, 1), (8191, 2, 2)],
)
def test_chunks_of_a_sum(values: int, fields: int, chunks: int) -> None:
    assert ring.chunk_count(values, fields) == chunks


@pytest.mark.parametrize("bad", [(46, 0), (46, 4, 10, 5), (46, 2), (46, 1, 23, 15), (48, 2, 30, 20), (47,)])
def test_packings_that_cannot_be(bad: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError):
        Packing(*bad)


def test_slots_of_another_size_are_not_unpacked() -> None:
    with pytest.raises(ArgumentError):
        GAM.unpack(np.zeros((1, ring.SLOTS), dtype=np.uint64), 3, ring.SLOTS)


def one(coefficient: int) -> bytes:
    chunk = np.zeros(ring.COEFFICIENTS, dtype="<u8")
    chunk[77] = coefficient
    return chunk.tobytes()


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
    assert (total.payload(), total.tags, total.count) == (one(ring.Q - 1), [ring.Q - 1], 1)
    total.add(one(2), [2])
    assert (total.payload(), total.tags, total.count) == (one(1), [1], 2)


def test_adding_takes_constant_memory() -> None:
    payload = bytes(20 * CHUNK_BYTES)

    def peak(uploads: int) -> int:
        tracemalloc.start()
        total = PublicSum(20)
        for _ in range(uploads):
            total.add(payload, [0] * 20)
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    peak(1)
    assert peak(60) < 1.1 * peak(2) < 1.5 * 20 * CHUNK_BYTES


def test_keys_survive_their_bytes_and_keep_their_id() -> None:
    made = group(46)
    member, public = (
        GroupContext.from_secret(made.secret_bytes()),
        GroupContext.from_public(made.public_bytes()),
    )
    assert made.context_id == member.context_id == public.context_id
    assert len(made.context_id) == 32
    assert made.context_id != GroupContext.create().context_id
    slots = np.arange(ring.SLOTS, dtype=np.uint64).reshape(1, -1) * np.uint64(17179869184) % np.uint64(made.t)
    for encryptor in (made, member, public):
        assert np.array_equal(member.decrypt(encryptor.encrypt(slots)), slots)
    with pytest.raises(ProtocolError):
        public.decrypt(public.encrypt(slots))


def test_encryption_is_randomised() -> None:
    """Two encryptions of one vector share no coefficient but by chance."""
    slots = np.ones((1, ring.SLOTS), dtype=np.uint64)
    first, second = group(46).encrypt(slots), group(46).encrypt(slots)
    assert np.count_nonzero(first == second) < 3


def test_keys_of_another_kind_are_refused() -> None:
    made = group(46)
    foreign = ts.context(ts.SCHEME_TYPE.BFV, 8192, plain_modulus=1032193, coeff_mod_bit_sizes=[60, 40, 40])
    with pytest.raises(ProtocolError):
        GroupContext.from_public(made.secret_bytes())
    with pytest.raises(ProtocolError):
        GroupContext.from_secret(made.public_bytes())
    with pytest.raises(ProtocolError):
        GroupContext.from_secret(foreign.serialize(save_secret_key=True))
    for junk in (b"", b"junk", made.secret_bytes()[:500]):
        with pytest.raises(ProtocolError):
            GroupContext.from_secret(junk)
    with pytest.raises(ArgumentError):
        GroupContext.create(50)


def test_a_chunk_is_65536_bytes_and_tenseals_header_is_constant() -> None:
    cohort = Cohort(3)
    values = {name: np.arange(ring.VALUES + 1) for name in cohort.names}
    uploads = cohort.uploads(values)
    assert {len(upload.payload) for upload in uploads} == {2 * 65536}
    assert len(added(uploads).payload()) == 2 * 65536
    header = cohort.group._header
    assert GroupContext.from_public(cohort.group.public_bytes())._header == header
    assert GroupContext.create()._header == header  # no key, no randomness: parameters only
    assert len(header) == 131

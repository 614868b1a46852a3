"""Ciphertexts as the coordinator sees them: numbers mod q and nothing else (docs/adr/0024).

A member's ciphertext on the wire is its first polynomial, 4,096 coefficients as little-endian u64, and the 32-byte seed
that its second, uniform one is expanded from. Sums have no seed: both polynomials travel.
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from fedrepay.shared.arrays import U64
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum import ring
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, N, Q
from fedrepay.shared.secure_sum.stream import uniform

SEED_BYTES = 32
UPLOAD_BYTES = 8 * N + SEED_BYTES
"""Bytes of a member's ciphertext on the wire: 32,800."""

SUM_BYTES = 8 * COEFFICIENTS
"""Bytes of a ciphertext of a sum on the wire: 65,536."""


def second_polynomial(seed: bytes) -> U64:
    """The uniform polynomial of a ciphertext, (4096,) numbers below q: the stream of its seed (``stream``).

    Anybody can expand it: it is public, as the first polynomial of every RLWE sample is.
    """
    return uniform(seed, Q, N)


def uploaded(payload: bytes, chunks: int) -> U64:
    """Parse and expand a member's ciphertexts.

    Args:
        payload: ciphertexts, one after the other, :data:`UPLOAD_BYTES` each.
        chunks: how many there must be.

    Returns:
        (chunks, 8192) numbers below q.

    Raises:
        ProtocolError: another length, or a number that is not below q.
    """
    whole = np.frombuffer(payload, dtype=np.uint8)
    out = np.empty((chunks, COEFFICIENTS), dtype=np.uint64)
    parts = _rows(whole, chunks, UPLOAD_BYTES)
    out[:, :N] = _below(np.ascontiguousarray(parts[:, : 8 * N]).view("<u8"))
    for index, seed in enumerate(parts[:, 8 * N :]):
        out[index, N:] = second_polynomial(seed.tobytes())
    return out


def summed(payload: bytes, chunks: int) -> U64:
    """Parse the ciphertexts of a sum.

    Args:
        payload: ciphertexts, one after the other, :data:`SUM_BYTES` each.
        chunks: how many there must be.

    Returns:
        (chunks, 8192) numbers below q, read-only.

    Raises:
        ProtocolError: another length, or a number that is not below q.
    """
    return _below(_rows(np.frombuffer(payload, dtype=np.uint8), chunks, SUM_BYTES).view("<u8"))


def _rows(
    whole: np.ndarray[tuple[int], np.dtype[np.uint8]], chunks: int, each: int
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    if whole.size != chunks * each:
        raise ProtocolError(
            f"Ciphertexts of {whole.size} bytes; {chunks} chunks have {chunks * each}.",
            "They are not used.",
        )
    return whole.reshape(chunks, each)


def _below(numbers: np.ndarray[tuple[int, int], np.dtype[np.uint64]]) -> U64:
    if numbers.size and int(numbers.max()) >= Q:
        raise ProtocolError("A coefficient is not below the modulus.", "The ciphertexts are not used.")
    return numbers.astype(np.uint64, copy=False)


def hashes(payload: bytes) -> tuple[bytes, ...]:
    """SHA-256 of each ciphertext of an upload (32 bytes each), so that a single one can be shown to others."""
    return tuple(
        sha256(payload[start : start + UPLOAD_BYTES]).digest()
        for start in range(0, len(payload), UPLOAD_BYTES)
    )


class PublicSum:
    """A running sum of uploads in constant memory.

    Args:
        chunks: ciphertexts of every upload.
    """

    def __init__(self, chunks: int) -> None:
        self._total = np.zeros((chunks, COEFFICIENTS), dtype=np.uint64)
        self._tags = [0] * chunks
        self._count = 0

    def add(self, payload: bytes, tags: Sequence[int]) -> None:
        """Add one upload, whole or not at all.

        Raises:
            ProtocolError: another number of chunks or tags, or a number not below q.
        """
        chunks = uploaded(payload, len(self._tags))
        if len(tags) != len(self._tags) or not all(0 <= tag < Q for tag in tags):
            raise ProtocolError(
                f"{len(tags)} tags for {len(self._tags)} chunks, or one is not below the modulus.",
                "The upload is not added.",
            )
        for total, chunk in zip(self._total, chunks, strict=True):  # one at a time stays in the cache
            ring.add(total, chunk, total)
        self._tags = [(total + tag) % Q for total, tag in zip(self._tags, tags, strict=True)]
        self._count += 1

    def payload(self) -> bytes:
        """The summed ciphertexts in wire form, :data:`SUM_BYTES` each."""
        return self._total.astype("<u8", copy=False).tobytes()

    @property
    def tags(self) -> list[int]:
        """The summed tags, one a chunk."""
        return list(self._tags)

    @property
    def count(self) -> int:
        """Uploads added."""
        return self._count

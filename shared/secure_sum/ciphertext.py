"""Ciphertexts as the coordinator sees them: numbers mod q and nothing else.

Wire form of a chunk: its 8,192 coefficients as little-endian u64 (docs/adr/0002).
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np

from fedrepay.shared.arrays import U64
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, Q

CHUNK_BYTES = 8 * COEFFICIENTS
"""Bytes of one ciphertext on the wire: 65,536."""


def coefficients(payload: bytes, chunks: int) -> U64:
    """Parse the wire form.

    Args:
        payload: ciphertexts, one after the other.
        chunks: how many there must be.

    Returns:
        (chunks, 8192) numbers below q, read-only.

    Raises:
        ProtocolError: another length, or a number that is not below q.
    """
    if len(payload) != chunks * CHUNK_BYTES:
        raise ProtocolError(
            f"Ciphertexts of {len(payload)} bytes; {chunks} chunks have {chunks * CHUNK_BYTES}.",
            "They are not used.",
        )
    numbers = np.frombuffer(payload, dtype="<u8").astype(np.uint64, copy=False)
    if numbers.size and int(numbers.max()) >= Q:
        raise ProtocolError("A coefficient is not below the modulus.", "The ciphertexts are not used.")
    return numbers.reshape(chunks, COEFFICIENTS)


def hashes(payload: bytes) -> tuple[bytes, ...]:
    """SHA-256 of each ciphertext of the wire form (32 bytes each), so that a single one can be shown to others."""
    return tuple(
        sha256(payload[start : start + CHUNK_BYTES]).digest() for start in range(0, len(payload), CHUNK_BYTES)
    )


def add(total: U64, chunks: U64) -> None:
    """``total`` += ``chunks`` mod q, in place; both (chunks, 8192) below q. One chunk of extra memory."""
    for index, chunk in enumerate(chunks):
        summed = total[index] + chunk
        np.minimum(summed, summed - np.uint64(Q), out=total[index])  # below q the difference wraps upwards


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
        chunks = coefficients(payload, len(self._tags))
        if len(tags) != len(self._tags) or not all(0 <= tag < Q for tag in tags):
            raise ProtocolError(
                f"{len(tags)} tags for {len(self._tags)} chunks, or one is not below the modulus.",
                "The upload is not added.",
            )
        add(self._total, chunks)
        self._tags = [(total + tag) % Q for total, tag in zip(self._tags, tags, strict=True)]
        self._count += 1

    def payload(self) -> bytes:
        """The summed ciphertexts in wire form."""
        return self._total.astype("<u8", copy=False).tobytes()

    @property
    def tags(self) -> list[int]:
        """The summed tags, one a chunk."""
        return list(self._tags)

    @property
    def count(self) -> int:
        """Uploads added."""
        return self._count

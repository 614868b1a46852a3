"""The coordinator's side of the sum: coefficients mod q, added in numpy in constant memory.

A chunk travels as its 8,192 coefficients, little-endian u64 (65,536 bytes). There is nothing to parse
but lengths, and no native deserialiser ever sees untrusted bytes (docs/adr/0002).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, Q

CHUNK_BYTES = 8 * COEFFICIENTS


def parse(payload: bytes, chunks: int) -> npt.NDArray[np.uint64]:
    """Coefficients (chunks, 8192) mod q.

    Raises:
        ProtocolError: wrong length, or a coefficient ≥ q.
    """
    if len(payload) != chunks * CHUNK_BYTES:
        raise ProtocolError(
            f"Ciphertexts of {len(payload)} bytes are not {chunks} chunks of {CHUNK_BYTES}.", "Refuse them."
        )
    coefficients = np.frombuffer(payload, "<u8").reshape(chunks, COEFFICIENTS)
    if coefficients.size and int(coefficients.max()) >= Q:
        raise ProtocolError("A ciphertext coefficient is not below q.", "Refuse the upload.")
    return coefficients.astype(np.uint64, copy=False)


class PublicSum:
    """A running sum of verified uploads; each is dropped once it is added."""

    def __init__(self, chunks: int) -> None:
        self._sum = np.zeros((chunks, COEFFICIENTS), np.uint64)
        self._tags = [0] * chunks
        self.count = 0

    def add(self, payload: bytes, tags: Sequence[int]) -> None:
        """Add one upload; on an error the sum is as before.

        Raises:
            ProtocolError: the payload or the tags have the wrong shape.
        """
        chunks = parse(payload, len(self._sum))
        if len(tags) != len(self._tags):
            raise ProtocolError(f"{len(tags)} tags for {len(self._tags)} chunks.", "Refuse the upload.")
        self._sum += chunks
        self._sum %= np.uint64(Q)
        self._tags = [(mine + theirs) % Q for mine, theirs in zip(self._tags, tags, strict=True)]
        self.count += 1

    def payload(self) -> bytes:
        """The summed ciphertexts as they travel."""
        return self._sum.astype("<u8").tobytes()

    @property
    def tags(self) -> tuple[int, ...]:
        """The summed tags."""
        return tuple(self._tags)

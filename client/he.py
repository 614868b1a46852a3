"""BFV by TenSEAL: the only module that can encrypt and decrypt.

Parameters: N = 4,096, coefficient modulus [60, 20] bits (one 60-bit data prime), plain modulus t.
A ciphertext's serialisation is a fixed header and 8,192 coefficients; the header is taken from a fresh
encryption under the same context, cut off on the way out and put back on the way in (docs/adr/0002).
"""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt
import tenseal as ts

from fedrepay.shared.errors import ProtocolError, Refusal
from fedrepay.shared.secure_sum import tag
from fedrepay.shared.secure_sum.ciphertext import CHUNK_BYTES, parse
from fedrepay.shared.secure_sum.packing import GAM, Packing
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, SLOTS, T46

_TRIES = 8  # SEAL stores incompressible bytes raw; the odd compressed one is encrypted again


class GroupContext:
    """The BFV keys of one epoch."""

    def __init__(self, context: "ts.Context", t: int) -> None:
        self._context = context
        self.t = t
        sample = ts.bfv_vector(context, [0] * SLOTS).serialize()
        self._header = sample[: len(sample) - CHUNK_BYTES]

    @classmethod
    def create(cls, t: int = T46) -> "GroupContext":
        """New keys from TenSEAL's own generator."""
        context = ts.context(
            ts.SCHEME_TYPE.BFV, poly_modulus_degree=SLOTS, plain_modulus=t, coeff_mod_bit_sizes=[60, 20]
        )
        return cls(context, t)

    @classmethod
    def from_bytes(cls, data: bytes, t: int = T46) -> "GroupContext":
        """Keys as :meth:`secret_bytes` or :meth:`public_bytes` gave them; only for sealed or signed bytes.

        Raises:
            ProtocolError: TenSEAL does not take them.
        """
        try:
            return cls(ts.context_from(data), t)
        except (RuntimeError, ValueError) as error:
            raise ProtocolError("The encryption context does not load.", "Start a new epoch.") from error

    def secret_bytes(self) -> bytes:
        """Public and secret key."""
        return self._serialise(secret=True)

    def public_bytes(self) -> bytes:
        """Public key and parameters."""
        return self._serialise(secret=False)

    def _serialise(self, *, secret: bool) -> bytes:
        return bytes(
            self._context.serialize(
                save_public_key=True, save_secret_key=secret, save_galois_keys=False, save_relin_keys=False
            )
        )

    @property
    def context_id(self) -> bytes:
        """SHA-256 of the public bytes (32 bytes)."""
        return sha256(self.public_bytes()).digest()

    def encrypt(self, slots: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """Public-key encryption of (chunks, 4096) mod t into (chunks, 8192) mod q."""
        signed = slots.astype(np.int64)
        centred = np.where(signed > self.t // 2, signed - self.t, signed)
        return np.stack([self._encrypt(row) for row in centred]).reshape(-1, COEFFICIENTS)

    def _encrypt(self, row: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
        for _ in range(_TRIES):
            data = ts.bfv_vector(self._context, row.tolist()).serialize()
            if len(data) == len(self._header) + CHUNK_BYTES and data.startswith(self._header):
                return np.frombuffer(data, "<u8", offset=len(self._header))
        raise ProtocolError(
            "TenSEAL's serialisation is not the one this version knows.",
            "Install the pinned tenseal version.",
        )

    def decrypt(self, chunks: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        """(chunks, 8192) mod q into (chunks, 4096) mod t; needs the secret key. Does not authenticate."""
        opened = [
            ts.bfv_vector_from(self._context, self._header + chunk.astype("<u8").tobytes()).decrypt()
            for chunk in chunks
        ]
        values = np.array(opened, np.int64).reshape(-1, SLOTS)
        return np.where(values < 0, values + self.t, values).astype(np.uint64)


def verify_sum(
    seed: bytes, context: bytes, members: Sequence[str], payload: bytes, tags: Sequence[int]
) -> npt.NDArray[np.uint64]:
    """Check a summed payload's tag; nothing is decrypted here.

    Returns:
        the coefficients (chunks, 8192).

    Raises:
        Refusal: code ``tag``; the epoch must end, since answering on unauthenticated ciphertexts is an oracle.
    """
    chunks = parse(payload, len(tags))
    if not tag.verify(seed, context, members, chunks, tags):
        raise Refusal("tag", "The sum's tag does not verify: something was added, left out or changed.")
    return chunks


def open_sum(
    group: GroupContext,
    seed: bytes,
    context: bytes,
    members: Sequence[str],
    payload: bytes,
    tags: Sequence[int],
    n_values: int,
    packing: Packing = GAM,
) -> npt.NDArray[np.int64]:
    """Verify, decrypt, check the canaries, unpack: the summed integers (n_values,).

    Raises:
        Refusal: code ``tag`` or ``canary``.
    """
    packing.check(len(members))
    slots = group.decrypt(verify_sum(seed, context, members, payload, tags))
    for chunk, row in enumerate(slots):
        if int(row[-1]) != tag.canary_sum(seed, context, chunk, members, packing.t):
            raise Refusal("canary", "A canary slot is wrong: the ciphertext noise is exhausted.")
    return packing.unpack(slots, len(members), n_values)

"""Pairwise masks mod t: uniform, fresh for each attempt, and zero in the sum of the whole cohort.

ChaCha20 (RFC 8439) keyed with HKDF(X25519 secret; label, attempt), read as 64-bit words cut to t's bit
length, words ≥ t skipped. The lower key hash adds, the other subtracts (after Bonawitz et al. 2017,
without recovery: nobody ever reveals a pair key).
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from fedrepay.shared.secure_sum.ring import SLOTS
from fedrepay.shared.trust.keys import derive, digest

_NONCE = bytes(16)  # each key makes one stream


def attempt_context(run: int, round_: int, attempt: int, cohort_hash: bytes) -> bytes:
    """Canonical bytes of an attempt, in every key derived for it (32 bytes)."""
    numbers = b"".join(value.to_bytes(8, "big") for value in (run, round_, attempt))
    return digest(b"attempt", numbers, cohort_hash)


def uniform_words(key: bytes, count: int, modulus: int) -> npt.NDArray[np.uint64]:
    """``count`` uniform integers below ``modulus`` from a ChaCha20 stream under ``key``."""
    stream = Cipher(ChaCha20(key, _NONCE), None).encryptor()
    mask = np.uint64((1 << modulus.bit_length()) - 1)
    parts: list[npt.NDArray[np.uint64]] = []
    missing = count
    while missing:
        size = 8 * (missing + 16)
        buffer = bytearray(size)
        stream.update_into(bytes(size), buffer)
        words = np.frombuffer(buffer, "<u8") & mask
        words = words[words < modulus][:missing]
        parts.append(words)
        missing -= len(words)
    return np.concatenate(parts).astype(np.uint64)


def pair_mask(secret: bytes, context: bytes, chunks: int, t: int) -> npt.NDArray[np.uint64]:
    """The mask two members share in an attempt: (chunks, 4096), uniform mod t."""
    return uniform_words(derive(secret, "mask", context), chunks * SLOTS, t).reshape(chunks, SLOTS)


def apply_masks(
    slots: npt.NDArray[np.uint64], mine: bytes, peers: Mapping[bytes, bytes], context: bytes, t: int
) -> npt.NDArray[np.uint64]:
    """Add or subtract one mask a peer.

    Args:
        slots: (chunks, 4096) mod t.
        mine: this member's key hash.
        peers: key hash → X25519 secret, the attempt's cohort without this member.
        context: see :func:`attempt_context`.
        t: plain modulus.
    """
    masked = slots.astype(np.uint64, copy=True)
    modulus = np.uint64(t)
    for peer, secret in peers.items():
        mask = pair_mask(secret, context, len(slots), t)
        masked += mask if mine < peer else modulus - mask
        masked %= modulus
    return masked

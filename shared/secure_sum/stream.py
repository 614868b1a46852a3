"""Numbers from a key: ChaCha20 (RFC 8439) words, as they are or uniform mod m."""

from collections.abc import Iterator
from itertools import chain, repeat

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from fedrepay.shared.arrays import U64

_ZERO_NONCE = bytes(16)  # each key makes exactly one stream
BLOCK = 1 << 14
"""Words made at a time, 128 KiB: they stay in the processor's cache."""
_ZEROS = memoryview(bytes(8 * BLOCK))  # what the cipher turns into its stream


def blocks(key: bytes, count: int) -> Iterator[tuple[int, U64]]:
    """The first ``count`` 64-bit words of the key's stream, little-endian, :data:`BLOCK` at a time.

    Args:
        key: 32 bytes, derived for this one stream.
        count: words wanted.

    Yields:
        where a block begins, and its words: in one buffer, so they are to be used before the next block.
    """
    encryptor = Cipher(ChaCha20(key, _ZERO_NONCE), mode=None).encryptor()
    buffer = bytearray(8 * min(count, BLOCK))
    words, into = np.frombuffer(buffer, dtype="<u8"), memoryview(buffer)
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        encryptor.update_into(_ZEROS[: 8 * size], into[: 8 * size])
        yield start, words[:size]


def uniform(key: bytes, modulus: int, count: int) -> U64:
    """The first ``count`` accepted words of the key's stream: cut to m's length, and skipped where not below m.

    Args:
        key: 32 bytes, derived for this one stream.
        modulus: above 1, at most 2⁶⁴.
        count: numbers wanted.

    Returns:
        (count,) numbers, uniform in 0 … modulus − 1.
    """
    encryptor = Cipher(ChaCha20(key, _ZERO_NONCE), mode=None).encryptor()
    largest = np.uint64(modulus - 1)
    cut = np.uint64((1 << (modulus - 1).bit_length()) - 1)
    found = np.empty(0, dtype=np.uint64)
    have = 0
    for wanted in chain([count], repeat(64)):
        stream = bytearray(8 * wanted)
        for start in range(0, len(stream), len(_ZEROS)):
            into = memoryview(stream)[start : start + len(_ZEROS)]
            encryptor.update_into(_ZEROS[: len(into)], into)
        words = np.frombuffer(stream, dtype="<u8")
        np.bitwise_and(words, cut, out=words)
        if words.size and words.max() > largest:
            words = words[words <= largest]
        if words.size == count:
            return words  # as good as always: nothing was skipped
        if not found.size:
            found = np.empty(count, dtype=np.uint64)
        taken = min(words.size, count - have)
        found[have : have + taken] = words[:taken]
        have += taken
        if have == count:
            break
    return found

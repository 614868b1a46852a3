"""Uniform numbers mod m from a key: ChaCha20 (RFC 8439) words, cut to m's length, words ≥ m skipped."""

from itertools import chain, repeat

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from fedrepay.shared.arrays import U64

_ZERO_NONCE = bytes(16)  # each key makes exactly one stream
_ZEROS = memoryview(bytes(1 << 18))  # what the cipher turns into its stream


def uniform(key: bytes, modulus: int, count: int) -> U64:
    """The first ``count`` accepted words of the key's stream.

    Args:
        key: 32 bytes, derived for this one stream.
        modulus: above 1, below 2⁶³.
        count: numbers wanted.

    Returns:
        (count,) numbers, uniform in 0 … modulus − 1.
    """
    encryptor = Cipher(ChaCha20(key, _ZERO_NONCE), mode=None).encryptor()
    cut = np.uint64((1 << modulus.bit_length()) - 1)
    found = np.empty(0, dtype=np.uint64)
    have = 0
    for wanted in chain([count], repeat(64)):
        stream = bytearray(8 * wanted)
        for start in range(0, len(stream), len(_ZEROS)):
            into = memoryview(stream)[start : start + len(_ZEROS)]
            encryptor.update_into(_ZEROS[: len(into)], into)
        words = np.frombuffer(stream, dtype="<u8")
        np.bitwise_and(words, cut, out=words)
        if words.size and words.max() >= modulus:
            words = words[words < modulus]
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

"""Numbers from a key: ChaCha20 (RFC 8439) words, as they are or uniform mod m."""

import sys
from itertools import chain, repeat

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from fedrepay.shared.arrays import U64

_ZERO_NONCE = bytes(16)  # each key makes exactly one stream
_ZEROS = memoryview(bytes(1 << 18))  # what the cipher turns into its stream, so much at a time


def fill(key: bytes, words: U64) -> None:
    """The key's stream as 64-bit words, little-endian, into an array that is there: nothing is allocated.

    Args:
        key: 32 bytes, derived for this one stream.
        words: contiguous; overwritten.
    """
    encryptor = Cipher(ChaCha20(key, _ZERO_NONCE), mode=None).encryptor()
    _pour(encryptor, words.data.cast("B"))
    if sys.byteorder == "big":
        words.byteswap(inplace=True)


def _pour(encryptor: CipherContext, into: memoryview) -> None:
    for start in range(0, len(into), len(_ZEROS)):
        part = into[start : start + len(_ZEROS)]
        encryptor.update_into(_ZEROS[: len(part)], part)


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
        _pour(encryptor, memoryview(stream))
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

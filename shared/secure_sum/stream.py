"""Numbers from a key: AES-256 in counter mode, as words or uniform mod m.

The stream of a key is what AES-256-GCM (NIST SP 800-38D) makes of zeros, its tags left out, block after block of
``BLOCK`` words under the nonces 0, 1, … It is taken from there because that is what libraries make fastest.
"""

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedrepay.shared.arrays import U64

BLOCK = 1 << 17
"""Words under one nonce, 1 MiB."""
SPARE = 2
"""Words at the end of a buffer that hold no stream: the last block's GCM tag comes to lie there."""
_ZEROS = memoryview(bytes(8 * BLOCK))


def fill(key: bytes, words: U64) -> None:
    """The key's stream as little-endian 64-bit words, into an array that is there: nothing is allocated.

    Args:
        key: 32 bytes, derived for this one stream.
        words: contiguous, overwritten; the stream stands in all but the last :data:`SPARE`.
    """
    cipher, into = AESGCM(key), words.data.cast("B")
    for number, start in enumerate(range(0, words.size - SPARE, BLOCK)):
        size = 8 * min(BLOCK, words.size - SPARE - start)
        part = into[8 * start : 8 * start + size + 8 * SPARE]  # the next block overwrites this one's tag
        cipher.encrypt_into(number.to_bytes(12, "big"), _ZEROS[:size], None, part)


def uniform(key: bytes, modulus: int, count: int) -> U64:
    """The first ``count`` accepted words of the key's stream: cut to m's length, and skipped where not below m.

    Args:
        key: 32 bytes, derived for this one stream.
        modulus: above 1, at most 2⁶⁴.
        count: numbers wanted.

    Returns:
        (count,) numbers, uniform in 0 … modulus − 1.
    """
    largest, wanted = np.uint64(modulus - 1), count
    cut = np.uint64((1 << (modulus - 1).bit_length()) - 1)
    while True:
        words = np.empty(wanted + SPARE, dtype="<u8")
        fill(key, words)
        found: U64 = words[:-SPARE]
        found &= cut
        if found.size and found.max() > largest:
            found = found[found <= largest]
        if found.size >= count:
            return found[:count]
        wanted += wanted // 2 + 64

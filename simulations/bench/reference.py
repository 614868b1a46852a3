"""The reference loop beside every section: how fast this processor is at work that never changes."""

from statistics import median
from time import process_time

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

MOVED = 0.2
"""A loop that differs by more than this share after a section marks its figures."""
_PART, _PARTS, _LOOPS = 1 << 20, 64, 9


def chacha20() -> float:
    """ChaCha20 over one MiB at a time, GB a second of CPU time: median of nine loops of 64 MiB."""
    stream = Cipher(ChaCha20(bytes(32), bytes(16)), mode=None).encryptor()
    given, out = bytes(_PART), bytearray(_PART)
    rates = []
    for _ in range(_LOOPS):
        begun = process_time()
        for _ in range(_PARTS):
            stream.update_into(given, out)
        rates.append(_PART * _PARTS / 1e9 / (process_time() - begun))
    return median(rates)


def told(before: float, after: float) -> str:
    """The loop before and after a section as the page tells it, marked where it moved too far."""
    moved = after / before - 1
    mark = f", **moved by {100 * moved:+.0f} %: measure again**" if abs(moved) > MOVED else ""
    return f"ChaCha20 {before:.2f} GB/s of CPU time before, {after:.2f} after{mark}"

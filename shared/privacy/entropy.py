"""Where random bits come from: the operating system, or (tests and benchmarks only) a seeded stream."""

import os
from hashlib import sha256
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

MIB = 1 << 20
"""Bytes of one key's stream at most."""
SHORT = 1 << 11
"""Bytes up to which the operating system is asked directly: a key of one's own would cost more."""
_ZEROS = memoryview(bytes(MIB))


class Entropy(Protocol):
    """A source of random bytes. A run whose source is not ``private`` claims no privacy."""

    @property
    def private(self) -> bool:
        """Whether noise drawn from this source protects anybody."""
        ...

    def draw(self, n: int) -> bytes:
        """The next ``n`` random bytes."""
        ...


class OsEntropy:
    """The only source that protects anybody: the operating system's generator, stretched by ChaCha20 where much is asked.

    Up to ``SHORT`` bytes (keys, nonces, seeds) are the operating system's own. A longer draw, noise, is a ChaCha20
    keystream: its key is drawn for it alone, another after every MiB, and given up when the draw ends. So no state is
    left between two draws that a fork, a thread or a copy could share. ``docs/adr/0023-stretched-entropy.md`` has the argument.
    """

    private = True

    def draw(self, n: int) -> bytes:
        """The next ``n`` random bytes."""
        if n <= SHORT:
            return os.urandom(n)
        return b"".join(_keystream(os.urandom(32), min(MIB, n - at)) for at in range(0, n, MIB))


class SeededEntropy:
    """A repeatable ChaCha20 stream for tests and benchmarks: whoever knows the seed knows the noise."""

    private = False

    def __init__(self, seed: bytes) -> None:
        self._stream = _cipher(sha256(seed).digest())

    def draw(self, n: int) -> bytes:
        """The next ``n`` bytes of the stream."""
        return self._stream.update(bytes(n))


def _cipher(key: bytes) -> CipherContext:
    """ChaCha20 under a key that has no other use: counter and nonce 0."""
    return Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()


def _keystream(key: bytes, n: int) -> bytes:
    """The first ``n`` ≤ ``MIB`` bytes of a key's stream."""
    return _cipher(key).update(_ZEROS[:n])

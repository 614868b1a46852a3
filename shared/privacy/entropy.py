"""Where random bits come from: the operating system, or (tests and benchmarks only) a seeded stream."""

import os
from hashlib import sha256
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20


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
    """The operating system's generator: the only source that protects anybody."""

    private = True

    def draw(self, n: int) -> bytes:
        """The next ``n`` random bytes of ``os.urandom``."""
        return os.urandom(n)


class SeededEntropy:
    """A repeatable ChaCha20 stream for tests and benchmarks: whoever knows the seed knows the noise."""

    private = False

    def __init__(self, seed: bytes) -> None:
        cipher = Cipher(ChaCha20(sha256(seed).digest(), bytes(16)), mode=None)
        self._stream = cipher.encryptor()

    def draw(self, n: int) -> bytes:
        """The next ``n`` bytes of the stream."""
        return self._stream.update(bytes(n))

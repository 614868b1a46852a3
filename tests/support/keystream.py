"""The keystream again, word by word: an oracle for ``shared/secure_sum/stream``."""

from itertools import count as count_from

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES


def slow_uniform(key: bytes, modulus: int, count: int) -> list[int]:
    """Word by word from counter mode itself: GCM begins its counter at 2, and a MiB is under one nonce."""
    found: list[int] = []
    for block in count_from(0):
        encryptor = Cipher(
            AES(key), modes.CTR(block.to_bytes(12, "big") + (2).to_bytes(4, "big"))
        ).encryptor()
        for _ in range(1 << 17):
            if len(found) == count:
                return found
            word = int.from_bytes(encryptor.update(bytes(8)), "little") % (1 << (modulus - 1).bit_length())
            if word < modulus:
                found.append(word)
    return found

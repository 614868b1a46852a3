"""The homomorphic tag: τ = ⟨k, c⟩ + pad mod q for each ciphertext chunk, and the canaries.

Tags add like ciphertexts, so members check the sum before they decrypt it; a wrong sum passes with
probability 2⁻⁶⁰. Keys and pads come from HKDF(seed; label, attempt, chunk[, member]).
"""

import hmac
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fedrepay.shared.secure_sum.masking import uniform_words
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, Q
from fedrepay.shared.trust.keys import derive

_LIMB = 20  # bits: products below 2⁴⁰, sums of 8,192 below 2⁵³, exact in float64


def _number(seed: bytes, label: str, context: bytes, chunk: int, member: str, modulus: int) -> int:
    info = context + chunk.to_bytes(4, "big") + member.encode()
    return int(uniform_words(derive(seed, label, info), 1, modulus)[0])


def _limbs(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
    mask = np.uint64((1 << _LIMB) - 1)
    return np.stack([(numbers >> np.uint64(_LIMB * i)) & mask for i in range(3)]).astype(np.float64)


def _inner(seed: bytes, context: bytes, chunk: int, coefficients: npt.NDArray[np.uint64]) -> int:
    key = uniform_words(derive(seed, "tag", context + chunk.to_bytes(4, "big")), COEFFICIENTS, Q)
    products = _limbs(key) @ _limbs(coefficients).T
    return sum(int(products[i, j]) << (_LIMB * (i + j)) for i in range(3) for j in range(3)) % Q


def tags(seed: bytes, context: bytes, chunks: npt.NDArray[np.uint64], member: str) -> list[int]:
    """One tag a chunk of a member's upload; ``chunks`` is (n, 8192) mod q."""
    return [
        (_inner(seed, context, i, chunk) + _number(seed, "pad", context, i, member, Q)) % Q
        for i, chunk in enumerate(chunks)
    ]


def verify(
    seed: bytes,
    context: bytes,
    members: Sequence[str],
    chunks: npt.NDArray[np.uint64],
    summed: Sequence[int],
) -> bool:
    """Whether the summed ciphertexts are exactly the sum of one upload of each member, untouched."""
    if len(chunks) != len(summed):
        return False
    good = True
    for i, (chunk, claimed) in enumerate(zip(chunks, summed, strict=True)):
        pads = sum(_number(seed, "pad", context, i, member, Q) for member in members)
        expected = (_inner(seed, context, i, chunk) + pads) % Q
        good &= hmac.compare_digest(expected.to_bytes(8, "big"), (claimed % Q).to_bytes(8, "big"))
    return good


def canary(seed: bytes, context: bytes, chunk: int, member: str, t: int) -> int:
    """What a member puts in a chunk's last slot; their sum is known, so exhausted noise shows."""
    return _number(seed, "canary", context, chunk, member, t)


def canary_sum(seed: bytes, context: bytes, chunk: int, members: Sequence[str], t: int) -> int:
    """What the last slot of the opened sum must hold."""
    return sum(canary(seed, context, chunk, member, t) for member in members) % t

"""The numbers of the secure sum: the ring, its plain moduli, and how many members each allows (docs/adr/0024).

Ciphertexts are polynomials of degree below N mod Xᴺ + 1 and mod the prime q; a plaintext's coefficients are numbers mod
t = 2ᵇ, its *slots*: sums need no other encoding. A sum of K ciphertexts decrypts rightly while its noise stays below
q/2t. The noise of one coefficient is sub-Gaussian with variance proxy 10.5 (a centred binomial of 42 bits:
``client/crypto/rlwe.py``), so with T = 2⁶³⁻ᵇ − 0.51·K − 3, which leaves room for all roundings, a coefficient fails with
probability at most 2·exp(−T²/21K) (Hoeffding 1963). ``MEMBERS_MAX`` keeps that below 2⁻¹²⁸ for all of 2²⁰ coefficients.
"""

import math
from types import MappingProxyType
from typing import Final

import numpy as np

from fedrepay.shared.arrays import U64
from fedrepay.shared.errors import ArgumentError

N: Final = 4096
"""Degree of the ring, and slots of a plaintext. The Homomorphic Encryption Standard (2018) asks log₂ q ≤ 109 of it for
128 bits of security with a ternary secret; q has 64."""

Q: Final = 18446744073709436929
"""The modulus of ciphertexts: the largest prime below 2⁶⁴ that is 1 mod 2N. A coefficient is one 64-bit word, and tags
live in a field."""

Q_GAP: Final = (1 << 64) - Q
"""2⁶⁴ mod q: 114,687."""

SLOTS: Final = N
VALUES: Final = SLOTS - 1
"""Value slots of a ciphertext; the last slot is the canary's."""

COEFFICIENTS: Final = 2 * N
"""Numbers mod q in a ciphertext: two polynomials."""

MOST_MEMBERS: Final = 1500
"""Members of a roster, whatever the plain modulus."""


def _most(bits: int) -> int:
    """Largest K whose sum fails with probability below 2⁻¹²⁸."""
    needed = 21 * math.log(2) * (128 + 20 + 1)
    return max(
        k for k in range(1, MOST_MEMBERS + 1) if ((1 << (63 - bits)) - 0.51 * k - 3) ** 2 >= needed * k
    )


MEMBERS_MAX: Final = MappingProxyType({bits: _most(bits) for bits in range(46, 57)})
"""b of t = 2ᵇ → most members whose sum decrypts wrongly with probability below 2⁻¹²⁸."""


def plain_modulus(bits: int) -> int:
    """The plain modulus t of so many bits.

    Raises:
        ArgumentError: not between 46 and 56 bits.
    """
    if bits not in MEMBERS_MAX:
        raise ArgumentError(
            f"A plain modulus of {bits} bits is not offered.",
            f"Choose between {min(MEMBERS_MAX)} and {max(MEMBERS_MAX)} bits.",
        )
    return 1 << bits


def check_cohort(bits: int, k: int) -> None:
    """The rule for encryption noise: a sum of ``k`` ciphertexts must still decrypt rightly.

    Past it a sum decrypts silently wrong, so the table is enforced, not probed.

    Raises:
        ArgumentError: ``k`` is below 1 or above the table, or ``bits`` is unknown.
    """
    plain_modulus(bits)
    if not 1 <= k <= MEMBERS_MAX[bits]:
        raise ArgumentError(
            f"A sum of {k} members does not fit a plain modulus of {bits} bits.",
            f"Between 1 and {MEMBERS_MAX[bits]} members may be added there.",
        )


def most_bits(k: int) -> int:
    """Bits of the largest plain modulus in which ``k`` members can be added.

    Raises:
        ArgumentError: more than :data:`MOST_MEMBERS`.
    """
    check_cohort(min(MEMBERS_MAX), k)
    return max(bits for bits, most in MEMBERS_MAX.items() if k <= most)


def chunk_count(values: int, fields: int = 1) -> int:
    """Ciphertexts that ``values`` integers fill, ``fields`` to a slot."""
    return -(-values // (VALUES * fields))


def add(left: U64, right: U64, out: U64) -> None:
    """``out`` = ``left`` + ``right`` mod q, elementwise, of numbers below q; ``out`` may be ``left``."""
    wrapped = left + right
    over = wrapped < right  # passed 2⁶⁴
    wrapped += over * np.uint64(Q_GAP)
    np.minimum(wrapped, wrapped - np.uint64(Q), out=out)  # below q the difference wraps upwards

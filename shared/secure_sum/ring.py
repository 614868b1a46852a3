"""The numbers of the secure sum: SEAL's ring, the plain moduli, and how many members each allows.

docs/protocol.md, *Parameters of the encryption*, has the failure probabilities behind ``MEMBERS_MAX``.
"""

from types import MappingProxyType
from typing import Final

from fedrepay.shared.errors import ArgumentError

N: Final = 4096
"""Degree of the ring, and slots of a plaintext."""

Q: Final = 1152921504606830593
"""The data prime: largest prime below 2⁶⁰ that is 1 mod 2N, as SEAL picks it for [60, 20] bits."""

SPECIAL_PRIME: Final = 1032193
"""SEAL's 20-bit special prime; no ciphertext carries it."""

SLOTS: Final = N
VALUES: Final = SLOTS - 1
"""Value slots of a ciphertext; the last slot is the canary's."""

COEFFICIENTS: Final = 2 * N
"""Numbers mod Q in a ciphertext: two polynomials."""

PLAIN_MODULI: Final = MappingProxyType({46: 70368743669761, 48: 281474976694273})
"""Bits of t → t, the largest batching prime (1 mod 2N) of so many bits."""

MEMBERS_MAX: Final = MappingProxyType({46: 1500, 48: 32})
"""Bits of t → most members whose sum decrypts wrongly with probability below 2⁻¹²⁸."""


def plain_modulus(t_bits: int) -> int:
    """The plain modulus t of so many bits.

    Raises:
        ArgumentError: neither 46 nor 48 bits.
    """
    if t_bits not in PLAIN_MODULI:
        raise ArgumentError(f"A plain modulus of {t_bits} bits is not offered.", "Choose 46 or 48 bits.")
    return PLAIN_MODULI[t_bits]


def check_cohort(t_bits: int, k: int) -> None:
    """The rule for encryption noise: a sum of ``k`` ciphertexts must still decrypt rightly.

    Past it TenSEAL decrypts silently wrong, so the table is enforced, not probed.

    Raises:
        ArgumentError: ``k`` is below 1 or above the table, or ``t_bits`` is unknown.
    """
    plain_modulus(t_bits)
    if not 1 <= k <= MEMBERS_MAX[t_bits]:
        raise ArgumentError(
            f"A sum of {k} members does not fit a plain modulus of {t_bits} bits.",
            f"Between 1 and {MEMBERS_MAX[t_bits]} members may be added there.",
        )


def chunk_count(values: int, fields: int = 1) -> int:
    """Ciphertexts that ``values`` integers fill, ``fields`` to a slot."""
    return -(-values // (VALUES * fields))

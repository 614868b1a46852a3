"""The rings of the secure sum: BFV at N = 4,096 with one 60-bit data prime, and plain moduli t.

Failure probability by (t, K): t of 46 bits serves K ≤ 1,500 (2⁻¹³⁴ there), t of 48 bits K ≤ 32 (2⁻⁴⁰⁸).
Past the table TenSEAL would decrypt silently wrong, so it is refused.
"""

from fedrepay.shared.errors import ProtocolError

SLOTS = 4096  # of a ciphertext
VALUES = SLOTS - 1  # one slot is the canary
COEFFICIENTS = 2 * SLOTS  # two polynomials mod q
Q = 1152921504606830593  # the largest 60-bit prime ≡ 1 mod 8192, SEAL's choice for [60, 20]
T46 = 70368743669761  # the largest prime below 2⁴⁶ that is ≡ 1 mod 8192
T48 = 281474976694273  # the same below 2⁴⁸
MAX_COHORT = {T46: 1500, T48: 32}


def chunk_count(values: int) -> int:
    """Ciphertexts needed for that many values, one a slot."""
    return -(-values // VALUES)


def check_cohort(t: int, members: int) -> None:
    """The (t, K) table.

    Raises:
        ProtocolError: decryption of a sum of so many ciphertexts could fail.
    """
    limit = MAX_COHORT.get(t, 0)
    if members > limit:
        raise ProtocolError(
            f"A sum of {members} ciphertexts at t = {t} passes the limit of {limit}.",
            "Decryption could be wrong without notice; use fewer members.",
        )

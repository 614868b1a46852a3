"""The homomorphic tag and the canaries: what makes a changed sum unopenable.

τ = ⟨k, c⟩ + pad mod q for each chunk's ciphertext c, with k common to the cohort and the pad each
member's own. Tags add as ciphertexts do; a sum that is not the cohort's passes with probability
2⁻⁶⁰ (a one-time linear MAC: Agrawal & Boneh, *Homomorphic MACs*, 2009). The canaries detect exhausted
encryption noise, not attacks.
"""

from collections.abc import Sequence
from hmac import compare_digest

import numpy as np

from fedrepay.shared import keys
from fedrepay.shared.arrays import F64, U64
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, Q
from fedrepay.shared.secure_sum.stream import uniform

_LIMB_BITS = 20
_SHIFTS = np.array([[0], [_LIMB_BITS], [2 * _LIMB_BITS]], dtype=np.uint64)
_LIMB = np.uint64((1 << _LIMB_BITS) - 1)


def _limbs(numbers: U64) -> F64:
    """(n,) numbers below 2⁶⁰ as (3, n) limbs of 20 bits."""
    return ((numbers >> _SHIFTS) & _LIMB).astype(np.float64)


def inner_product(left: U64, right: U64) -> int:
    """⟨left, right⟩ mod q, exactly: 8,192 products of 20-bit limbs stay below 2⁵³ in float64.

    Args:
        left: (n,) numbers below q, n ≤ 8,192.
        right: (n,) numbers below q.
    """
    products = _limbs(left) @ _limbs(right).T
    return sum(int(products[i, j]) << (_LIMB_BITS * (i + j)) for i in range(3) for j in range(3)) % Q


def _number(seed: bytes, label: str, context: bytes, chunk: int, member: str, modulus: int) -> int:
    """A number mod ``modulus`` from 256 bits: 2⁻¹⁹⁶ from uniform."""
    info = context + chunk.to_bytes(4, "big") + member.encode()
    return int.from_bytes(keys.derive(seed, label, info), "big") % modulus


def _total(seed: bytes, label: str, context: bytes, chunk: int, members: Sequence[str], modulus: int) -> int:
    """The sum of all members' numbers; a thousand members of one process ask for the same one.

    Kept under a digest, so that the seed does not outlive its epoch; the sum itself is of one attempt only.
    """
    names = "\n".join(members).encode()  # no name holds a line's end
    asked = keys.digest(seed, label.encode(), context, chunk.to_bytes(4, "big"), names)
    return _totals.get(
        (asked, modulus),
        0,
        lambda: sum(_number(seed, label, context, chunk, member, modulus) for member in members) % modulus,
    )


_totals: Remembered[int] = Remembered(1 << 18)


def _product(seed: bytes, context: bytes, index: int, chunk: U64) -> int:
    """⟨k, c⟩ mod q of chunk ``index``."""
    key = keys.derive(seed, "tag", context + index.to_bytes(4, "big"))
    return inner_product(uniform(key, Q, COEFFICIENTS), chunk)


def tags(seed: bytes, context: bytes, chunks: U64, member: str) -> list[int]:
    """One member's tags.

    Args:
        seed: the group seed.
        context: the attempt (:func:`~fedrepay.shared.secure_sum.masking.attempt_context`); a member
            tags one ciphertext an attempt and never a second.
        chunks: (chunks, 8192) coefficients below q.
        member: its name.

    Returns:
        a number below q for each chunk.
    """
    return [
        (_product(seed, context, i, chunk) + _number(seed, "pad", context, i, member, Q)) % Q
        for i, chunk in enumerate(chunks)
    ]


def verify(
    seed: bytes,
    context: bytes,
    members: Sequence[str],
    chunks: U64,
    summed_tags: Sequence[int],
) -> bool:
    """Whether these are the sums of exactly these members' ciphertexts in this attempt.

    Args:
        seed: the group seed.
        context: the attempt.
        members: the attempt's cohort.
        chunks: (chunks, 8192) summed coefficients below q.
        summed_tags: the sums of the members' tags mod q.
    """
    if len(summed_tags) != len(chunks):
        return False
    fits = [
        chunk_fits(seed, context, members, index, chunk, summed)
        for index, (chunk, summed) in enumerate(zip(chunks, summed_tags, strict=True))
    ]
    return all(fits)


def chunk_fits(
    seed: bytes,
    context: bytes,
    members: Sequence[str],
    index: int,
    chunk: U64,
    summed_tag: int,
) -> bool:
    """Whether chunk ``index``, (8192,) coefficients below q, is the sum of these members' and this its tags' sum."""
    pads = _total(seed, "pad", context, index, members, Q)
    expected = (_product(seed, context, index, chunk) + pads) % Q
    return 0 <= summed_tag < Q and compare_digest(expected.to_bytes(8, "big"), summed_tag.to_bytes(8, "big"))


def first_misfit(
    seed: bytes,
    context: bytes,
    members: Sequence[str],
    chunks: U64,
    summed_tags: Sequence[int],
) -> int:
    """The first chunk that does not fit its tag; 0 where the numbers of chunks and tags already differ."""
    for index, (chunk, summed) in enumerate(zip(chunks, summed_tags, strict=False)):
        if not chunk_fits(seed, context, members, index, chunk, summed):
            return index
    return 0


def canary(seed: bytes, context: bytes, chunk: int, member: str, t: int) -> int:
    """What a member puts in a chunk's last slot, below t."""
    return _number(seed, "canary", context, chunk, member, t)


def canary_sum(seed: bytes, context: bytes, chunk: int, members: Sequence[str], t: int) -> int:
    """What the last slot of a summed chunk must hold, below t."""
    return _total(seed, "canary", context, chunk, members, t)

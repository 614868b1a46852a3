"""The homomorphic tag and the canaries: what makes a changed sum unopenable.

τ = ⟨k, c⟩ + pad mod q for each chunk's ciphertext c, both polynomials of it, with k common to the cohort and the pad
each member's own. Tags add as ciphertexts do; a sum that is not the cohort's passes with probability 2⁻⁶⁴ (a one-time
linear MAC: Agrawal & Boneh, *Homomorphic MACs*, 2009). A tag over the first polynomial alone would let the coordinator
shift the second by δ, which moves the decryption by δ·s: the key oracle. The canaries detect wrong masks, and
encryption noise that is exhausted in their own coefficient; not attacks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest

import numpy as np

from fedrepay.shared import keys
from fedrepay.shared.arrays import F64, U64
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, Q
from fedrepay.shared.secure_sum.stream import uniform

_LIMB_BITS = 16
_LIMBS = 4


def _limbs(numbers: U64) -> F64:
    """(n,) numbers below 2⁶⁴ as (n, 4) limbs of 16 bits, the lowest first."""
    return numbers.astype("<u8", copy=False).view("<u2").reshape(-1, _LIMBS).astype(np.float64)


def inner_product(left: U64, right: U64) -> int:
    """⟨left, right⟩ mod q, exactly: 8,192 products of 16-bit limbs stay below 2⁵³ in float64.

    Args:
        left: (n,) numbers below q, n ≤ 8,192.
        right: (n,) numbers below q.
    """
    products = _limbs(left).T @ _limbs(right)
    places = range(_LIMBS)
    return sum(int(products[i, j]) << (_LIMB_BITS * (i + j)) for i in places for j in places) % Q


@dataclass(frozen=True)
class AttemptTags:
    """Tags, pads and canaries of one attempt: every member of its cohort holds what makes them.

    A ciphertext's pads are one stream, and so are all canaries, read in the cohort's order: one derivation for all members.

    Attributes:
        seed: the group seed.
        context: the attempt (:func:`~fedrepay.shared.secure_sum.masking.attempt_context`); it covers the cohort's list.
            A member tags one ciphertext a chunk and attempt and never a second.
        members: the attempt's cohort, in order.
    """

    seed: bytes
    context: bytes
    members: tuple[str, ...]

    def _pads(self, index: int) -> list[int]:
        """Every member's pad of chunk ``index``, below q."""
        key = keys.derive(self.seed, "pad", self.context + index.to_bytes(4, "big"))
        pads: list[int] = uniform(key, Q, len(self.members)).tolist()
        return pads

    def _canaries(self, chunks: int, t: int) -> U64:
        """(members, chunks) numbers below t = 2ᵇ, a chunk's in a row of the stream."""
        key = keys.derive(self.seed, "canary", self.context)
        return uniform(key, t, chunks * len(self.members)).reshape(chunks, len(self.members)).T

    def _product(self, index: int, chunk: U64) -> int:
        """⟨k, c⟩ mod q of chunk ``index``."""
        key = keys.derive(self.seed, "tag", self.context + index.to_bytes(4, "big"))
        return inner_product(uniform(key, Q, COEFFICIENTS), chunk)

    def tags(self, chunks: U64, member: str) -> list[int]:
        """One member's tags: a number below q for each of its (chunks, 8192) coefficients below q."""
        mine = self.members.index(member)
        return [(self._product(i, chunk) + self._pads(i)[mine]) % Q for i, chunk in enumerate(chunks)]

    def fits(self, index: int, chunk: U64, tag: int, members: Sequence[str] | None = None) -> bool:
        """Whether chunk ``index`` is the sum of these members' ciphertexts, and ``tag`` of their tags.

        Args:
            index: which chunk.
            chunk: (8192,) coefficients below q.
            tag: claimed.
            members: of the cohort; None for all.
        """
        pads = self._pads(index)
        padded = sum(pads) if members is None else sum(pads[self.members.index(name)] for name in members)
        return self._equal(self._product(index, chunk) + padded, tag)

    def first_misfit(self, chunks: U64, tags: Sequence[int]) -> int | None:
        """The first chunk of a sum over the whole cohort that does not fit its tag; None where all of them do.

        Args:
            chunks: (chunks, 8192) summed coefficients below q.
            tags: the sums of the members' tags mod q; another number of them than of chunks is misfit 0.
        """
        if len(tags) != len(chunks) or not len(chunks):
            return 0
        for index, (chunk, tag) in enumerate(zip(chunks, tags, strict=True)):
            if not self.fits(index, chunk, tag):
                return index
        return None

    @staticmethod
    def _equal(expected: int, tag: int) -> bool:
        return 0 <= tag < Q and compare_digest((expected % Q).to_bytes(8, "big"), tag.to_bytes(8, "big"))

    def canaries(self, chunks: int, member: str, t: int) -> U64:
        """What a member puts in each chunk's last slot, (chunks,) numbers below t = 2ᵇ."""
        mine: U64 = self._canaries(chunks, t)[self.members.index(member)]
        return mine

    def canary_sums(self, chunks: int, t: int) -> U64:
        """What the last slot of each summed chunk must hold, (chunks,) numbers below t = 2ᵇ."""
        sums: U64 = self._canaries(chunks, t).sum(axis=0) & np.uint64(t - 1)
        return sums

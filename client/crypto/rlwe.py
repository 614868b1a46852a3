"""The group's encryption: additively homomorphic symmetric RLWE, and nothing more of it (docs/adr/0024).

This is the secret-key form of BFV (Fan & Vercauteren 2012, https://eprint.iacr.org/2012/144): a ciphertext of slots m is
(c₀, a) with a uniform mod q, expanded from a public seed, and c₀ = Δ·m + e − a·s; sums of ciphertexts are ciphertexts of
sums. The secret s has coefficients −1, 0, 1 and follows from the group seed, so that all members hold it and nobody sends
it; a member's a and e are its own, from its own entropy.

The one operation that costs is a·s in the ring: a floating-point FFT computes it exactly. With N = 4096 and a in two
limbs of 32 bits, centred, the error of a coefficient is at most 2⁻⁵³·155·‖limb‖·‖s‖ ≤ 0.16 < ½ (Brent, Percival &
Zimmermann, *Error bounds on complex floating-point multiplication*, 2007), so rounding gives the integer; what is seen
stays below 10⁻², and more than ¼ is refused.
"""

from hashlib import sha256
from typing import cast
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from fedrepay.shared import keys
from fedrepay.shared.arrays import F64, I64, U64
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.secure_sum.ciphertext import SEED_BYTES, second_polynomial
from fedrepay.shared.secure_sum.ring import COEFFICIENTS, Q_GAP, N, Q
from fedrepay.shared.secure_sum.stream import uniform

_C128 = NDArray[np.complex128]
_HALF = N // 2
_TWIST = np.exp(1j * np.pi * np.arange(_HALF) / N)  # powers of a 2N-th root of unity
_UNTWIST = _TWIST.conj()
_WORD = np.uint64(32)
_LOW = np.uint64((1 << 32) - 1)
_CENTRE = 2.0**31
_NOISE_BITS = 21
_NOISE_MASK = np.uint64((1 << _NOISE_BITS) - 1)
_LARGEST_ERROR = 0.25


class GroupKey:
    """The secret key of one epoch, which encrypts and decrypts. Made of the group seed alone: the same at every member."""

    def __init__(self, secret: I64) -> None:
        """Of the secret polynomial itself, (4096,) numbers −1, 0 or 1: :meth:`derive` makes it."""
        self._at_roots = _forward(secret.astype(np.float64))
        # what centring takes off a limb, 2³¹ at every coefficient, comes back as 2³¹ times this
        self._ones = np.rint(_inverse(_forward(np.ones(N)) * self._at_roots)) * _CENTRE

    @classmethod
    def derive(cls, seed: bytes, epoch: bytes) -> "GroupKey":
        """The key of an epoch: a uniform ternary polynomial. Members of one process share it while one of them holds it.

        Args:
            seed: the group seed (32 bytes).
            epoch: the epoch's id (32 bytes).
        """
        asked = sha256(b"group key" + seed + epoch).digest()
        group = _in_use.get(asked)
        if group is None:
            ternary = uniform(keys.derive(seed, "rlwe", epoch), 3, N).astype(np.int64) - 1
            group = _in_use[asked] = cls(ternary)
        return group

    def encrypt(self, slots: U64, bits: int, entropy: Entropy) -> tuple[bytes, U64]:
        """Encrypt with fresh randomness.

        Args:
            slots: (chunks, 4096) numbers below t.
            bits: b of t = 2ᵇ.
            entropy: of seeds and encryption noise; used once and never again.

        Returns:
            the wire form, 32,800 bytes a chunk, and the same as (chunks, 8192) coefficients below q.
        """
        out = np.empty((len(slots), COEFFICIENTS), dtype=np.uint64)
        wire = []
        for index, plain in enumerate(slots):
            seed = entropy.draw(SEED_BYTES)
            first, second = out[index, :N], out[index, N:]
            second[:] = second_polynomial(seed)
            product = self._product(second)
            scaled = _scaled(plain, bits)
            noise = _noise(entropy)
            noise += (scaled & _LOW).view(np.int64)
            first[:] = _reduced(noise - product[0], (scaled >> _WORD).view(np.int64) - product[1])
            wire += [first.astype("<u8", copy=False).tobytes(), seed]
        return b"".join(wire), out

    def decrypt(self, chunks: U64, bits: int) -> U64:
        """Decrypt what a verified tag vouches for, and nothing else: see ``opening``.

        Args:
            chunks: (chunks, 8192) coefficients below q.
            bits: b of t = 2ᵇ.

        Returns:
            (chunks, 4096) numbers below t.
        """
        out = np.empty((len(chunks), N), dtype=np.uint64)
        for index, chunk in enumerate(chunks):
            low, high = self._product(chunk[N:])
            low += (chunk[:N] & _LOW).view(np.int64)
            high += (chunk[:N] >> _WORD).view(np.int64)
            phase = _reduced(low, high)  # Δ·m + e
            # t·x/q to the nearest: x·(1 + gap/2⁶⁴)·2ᵇ⁻⁶⁴; what passes 2⁶⁴ is 0 mod t
            phase += ((phase >> _WORD) * np.uint64(Q_GAP)) >> _WORD
            phase += np.uint64(1 << (63 - bits))
            out[index] = phase >> np.uint64(64 - bits)
        return out

    def _product(self, polynomial: U64) -> I64:
        """a·s, exactly, as (2, 4096) integers below 2⁴⁴: row 0 plus 2³² times row 1."""
        limbs = polynomial.astype("<u8", copy=False).view("<u4").reshape(N, 2).T.astype(np.float64)
        limbs -= _CENTRE
        product = _inverse(_forward(limbs) * self._at_roots)
        whole = np.rint(product)
        product -= whole
        if not max(product.max(), -product.min()) < _LARGEST_ERROR:
            raise ProtocolError(
                "The floating-point transforms of this machine are not exact enough to encrypt or decrypt with.",
                "Nothing was sent or opened. Use the pinned numpy and scipy on a processor with IEEE 754 doubles.",
            )
        whole += self._ones
        return whole.astype(np.int64)


_in_use: WeakValueDictionary[bytes, GroupKey] = WeakValueDictionary()


def _forward(polynomial: F64) -> _C128:
    """(…, 4096) coefficients → values at half of the roots of Xᴺ + 1 (the others are conjugate), (…, 2048)."""
    folded = np.empty((*polynomial.shape[:-1], _HALF), dtype=np.complex128)
    folded.real, folded.imag = polynomial[..., :_HALF], polynomial[..., _HALF:]
    folded *= _TWIST
    return cast("_C128", fft.ifft(folded, overwrite_x=True, norm="forward"))


def _inverse(values: _C128) -> F64:
    """The inverse of :func:`_forward`."""
    folded = fft.fft(values, overwrite_x=True, norm="forward")
    folded *= _UNTWIST
    return np.concatenate((folded.real, folded.imag), axis=-1)


def _scaled(plain: U64, bits: int) -> U64:
    """Δ·m, q·m/2ᵇ = m·2⁶⁴⁻ᵇ − gap·m/2ᵇ, to the nearest within 2⁻¹³ more."""
    less = (plain >> np.uint64(16)) * np.uint64(Q_GAP) + np.uint64(1 << (bits - 17))
    scaled: U64 = (plain << np.uint64(64 - bits)) - (less >> np.uint64(bits - 16))
    return scaled


def _reduced(low: I64, high: I64) -> U64:
    """Low + 2³²·high mod q, of integers below 2⁶²; both are overwritten."""
    high += low >> 32
    low &= (1 << 32) - 1
    over = high >> 32  # so often 2⁶⁴, which is the gap mod q
    words = (high.view(np.uint64) << _WORD) | low.view(np.uint64)
    over *= Q_GAP
    total = words + over.view(np.uint64)
    wrapped = (total < words) != (over < 0)
    if wrapped.any():  # in one of some 2³⁵ coefficients
        total = np.where(
            wrapped, np.where(over < 0, total - np.uint64(Q_GAP), total + np.uint64(Q_GAP)), total
        )
    reduced: U64 = np.minimum(total, total - np.uint64(Q))  # below q the difference wraps upwards
    return reduced


def _noise(entropy: Entropy) -> I64:
    """(4096,) draws of the centred binomial of 2·21 bits: variance 10.5, at most 21, as SEAL draws it."""
    words = np.frombuffer(entropy.draw(8 * N), dtype="<u8")
    plus: I64 = np.bitwise_count(words & _NOISE_MASK).astype(np.int64)
    plus -= np.bitwise_count((words >> np.uint64(_NOISE_BITS)) & _NOISE_MASK)
    return plus

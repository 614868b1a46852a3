"""The number-theoretic transform in SEAL's order, on Python's integers (exact for primes of 60 bits).

SEAL keeps CKKS ciphertexts and secret keys as values at the odd powers of the least primitive 2N-th root ψ of the
prime, value i at the power 2·rev(i) + 1 with rev the reversal of log₂N bits (Longa and Naehrig, CANS 2016).
"""

from functools import cached_property

import numpy as np

from fedrepay.shared.arrays import I64, Objects


class Transform:
    """Polynomials modulo X^N + 1 and p, as coefficients and as values.

    Args:
        n: N, a power of two.
        p: a prime with p ≡ 1 mod 2N.
    """

    def __init__(self, n: int, p: int) -> None:
        self.n, self.p = n, p

    @cached_property
    def root(self) -> int:
        """ψ, the least primitive 2N-th root of unity."""
        base = next(
            root
            for x in range(2, self.p)
            if pow(root := pow(x, (self.p - 1) // (2 * self.n), self.p), self.n, self.p) != 1
        )
        square, power, least = base * base % self.p, base, base
        for _ in range(self.n - 1):
            power = power * square % self.p
            least = min(least, power)
        return least

    @cached_property
    def _reversed(self) -> I64:
        bits = self.n.bit_length() - 1
        return np.array([int(f"{i:0{bits}b}"[::-1], 2) for i in range(self.n)])

    def _powers(self, base: int, count: int) -> Objects:
        powers = [1]
        for _ in range(count - 1):
            powers.append(powers[-1] * base % self.p)
        return np.array(powers, dtype=object)

    def _cyclic(self, values: Objects, root: int) -> Objects:
        """Σₖ vₖ·root^(jk) for each j (Stockham's order, so that nothing is reversed)."""
        half, inner = self.n // 2, 1
        while half:
            first, second = values.reshape(2, half, inner)
            turned = (first - second) * self._powers(root, half)[:, None] % self.p
            values = np.stack([(first + second) % self.p, turned], axis=1).ravel()
            half, inner, root = half // 2, inner * 2, root * root % self.p
        return values

    def forward(self, coefficients: Objects) -> Objects:
        """Values of a polynomial, (N,), from its coefficients, (N,)."""
        twisted = coefficients * self._powers(self.root, self.n) % self.p
        return self._cyclic(twisted, self.root * self.root % self.p)[self._reversed]

    def inverse(self, values: Objects) -> Objects:
        """Coefficients below p, (N,), from values, (N,)."""
        back = pow(self.root, -1, self.p)
        coefficients = self._cyclic(values[self._reversed], back * back % self.p)
        return np.asarray(coefficients * self._powers(back, self.n) * pow(self.n, -1, self.p) % self.p)

    def inverted(self, values: Objects) -> Objects:
        """1/v mod p of each value."""
        return np.array([pow(int(value), -1, self.p) for value in values], dtype=object)

    def centred(self, numbers: Objects) -> Objects:
        """Representatives in (−p/2, p/2)."""
        return np.where(numbers > self.p // 2, numbers - self.p, numbers)

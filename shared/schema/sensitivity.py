"""How far one row of a code book can move a sum: integer bounds, block by block (docs/protocol.md, *Integers*)."""

import math
from collections.abc import Iterable

import numpy as np

from fedrepay.shared.arrays import I32

Matrices = Iterable[I32]


def maxima(matrices: Matrices) -> tuple[int, int]:
    """N and Q: sums over blocks of the largest ΣC² and ΣC⁴ of a row (dependent blocks only lower them)."""
    squares = [matrix.astype(np.int64) ** 2 for matrix in matrices]
    return (
        sum(int(each.sum(axis=1).max()) for each in squares),
        sum(int((each**2).sum(axis=1).max()) for each in squares),
    )


def gram_norm(matrices: Matrices) -> int:
    """⌈√((N² + Q)/2)⌉: the upper triangle of C·Cᵀ has squared norm (‖C‖⁴ + ΣC⁴)/2."""
    most, fourth = maxima(matrices)
    wanted = most * most + fourth
    root = math.isqrt(wanted // 2)
    return root if 2 * root * root >= wanted else root + 1


def row_norm(matrices: Matrices) -> int:
    """⌈√N⌉."""
    most, _ = maxima(matrices)
    root = math.isqrt(most)
    return root if root * root >= most else root + 1

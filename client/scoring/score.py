"""Scores of the shared model on a member's own rows, and the reasons for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedrepay.shared.arrays import F64, I64, U16
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.fields import GRAM_LEARNERS

MOST_REASONS = 4


def good_value(book: CodeBook, head: int = 0) -> int:
    """Which value of a head's outcome is the good one, 0 or 1."""
    good = book.schema.outcomes[head].good
    return 1 if good is None else int(good)


def probability(book: CodeBook, weights: F64, codes: U16) -> F64:
    """P(outcome = 1) of one head for each row, (n,): σ(x·w) with x = C/S and the head's w, (d,)."""
    effects = block_effects(book, weights)
    score = np.full(len(codes), effects[-1][0])
    for column, effect in enumerate(effects[:-1]):
        score += effect[codes[:, column]]
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * score)))


def block_effects(book: CodeBook, weights: F64) -> list[F64]:
    """Log-odds of outcome 1 that each bin of each block adds: one (bins,) array a block."""
    return [
        block.matrix @ weights[columns] / book.scale
        for block, columns in zip(book.blocks, book.slices, strict=True)
    ]


@dataclass(frozen=True)
class Contributions:
    """Contributions against the consortium's average account: w·(x − x̄), a block at a time.

    x̄ comes from the intercept column of the opened, noisy Gram matrix where there is one, else from
    the plain mean over a block's bins; both are public to the members.
    """

    book: CodeBook
    effects: tuple[F64, ...]
    average: tuple[float, ...]

    @classmethod
    def of(cls, book: CodeBook, weights: F64, first_sum: I64, learner: str) -> "Contributions":
        """Prepare reasons for a release."""
        effects = block_effects(book, weights)[:-1]
        if learner not in GRAM_LEARNERS:
            return cls(book, tuple(effects), tuple(float(e.mean()) for e in effects))
        column = last_column(first_sum, book.dimension)
        mean = column / max(column[-1], 1.0) * float(book.blocks[-1].matrix[0, 0]) / book.scale
        average = tuple(float(mean[s] @ weights[s]) for s in book.slices[:-1])
        return cls(book, tuple(effects), average)

    def parts(self, codes: U16, good: int) -> F64:
        """What each block adds to a row's log-odds of the good outcome, against the average account; (n, blocks − 1)."""
        towards = 1.0 if good == 1 else -1.0
        return np.stack(
            [towards * (effect[codes[:, i]] - self.average[i]) for i, effect in enumerate(self.effects)],
            axis=1,
        )

    def top(self, codes: U16, good: int) -> list[Sequence[str]]:
        """Up to four reasons a row, strongest first; the sign is towards (+) or away from (−) the good outcome."""
        parts = self.parts(codes, good)
        order = strongest(parts)[:, :MOST_REASONS]
        return [
            [self._text(int(block), int(codes[row, block]), float(parts[row, block])) for block in blocks]
            for row, blocks in enumerate(order)
        ]

    def feature(self, block: int) -> str:
        """What a block is about: its column, or those of a cross."""
        here = self.book.blocks[block]
        return " × ".join(here.columns) if here.kind == "cross" else here.name

    def _text(self, block: int, code: int, part: float) -> str:
        return f"{self.feature(block)} {self.book.blocks[block].labels[code]} ({part:+.2f})"


def strongest(parts: F64) -> I64:
    """Blocks of each row in order of how much they add or take, (n, blocks − 1)."""
    return np.argsort(-np.abs(parts), axis=1, kind="stable")


def last_column(upper: I64, dimension: int) -> F64:
    """The last column of a symmetric matrix given as its row-major upper triangle, (d,)."""
    rows = np.arange(dimension)
    ends = (rows + 1) * dimension - rows * (rows + 1) // 2 - 1
    return np.asarray(upper[ends], np.float64)

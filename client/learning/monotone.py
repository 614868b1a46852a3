"""The release made monotone where the schema asks for it: post-processing of weights, so no privacy is spent.

In every block that reads a monotone column, the effects of its bins, C·w/S, are replaced by their isotonic
regression (pool adjacent violators; Barlow, Bartholomew, Bremner, Brunk 1972), the missing bin left out, and w
is solved for again. A cross is done along one side and then along the other: isotonic regression keeps order
(its min-max form rises with every value), so the second pass leaves the first one's order standing. Main
effects and crosses are each monotone in the column, so their sum is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedrepay.shared.schema import bins

if TYPE_CHECKING:
    from fedrepay.shared.arrays import F64
    from fedrepay.shared.schema.codebook import CodeBook
    from fedrepay.shared.schema.columns import Column


def project(book: CodeBook, weights: F64) -> F64:
    """Weights of the nearest kind whose effects are monotone, towards the good outcome of every head.

    Args:
        book: the code book; a monotone block's table has an inverse (``schema build`` checks it).
        weights: the learner's model, shape (H, d).

    Returns:
        shape (H, d); blocks without a monotone column, or monotone already, are as they were.
    """
    out = weights.copy()
    for layout, block, columns in zip(bins.layouts(book.schema), book.blocks, book.slices, strict=False):
        sides = [book.schema.column(side.column) for side in layout.sides]
        if not any(column.monotone for column in sides):
            continue
        table = block.matrix / book.scale
        shape = [len(side.labels) for side in layout.sides]
        for head, outcome in enumerate(book.schema.outcomes):
            effects = (table @ weights[head, columns]).reshape(shape)
            wanted = effects.copy()
            for axis, (side, column) in enumerate(zip(layout.sides, sides, strict=True)):
                if column.monotone is not None:
                    along = np.moveaxis(wanted, axis, 0)[: shape[axis] - side.has_missing]
                    sign = _sign(column, outcome)
                    along[...] = sign * np.apply_along_axis(isotonic, 0, sign * along)
            if not np.array_equal(wanted, effects):
                out[head, columns] = np.linalg.solve(table, wanted.ravel())
    return out


def isotonic(values: F64) -> F64:
    """The closest rising sequence in least squares, shape (n,): adjacent violators are pooled."""
    means: list[float] = []
    sizes: list[int] = []
    for value in values.tolist():
        mean, size = value, 1
        while means and means[-1] > mean:
            before, many = means.pop(), sizes.pop()
            mean, size = (before * many + mean * size) / (many + size), many + size
        means.append(mean)
        sizes.append(size)
    return np.repeat(means, sizes)


def _sign(column: Column, outcome: Column) -> float:
    """1.0 where the log-odds of outcome 1 must rise with the column, else −1.0."""
    return 1.0 if (column.monotone == "up") == (outcome.good == 1) else -1.0

"""Schemas of several heads, and rows for them."""

import numpy as np

from fedrepay.shared.arrays import U16
from fedrepay.shared.schema.codebook import CodeBook, build
from support.schemas import column, cross, schema


def outcome(name: str, good: int = 1, **given: object) -> str:
    return column(name, "integer", "outcome", good=good, **given)


KINDS = column("kind", "category", "plan", categories=["token", "full", "settle"])
SCHEMA = schema(
    column("a", monotone="up", missing="bin"),
    column("n", "number", "plan", bounds=[1, 60], edges=[6, 12, 24, 36], monotone="down"),
    column("z", bounds=[0, 100], edges=[20, 40, 60]),
    KINDS,
    outcome("first", 1, prior=0.6, missing="outside"),
    outcome("broken", 0, prior=0.1, missing="outside"),
    cross("a", "n", [[10, 50], [6, 12, 24]]),
    cross("z", "a", [[50], [5, 10, 50]]),
    cross("z", "kind", [[50], []]),
    public="scale = 256",
)
"""Three heads: ``late`` (good 0), ``first`` (good 1), ``broken`` (good 0)."""


def book(text: str = SCHEMA) -> CodeBook:
    return build(text.encode())


def codes(of: CodeBook, n: int, seed: int) -> U16:
    """Random bins of every block, (n, blocks − 1)."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.integers(0, len(b.matrix), n) for b in of.blocks[:-1]]).astype(np.uint16)

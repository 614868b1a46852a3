"""A small code book with the interface of ``shared.schema.codebook``, made without a schema file."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from fedrepay.shared.arrays import F64, I32, U16
    from fedrepay.shared.schema.codebook import CodeBook


@dataclass(frozen=True)
class TinyBlock:
    name: str
    kind: str
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    matrix: I32


@dataclass(frozen=True)
class TinyBook:
    schema: Any
    blocks: tuple[TinyBlock, ...]
    scale: int
    weight_bits: int
    residual_scale: int
    residual_scales: tuple[int, ...]

    @property
    def heads(self) -> int:
        return len(self.residual_scales)

    @property
    def slices(self) -> tuple[slice, ...]:
        ends = np.cumsum([block.matrix.shape[1] for block in self.blocks]).tolist()
        return tuple(slice(end - b.matrix.shape[1], end) for end, b in zip(ends, self.blocks, strict=True))

    @property
    def dimension(self) -> int:
        return int(self.slices[-1].stop)

    @property
    def norms(self) -> tuple[int, int]:
        squares = [b.matrix.astype(np.int64) ** 2 for b in self.blocks]
        return sum(int(s.sum(1).max()) for s in squares), sum(int((s**2).sum(1).max()) for s in squares)

    @property
    def delta_gram(self) -> int:
        n, q = self.norms
        return (1 << self.weight_bits) * int(np.ceil(np.sqrt((n * n + q) / 2)))

    @property
    def delta_gradient(self) -> int:
        return (1 << self.weight_bits) * self.residual_scale * int(np.ceil(np.sqrt(self.norms[0])))

    @property
    def delta_label(self) -> int:
        return self.delta_gradient // 2

    def rows(self, codes: U16) -> F64:
        parts = [b.matrix[codes[:, i]] for i, b in enumerate(self.blocks[:-1])]
        parts.append(np.repeat(self.blocks[-1].matrix, len(codes), axis=0))
        return np.hstack(parts).astype(np.float64)


def tiny_book(
    bins: tuple[int, ...] = (4, 3, 5),
    *,
    weight_bits: int = 0,
    p_floor: float | None = None,
    residual_scale: int = 1 << 16,
    head_weights: tuple[float, ...] = (1.0,),
    outside: bool = False,
) -> CodeBook:
    """Blocks of ordered bins (neighbours share strength) and an intercept, S = 64, prior 0.2; ``outside``: rows may be outside a head.

    No check stands on ``head_weights``: a test may give too much to all heads together.
    """
    length = 1 / np.sqrt(len(bins) + 1)
    blocks = []
    for i, k in enumerate(bins):
        places = np.arange(k)
        kernel = 0.7 * np.exp(-((places[:, None] - places) ** 2) / (2 * 1.5**2)) + 0.3 * np.eye(k)
        values, vectors = np.linalg.eigh(kernel)
        root = (vectors * np.sqrt(values)) @ vectors.T
        matrix = np.trunc(64 * length * root).astype(np.int32)
        blocks.append(TinyBlock(f"f{i}", "feature", (f"f{i}",), tuple(map(str, places)), matrix))
    one = np.array([[int(64 * length)]], dtype=np.int32)
    blocks.append(TinyBlock("intercept", "intercept", (), ("",), one))
    public = SimpleNamespace(n_max=10_000, members_max=8, p_floor=p_floor, ridge_factor=8.0, curvature=0.12)
    outcomes = [SimpleNamespace(name="y", missing="outside" if outside else "refuse")] * len(head_weights)
    schema = SimpleNamespace(public=public, priors=(0.2,) * len(head_weights), outcomes=outcomes, starts=())
    scales = tuple(int(residual_scale * weight) for weight in head_weights)
    book = TinyBook(schema, tuple(blocks), 64, weight_bits, residual_scale, scales)
    return cast("CodeBook", book)

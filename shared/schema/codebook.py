"""The code book: one integer matrix per block, made once from a schema and shipped beside it.

Row = bin, column = coordinate; the model sees x = C/S. Everything an account brings to a secure sum is
a product of rows of these tables, so sums are exact and sensitivities are integers
(docs/protocol.md, *Integers*).
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from fedrepay.shared.arrays import F64, I32, U16
from fedrepay.shared.errors import SchemaError
from fedrepay.shared.files import read_bytes, write_atomically
from fedrepay.shared.schema import bins, sensitivity, tables
from fedrepay.shared.schema.columns import PAIR
from fedrepay.shared.schema.model import Schema, parse_schema
from fedrepay.shared.secure_sum import ring

SUFFIX = ".codebook.safetensors"
PLAIN_MODULUS = ring.plain_modulus(46)
"""t of GAM sums: one field a slot (docs/protocol.md, *Parameters of the encryption*)."""

WORST_NOISE = 8192
"""σ_total/Δ of one sum in the worst setting that R leaves room for.

ε = 0.1 and δ = 1/(10·256·10,000) = 3.9e-8 give μ = 0.0231; one of 100 equal sums has μ/10; c = K − 2 at K = 256
members makes the total √(K/(K − c)) = 11.3 times the honest part; half of μ² lost to void attempts is another √2:
1.41·11.3/0.00231 = 6,910. A run beyond that is refused by its own check of the range (accounting).
"""
OVERFLOW_SIGMAS = 11
"""Noise of 11σ: overflow probability below 2⁻⁷⁰."""

WEIGHT_BITS = 6
LARGEST_R, SMALLEST_R = 1 << 16, 128
SMALLEST_HEAD = 32
"""Grid units that the residual of the lightest head must have."""


@dataclass(frozen=True)
class Block:
    """One feature, cross or the intercept: ``matrix`` is C, (bins, width), grid units."""

    name: str
    kind: Literal["feature", "cross", "intercept"]
    columns: tuple[str, ...]
    labels: tuple[str, ...]
    matrix: I32


@dataclass(frozen=True)
class CodeBook:
    """A schema with its integer tables.

    ``blocks`` are the features in schema order, then the crosses, then the intercept (one bin, one
    column). ``scale`` is S, ``weight_bits`` b, ``residual_scale`` R; all are public.
    """

    schema: Schema = field(repr=False, compare=False)
    schema_bytes: bytes = field(repr=False, compare=False)
    codebook_bytes: bytes = field(repr=False, compare=False)
    blocks: tuple[Block, ...] = field(repr=False, compare=False)
    schema_hash: bytes
    scale: int
    weight_bits: int
    residual_scale: int

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """The columns of each block in a row of C."""
        ends = np.cumsum([block.matrix.shape[1] for block in self.blocks]).tolist()
        return tuple(slice(a, b) for a, b in zip([0, *ends[:-1]], ends, strict=True))

    @property
    def matrices(self) -> tuple[I32, ...]:
        """C of each block."""
        return tuple(block.matrix for block in self.blocks)

    @cached_property
    def residual_scales(self) -> tuple[int, ...]:
        """⌊R·w⌋ of each head: whole numbers whose squares add up to at most R²."""
        return tuple(math.floor(self.residual_scale * weight) for weight in self.schema.head_weights)

    @property
    def heads(self) -> int:
        """H: the outcomes that the model predicts."""
        return len(self.residual_scales)

    @property
    def dimension(self) -> int:
        """All columns of one head, d, the intercept included."""
        return int(self.slices[-1].stop)

    @cached_property
    def delta_gram(self) -> int:
        """L2 sensitivity of the Gram sum's upper triangle to one customer, grid units of 2ᵇS²."""
        return (1 << self.weight_bits) * sensitivity.gram_norm(self.matrices)

    @cached_property
    def delta_gradient(self) -> int:
        """L2 sensitivity of all heads' joint gradient sum to one customer, grid units of 2ᵇRS.

        A row adds r̂ₕ·C to head h with |r̂ₕ| ≤ ⌊R·wₕ⌋, so all heads together at most R·‖C‖, as one head does.
        """
        return (1 << self.weight_bits) * self.residual_scale * sensitivity.row_norm(self.matrices)

    @cached_property
    def delta_label(self) -> int:
        """L2 sensitivity of all heads' joint sum of labels, or of one without labels, to one customer, grid units of 2ᵇRS.

        Half a gradient's, exactly: |y − ½| = ½ and |p − ½| ≤ ½ leave |r̂ₕ| ≤ ⌊⌊R·wₕ⌋/2⌋, and R is even.
        """
        return self.delta_gradient // 2

    def rows(self, codes: U16) -> F64:
        """C of each row, (n, d) and integer-valued, from codes (n, blocks − 1).

        Raises:
            IndexError: a code beyond its block's bins.
        """
        out = np.empty((len(codes), self.dimension))
        for index, (block, columns) in enumerate(zip(self.blocks[:-1], self.slices[:-1], strict=True)):
            out[:, columns] = block.matrix[codes[:, index]]
        out[:, self.slices[-1]] = self.blocks[-1].matrix[0]
        return out


def build(schema_bytes: bytes, source: str = "schema") -> CodeBook:
    """Make the code book of a schema; the same bytes every time on one machine.

    Raises:
        SchemaError: the schema is wrong, has bounds still to confirm, or leaves too little range.
    """
    from safetensors.numpy import save as to_bytes  # noqa: PLC0415 - wanted at build time only

    schema = parse_schema(schema_bytes, source)
    if schema.unconfirmed:
        raise SchemaError(
            f"{source}: still marked to confirm: {', '.join(schema.unconfirmed)}.",
            "Put public bounds, edges or categories in (never read off the data) and drop `confirmed = false`.",
        )
    layouts = bins.layouts(schema)
    made = tables.of(schema, layouts)
    tensors = dict(zip((*map(_key, range(len(layouts)), layouts), "intercept"), made, strict=True))
    # One metadata entry: several would come out in any order.
    data = to_bytes(tensors, metadata={"schema_sha256": hashlib.sha256(schema_bytes).hexdigest()})
    return from_bytes(schema_bytes, data, source)


def _key(index: int, layout: bins.Layout) -> str:
    return f"{index:03d} {layout.name.replace(PAIR, ' x ')}"


def from_bytes(schema_bytes: bytes, codebook_bytes: bytes, source: str = "schema") -> CodeBook:
    """A code book from the two files' bytes, checked against each other.

    Raises:
        SchemaError: they do not belong together, or the range is too small.
    """
    import safetensors  # noqa: PLC0415
    from safetensors.numpy import load as of_bytes  # noqa: PLC0415

    schema = parse_schema(schema_bytes, source)
    try:
        tensors = of_bytes(codebook_bytes)
        header = json.loads(codebook_bytes[8 : 8 + int.from_bytes(codebook_bytes[:8], "little")])
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise _mismatch(source, "is damaged") from error
    made_from = (header.get("__metadata__") or {}).get("schema_sha256")
    if made_from != hashlib.sha256(schema_bytes).hexdigest():
        raise _mismatch(source, "was made from another text of the schema")
    layouts = bins.layouts(schema)
    keys = [_key(index, layout) for index, layout in enumerate(layouts)]
    if set(tensors) != {*keys, "intercept"}:
        raise _mismatch(source, "holds other blocks")
    matrices = [tensors[key] for key in (*keys, "intercept")]
    tables.check_starts(schema, source)
    if not tables.check_shapes(schema, layouts, matrices):
        raise _mismatch(source, "holds tables of another shape or size")
    for matrix in matrices:
        matrix.setflags(write=False)
    tables.check(schema, layouts, matrices, source)
    blocks = [
        Block(layout.name, layout.kind, layout.columns, layout.labels, matrix)
        for layout, matrix in zip(layouts, matrices, strict=False)
    ]
    blocks.append(Block("intercept", "intercept", (), ("always",), matrices[-1]))
    bits = _weight_bits(schema)
    return CodeBook(
        schema=schema,
        schema_bytes=schema_bytes,
        codebook_bytes=codebook_bytes,
        blocks=tuple(blocks),
        schema_hash=hashlib.sha256(
            len(schema_bytes).to_bytes(8, "big") + schema_bytes + codebook_bytes
        ).digest(),
        scale=schema.public.scale,
        weight_bits=bits,
        residual_scale=_residual_scale(schema, matrices, bits, source),
    )


def _mismatch(source: str, why: str) -> SchemaError:
    return SchemaError(f"The code book beside {source} {why}.", f"Run `fedrepay schema build {source}`.")


def _weight_bits(schema: Schema) -> int:
    one_row = schema.public.one_row_per_customer or schema.customer is None
    return 0 if one_row and schema.propensity is None else WEIGHT_BITS


def _residual_scale(schema: Schema, matrices: Sequence[I32], bits: int, source: str) -> int:
    """R, the largest power of two ≤ 2¹⁶ that leaves every sum within ±t/2; SchemaError below 128."""
    most = max(int(np.abs(matrix).max()) for matrix in matrices)
    customers = schema.public.members_max * schema.public.n_max << bits
    noise = OVERFLOW_SIGMAS * WORST_NOISE << bits

    def fits(amount: int, norm: int) -> bool:
        return 2 * (customers * amount + noise * norm) < PLAIN_MODULUS

    scale, norm = LARGEST_R, sensitivity.row_norm(matrices)
    while scale >= SMALLEST_R and not fits(scale * most, scale * norm):
        scale //= 2
    if scale < SMALLEST_R or not fits(most * most, sensitivity.gram_norm(matrices)):
        raise SchemaError(
            f"{source}: sums of members_max {schema.public.members_max} × n_max {schema.public.n_max} "
            f"customers leave less than {SMALLEST_R} grid units for a residual.",
            "Lower public.n_max or public.members_max.",
        )
    if scale * min(schema.head_weights) < SMALLEST_HEAD:
        raise SchemaError(
            f"{source}: a head's weight of {min(schema.head_weights):g} leaves its residual less than "
            f"{SMALLEST_HEAD} of {scale} grid units.",
            "Give that outcome more weight, or lower public.n_max or public.members_max.",
        )
    return scale


def codebook_path(schema_path: Path) -> Path:
    """NAME.toml → NAME.codebook.safetensors, beside it."""
    return schema_path.with_name(schema_path.stem + SUFFIX)


def load(schema_path: Path) -> CodeBook:
    """Read a schema and the code book beside it.

    Raises:
        SchemaError: one of them is absent, wrong, or they do not match.
    """
    schema_bytes = read_bytes(schema_path, SchemaError)
    path = codebook_path(schema_path)
    if not path.is_file():
        parse_schema(schema_bytes, str(schema_path))
        raise SchemaError(f"There is no code book {path}.", f"Run `fedrepay schema build {schema_path}`.")
    return from_bytes(schema_bytes, read_bytes(path, SchemaError), str(schema_path))


def save(book: CodeBook, schema_path: Path) -> Path:
    """Write the code book beside its schema, all or nothing; returns its path.

    Raises:
        StorageError: it cannot be written; nothing half-written is left.
    """
    path = codebook_path(schema_path)
    write_atomically(path, book.codebook_bytes, "Free the disk or check rights.")
    return path

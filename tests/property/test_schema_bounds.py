"""The sensitivity that the accountant is given really bounds what one customer adds, in integers."""

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.shared.schema.codebook import CodeBook, build
from support.schemas import column, cross, schema


@st.composite
def books(draw: st.DrawFn) -> CodeBook:
    """Small code books: ordered blocks, categories, missing bins, sometimes a cross."""
    parts = []
    shares = draw(st.sampled_from([(1.0,), (0.4, 1.0, 2.0, 3.7)]))
    for index in range(draw(st.integers(1, 4))):
        missing, share = draw(st.sampled_from(["bin", "refuse"])), draw(st.sampled_from(shares))
        if draw(st.booleans()):
            edges = sorted(draw(st.sets(st.integers(1, 99), min_size=1, max_size=4)))
            parts.append(column(f"f{index}", bounds=[0, 100], edges=edges, missing=missing, share=share))
        else:
            count = draw(st.integers(2, 4))
            names = [f"c{each}" for each in range(count)]
            parts.append(column(f"f{index}", "category", categories=names, missing=missing, share=share))
    numbers = [index for index, part in enumerate(parts) if "edges" in part]
    if len(numbers) > 1 and draw(st.booleans()):
        parts.append(cross(f"f{numbers[0]}", f"f{numbers[1]}", [[50], [30, 60]]))
        parts[-1] += f"share = {draw(st.sampled_from(shares))}\n"
    scale = draw(st.sampled_from([16, 64, 200] if len(shares) == 1 else [64, 200]))
    return build(
        schema(*parts, public=f"scale = {scale}\np_floor = 0.2", customer=True).encode() + PROPENSITY
    )


PROPENSITY = column("p", "number", "propensity").encode()


@cache
def weights_free() -> CodeBook:
    """A book with weights (b = 6), large enough to be interesting."""
    parts = [column(f"f{index}", bounds=[0, 100], edges=[10, 20, 30, 40, 50, 60]) for index in range(6)]
    text = schema(*parts, cross("f0", "f1", [[30], [30]]), public="p_floor = 0.2").encode() + PROPENSITY
    return build(text)


def squares_and_fourths(book: CodeBook) -> list[set[tuple[int, int]]]:
    """For each block the (ΣC², ΣC⁴) that its rows reach."""
    return [
        {(int((row**2).sum()), int((row**4).sum())) for row in block.matrix.astype(np.int64)}
        for block in book.blocks
    ]


def knapsack(book: CodeBook) -> int:
    """The exact largest (‖C‖⁴ + ΣC⁴) over free combinations of bins, over reachable ‖C‖²."""
    best = {0: 0}
    for choices in squares_and_fourths(book):
        grown: dict[int, int] = {}
        for norm, fourth in best.items():
            for square, more in choices:
                grown[norm + square] = max(grown.get(norm + square, 0), fourth + more)
        best = grown
    return max(norm * norm + fourth for norm, fourth in best.items())


def brute(book: CodeBook) -> tuple[int, int]:
    """The largest 2·‖upper triangle of CCᵀ‖² and ‖C‖², by trying every combination of bins."""
    sizes = [len(block.labels) for block in book.blocks[:-1]]
    codes = np.array(list(itertools.product(*(range(size) for size in sizes))), dtype=np.uint16)
    rows = book.rows(codes).astype(np.int64)
    upper = np.triu_indices(book.dimension)
    grams = [int((np.outer(row, row)[upper] ** 2).sum()) for row in rows[:400]]
    norms, fourths = (rows**2).sum(axis=1), (rows**4).sum(axis=1)
    assert [2 * each for each in grams] == (norms**2 + fourths)[:400].tolist()
    return int((norms**2 + fourths).max()), int(norms.max())


@settings(max_examples=60, deadline=None)
@given(books())
def test_bound_is_at_least_knapsack_is_at_least_brute_force(book: CodeBook) -> None:
    one = 1 << book.weight_bits
    exact, (tried, norm) = knapsack(book), brute(book)
    assert 2 * (book.delta_gram // one) ** 2 >= exact >= tried
    assert (book.delta_gradient // (one * book.residual_scale)) ** 2 >= norm


def test_bound_stays_close_to_the_knapsack_on_the_largest_table() -> None:
    book = weights_free()
    bound = book.delta_gram / (1 << book.weight_bits)
    assert bound <= math.sqrt(knapsack(book) / 2) * 1.01


def floored(book: CodeBook, propensities: list[float]) -> np.ndarray:
    """â = ⌊2ᵇ·min(1, p_floor/p)/m⌋ of one customer's rows."""
    floor = book.schema.public.p_floor
    assert floor is not None
    weights = [min(1.0, floor / p) / len(propensities) for p in propensities]
    return np.array([math.floor((1 << book.weight_bits) * weight) for weight in weights], dtype=object)


@st.composite
def customers(draw: st.DrawFn) -> tuple[np.ndarray, list[float], list[int]]:
    """One customer of 1–50 rows, alike or not, with propensities and residuals r̂."""
    book = weights_free()
    sizes = [len(block.labels) for block in book.blocks[:-1]]
    row = st.tuples(*(st.integers(0, size - 1) for size in sizes))
    count = draw(st.integers(1, 50))
    same = draw(st.booleans())
    codes = [draw(row)] * count if same else draw(st.lists(row, min_size=count, max_size=count))
    propensity = st.floats(1e-6, 1.0, exclude_min=True)
    residual = st.integers(-book.residual_scale, book.residual_scale)
    ones = draw(st.booleans())
    ps = (
        [book.schema.public.p_floor or 1.0] * count
        if ones
        else draw(st.lists(propensity, min_size=count, max_size=count))
    )
    extreme = draw(st.booleans())
    rs = (
        [book.residual_scale] * count if extreme else draw(st.lists(residual, min_size=count, max_size=count))
    )
    return np.array(codes, dtype=np.uint16), ps, rs


def norms(book: CodeBook, codes: np.ndarray, weights: np.ndarray, residuals: list[int]) -> tuple[int, int]:
    """Squared integer norms of a customer's gradient and Gram contribution (upper triangle)."""
    rows = book.rows(codes).astype(np.int64).astype(object)
    gradient = sum(
        weight * residual * row for weight, residual, row in zip(weights, residuals, rows, strict=True)
    )
    upper = np.triu_indices(book.dimension)
    gram = sum(weight * np.outer(row, row)[upper] for weight, row in zip(weights, rows, strict=True))
    return int((gradient**2).sum()), int((gram**2).sum())


@settings(max_examples=40, deadline=None)
@given(customers())
def test_a_customer_of_many_rows_stays_within_both_sensitivities(
    case: tuple[np.ndarray, list[float], list[int]],
) -> None:
    book = weights_free()
    codes, propensities, residuals = case
    weights = floored(book, propensities)
    assert sum(weights) <= 1 << book.weight_bits
    gradient, gram = norms(book, codes, weights, residuals)
    assert gradient <= book.delta_gradient**2
    assert gram <= book.delta_gram**2


@pytest.mark.parametrize("rows", [4, 16, 49])
def test_control_a_root_of_the_weight_in_the_row_breaks_the_bound(rows: int) -> None:
    """√a in the row keeps the Gram matrix and makes the gradient √m too large."""
    book = weights_free()
    blocks = [int((block.matrix.astype(int) ** 2).sum(axis=1).argmax()) for block in book.blocks[:-1]]
    codes = np.tile(np.array(blocks, dtype=np.uint16), (rows, 1))
    one = 1 << book.weight_bits
    right = np.array([one // rows] * rows, dtype=object)
    root = np.array([math.floor(one * math.sqrt(1 / rows)) for _ in range(rows)], dtype=object)
    residuals = [book.residual_scale] * rows
    assert norms(book, codes, right, residuals)[0] <= book.delta_gradient**2
    assert norms(book, codes, root, residuals)[0] > book.delta_gradient**2


def test_control_rounding_to_nearest_would_pass_a_bound_of_truncation() -> None:
    """Truncated tables have rows no longer than S/√(blocks + 1); rounded ones do not."""
    book = weights_free()
    longest = book.scale**2 / len(book.blocks)
    block = book.blocks[0].matrix.astype(float)
    assert (block**2).sum(axis=1).max() <= longest
    rounded = np.ceil(np.abs(block) + 0.49)
    assert (rounded**2).sum(axis=1).max() > longest

"""A sum of labels and one without labels: exact integers, moved by one customer by at most half of Δ, and not by less."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.learning.contribution import Rows, gradient, label, label_free, prepare
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.schema import codebook, sensitivity
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.market import records
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA
from support.tiny_book import tiny_book

WEIGHTS = [(1.0,), (0.8, 0.6), (0.5, 0.5, 0.5, 0.5), (0.9, 0.3, 0.1), (1 / math.sqrt(3),) * 3]
BINS = (3, 2)
UNEVEN = 1002
"""A residual scale that gives heads odd ⌊R·w⌋: in a code book R is a power of two, and here at least even."""


def square(values: I64) -> int:
    """‖values‖², exact."""
    return sum(each * each for each in values.tolist())


def customer(book: CodeBook, codes: Sequence[tuple[int, ...]], outcomes: Sequence[tuple[int, ...]]) -> Rows:
    """All rows of one customer."""
    names = np.array(["x"] * len(codes), object)
    return prepare(book, np.array(codes, np.uint16), np.array(outcomes, np.int8), names, None)


def extremes(book: CodeBook) -> list[F64]:
    """Models that are certain of each head, of one label or the other."""
    one = np.full((book.heads, book.dimension), 1e6)
    return [one * np.array(signs)[:, None] for signs in product((-1.0, 1.0), repeat=book.heads)]


def worst(book: CodeBook, rows: int) -> tuple[int, int]:
    """Largest ‖label‖² and ‖label_free‖² of one customer: every bin, label, population and extreme model."""
    of_labels = without = 0
    for cell in product(*(range(size) for size in BINS)):
        for y in product((-1, 0, 1), repeat=book.heads):
            data = customer(book, [cell] * rows, [y] * rows)
            of_labels = max(of_labels, square(label(data)))
            without = max(without, *(square(label_free(data, model)) for model in extremes(book)))
    return of_labels, without


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("scale", [1 << 16, UNEVEN])
def test_all_heads_together_move_by_at_most_half_of_delta(
    weights: tuple[float, ...], rows: int, scale: int
) -> None:
    book = tiny_book(BINS, weight_bits=6 * (rows > 1), head_weights=weights, residual_scale=scale)
    assert 2 * book.delta_label == book.delta_gradient
    assert max(worst(book, rows)) <= book.delta_label**2


@pytest.mark.parametrize("scale", [128, 1 << 16])
def test_control_a_bound_one_unit_lower_is_passed(scale: int) -> None:
    """The longest row reaches ⌈‖C‖⌉ up to its rounding: with ‖C‖ one unit shorter the bound fails, for both sums."""
    book = tiny_book(BINS, residual_scale=scale)
    longest, _ = sensitivity.maxima(block.matrix for block in book.blocks)
    reached = worst(book, 1)
    assert reached == ((scale // 2) ** 2 * longest,) * 2, "exactly, in integers"
    lower = (scale // 2) * (sensitivity.row_norm(block.matrix for block in book.blocks) - 1)
    assert min(reached) > lower**2


def test_control_a_label_that_is_not_halved_passes_the_bound() -> None:
    """A gradient at its worst is Δ long: opened as a sum of labels it would be charged half."""
    book = tiny_book(BINS)
    data = customer(book, [(1, 1)], [(0,)])
    assert max(square(gradient(data, model)) for model in extremes(book)) > book.delta_label**2


@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.9, 0.9, 0.9)])
def test_control_heads_of_more_weight_than_one_pass_the_bound(weights: tuple[float, ...]) -> None:
    book = tiny_book(BINS, head_weights=weights)
    assert min(worst(book, 1)) > book.delta_label**2


@pytest.mark.parametrize("book", [records.book(), codebook.load(SHIPPED_SCHEMA)], ids=["market", "uci"])
def test_the_longest_row_of_a_real_code_book_stays_below(book: CodeBook) -> None:
    longest = tuple(int((block.matrix.astype(int) ** 2).sum(axis=1).argmax()) for block in book.blocks[:-1])
    data = Rows(
        book,
        np.array([longest], np.uint16),
        np.ones((1, book.heads), np.int8),
        np.array([float(1 << book.weight_bits)]),
        1,
        np.zeros(1, np.int64),
    )
    one_shorter = book.delta_label - (book.delta_label // sensitivity.row_norm(book.matrices))
    for values in (label(data), label_free(data, np.full((book.heads, book.dimension), 1e6))):
        assert square(values) <= book.delta_label**2
        assert book.heads > 1 or square(values) > one_shorter**2, "nor is the bound met by far"


@settings(deadline=None, max_examples=80)
@given(st.data())
def test_many_rows_of_a_customer_in_different_bins_and_populations(data: st.DataObject) -> None:
    weights = data.draw(st.sampled_from(WEIGHTS))
    book = tiny_book(BINS, weight_bits=6, head_weights=weights)
    m = data.draw(st.integers(1, 20))
    cells = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=m, max_size=m))
    labels = st.tuples(*[st.integers(-1, 1)] * len(weights))
    rows = customer(book, cells, data.draw(st.lists(labels, min_size=m, max_size=m)))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    model = rng.normal(0, data.draw(st.sampled_from([1.0, 1e6])), (book.heads, book.dimension))
    assert square(label(rows)) <= book.delta_label**2
    assert square(label_free(rows, model)) <= book.delta_label**2


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 40), st.integers(0, 2**32), st.sampled_from(WEIGHTS))
def test_both_are_the_exact_integer_sums(n: int, seed: int, weights: tuple[float, ...]) -> None:
    """Python's own integers, a row at a time; together they are the gradient up to a unit of truncation a row."""
    book = tiny_book(BINS, weight_bits=6, p_floor=0.05, head_weights=weights)
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, size, n) for size in BINS]).astype(np.uint16)
    outcomes = rng.integers(-1, 2, (n, book.heads)).astype(np.int8)
    names = rng.integers(0, 6, n).astype(str).astype(object)
    rows = prepare(book, codes, outcomes, names, rng.uniform(0.01, 1, n))
    model = rng.normal(0, 3, (book.heads, book.dimension))
    of_labels = [[0] * book.dimension for _ in weights]
    without = [[0] * book.dimension for _ in weights]
    for index in range(n):
        row = book.rows(codes[index : index + 1])[0].astype(int).tolist()
        for head, scale in enumerate(book.residual_scales):
            y = int(outcomes[index, head])
            score = sum(c * w for c, w in zip(row, model[head].tolist(), strict=True)) / book.scale
            even = math.trunc(scale * (1 / (1 + math.exp(-score)) - 0.5))
            half = (scale // 2) * (1 if y == 1 else -1)
            for k, c in enumerate(row):
                of_labels[head][k] += int(rows.weights[index]) * (half if y >= 0 else 0) * c
                without[head][k] += int(rows.weights[index]) * (even if y >= 0 else 0) * c
    assert label(rows).tolist() == [each for head in of_labels for each in head]
    slack = 64 * 64 * max(n, 1)  # a score's last bit may fall on the other side of a grid point: a unit a row
    found = label_free(rows, model)
    assert found.tolist() == pytest.approx([each for head in without for each in head], abs=slack)
    both = found - label(rows)
    assert gradient(rows, model).tolist() == pytest.approx(both.tolist(), abs=3 * slack)

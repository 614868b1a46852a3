"""One customer moves the joint gradient of all heads by at most Δ of one head: every row, label and population."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.client.learning.contribution import Rows, gradient, prepare
from fedrepay.shared.arrays import I64
from fedrepay.shared.errors import SchemaError
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.schema.model import parse_schema
from support import heads
from support.schemas import OUTCOME, column, schema
from support.tiny_book import tiny_book

WEIGHTS = [(1.0,), (0.8, 0.6), (0.5, 0.5, 0.5, 0.5), (0.9, 0.3, 0.1), (1 / math.sqrt(3),) * 3]
TOO_HEAVY = [(1.0, 1.0), (0.9, 0.9, 0.9)]
BINS = (3, 2)


def length(values: I64) -> float:
    return math.sqrt(sum(value * value for value in values.tolist()))


def customer(book: CodeBook, codes: Sequence[tuple[int, ...]], outcomes: Sequence[tuple[int, ...]]) -> Rows:
    """All rows of one customer."""
    m = len(codes)
    return prepare(
        book, np.array(codes, np.uint16), np.array(outcomes, np.int8), np.array(["x"] * m, object), None
    )


def worst(book: CodeBook, rows: int) -> float:
    """The largest change by one customer, over all its bins, labels, populations and extreme models."""
    cells = list(product(*(range(size) for size in BINS)))
    labels = list(product((-1, 0, 1), repeat=book.heads))
    model = np.full((book.heads, book.dimension), 1e6)
    found = 0.0
    for signs in product((-1.0, 1.0), repeat=book.heads):
        extreme = model * np.array(signs)[:, None]
        for cell in cells:
            found = max(
                found, *(length(gradient(customer(book, [cell] * rows, [y] * rows), extreme)) for y in labels)
            )
    return found


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("rows", [1, 3])
def test_the_joint_gradient_moves_by_at_most_delta(weights: tuple[float, ...], rows: int) -> None:
    book = tiny_book(BINS, weight_bits=6 * (rows > 1), head_weights=weights)
    reached = worst(book, rows)
    assert reached <= book.delta_gradient
    if sum(w * w for w in weights) > 0.999 and rows == 1:
        assert reached > 0.97 * book.delta_gradient, "the bound is not met by far, so the test sees nothing"


@pytest.mark.parametrize("weights", TOO_HEAVY)
def test_control_weights_of_more_than_one_exceed_it(weights: tuple[float, ...]) -> None:
    book = tiny_book(BINS, head_weights=weights)
    assert worst(book, 1) > book.delta_gradient


@pytest.mark.parametrize("weights", TOO_HEAVY)
def test_such_weights_are_refused_by_the_schema(weights: tuple[float, ...]) -> None:
    extra = "".join(heads.outcome(f"y{i}", weight=w) for i, w in enumerate(weights[1:]))
    text = schema(column("a"), extra).replace(OUTCOME, OUTCOME + f"weight = {weights[0]}\n")
    with pytest.raises(SchemaError, match=r"squared weights add up to .*the bound is 1"):
        parse_schema(text.encode(), "mine.toml")


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_many_rows_of_a_customer_in_different_bins_and_populations(data: st.DataObject) -> None:
    weights = data.draw(st.sampled_from(WEIGHTS))
    book = tiny_book(BINS, weight_bits=6, head_weights=weights)
    m = data.draw(st.integers(1, 20))
    cells = data.draw(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1)), min_size=m, max_size=m))
    labels = st.tuples(*[st.integers(-1, 1)] * len(weights))
    outcomes = data.draw(st.lists(labels, min_size=m, max_size=m))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    model = rng.normal(0, data.draw(st.sampled_from([1.0, 1e6])), (book.heads, book.dimension))
    assert length(gradient(customer(book, cells, outcomes), model)) <= book.delta_gradient


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0.05, 1), min_size=1, max_size=8))
def test_whole_numbers_of_grid_units_keep_the_bound_exactly(given_: list[float]) -> None:
    """Weights scaled to Σw² just below 1 + 1e-9, the most a schema may say: the squares of ⌊R·w⌋ stay within R²."""
    norm = math.hypot(*given_) / math.sqrt(1 + 0.9e-9)
    weights = [min(1.0, each / norm) for each in given_]
    if min(weights) < 0.01:
        return
    extra = "".join(heads.outcome(f"y{i}", weight=w) for i, w in enumerate(weights[1:]))
    text = schema(column("a"), extra).replace(OUTCOME, OUTCOME + f"weight = {weights[0]!r}\n")
    book = heads.book(text)
    assert sum(scale**2 for scale in book.residual_scales) <= book.residual_scale**2
    assert book.heads == len(weights)

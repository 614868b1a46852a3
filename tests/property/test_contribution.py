"""Contributions equal a slow oracle in Python integers, and one customer moves a sum by at most Δ."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedrepay.client.learning import contribution
from fedrepay.client.learning.contribution import MANY_ROWS, Rows, gradient, gram, prepare
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.errors import DataError, SchemaError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.market import records
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA
from support.tiny_book import tiny_book

PLAIN = tiny_book()
WEIGHTED = tiny_book(weight_bits=6, p_floor=0.05)
THREE = tiny_book(weight_bits=6, p_floor=0.05, head_weights=(0.8, 0.5, 0.3))


@st.composite
def members(draw: st.DrawFn) -> tuple[Rows, F64]:
    """A member's rows on a book of one or three heads, and model weights."""
    book = draw(st.sampled_from([PLAIN, WEIGHTED, THREE]))
    n = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    codes = np.column_stack([rng.integers(0, len(b.matrix), n) for b in book.blocks[:-1]]).astype(np.uint16)
    outcomes = rng.integers(-1, 2, (n, book.heads)).astype(np.int8)
    several = book.weight_bits > 0
    customers = (rng.integers(0, 6, n) if several else np.arange(n)).astype(str).astype(object)
    propensity = rng.uniform(0.01, 1, n) if several else None
    weights = rng.normal(0, draw(st.sampled_from([0.0, 1.0, 50.0])), (book.heads, book.dimension))
    return prepare(book, codes, outcomes, customers, propensity), weights


@pytest.fixture(params=[0, 1 << 40], ids=["pairs", "rows"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Gram matrix from pairs of bins, or from rows, however many there are."""
    monkeypatch.setattr(contribution, "MANY_ROWS", request.param)


def slow_rows(data: Rows) -> list[list[int]]:
    found = []
    for codes in data.codes.tolist():
        parts = [b.matrix[code].tolist() for b, code in zip(data.book.blocks, [*codes, 0], strict=True)]
        found.append([value for part in parts for value in part])
    return found


@pytest.mark.usefixtures("either_way")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members())
def test_the_gram_matrix_is_the_exact_integer_sum(member: tuple[Rows, F64]) -> None:
    data, _ = member
    d = data.book.dimension
    rows = slow_rows(data)
    weights = [int(w) for w in data.weights]
    expected = [
        sum(w * row[i] * row[j] for w, row in zip(weights, rows, strict=True))
        for i in range(d)
        for j in range(i, d)
    ]
    assert gram(data).tolist() == expected


@pytest.mark.parametrize("book", [records.book(), codebook.load(SHIPPED_SCHEMA)], ids=["market", "uci"])
@settings(deadline=None, max_examples=15)
@given(st.integers(0, 2 * MANY_ROWS), st.integers(0, 2**32))
def test_pairs_of_bins_give_the_integers_that_rows_give(book: CodeBook, n: int, seed: int) -> None:
    """Real code books: crosses, bins of missing values, several heads; any whole weights."""
    assert {"cross", "feature", "intercept"} == {block.kind for block in book.blocks}
    rng = np.random.default_rng(seed)
    codes = np.column_stack([rng.integers(0, len(b.matrix), n) for b in book.blocks[:-1]]).astype(np.uint16)
    weights = rng.integers(0, (1 << book.weight_bits) + 1, n).astype(np.float64)
    data = Rows(book, codes, np.zeros((n, book.heads), np.int8), weights, n, np.arange(n))
    upper = np.triu_indices(book.dimension)
    assert np.array_equal(contribution._gram_of_pairs(data)[upper], contribution._gram_of_rows(data)[upper])


@pytest.mark.usefixtures("either_way")
def test_a_code_beyond_its_bins_is_refused() -> None:
    codes = np.array(
        [[0, 3, 0]], np.uint16
    )  # block 1 has three bins: counted as a pair it would be another's
    with pytest.raises(IndexError):
        gram(Rows(PLAIN, codes, np.ones((1, 1), np.int8), np.ones(1), 1, np.zeros(1, np.int64)))


@settings(deadline=None)
@given(members())
def test_the_gradient_is_the_exact_integer_sum(member: tuple[Rows, F64]) -> None:
    data, weights = member
    book = data.book
    expected = [[0] * book.dimension for _ in range(book.heads)]
    for row, weight, outcomes, codes in zip(
        slow_rows(data), data.weights, data.outcomes, data.codes, strict=True
    ):
        alone = Rows(book, codes[None], outcomes[None], np.ones(1), 1, np.zeros(1, np.int64))
        blocks = gradient(alone, weights).reshape(book.heads, -1).tolist()
        for head, (scale, outcome, mine) in enumerate(
            zip(book.residual_scales, outcomes.tolist(), blocks, strict=True)
        ):
            score = sum(c * w for c, w in zip(row, weights[head].tolist(), strict=True)) / book.scale
            residual = math.trunc(scale * (0.5 * (1 + math.tanh(score / 2)) - outcome))
            # the float of one score may fall on the other side of a grid point; its own record says which
            near = (residual - 1, residual, residual + 1) if outcome >= 0 else (0,)
            found = [r for r in near if mine == [r * c for c in row]]
            assert found
            assert abs(found[0]) <= scale
            expected[head] = [
                e + int(weight) * found[0] * c for e, c in zip(expected[head], row, strict=True)
            ]
    whole = [value for block in expected for value in block]
    assert gradient(data, weights).tolist() == pytest.approx(whole, abs=book.residual_scale * 1e-3)


@settings(deadline=None)
@given(
    st.integers(1, 50).flatmap(
        lambda m: st.lists(st.tuples(st.floats(0.001, 1.0), st.integers(0, 4)), min_size=m, max_size=m)
    )
)
def test_one_customer_moves_a_sum_by_at_most_delta(rows: list[tuple[float, int]]) -> None:
    book, m = WEIGHTED, len(rows)
    codes = np.array([[v % 4, v % 3, v] for _, v in rows], np.uint16)
    propensity = np.array([p for p, _ in rows])
    outcomes = np.ones((m, 1), np.int8)
    data = prepare(book, codes, outcomes, np.array(["x"] * m, object), propensity)
    for weight, p in zip(data.weights, propensity.tolist(), strict=True):
        exact = 64 * min(Fraction(1), Fraction(0.05) / Fraction(p)) / m
        assert exact - 1 - Fraction(1, 10**9) <= int(weight) <= exact + Fraction(1, 10**9)
    assert data.weights.sum() <= 64
    worst = np.full((1, book.dimension), -1e6)  # p = 0 while the outcome is 1: residual −1
    assert norm(gradient(data, worst)) <= book.delta_gradient
    assert norm(gram(data)) <= book.delta_gram


def test_a_root_of_the_weight_in_the_row_would_break_delta() -> None:
    """Control: √a on the row makes the gradient √m times as long."""
    m = 16
    codes = np.zeros((m, 3), np.uint16)
    data = prepare(WEIGHTED, codes, np.ones((m, 1), np.int8), np.array(["x"] * m, object), np.full(m, 0.01))
    rooted = Rows(WEIGHTED, codes, data.outcomes, np.full(m, 64 * math.sqrt(1 / m)), 1, np.zeros(m, np.int64))
    worst = np.full((1, WEIGHTED.dimension), -1e6)
    assert norm(gradient(data, worst)) <= WEIGHTED.delta_gradient < norm(gradient(rooted, worst))


def test_control_an_outcome_that_is_not_refused_passes_delta() -> None:
    unchecked = Rows(
        PLAIN, np.zeros((1, 3), np.uint16), np.full((1, 1), 5, np.int8), np.ones(1), 1, np.zeros(1, np.int64)
    )
    worst = np.full((1, PLAIN.dimension), -1e6)
    assert norm(gradient(unchecked, worst)) > PLAIN.delta_gradient


def norm(values: I64) -> float:
    return math.sqrt(sum(v * v for v in values.tolist()))


def test_customers_whose_names_end_in_nul_stay_apart() -> None:
    """NumPy's fixed-width text drops a NUL at the end: two customers as one would move each other's weight."""
    names = np.array(["a", "a\0", "a\0"], object)
    assert len(np.unique(names.astype(str))) == 1, "control: as fixed-width text they are one"
    codes = np.zeros((3, 3), np.uint16)
    data = prepare(THREE, codes, np.ones((3, 3), np.int8), names, np.full(3, 0.05))
    assert data.weights.tolist() == [64, 32, 32]
    assert data.customers == 2


@pytest.mark.parametrize("weighted", [False, True])
def test_a_member_without_rows_contributes_zeros(*, weighted: bool) -> None:
    book, propensity = (WEIGHTED, np.zeros(0)) if weighted else (PLAIN, None)
    none = np.zeros((0, 3), np.uint16)
    data = prepare(book, none, np.zeros((0, 1), np.int8), np.zeros(0, object), propensity)
    d = book.dimension
    assert gram(data).tolist() == [0] * (d * (d + 1) // 2)
    assert gradient(data, np.ones((1, d))).tolist() == [0] * d
    assert data.customers == 0


def test_parts_add_up_to_the_whole_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    n = 9_000  # more than two chunks
    codes = np.column_stack([rng.integers(0, k, n) for k in (4, 3, 5)]).astype(np.uint16)
    outcomes, names = rng.integers(0, 2, (n, 1)).astype(np.int8), np.arange(n).astype(str).astype(object)
    weights = rng.normal(size=(1, PLAIN.dimension))
    cuts = [slice(0, n), slice(0, 17), slice(17, 5_000), slice(5_000, n)]
    whole, *parts = (prepare(PLAIN, codes[c], outcomes[c], names[c], None) for c in cuts)
    assert np.array_equal(gram(whole), sum(gram(part) for part in parts))
    assert gram(whole)[-1] == n * int(PLAIN.blocks[-1].matrix[0, 0]) ** 2
    assert np.array_equal(gradient(whole, weights), sum(gradient(part, weights) for part in parts))


def test_rows_that_do_not_belong_together_are_refused() -> None:
    codes, outcomes, names = (
        np.zeros((2, 3), np.uint16),
        np.zeros((2, 1), np.int8),
        np.array(["a", "b"], object),
    )
    with pytest.raises(DataError, match="length"):
        prepare(PLAIN, codes[:1], outcomes, names, None)
    with pytest.raises(DataError, match="length"):
        prepare(PLAIN, codes, np.zeros((2, 2), np.int8), names, None)
    with pytest.raises(DataError, match="is not -1, 0 or 1"):
        prepare(PLAIN, codes, np.array([[0], [2]], np.int8), names, None)
    with pytest.raises(DataError, match="p_floor"):
        prepare(WEIGHTED, codes, outcomes, names, None)
    for bad in (0.0, 1.1, math.nan):
        with pytest.raises(DataError, match="propensity"):
            prepare(WEIGHTED, codes, outcomes, names, np.array([0.5, bad]))


def test_a_sum_that_float64_cannot_hold_is_refused() -> None:
    book = tiny_book(residual_scale=1 << 48)
    data = prepare(
        book, np.zeros((2, 3), np.uint16), np.zeros((2, 1), np.int8), np.array(["a", "b"], object), None
    )
    with pytest.raises(SchemaError, match="2\\^53"):
        gradient(data, np.zeros((1, book.dimension)))

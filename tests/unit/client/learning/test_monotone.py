import numpy as np
import pytest

from fedrepay.client.learning.monotone import isotonic, project
from fedrepay.client.scoring.score import probability
from fedrepay.shared.arrays import F64
from fedrepay.shared.errors import SchemaError
from fedrepay.shared.schema import bins, encode
from fedrepay.shared.schema.codebook import CodeBook, build, from_bytes
from support import heads
from support.schemas import column, schema

BOOK = heads.book()
GOOD = (-1, 1, -1)  # which way the log-odds of outcome 1 run to the good one: late, first, broken
WAY = {"a": 1, "n": -1}
ROUNDING = 1e-12


def steps(book: CodeBook, weights: F64) -> F64:
    """Every step between neighbouring bins of a monotone column, positive where it is the right way."""
    found = []
    for layout, block, columns in zip(bins.layouts(book.schema), book.blocks, book.slices, strict=False):
        for head, good in enumerate(GOOD):
            effects = block.matrix @ weights[head, columns] / book.scale
            table = effects.reshape([len(side.labels) for side in layout.sides])
            for axis, side in enumerate(layout.sides):
                if side.column in WAY:
                    known = np.moveaxis(table, axis, 0)[: len(side.labels) - side.has_missing]
                    found.append(WAY[side.column] * good * np.diff(known, axis=0).ravel())
    return np.concatenate(found)


@pytest.mark.parametrize("seed", range(20))
def test_random_weights_become_monotone_everywhere(seed: int) -> None:
    weights = np.random.default_rng(seed).normal(size=(3, BOOK.dimension))
    assert steps(BOOK, weights).min() < -0.1, "control: the model itself is not monotone"
    projected = project(BOOK, weights)
    assert steps(BOOK, projected).min() > -ROUNDING
    assert project(BOOK, projected) == pytest.approx(projected, abs=1e-10)


def test_only_monotone_blocks_are_touched_and_missing_bins_keep_their_effect() -> None:
    weights = np.random.default_rng(1).normal(size=(3, BOOK.dimension))
    projected = project(BOOK, weights)
    changed = [not np.array_equal(weights[:, columns], projected[:, columns]) for columns in BOOK.slices]
    assert dict(zip([block.name for block in BOOK.blocks], changed, strict=True)) == {
        "a": True,
        "n": True,
        "z": False,
        "kind": False,
        "a × n": True,
        "z × a": True,
        "z × kind": False,
        "intercept": False,
    }
    missing = BOOK.blocks[0].matrix[-1]
    assert missing @ projected[0, BOOK.slices[0]] == pytest.approx(missing @ weights[0, BOOK.slices[0]])


def test_a_monotone_model_is_left_alone() -> None:
    weights = np.zeros((3, BOOK.dimension))
    weights[:, -1] = 0.7
    assert np.array_equal(project(BOOK, weights), weights)


def test_the_score_of_an_account_is_monotone_in_the_column() -> None:
    projected = project(BOOK, np.random.default_rng(3).normal(size=(3, BOOK.dimension)))
    a = np.linspace(0, 100, 60)
    kind = np.full(60, "full", object)
    for n, z in ((1.0, 10.0), (30.0, 90.0)):
        values: dict[str, bins.Values] = {"a": a, "n": np.full(60, n), "z": np.full(60, z), "kind": kind}
        codes = encode.encode(BOOK.schema, values)
        for head, good in enumerate(GOOD):
            assert (good * np.diff(probability(BOOK, projected[head], codes))).min() > -ROUNDING


@pytest.mark.parametrize("seed", range(5))
def test_isotonic_regression_is_the_closest_rising_sequence(seed: int) -> None:
    """Optimal if and only if rising, and residuals sum to ≤ 0 on every tail and 0 in all (KKT)."""
    values = np.random.default_rng(seed).normal(size=9)
    fitted = isotonic(values)
    assert (np.diff(fitted) >= 0).all()
    tails = np.cumsum((values - fitted)[::-1])
    assert (tails <= ROUNDING).all()
    assert tails[-1] == pytest.approx(0)
    assert (values - fitted) @ fitted == pytest.approx(0)


def test_a_monotone_table_without_an_inverse_is_refused_by_name() -> None:
    text = schema(column("a", monotone="up"), column("z"), public="scale = 16").encode()
    book = build(text)
    one = book.blocks[0].matrix.astype("<i4").tobytes()
    assert book.codebook_bytes.count(one) >= 1
    flat = np.ones_like(book.blocks[0].matrix).astype("<i4").tobytes()
    k = len(book.blocks[0].matrix)
    steep = (np.eye(k) + 8 * np.eye(k, k=-1)).astype("<i4")
    assert 1e3 < np.linalg.cond(steep.astype(float), 1) < 1e6, "it has an inverse, but a bad one"
    for table in (flat, steep.tobytes()):
        with pytest.raises(SchemaError, match="table of a cannot be inverted"):
            from_bytes(text, book.codebook_bytes.replace(one, table))
    loose = text.replace(b'monotone = "up"\n', b"")
    plain = build(loose)
    assert from_bytes(loose, plain.codebook_bytes.replace(one, flat)).heads == 1


@pytest.mark.parametrize("seed", range(5))
def test_last_bits_in_which_processors_differ_stay_last_bits(seed: int) -> None:
    """Pools may form differently, values do not: members compare the projected weights to 1e-9."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(3, BOOK.dimension))
    weights[:, BOOK.slices[0]] = 0.5  # ties: whether neighbours are pooled hangs on the last bits
    nudged = weights * (1 + 1e-13 * rng.normal(size=weights.shape))
    assert np.abs(project(BOOK, nudged) - project(BOOK, weights)).max() < 1e-11

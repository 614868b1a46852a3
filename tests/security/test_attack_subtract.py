"""The attack on the opened Gram matrix reads what it should, and noise and numbers hinder it."""

from typing import Any

import numpy as np
import pytest

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.rows import coalitions
from fedrepay.simulations.rows.gram import GramReader
from support.tiny_book import tiny_book

BINS = (4, 3, 5)
BOOK = tiny_book(BINS)
UPPER = np.triu_indices(BOOK.dimension)


def gram(codes: np.ndarray, unit: int = 1) -> np.ndarray:
    rows = BOOK.rows(codes)
    return (unit * rows.T @ rows)[UPPER].astype(np.int64)


def members(count: int) -> dict[str, np.ndarray]:
    """Codes of members that differ in size and mix."""
    rng = np.random.default_rng(5)
    mixes = [[rng.dirichlet(np.ones(k)) for k in BINS] for _ in range(count)]
    return {
        f"m{i:02d}": np.column_stack([rng.choice(len(p), size=300 + 90 * i, p=p) for p in mix]).astype(
            np.uint16
        )
        for i, mix in enumerate(mixes)
    }


def run(count: int, share: float, colluders: int = 1, target: str | None = None) -> dict[str, Any]:
    contributions = {name: gram(codes) for name, codes in members(count).items()}
    noise = np.random.default_rng(0).normal(0, np.sqrt(count * share), len(UPPER[0])).astype(np.int64)
    opened = np.sum(list(contributions.values()), axis=0) + noise
    return coalitions.read(BOOK, opened, contributions, share, colluders, target, SeededEntropy(b"attack"))


def full(upper: np.ndarray) -> np.ndarray:
    square = np.zeros((BOOK.dimension, BOOK.dimension))
    square[UPPER] = upper
    return square + np.triu(square, 1).T


@pytest.mark.parametrize("weight_bits", [0, 6])
def test_without_noise_the_counts_come_out_exactly(weight_bits: int) -> None:
    codes = members(1)["m00"]
    reader = GramReader.of(tiny_book(BINS, weight_bits=weight_bits))
    counts = np.concatenate([np.bincount(codes[:, i], minlength=k) for i, k in enumerate(BINS)])
    matrix = full(gram(codes, 1 << weight_bits))
    assert reader.counts(matrix) == pytest.approx(counts, abs=1e-6)
    assert reader.customers(matrix) == pytest.approx(300)


def test_all_others_read_the_last_ones_book_when_there_is_no_noise() -> None:
    last = run(6, 0.0)["rows"][-1]
    assert last["hidden_among"] == 1
    assert last["noise_sd_customers"] == 0
    assert last["cells_within_10pct"] == 1
    assert last["relative_error"] == pytest.approx(0, abs=1e-9)
    assert last["true_customers"] == 300 + 5 * 90
    assert last["estimated_customers"] == pytest.approx(750)


def test_noise_hinders_them_and_its_size_is_as_told() -> None:
    share = 500_000.0**2  # much wider than any of these totals
    last = run(6, share)["rows"][-1]
    assert last["cells_within_10pct"] < 0.5
    assert last["relative_error"] > 0.5
    # the told deviation is the one that fresh noise makes
    reader, rng = GramReader.of(BOOK), np.random.default_rng(1)
    errors = [reader.counts(full(rng.normal(0, np.sqrt(share), len(UPPER[0])))) for _ in range(400)]
    assert last["noise_sd_customers"] == pytest.approx(np.std(errors, axis=0).mean(), rel=0.06)


def test_more_members_hide_more() -> None:
    rows = run(8, 0.0, colluders=3)["rows"]
    assert [row["size"] for row in rows] == [1, 3, 6, 7]
    assert [row["hidden_among"] for row in rows] == [7, 5, 2, 1]
    assert all(row["group_cells_within_10pct"] == 1 for row in rows)  # totals of the others are open
    assert rows[0]["relative_error"] > 0.2 > rows[-1]["relative_error"]
    assert rows[0]["cells_within_10pct"] < 0.5 < rows[-1]["cells_within_10pct"]


def test_three_members() -> None:
    found = run(3, 0.0, target="m00")
    assert found["target"] == "m00"
    assert [(row["size"], row["coalition"]) for row in found["rows"]] == [
        (1, "one other member"),
        (2, "all other members"),
    ]
    assert all(row["relative_error_without_sum"] > 0.1 for row in found["rows"])


def test_the_opened_sum_must_belong_to_the_contributions() -> None:
    contributions = {name: gram(codes) for name, codes in members(4).items()}
    opened = np.sum(list(contributions.values()), axis=0)
    coalitions.read(BOOK, opened, contributions, 0.0, 1)
    with pytest.raises(ArgumentError, match="not the sum"):
        coalitions.read(BOOK, opened + 1, contributions, 0.0, 1)
    with pytest.raises(ArgumentError, match="not one of"):
        coalitions.read(BOOK, opened, contributions, 0.0, 1, target="m99")


def test_a_member_without_rows_is_no_error() -> None:
    contributions = {name: gram(codes) for name, codes in members(4).items()}
    contributions["zz"] = np.zeros_like(contributions["m00"])
    opened = np.sum(list(contributions.values()), axis=0)
    row = coalitions.read(BOOK, opened, contributions, 0.0, 1)["rows"][-1]
    assert row["relative_error"] is None
    assert row["true_customers"] == 0

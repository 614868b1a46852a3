"""Tables of made-up customers with three features of four bins, whose outcome follows given effects."""

from functools import cache

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.shared.arrays import F64
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from support.schemas import column, schema

STEPS = np.array([-1.5, -0.5, 0.5, 1.5])
FEATURES = ("a", "b", "c")


@cache
def book() -> CodeBook:
    """Its code book."""
    columns = [column(name, bounds=[0, 4], edges=[1, 2, 3]) for name in FEATURES]
    return codebook.build(schema(*columns, n_max=5000).encode())


def logit(codes: np.ndarray, slopes: tuple[float, ...]) -> F64:
    """Σ slope × step of the bin, (n,)."""
    return np.asarray(STEPS[codes.astype(int)] @ np.array(slopes))


def customers(rows: int, slopes: tuple[float, ...], seed: int, rows_each: int = 1) -> Table:
    """So many rows, ``rows_each`` a customer, all rows of one alike; log-odds are Σ slope × (bin − 1.5)."""
    rng = np.random.default_rng(seed)
    people = rows // rows_each
    codes = rng.integers(0, 4, (people, len(FEATURES))).astype(np.uint16)
    y = rng.random(people) < 1 / (1 + np.exp(-logit(codes, slopes)))
    of = np.repeat(np.arange(people), rows_each)
    names = np.array([f"s{seed}-{each}" for each in of], object)
    outcomes = y[of, None].astype(np.int8)
    return Table(codes[of], outcomes, names, None, {}, {}, np.arange(len(of)) + 1, {})

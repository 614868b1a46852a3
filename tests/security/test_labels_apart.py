"""From dated payments to sums: a customer taken away takes its own rows along, moves no other's, and at most Δ in all."""

from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning.contribution import from_table, gradient, gram
from support.dated_files import ACCOUNTS, BOOK, CASH, CHANGES, DEALS, MAPPING, read

OFFERS = {"k1": ("A1", "A5"), "k2": ("A2",), "k3": ("A3",), "k4": ("A4",)}
CLASHING = [
    *CASH,
    "A2,b1,2026-01-15,1000,",  # bookings of the same names as other customers' have
    "A3,b5,2026-01-20,2000,",
    "A3,b9,2026-01-25,-2000,b5",
]
MIXING = MAPPING.replace(
    "cents AS amount", "CASE WHEN count(*) OVER () > 8 THEN cents ELSE '1' END AS amount"
)


def without(lines: list[str], customer: str) -> list[str]:
    return [line for line in lines if line.split(",")[0] not in OFFERS[customer]]


def both(folder: Path, customer: str, mapping: str = MAPPING) -> tuple[Table, Table]:
    """The member's rows with all customers, and without one in any of its files."""
    text = mapping.format(as_of="2026-04-30")
    whole, _ = read(folder, cash=CLASHING, mapping=text)
    accounts, deals, cash, changes = (
        without(lines, customer) for lines in (ACCOUNTS, DEALS, CLASHING, CHANGES)
    )
    less, _ = read(folder, accounts=accounts, deals=deals, cash=cash, changes=changes, mapping=text)
    return whole, less


def others(table: Table, customer: str) -> list[tuple[object, ...]]:
    assert table.outcomes is not None
    rows = zip(table.customers, table.codes.tolist(), table.outcomes.tolist(), strict=True)
    return [(who, *codes, *labels) for who, codes, labels in rows if who != customer]


@pytest.mark.parametrize("customer", OFFERS)
def test_no_other_customer_s_row_moves(customer: str, tmp_path: Path) -> None:
    whole, less = both(tmp_path, customer)
    assert others(whole, customer) == others(less, customer) == others(less, "nobody")
    assert len(others(whole, customer)) >= 2


def test_control_a_select_over_all_payments_moves_others(tmp_path: Path) -> None:
    whole, less = both(tmp_path, "k1", MIXING)
    assert others(whole, "k1") != others(less, "k1")


@pytest.mark.parametrize("customer", OFFERS)
def test_a_customer_moves_every_sum_by_at_most_delta(customer: str, tmp_path: Path) -> None:
    rows = [from_table(BOOK, table) for table in both(tmp_path, customer)]
    for sign in (-1.0, 1.0):
        model = np.full((BOOK.heads, BOOK.dimension), sign * 1e6)
        moved = np.subtract(*(gradient(each, model) for each in rows))
        assert np.linalg.norm(moved.astype(float)) <= BOOK.delta_gradient
    moved = np.subtract(*(gram(each) for each in rows))
    assert np.linalg.norm(moved.astype(float)) <= BOOK.delta_gram
    assert (np.abs(moved).max() > 0) == (customer != "k4"), "k4's offer has not matured: it is in no sum"

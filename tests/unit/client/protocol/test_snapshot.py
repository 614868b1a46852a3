"""The keyed hash of a member's frozen rows covers all that its sums depend on."""

from dataclasses import replace

import numpy as np
import pytest

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import make_learner
from fedrepay.client.protocol.snapshot import snapshot
from fedrepay.shared.arrays import Objects
from fedrepay.shared.schema.codebook import CodeBook
from support import heads

BOOK = heads.book()
KEY = b"k" * 32
WHO = np.array(["a", "a", "b", "b", "c", "d"], object)


def table(customers: Objects = WHO) -> Table:
    rng = np.random.default_rng(4)
    n = len(customers)
    return Table(
        codes=heads.codes(BOOK, n, 5),
        outcomes=rng.integers(-1, 2, (n, BOOK.heads)).astype(np.int8),
        customers=customers,
        propensity=None,
        audit={},
        extra={},
        source_rows=np.arange(1, n + 1),
        values={},
    )


def sums(book: CodeBook, given: Table) -> list[bytes]:
    """All that a run can ask of the rows: both learners' first sums, and a gradient elsewhere."""
    rows, _ = snapshot(book, given, KEY)
    model = np.random.default_rng(6).normal(size=(book.heads, book.dimension))
    found = []
    for name in ("dp-newton", "dp-gd"):
        learner = make_learner(name, book, 5)
        elsewhere = replace(learner.start(), weights=model)
        found += [learner.contribution(index, elsewhere, rows).tobytes() for index in (0, 1)]
    return found


def changed(name: str) -> Table:
    given = table()
    assert given.outcomes is not None
    if name == "a bin":
        codes = given.codes.copy()
        codes[0, 0] = (codes[0, 0] + 1) % len(BOOK.blocks[0].matrix)
        return replace(given, codes=codes)
    if name == "a label":
        return replace(
            given, outcomes=np.where(np.arange(6)[:, None] == 3, -given.outcomes - 1, given.outcomes)
        )
    if name == "a row less":
        return given.take(np.arange(5))
    others = {
        "weights": ["a", "b", "b", "b", "c", "d"],
        "the number of customers": ["a", "a", "b", "b", "c", "c"],
    }
    return replace(given, customers=np.array(others[name], object))


@pytest.mark.parametrize("name", ["a bin", "a label", "a row less", "weights", "the number of customers"])
def test_what_changes_a_sum_changes_the_hash(name: str) -> None:
    before, after = table(), changed(name)
    assert sums(BOOK, before) != sums(BOOK, after), "control: the change matters"
    assert snapshot(BOOK, before, KEY)[1] != snapshot(BOOK, after, KEY)[1]


def test_the_same_hash_means_the_same_sums_whoever_the_customers_are() -> None:
    """Ids are in no sum; which rows are one customer's is, since local mode samples customers."""
    other = table(np.array(["b", "b", "a", "a", "d", "c"], object))
    assert snapshot(BOOK, table(), KEY)[1] == snapshot(BOOK, other, KEY)[1]
    assert sums(BOOK, table()) == sums(BOOK, other)


def test_rows_dealt_to_other_customers_are_other_rows_though_no_additive_sum_changes() -> None:
    """Local mode samples a customer with all its rows: whose they are may not change within a run."""
    other = table(np.array(["a", "b", "a", "b", "c", "d"], object))
    assert sums(BOOK, table()) == sums(BOOK, other)
    before, after = snapshot(BOOK, table(), KEY), snapshot(BOOK, other, KEY)
    assert before[0].owners.tolist() != after[0].owners.tolist()
    assert before[1] != after[1]


def dated(days: list[int] | None, as_of: int | None = 19_900) -> Table:
    return replace(table(), offered_on=None if days is None else np.array(days), as_of=as_of)


def test_the_window_for_the_ledger_names_the_days_of_the_rows_or_all_customers() -> None:
    """Days since 1970 of the offers, the last day of payments, and the keyed hash of the rows themselves."""
    rows, digest = snapshot(BOOK, dated([19_800, 19_723, 19_753, 19_800, 19_790, 19_783]), KEY)
    assert (
        rows.window.decode()
        == f"offers 2024-01-01 to 2024-03-18, payments to 2024-06-26; snapshot {digest.hex()}"
    )
    for undated in (table(), dated(None), dated([], None)):
        assert snapshot(BOOK, undated, KEY)[0].window == f"all customers; snapshot {digest.hex()}".encode()
    fewer, _ = snapshot(BOOK, dated([1, 2, 3, 4, 5, 6]).take(np.array([2, 4])), KEY)
    assert fewer.window.startswith(b"offers 1970-01-04 to 1970-01-06, "), "of the rows taken, no others"


def test_a_window_cannot_be_guessed_from_a_head_of_the_ledger() -> None:
    """Heads leave the member: two members with the same rows and days write different windows."""
    days = [19_800] * 6
    assert snapshot(BOOK, dated(days), KEY)[0].window != snapshot(BOOK, dated(days), b"l" * 32)[0].window
    bare = [
        each[0].window.split(b";")[0] for each in (snapshot(BOOK, dated(days), k) for k in (KEY, b"l" * 32))
    ]
    assert bare[0] == bare[1], "control: the days alone are the same at both"


def test_the_hash_is_keyed() -> None:
    assert snapshot(BOOK, table(), KEY)[1] != snapshot(BOOK, table(), b"l" * 32)[1]

"""Splits: by customer, seeded, and refused where they cannot be met."""

import numpy as np
import pytest

from fedrepay.shared.errors import ArgumentError
from fedrepay.simulations.rows.split import split_members, split_test

CUSTOMERS = np.array([f"c{i // 2}" for i in range(1000)], dtype=object)  # two rows each


@pytest.mark.parametrize("how", ["iid", "sizes:zipf", "skewed:limit"])
def test_every_row_has_one_member_and_customers_stay_together(how: str) -> None:
    values = np.arange(1000.0)
    parts = split_members(CUSTOMERS, how, 7, 3, values)
    assert [name for name, _ in parts] == [f"m{k:02d}" for k in range(1, 8)]
    rows = np.concatenate([rows for _, rows in parts])
    assert sorted(rows.tolist()) == list(range(1000))
    owners = [set(CUSTOMERS[rows]) for _, rows in parts]
    assert sum(map(len, owners)) == 500


def test_splits_follow_the_seed() -> None:
    first, again, other = (split_members(CUSTOMERS, "iid", 4, seed, None) for seed in (1, 1, 2))
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a[1], b[1]) for a, b in zip(first, other, strict=True))
    assert np.array_equal(split_test(CUSTOMERS, 1), split_test(CUSTOMERS, 1))
    assert not np.array_equal(split_test(CUSTOMERS, 1), split_test(CUSTOMERS, 2))


def test_test_part_is_a_fifth_of_the_customers_with_all_their_rows() -> None:
    held_out = split_test(CUSTOMERS, 5)
    assert held_out.sum() == 200
    assert not set(CUSTOMERS[held_out]) & set(CUSTOMERS[~held_out])


def test_test_part_leaves_somebody_on_either_side() -> None:
    assert split_test(np.array(["a", "b"], dtype=object), 0, 0.01).sum() == 1
    with pytest.raises(ArgumentError):
        split_test(np.array(["a", "a"], dtype=object), 0)
    with pytest.raises(ArgumentError):
        split_test(CUSTOMERS, 0, 1.0)


def test_zipf_sizes_fall_like_one_over_rank_and_nobody_is_empty() -> None:
    sizes = [len(rows) for _, rows in split_members(np.arange(6000).astype(object), "sizes:zipf", 5, 0, None)]
    assert sum(sizes) == 6000
    assert sizes[0] == pytest.approx(6000 / (1 + 1 / 2 + 1 / 3 + 1 / 4 + 1 / 5), rel=0.01)
    assert sizes[0] / sizes[4] == pytest.approx(5, rel=0.01)
    crowd = split_members(np.arange(1600).astype(object), "sizes:zipf", 1500, 0, None)
    assert min(len(rows) for _, rows in crowd) == 1
    assert crowd[0][0] == "m0001"
    assert crowd[-1][0] == "m1500"


@pytest.mark.parametrize("kind", ["number", "text"])
def test_skewed_members_differ_and_iid_members_do_not(kind: str) -> None:
    values = np.arange(4000.0)
    column = np.array([f"{v:06.0f}" for v in values], dtype=object) if kind == "text" else values
    customers = np.arange(4000).astype(object)
    skewed = [values[rows].mean() for _, rows in split_members(customers, "skewed:x", 5, 0, column)]
    even = [values[rows].mean() for _, rows in split_members(customers, "iid", 5, 0, None)]
    assert skewed == sorted(skewed)
    assert skewed[-1] - skewed[0] > 2000 > 10 * (max(even) - min(even))


def test_a_skewed_label_leaves_more_than_one_class_in_the_middle() -> None:
    label = (np.arange(4000) % 5 == 0).astype(np.int64)
    rates = [
        label[r].mean() for _, r in split_members(np.arange(4000).astype(object), "skewed:y", 5, 0, label)
    ]
    assert rates == sorted(rates)
    assert 0 < rates[3] < rates[4]


def test_missing_values_come_last_in_a_skewed_split() -> None:
    for values in (
        np.array([np.nan] * 100 + [1.0] * 400),
        np.array([None] * 100 + ["a"] * 400, dtype=object),
    ):
        parts = split_members(np.arange(500).astype(object), "skewed:x", 5, 0, values)
        missing = [int((rows < 100).sum()) for _, rows in parts]
        assert missing[-1] == max(missing)
        assert missing[0] < 5


def test_a_columns_values_are_the_members() -> None:
    values = np.array(["north", "../south", "a/b", None] * 5, dtype=object)
    parts = dict(split_members(np.arange(20).astype(object), "column:region", None, 0, values))
    assert sorted(parts) == ["a-b", "missing", "north", "south"]
    assert parts["north"].tolist() == [0, 4, 8, 12, 16]
    numbers = split_members(np.arange(6).astype(object), "column:zip", 3, 0, np.array([1.0, 2, 3, 1, 2, 3]))
    assert [name for name, _ in numbers] == ["1", "2", "3"]


def test_names_stay_distinct_on_any_file_system() -> None:
    values = np.array(["a b", "A-B", "a/b", "///"], dtype=object)
    names = [name for name, _ in split_members(np.arange(4).astype(object), "column:x", None, 0, values)]
    assert len({name.casefold() for name in names}) == 4


@pytest.mark.parametrize(
    ("how", "members", "values", "said"),
    [
        ("random", 5, None, "unknown"),
        ("column:", 5, np.arange(1000), "unknown"),
        ("sizes:even", 5, None, "unknown"),
        ("column:nowhere", None, None, "no column nowhere"),
        ("skewed:nowhere", 5, None, "no column nowhere"),
        ("column:two", None, np.arange(1000) % 2, "3 is the least"),
        ("column:many", None, np.arange(1000) * 1.5, None),
        ("column:five", 4, np.arange(1000) % 5, "does not fit"),
        ("iid", 2, None, "3 is the least"),
        ("iid", 1501, None, "1500 is the most"),
        ("iid", 501, None, "too few"),
        ("iid", None, None, "how many"),
    ],
)
def test_what_cannot_be_split_is_refused(
    how: str, members: int | None, values: np.ndarray | None, said: str | None
) -> None:
    if said is None:
        assert len(split_members(CUSTOMERS, how, members, 0, values)) == 1000
        return
    with pytest.raises(ArgumentError, match=said) as caught:
        split_members(CUSTOMERS, how, members, 0, values)
    assert caught.value.remedy


def test_a_column_with_too_many_values_is_refused() -> None:
    with pytest.raises(ArgumentError, match="1500 is the most"):
        split_members(np.arange(1501).astype(object), "column:id", None, 0, np.arange(1501))

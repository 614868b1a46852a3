"""The quorum: smallest cohort, present part of an epoch, and votes of a release."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.shared.trust.roster import check_size, default_colluders, quorum

FORKS = ("A", "B", "X"), ("C", "D", "X")
"""K = 5, c = 1: X stands in both cohorts, which more than half allows (docs/protocol.md, *Parties and claims*)."""


def sizes(most: int) -> st.SearchStrategy[tuple[int, int]]:
    """(K, c) within the protocol's bounds."""
    return st.integers(3, most).flatmap(lambda k: st.tuples(st.just(k), st.integers(1, k - 2)))


@pytest.mark.parametrize(("members", "least"), [(3, 3), (4, 3), (5, 4), (20, 12), (50, 28)])
def test_the_numbers_of_the_protocol(members: int, least: int) -> None:
    assert quorum(members, default_colluders(members)) == least


@given(sizes(1500))
def test_two_of_that_size_share_more_than_c_members_and_no_smaller_size_is_enough(
    size: tuple[int, int],
) -> None:
    members, colluders = size
    check_size(members, colluders)
    least = quorum(members, colluders)
    assert colluders + 2 <= least <= members
    assert 2 * least - members > colluders, "what two subsets share at the least"
    smaller = least - 1
    assert smaller < colluders + 2 or 2 * smaller - members <= colluders, "the smallest such size"


@pytest.mark.parametrize(("members", "colluders"), [(k, c) for k in range(3, 9) for c in range(1, k - 1)])
def test_any_two_subsets_of_that_size_share_more_than_c_members(members: int, colluders: int) -> None:
    """By trying all of them."""
    every = [frozenset(each) for each in combinations(range(members), quorum(members, colluders))]
    assert min(len(one & other) for one in every for other in every) > colluders


def test_control_more_than_half_alone_lets_one_colluder_stand_in_two_forks() -> None:
    one, other = (frozenset(each) for each in FORKS)
    majority = 5 // 2 + 1
    assert len(one) == len(other) == majority
    assert len(one & other) <= default_colluders(5)
    assert quorum(5, default_colluders(5)) > majority

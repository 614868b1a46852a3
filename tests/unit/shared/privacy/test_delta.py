"""How large δ may be: everybody a consortium may hold counts, and each place that plans a run asks the same function."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.delta import chosen_delta, largest_delta, usual_delta
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.columns import Public
from fedrepay.simulations.market import records
from fedrepay.simulations.run.arguments import SHIPPED_SCHEMA, SHIPPED_SCHEMA_MANY


def public(n_max: int, members_max: int) -> Public:
    return Public(n_max=n_max, members_max=members_max, prior=0.3)


@given(n_max=st.integers(1, 10**9), members=st.integers(3, 1500))
def test_the_chance_to_name_anybody_of_all_members_stays_at_a_tenth(n_max: int, members: int) -> None:
    bounds = public(n_max, members)
    everybody = members * n_max
    assert largest_delta(bounds) * everybody == pytest.approx(0.1)
    assert usual_delta(bounds) * everybody <= 0.1 * (1 + 1e-12)
    of_one_member = 1 / (10 * n_max)
    assert of_one_member * everybody > 0.1 * 2, (
        "control: the bound of one member's customers leaves the union out"
    )


def test_a_delta_asked_for_is_taken_up_to_the_bound_and_named_beyond() -> None:
    bounds = public(1000, 20)
    assert chosen_delta(None, bounds) == 5e-6
    assert chosen_delta(None, public(100, 20)) == 1e-5
    assert chosen_delta(5e-6, bounds) == 5e-6
    assert chosen_delta(1e-9, bounds) == 1e-9
    for asked in (math.nextafter(5e-6, 1), 1e-4, 1.0, 0.0, -1e-6, math.nan):
        with pytest.raises(ArgumentError, match=r"outside 0 … 1/\(10·members_max·n_max\) = 5e-06"):
            chosen_delta(asked, bounds)
    with pytest.raises(ArgumentError, match="delta_per_year = 1 is outside"):
        chosen_delta(1.0, bounds, "delta_per_year =")


def test_the_shipped_schemas_bounds() -> None:
    """UCI for 256 and for 1,500 members, and the market."""
    found = [
        largest_delta(book.schema.public)
        for book in (codebook.load(SHIPPED_SCHEMA), codebook.load(SHIPPED_SCHEMA_MANY), records.book())
    ]
    assert found == [1 / 25_600_000, 1 / 22_500_000, 1 / 12_800_000]

"""From files to members: what a simulation holds out, and what a test file of its own may lack."""

from pathlib import Path

import numpy as np
import pytest

from fedrepay.client.veto import room
from fedrepay.shared.errors import ArgumentError, BudgetError
from fedrepay.simulations.rows.prepare import Prepared, prepare
from fedrepay.simulations.run.terms import make_terms
from support import shop as shops
from support.shop import MEMBERS, Shop


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return shops.make(tmp_path_factory.mktemp("shop"), rows=200)


@pytest.fixture(scope="module")
def ready(shop: Shop) -> Prepared:
    return prepare(shop.arguments())


def test_the_values_of_a_column_are_the_members_and_a_fifth_of_the_customers_is_held_out(
    ready: Prepared,
) -> None:
    assert tuple(party.name for party in ready.parties) == MEMBERS
    trained = [set(party.train.customers) for party in ready.parties]
    held_out = set(ready.test.customers)
    assert len(held_out) == 20
    assert sum(map(len, trained)) == 80
    assert not held_out & set.union(*trained)
    assert {name: set(table.customers) for name, table in ready.tests.items()} == {
        name: {each for each in held_out if int(each[-5:]) % 4 == MEMBERS.index(name)} for name in MEMBERS
    }


def test_a_test_file_may_lack_members(shop: Shop, tmp_path: Path) -> None:
    lines = shop.data.read_text().splitlines()
    file = tmp_path / "test.csv"
    file.write_text("\n".join([lines[0], *(each for each in lines[1:] if each.endswith(("Nord", "Ost")))]))
    found = prepare(shop.arguments(test=str(file)))
    assert {name: len(table.codes) for name, table in found.tests.items()} == dict(
        zip(MEMBERS, (50, 50, 0, 0), strict=True)
    )
    assert len(found.train.codes) == 200


def test_a_test_file_too_small_to_split_is_whole_and_no_members_own(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "test.csv"
    file.write_text("\n".join(shop.data.read_text().splitlines()[:9]))
    found = prepare(shop.arguments(test=str(file), split="iid", members=5))
    assert len(np.unique(found.test.customers)) == 4
    assert [len(table.codes) for table in found.tests.values()] == [0] * 5


def test_delta_follows_the_public_bound_on_customers_and_members(shop: Shop, ready: Prepared) -> None:
    assert make_terms(shop.arguments(), ready.book, len(ready.parties)).delta == 1e-5
    bound = 1 / (10 * 16 * 500)
    assert make_terms(shop.arguments(delta=bound), ready.book, len(ready.parties)).delta == bound
    with pytest.raises(ArgumentError, match=r"is outside 0 … 1/\(10·members_max·n_max\) = 1.25e-05"):
        make_terms(shop.arguments(delta=1.26e-5), ready.book, len(ready.parties))


def test_noise_that_would_wrap_or_that_members_would_refuse_is_refused_before_anybody_starts(
    shop: Shop, ready: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BudgetError, match="smaller epsilon"):
        make_terms(shop.arguments(epsilon=900.0), ready.book, len(ready.parties))
    with pytest.raises(ArgumentError, match="so much noise in sum 1 that it would pass t/2") as wide:
        make_terms(shop.arguments(epsilon=1e-9), ready.book, len(ready.parties))
    assert "larger ε" in wide.value.remedy
    assert (
        make_terms(shop.arguments(epsilon=1e-9, mode="none"), ready.book, len(ready.parties)).mode == "none"
    )
    monkeypatch.setattr(room, "fits", lambda *_: True)
    with pytest.raises(ArgumentError, match="too small for the accountant to prove at δ = 1e-05"):
        make_terms(shop.arguments(epsilon=1e-9), ready.book, len(ready.parties))

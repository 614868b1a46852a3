"""What each hard condition costs: one model, one condition left off at a time, and each does what it says."""

import pytest

from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.simulations.market import evaluate, lenders, models, prices, records


@pytest.fixture(scope="module")
def found() -> dict[str, dict[str, float]]:
    who = lenders.lenders("mixed", 3, [400])
    tables = [records.training_table(records.record(who[0], 3))] * 4
    shared, encoder = models.shared(tables, None, 2, 3), models.encoder()
    return prices.prices(encoder, evaluate.ground(encoder, who[0], 3, 300, Settings()), shared, 3)


def test_each_condition_left_off_shows_what_it_held(found: dict[str, dict[str, float]]) -> None:
    shipped = found["as shipped"]
    assert found["waivers by score, not by relief"]["given"] > shipped["given"]
    assert found["what is forgiven has no price"]["given"] > shipped["given"]
    assert found["tokens in place of reviews"]["asks"] == 0 < shipped["asks"]
    assert found["levels that hold in the mean only"]["affordable"] < shipped["affordable"]
    assert found["levels that hold in the mean only"]["clears"] > shipped["clears"]
    everything = found["all of these"]
    assert everything["value"] > shipped["value"], "doing right has its price, and it is shown"
    assert everything["affordable"] < shipped["affordable"] > 0.95

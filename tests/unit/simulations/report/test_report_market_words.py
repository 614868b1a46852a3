"""The sentences of the debt market's report follow the figures."""

import re
from pathlib import Path
from typing import get_args

import pytest

from fedrepay.client.plans.deciding.settings import CLASSES
from fedrepay.simulations.market import case, evaluate
from fedrepay.simulations.market.lenders import Preset
from fedrepay.simulations.report import words_market
from fedrepay.simulations.report.words import percent
from fedrepay.simulations.report.words_market import change, pounds
from support import report_market_fixture as fixture


def _plain(shown: str) -> str:
    return " ".join(shown.split())


def test_the_headline_follows_the_gain() -> None:
    def headline(value: float, low: float, high: float) -> str:
        metrics = fixture.metrics()
        metrics["market"]["gain"] |= {"value": value, "value_interval": [low, high]}
        return words_market.outcome(metrics)[0].replace("\u00a0", " ")

    told = "Learning together brings members 4.1 % more than models of their own in this market."
    assert headline(0.041, 0.01, 0.07) == told
    assert "4.1 % less" in headline(-0.041, -0.07, -0.01)
    assert headline(0.0004, -0.01, 0.01).endswith("as much as models of their own in this market.")
    assert "may be chance" in headline(0.01, -0.01, 0.03)
    assert "chance" not in headline(-0.041, -0.07, -0.01)


def test_members_are_judged_only_where_their_own_models_were_fitted_again() -> None:
    metrics = fixture.metrics()
    members = metrics["market"]["members"]
    assert {name: each["gain"] < 0 for name, each in members.items() if each["gain"] < 0} == {"m04": True}
    members["m01"]["gain_interval"][0] = -0.001
    judged = [_plain(each) for each in words_market.outcome(metrics)]
    assert "2 of 4 members gain, 1 lose, and 1 cannot be told" in judged[2]
    assert "another of either moves the figures" in judged[2]
    for each in members.values():
        each["gain_interval"] = None
    told = [_plain(each) for each in words_market.outcome(metrics)]
    assert "3 of 4 members have more with the shared model." in told[2]
    assert "--redraws" in told[2]
    assert not re.search(r"members gain|lose", told[2])
    assert words_market.losses(metrics["market"]).endswith("in this run.")


def test_own_policies_are_not_praised_for_plans_that_people_cannot_afford() -> None:
    market = fixture.market()
    assert "plans that people cannot afford" in words_market.own_policy(market)
    dear = market | {"value": market["value"] | {"own_affordable": 0.25}}
    assert "does not explain all of it" in words_market.own_policy(dear)
    fair = market | {"affordable_share_own": 0.99}
    assert "cannot afford" not in words_market.own_policy(fair)
    poor = market | {"value": market["value"] | {"own": 0.11}}
    assert "less than the shared model" in words_market.own_policy(poor)


def test_first_payments_are_not_credited_to_federation() -> None:
    market = fixture.market()
    told = words_market.first_payments(market, 0.05)
    assert told.endswith("not an effect of federation.")
    steps = words_market.steps(market, 0.05)
    first = market["first_paid"]
    assert sum(each for _, each, _ in steps) == pytest.approx(first["shared"] - first["own"])
    assert _plain(words_market.points(first["shared"] - first["alone"])) in _plain(told)
    mostly = market | {"first_paid": first | {"alone": first["own"]}}
    assert "not an effect" not in words_market.first_payments(mostly, 0.05)


def test_the_way_to_true_probabilities() -> None:
    market = fixture.market()
    value = market["value"]
    part = (value["shared"] - value["alone"]) / (value["perfect"] - value["alone"])
    assert percent(part, 0) in words_market.way_to_perfect(market)
    none = market | {"value": value | {"perfect": value["alone"]}}
    assert "nothing to gain" in words_market.way_to_perfect(none)


def test_words_know_all_that_the_market_has() -> None:
    assert set(words_market.PRESETS) == set(get_args(Preset))
    assert list(words_market.WAYS) == list(evaluate.WAYS)
    assert tuple(words_market.CLASSES) == CLASSES


def test_formats() -> None:
    assert _plain(change(-0.0004)) == "0.0 %"
    assert _plain(change(-0.0123)) == "−1.2 %"
    assert pounds(-1234.4) == "−£1,234"
    assert pounds(-0.3) == "£0"
    assert pounds(None) == words_market.points(None) == "–"


def test_the_made_up_run_has_the_form_of_a_real_one() -> None:
    market = fixture.market(trees=True)
    real = case.market_figures(market, market["preset"])
    assert set(real) == set(market)
    for name in ("value", "uplift", "first_paid", "kept_90", "plans"):
        assert real[name] == pytest.approx(market[name])
    for name in ("value", "uplift"):
        assert real["gain"][name] == pytest.approx(market["gain"][name])
    assert real["affordable_share"] == pytest.approx(market["affordable_share"])


def test_every_key_of_the_market_is_documented() -> None:
    text = (Path(__file__).parents[4] / "docs/metrics.md").read_text()
    market = fixture.market(trees=True)
    member = market["members"]["m01"]
    keys = {*market, *member, *member["ways"], *member["ways"]["own"], *market["groups"][0]}
    keys |= {
        *market["gain"],
        *market["affordable_by_class"]["none"],
        *market["if_verified"]["none"],
        *market["judged"],
    }
    assert [key for key in sorted(keys) if not re.search(rf"[`.]{key}[`.,\[]", text)] == []
    assert "`market.members.NAME.ways.WAY`" in text

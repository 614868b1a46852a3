"""Sentences under the market's tables follow the figures in them."""

from typing import Any

import pytest

from fedrepay.simulations.bench import market_tables


def way(value: float, **others: float) -> dict[str, Any]:
    return {
        "value": value,
        "uplift": 0.1,
        "first_paid": 0.3,
        "kept_90": 0.2,
        "plans": 0.5,
        "affordable": 0.95,
    } | others


def studied(own: float, alone_first: float = 0.3) -> dict[str, Any]:
    ways = {
        "own": way(own, plans=0.98, affordable=0.4),
        "own_affordable": way(0.15),
        "alone": way(0.17, first_paid=alone_first),
        "shared": way(0.18),
    }
    tried = [{"lambda_first": 0.0, "alone": way(0.17), "shared": way(0.18)}]
    return {"members": {"m01": {"ways": ways}}, "objective": tried}


def test_the_own_policy_is_called_highest_only_where_it_is() -> None:
    higher, lower = market_tables.objective([[studied(0.2)]]), market_tables.objective([[studied(0.16)]])
    assert "highest value" in higher
    assert "highest value" not in lower
    for text in (higher, lower):
        assert "(a) offers 98 % of accounts a plan; 60 % of its plans cost more" in text


@pytest.mark.parametrize(
    ("first", "words"), [(0.3, "+0.0 % from (a′) to (b)"), (0.33, "+10.0 % from (a′) to (b)")]
)
def test_changes_of_first_payments_are_computed(first: float, words: str) -> None:
    assert words in market_tables.objective([[studied(0.2, first)]])


def test_auc_and_regret_are_told_apart_where_they_name_different_rows() -> None:
    def row(auc: float, regret: float) -> dict[str, float]:
        return {"auc_first": 0.7, "auc_kept": auc, "value": 0.17, "regret": regret, "within": 0.8}

    apart = market_tables.privacy([[("0.5", row(0.8, 0.10)), ("none", row(0.9, 0.20))]])
    assert "AUC (kept) is highest at ε = none, regret least at ε = 0.5." in apart
    assert "regret least" not in market_tables.privacy([[("0.5", row(0.8, 0.20)), ("none", row(0.9, 0.10))]])


def test_bands_are_added_up_over_markets_and_draws_and_members_below_the_target_are_counted() -> None:
    def cell(
        low: float | None, high: float | None, plans: int, affordable: float | None, value: float
    ) -> dict[str, Any]:
        known = {"income": "verified", "from": low, "to": high, "accounts": 1_000, "plans": plans}
        return known | {"affordable": affordable, "value": value, "middle": 0.2}

    def one(plans: int, affordable: float, member: float) -> dict[str, Any]:
        found: dict[str, Any] = studied(0.2)
        found["members"]["m01"]["ways"]["shared"]["affordable"] = member
        kind = {"accounts": 1_000, "plans": plans, "affordable": affordable}
        found["affordable_by_class"] = dict.fromkeys(("none", "stated", "estimated", "verified"), kind)
        found["affordable_by_band"] = [
            cell(None, 0.02, 0, None, 0.2),
            cell(0.02, 0.06, plans, affordable, 0.15),
        ]
        found["caution"] = dict.fromkeys(("all", "stated", "estimated", "verified"), -0.1)
        return found | {"if_verified": {}}

    markets = [[one(100, 0.9, 0.94)] * 2, [one(300, 0.98, 0.97)] * 2]  # draws see the same accounts
    told = market_tables.affordable(markets)
    assert "| verified | 2 to 6 % | 2,000 | 400 | 96.0 % [57.9, 100.0] | -25.0 % |" in told
    assert "| verified | below 2 % | 2,000 | 0 | – | +0.0 % |" in told
    assert "Of 4 members × markets × draws, 2 fall below 95 %" in told
    assert "The optimiser is told the law of the errors" in told

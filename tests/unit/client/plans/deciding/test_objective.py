"""The score: each part counts as its setting says, and settings name what they do not know."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding.objective import affordable, contact_cost, score
from fedrepay.client.plans.deciding.settings import Value, load_settings, parse_settings
from fedrepay.shared.arrays import F64
from fedrepay.shared.errors import CatalogueError
from fedrepay.shared.plans.candidates import Candidates, Debts, candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue
from fedrepay.shared.plans.kinds import CHANNELS, KINDS
from fedrepay.shared.plans.money import plan_value

TEXT = """
name = "tests"
version = 1
currency = "GBP"
[[plans]]
kind = "FULL"
[[plans]]
kind = "INSTALMENT"
n = [6, 12]
channel = ["portal", "call"]
[[plans]]
kind = "TOKEN"
n = [6]
[[plans]]
kind = "DORMANT"
dormant_months = [12]
"""


def plans(bound: int = 15_000) -> Candidates:
    made = parse_catalogue(TEXT.encode(), "tests")
    debts = Debts(np.array([120_000]), np.array([0]), np.array([0.0]), np.array([bound]))
    return candidates(made, arms(made), debts)


def scored(settings: Value, first: float = 0.5, kept: float = 0.3) -> F64:
    of = plans()
    likely = np.full(of.valid.shape, first), np.full(of.valid.shape, kept)
    return np.asarray(score(settings, of, *likely, plan_value(settings.prices, of, *likely))[0])


def test_each_weight_counts_as_it_says() -> None:
    nothing: dict[str, Any] = {
        "lambda_first": 0.0,
        "lambda_complaint": 0.0,
        "lambda_sustained": 0.0,
        "contact_cost": dict.fromkeys(CHANNELS, 0),
    }
    plain = scored(Value(**nothing))
    of = plans()
    likely = np.full(of.valid.shape, 0.5), np.full(of.valid.shape, 0.3)
    assert plain == pytest.approx(plan_value(Value().prices, of, *likely)[0] / 120_000, abs=1e-9)
    assert scored(Value(**{**nothing, "lambda_first": 0.1})) - plain == pytest.approx(np.full(7, 0.05))
    assert scored(Value(**{**nothing, "lambda_sustained": 0.1})) - plain == pytest.approx(np.full(7, 0.03))
    complaint = Value(
        **{**nothing, "lambda_complaint": 1.0, "complaint_rate": {**dict.fromkeys(KINDS, 0.0), "FULL": 0.25}}
    )
    assert scored(complaint) - plain == pytest.approx([-0.25, 0, 0, 0, 0, 0, 0])
    calls = Value(**{**nothing, "contact_cost": {**dict.fromkeys(CHANNELS, 0), "call": 1_200}})
    assert scored(calls) - plain == pytest.approx([0, 0, -0.01, 0, -0.01, 0, 0])
    assert contact_cost(calls, of.arms).tolist() == [0, 0, 1_200, 0, 1_200, 0, 0]


def test_affordable_is_within_the_bound_or_asks_nothing() -> None:
    """Arms: full, 20,000 a month over two channels, 10,000 over two, token, dormant."""
    assert affordable(plans(bound=15_000))[0].tolist() == [False, False, False, True, True, True, True]
    assert affordable(plans(bound=20_000))[0].tolist() == [False, True, True, True, True, True, True]
    assert affordable(plans(bound=19_999))[0].tolist() == [False, False, False, True, True, True, True]


def test_settings_come_from_a_file_and_wrong_ones_are_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(
        'packs = ["uk-fca"]\nexploration = 0.05\n[value]\nlambda_first = 0.07\n[value.contact_cost]\ncall = 300\n'
    )
    settings, digest = load_settings(path)
    assert (settings.value.lambda_first, settings.packs, settings.exploration) == (0.07, ("uk-fca",), 0.05)
    assert (settings.value.contact_cost["call"], settings.value.contact_cost["letter"]) == (300, 90), (
        "one entry changed"
    )
    assert load_settings(None)[1] != digest
    for text, words in (
        ("[value]\nlambda_first = -1", "value.lambda_first"),
        ("[value.contact_cost]\npigeon = 1", "pigeon is none of"),
        ("[value.complaint_rate]\nGIFT = 0.1", "GIFT is none of"),
        ("[handover.hours]\nWHIM = 1", "WHIM is none of"),
        ("exploration = 0.5", "exploration"),
        ("lambda = 1", "lambda: Extra inputs"),
        ("[value", "is not TOML"),
    ):
        with pytest.raises(CatalogueError, match=words):
            parse_settings(text.encode(), "settings.toml")
    with pytest.raises(CatalogueError, match="cannot be read"):
        load_settings(tmp_path / "nowhere.toml")

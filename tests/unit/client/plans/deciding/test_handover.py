"""Who goes to a human: each reason at its boundary, the strongest first, due at the soonest."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.decide import HANDOFFS
from fedrepay.client.plans.deciding.handover import (
    CONTRADICTIONS,
    STRONGEST_FIRST,
    HandedOver,
    contradictions,
    hand_over,
    minute_text,
)
from fedrepay.client.plans.deciding.settings import Handover
from fedrepay.client.plans.explaining.annotate import CONTRADICTED, handover_texts
from fedrepay.client.plans.explaining.messages import messages
from fedrepay.shared.rules.facts import DRIVERS, RESTRICTED

NOW = 30_000_000


def codes(found: HandedOver) -> list[str]:
    return [HANDOFFS[each] for each in found.code.tolist()]


def test_lists_are_closed_and_the_same() -> None:
    assert sorted(STRONGEST_FIRST) == sorted(HANDOFFS[1:]) == sorted(Handover().hours)
    assert sorted(messages()["handover"]) == sorted(STRONGEST_FIRST)
    assert tuple(CONTRADICTED) == CONTRADICTIONS


def test_every_code_says_what_it_rests_on_and_what_follows_if_nobody_decides() -> None:
    codes = set(HANDOFFS[1:])
    for table in ("consequence", "rests_on"):
        assert set(messages()[table]) == codes
        said = [text for each in messages()[table].values() for text in each.values()]
        assert len(set(said)) == 2 * len(codes)
        assert not [text for text in said for name in RESTRICTED if name in text]
        assert not [text for text in said for value in DRIVERS[1:] if value in text]
    for each in messages()["consequence"].values():
        assert each["en"].startswith("If nobody decides by then: ")
        assert each["zh"].startswith("如届时无人处理：")


def test_nothing_known_hands_nobody_over() -> None:
    found = hand_over(Handover(), {}, 3, NOW)
    assert codes(found) == ["", "", ""]
    assert handover_texts(found).tolist() == [None, None, None]
    assert found.due.tolist() == [-1, -1, -1]


def test_the_third_date_change_and_not_the_second() -> None:
    changes = np.array([2, 3, np.nan])
    found = hand_over(Handover(), {"date_changes_90d": changes}, 3, NOW)
    assert codes(found) == ["", "DATE_CHANGES", ""]
    assert handover_texts(found)[1] == "the date of payment was changed again and again: 3 times in 90 days"
    assert found.due[1] == NOW + 48 * 60


@pytest.mark.parametrize(
    ("column", "code"),
    [
        ("human_requested", "REQUESTED"),
        ("vulnerable", "VULNERABLE"),
        ("rule", "RULE"),
        ("unknown_fact", "UNKNOWN_FACT"),
    ],
)
def test_yes_and_only_yes_hands_over(column: str, code: str) -> None:
    found = hand_over(Handover(), {column: np.array([True, False, None], object)}, 3, NOW)
    assert codes(found) == [code, "", ""]
    assert handover_texts(found)[0] == messages()["handover"][code]["en"]


def test_matters_that_nobody_covers_are_named_beside_a_stronger_reason_too() -> None:
    matters = np.array(["", "cost", "contact, cost"], object)
    found = hand_over(Handover(), {"uncovered": matters, "rule": np.array([0, 0, 1])}, 3, NOW)
    assert codes(found) == ["", "UNCOVERED", "RULE"]
    assert handover_texts(found).tolist() == [
        None,
        "covered by no pack given: cost",
        f"{messages()['handover']['RULE']['en']}; covered by no pack given: contact, cost",
    ]


def test_confidence_below_the_least() -> None:
    settings = Handover(least_confidence=0.6)
    found = hand_over(settings, {"confidence": np.array([0.59, 0.6, np.nan])}, 3, NOW)
    assert codes(found) == ["LOW_CONFIDENCE", "", ""]


def test_the_strongest_names_it_and_the_soonest_sets_the_hour() -> None:
    settings = Handover(hours=Handover().hours | {"REQUESTED": 100, "DATE_CHANGES": 5})
    known = {"human_requested": np.array([1]), "date_changes_90d": np.array([9])}
    found = hand_over(settings, known, 1, NOW)
    assert codes(found) == ["REQUESTED"]
    assert found.due.tolist() == [NOW + 5 * 60]
    assert minute_text(0) == "1970-01-01T00:00"


CONSISTENT = {
    "income": 200_000.0,
    "surplus": 20_000.0,
    "balance": 90_000.0,
    "fees": 0.0,
    "kept_ratio_12m": 0.5,
    "promises_12m": 2.0,
    "median_income": 180_000.0,
    "income_verified": "verified",
    "employment": "working",
}


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({}, ""),
        ({"surplus": 200_000.0}, ""),
        ({"surplus": 200_001.0}, "SURPLUS_ABOVE_INCOME"),
        ({"income": np.nan, "income_verified": "none"}, "SURPLUS_WITHOUT_INCOME"),
        ({"income": np.nan, "surplus": np.nan}, "FORM_WITHOUT_INCOME"),
        ({"income": 0.0, "surplus": np.nan}, ""),
        ({"income": 0.0, "surplus": -20_000.0}, ""),
        ({"income": 0.0, "surplus": 1.0}, "SURPLUS_ABOVE_INCOME"),
        ({"income": 0.0, "surplus": np.nan, "income_verified": "stated"}, "FORM_WITHOUT_INCOME"),
        ({"income": np.nan, "surplus": np.nan, "income_verified": "none"}, ""),
        ({"fees": 90_001.0}, "FEES_ABOVE_BALANCE"),
        ({"promises_12m": 0.0}, "KEPT_WITHOUT_PROMISE"),
        ({"promises_12m": 0.0, "kept_ratio_12m": np.nan}, ""),
        ({"employment": "not_working"}, ""),
        ({"employment": "not_working", "income": 270_001.0}, "NO_WORK_HIGH_INCOME"),
    ],
)
def test_each_contradiction_at_its_boundary(changed: dict[str, object], name: str) -> None:
    row = CONSISTENT | changed
    known = {key: np.array([each], object if isinstance(each, str) else float) for key, each in row.items()}
    assert contradictions(known, 1).tolist() == [name]
    found = hand_over(Handover(), known, 1, NOW)
    assert codes(found) == (["CONTRADICTION"] if name else [""])
    assert not name or str(handover_texts(found)[0]).endswith(CONTRADICTED[name])

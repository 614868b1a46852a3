"""A member's own odd pack takes no person away: what needs a person without any law needs one under every law."""

from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding import handover
from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.need import needs
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.rules.pack import Pack, parse_pack
from support.judging import EXAMPLE
from support.market_accounts import market_book, random_accounts
from support.market_release import market_weights

N, TODAY = 400, 20_800
HEAD = """
id = "own"
jurisdiction = "UK"
version = 1
title = "made up for this test"
citation = "none"
template = true
disclaimer = "A template, not legal advice."
covers = [{matters = ["conduct", "contact", "cost", "automated_decision"]}]
[[rules]]
id = "odd"
version = 1
article = "1"
text = "odd"
checked = false
"""
COVERS = """
[[rules]]
id = "covers-{0}"
version = 1
article = "{0}"
text = "so that the pack may cover it"
checked = false
parameters = {1}
"""
ODD = {
    "a stop that rests": 'parameters = {kind = "stop_collection", blocks = "contacting", rests = true}',
    "no letters": 'parameters = {kind = "channel_consent", channels = ["letter"]}',
    "no portal": 'parameters = {kind = "channel_consent", channels = ["portal"]}',
    "short plans only": 'parameters = {kind = "term_cap", most_months = 3}',
    "no interest": 'parameters = {kind = "interest_freeze", allowed = "none"}',
}


def pack(rule: str) -> Pack:
    more = (
        ("conduct", '{kind = "affordability", spares = ["TOKEN"]}'),
        ("contact", '{kind = "quiet_hours", channels = ["call"], opens = "00:00", closes = "24:00"}'),
        ("cost", '{kind = "cost_cap", most_share = 10000}'),
        ("automated", '{kind = "notice", notice = "how_decided"}'),
    )
    return parse_pack((HEAD + rule + "".join(COVERS.format(*each) for each in more)).encode(), "own.toml")


def decided(packs: list[Pack], **changed: Any) -> Batch:
    columns = random_accounts(N, 4)
    names = columns.pop("customer").tolist()
    facts: dict[str, Any] = {
        "jurisdiction": np.full(N, "UK", object),
        "debt_type": np.full(N, "card", object),
        "consent_letter": np.zeros(N),
        "consent_portal": np.zeros(N),
    }
    settings = Settings.model_validate(
        {"relief": {"write_off_below": 30_000}, "handover": {"least_confidence": 0.2}, **changed}
    )
    book = market_book()
    made = Engine(book, market_weights(book), EXAMPLE, settings, packs)
    try:
        return made.decide(made.accounts(names, columns, facts), today=TODAY)
    finally:
        made.close()


def people(batch: Batch) -> Any:
    return batch.decisions.code == Decision.HUMAN


@pytest.mark.parametrize("name", ODD)
def test_no_odd_pack_takes_a_person_away(name: str) -> None:
    without, ruled = decided([]), decided([pack(ODD[name])])
    has = people(without)
    codes = {HANDOFFS[each] for each in without.decisions.handoff[has].tolist()}
    assert {"PAUSE", "WRITE_OFF", "LOW_CONFIDENCE"} <= codes
    assert people(ruled)[has].all(), {
        HANDOFFS[each] for each in without.decisions.handoff[has & ~people(ruled)].tolist()
    }
    assert (ruled.handed.due[has] <= without.handed.due[has]).all()
    if name == "a stop that rests":
        assert (ruled.decisions.top == NONE).all()
        assert not people(ruled).all(), "who needs nobody only rests"


def test_judged_by_the_law_alone_some_would_lose_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the needs of before, read under the rules only."""

    def under_the_law(judged: Any, why: Any) -> Any:
        return tuple(each & (why is judged.why) for each in needs(judged, why))

    monkeypatch.setattr(handover, "needs", under_the_law)
    has = people(decided([]))
    assert not people(decided([pack(ODD["a stop that rests"])]))[has].all()


def test_a_cap_that_leaves_somebody_nothing_leaves_them_a_person_or_a_plan() -> None:
    """No discounts, no contacts: nobody in need ends without plan and person, and every person has a reason."""
    batch = decided([], caps={"discounts": 0, "contacts": 0, "agents": 0})
    rows = people(batch)
    assert (batch.decisions.handoff[rows] > 0).all()
    assert (batch.handed.due[rows] > 0).all()

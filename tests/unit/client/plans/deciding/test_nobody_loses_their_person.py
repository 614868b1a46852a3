"""Whatever packs are given, whoever gets a person without them gets one with them, no later, and no machine's offer."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.safeguards import RESTING
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules import effects, masks
from fedrepay.shared.rules.facts import FACTS
from fedrepay.shared.rules.pack import builtin_names, load_builtin
from support.market_accounts import CATALOGUE, market_book, random_accounts
from support.market_release import market_weights
from support.rules_world import covering

N, TODAY = 600, 20_800
PLACES = ("UK", "US", "NL", "PT", "CN", "DE")
HOMES = ("UK", "US", "CN", "EU")
"""Where packs of the member's own may hold."""
GIVEN: list[tuple[str, ...]] = [*((name,) for name in builtin_names()), tuple(builtin_names())]


@cache
def desk(packs: tuple[str, ...], own: tuple[str, ...] = ()) -> Engine:
    """With built-in packs, and a pack of the member's own for each place that covers every matter there."""
    book = market_book()
    rules = (*(load_builtin(list(packs)) if packs else ()), *(covering(place) for place in own))
    return Engine(book, market_weights(book), load_catalogue(CATALOGUE)[0], Settings(), rules)


@cache
def facts() -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """Accounts of all places, each fact of each known, unknown, harmless or not, by chance."""
    dice = np.random.default_rng(7)
    columns = random_accounts(N, 1)
    names = columns.pop("customer").tolist()
    known: dict[str, Any] = {}
    for name, fact in FACTS.items():
        if name in ("dpd", "apr", "balance", "contact_minute"):
            continue
        if fact.type == "category":
            values = np.array([None, *fact.categories], object)[dice.integers(0, len(fact.categories) + 1, N)]
        elif fact.type == "bool":
            values = dice.choice([0.0, 0.0, 0.0, 0.0, 1.0, np.nan], N)
        else:
            values = np.where(
                dice.random(N) < 0.2,
                np.nan,
                dice.integers(int(max(fact.low, -1)), int(min(fact.high, 90)) + 1, N),
            )
        known[name] = values
    known["jurisdiction"] = np.array(PLACES, object)[dice.integers(0, len(PLACES), N)]
    known["human_requested"] = dice.choice([0.0, 0.0, 0.0, 1.0], N)
    return names, columns, known


def decided(packs: tuple[str, ...], own: tuple[str, ...] = ()) -> Batch:
    names, columns, known = facts()
    of = desk(packs, own)
    beside = {name: known[name] for name in ("human_requested",)}
    ruled = {name: each for name, each in known.items() if name in FACTS}
    return of.decide(replace(of.accounts(names, columns, ruled), beside=beside), today=TODAY)


def with_a_person(batch: Batch) -> Any:
    return batch.decisions.code == Decision.HUMAN


@pytest.mark.parametrize("packs", GIVEN, ids=[*builtin_names(), "all"])
def test_packs_only_add_people_and_reasons(packs: tuple[str, ...]) -> None:
    without, ruled = decided(()), decided(packs)
    has = with_a_person(without)
    assert 100 < has.sum() < N, "some have a person, some have none"
    assert with_a_person(ruled)[has].all()
    assert (ruled.decisions.handoff[has] > 0).all()
    assert (ruled.handed.due[has] <= without.handed.due[has]).all(), "no later than without the packs"
    stopped = ruled.judged.verdict.stop != NONE
    rests = {"stop-while-kept"}
    rules = [each.rule for each in ruled.judged.verdict.rules]
    waits = np.array(
        [
            stop and rules[int(which)] in rests
            for stop, which in zip(stopped, ruled.judged.verdict.stop, strict=True)
        ]
    )
    assert with_a_person(ruled)[stopped & ~waits].all(), "a stop ends offers and letters, never the hand-over"
    assert (ruled.decisions.top[stopped] == NONE).all()


def for_a_fact(batch: Batch) -> Any:
    """Accounts with a person for more than that no pack covers a matter."""
    asked = batch.judged.verdict.human != NONE
    return with_a_person(batch) & (asked | (batch.decisions.handoff != HANDOFFS.index("UNCOVERED")))


@pytest.mark.parametrize("seed", range(6))
def test_more_packs_take_away_no_person_but_for_matters_they_cover(seed: int) -> None:
    dice = np.random.default_rng(seed)
    names = np.array(builtin_names())
    some = tuple(names[dice.random(len(names)) < 0.4].tolist())
    more = tuple(sorted({*some, *names[dice.random(len(names)) < 0.5].tolist()}))
    before = decided(some, ("US",))
    for packs, own in ((more, ("US",)), (more, HOMES)):
        after = decided(packs, own)
        gone = with_a_person(before) & ~with_a_person(after)
        assert not (gone & for_a_fact(before)).any()
        assert after.judged.verdict.covered[gone].all(), "only where every matter is now covered"
        assert (after.handed.due <= before.handed.due)[for_a_fact(before)].all()


def test_control_a_pack_that_covers_the_rest_takes_away_the_person_for_what_nobody_covered() -> None:
    names, columns, _ = facts()
    half = np.arange(N) % 2 == 0
    calm = {
        **quiet(columns),
        "jurisdiction": np.full(N, "UK", object),
        "debt_type": np.full(N, "mortgage", object),
        "dispute": half.astype(float),
    }
    bare, covered = (
        of.decide(of.accounts(names, columns, calm), today=TODAY)
        for of in (desk(("uk-adm",)), desk(("uk-adm",), HOMES))
    )
    only = with_a_person(bare) & ~for_a_fact(bare)
    assert with_a_person(bare).all()
    assert only.sum() > N / 4
    assert not with_a_person(covered)[only].any()
    assert with_a_person(covered)[for_a_fact(bare)].all()
    assert for_a_fact(bare)[half].all()


def test_what_only_rests_needs_no_pack_to_cover_it() -> None:
    names, columns, _ = facts()
    calm = {
        **quiet(columns),
        "jurisdiction": np.full(N, "UK", object),
        "debt_type": np.full(N, "mortgage", object),
    }
    for packs in ((), ("uk-fca", "uk-breathing-space", "uk-adm")):
        of = desk(packs)
        control = of.decide(of.accounts(names, columns, calm), today=TODAY)
        assert (with_a_person(control).mean() > 0.9) == bool(packs), "no pack covers mortgages"
        for fact in RESTING:
            batch = of.decide(of.accounts(names, columns, {**calm, fact: np.ones(N)}), today=TODAY)
            other = batch.decisions.handoff > 0
            assert not other.all()
            assert (batch.decisions.code[~other] == Decision.NONE).all()
            assert (batch.decisions.top == NONE).all()
            assert {HANDOFFS[each] for each in batch.decisions.handoff} <= {
                "",
                "CONTRADICTION",
                "LOW_CONFIDENCE",
            }
            asked = replace(
                of.accounts(names, columns, {**calm, fact: np.ones(N)}),
                beside={"human_requested": np.ones(N)},
            )
            assert with_a_person(of.decide(asked, today=TODAY)).all(), (
                "who asks for a person gets one all the same"
            )
            hurt = of.accounts(names, columns, {**calm, fact: np.ones(N), "deceased": np.ones(N)})
            assert with_a_person(of.decide(hurt, today=TODAY)).all()


def test_the_person_is_the_same_for_an_adviser_with_and_without_packs() -> None:
    names, columns, known = facts()
    given = {
        **{n: np.full(N, np.nan) for n, f in FACTS.items() if f.type != "category" and n in known},
        "adviser_engaged": np.ones(N),
    }
    given["jurisdiction"] = np.full(N, "UK", object)
    given["debt_type"] = np.full(N, "card", object)
    for packs in ((), ("uk-fca", "uk-breathing-space", "uk-adm")):
        batch = desk(packs).decide(desk(packs).accounts(names, columns, given), today=TODAY)
        assert with_a_person(batch).all()
        assert {HANDOFFS[each] for each in batch.decisions.handoff} <= {
            "PROTECTED",
            "REQUESTED",
            "VULNERABLE",
        }


def quiet(columns: dict[str, Any]) -> dict[str, Any]:
    """Facts that ask for nothing."""
    found: dict[str, Any] = {
        name: np.zeros(N) for name, fact in FACTS.items() if fact.type != "category" and name not in columns
    }
    found |= {name: np.full(N, -1.0) for name in ("moratorium_day", "mental_health_crisis_day", "persi_day")}
    return found | {"vulnerability_driver": np.full(N, "none", object)}


def without_persi() -> Batch:
    """Portuguese cards of people with nothing else against an offer, who never entered PERSI."""
    names, columns, _ = facts()
    calm = {
        **quiet(columns),
        "jurisdiction": np.full(N, "PT", object),
        "debt_type": np.full(N, "card", object),
    }
    of = desk(("pt",), own=("PT",))
    return of.decide(of.accounts(names, columns, calm), today=TODAY)


def test_a_stop_of_a_pack_gives_a_person_and_control_without_that_nobody_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = without_persi()
    stopped = batch.judged.verdict.stop != NONE
    assert stopped.sum() > 20
    assert with_a_person(batch)[stopped].all()
    outcome = effects.outcome

    def alone(*given: Any) -> Any:
        return replace(outcome(*given), human=None)

    monkeypatch.setattr(masks, "outcome", alone)
    assert not with_a_person(without_persi())[stopped].any()

"""Reasons, the nearest change, and hand-over, as they stand beside decisions."""

from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io import output
from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.engine import KEPT, Batch, Engine
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.reasons import reference_of
from fedrepay.client.plans.deciding.settings import parse_settings
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.client.plans.explaining.explain import explain
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules.pack import load_builtin
from support.market_accounts import CATALOGUE, market_book, random_accounts
from support.market_release import market_weights

ACCOUNTS, TODAY = 120, 20_500


def engine(settings: str = "", packs: tuple[str, ...] = ()) -> Engine:
    book = market_book()
    catalogue, _ = load_catalogue(CATALOGUE)
    return Engine(
        book, market_weights(book), catalogue, parse_settings(settings.encode(), "s"), load_builtin(packs)
    )


def decided(of: Engine, **facts: Any) -> Batch:
    own = random_accounts(ACCOUNTS, seed=9)
    beside = {
        name: facts.pop(name) for name in list(facts) if name in ("human_requested", "date_changes_90d")
    }
    given = {each.name: own[each.name] for each in of.encoder.account_columns}
    made = of.accounts(list(own["customer"]), given, facts)
    made.beside.update(beside)
    return of.decide(made, today=TODAY)


def test_parts_of_reasons_add_up_to_the_models_own_difference() -> None:
    of = engine()
    batch = decided(of)
    arm = np.maximum(batch.decisions.top[:, 0], 0)
    rows = np.arange(ACCOUNTS)
    other = reference_of(batch.judged.plans)
    codes, reference = batch.codes.of(rows, arm), batch.codes.of(rows, other)
    parts = of.reasons.parts(codes, reference).sum(axis=1)
    logit = batch.codes.logits(of.effects[KEPT])
    # account-only blocks stand against the average, blocks that know the plan against the reference plan
    knows = of.reasons.knows_plan
    average = sum(
        effect[codes[:, place]] - of.reasons.average[place]
        for place, effect in enumerate(of.reasons.effects)
        if not knows[place]
    )
    difference = logit[rows, arm] - logit[rows, other]
    assert parts == pytest.approx(difference + average)


def test_the_nearest_change_is_the_smallest_among_the_candidates() -> None:
    of = engine()
    batch = decided(of)
    judged, top = batch.judged, batch.decisions.top[:, 0]
    found = output.table_of(of, batch, verify(of, batch.accounts, TODAY))
    texts = dict(zip(found["account"], found["counterfactual"], strict=True)) | {
        name: text
        for name, text, rank in zip(found["account"], found["counterfactual"], found["rank"], strict=True)
        if rank == 1
    }
    seen = 0
    for row in range(ACCOUNTS):
        arm = int(top[row])
        text = texts[batch.accounts.names[row]]
        if arm == NONE or not of.arms.is_kind("INSTALMENT", "SETTLEMENT")[arm]:
            assert text is None
            continue
        target = 0.05 * (np.floor(round(judged.kept[row, arm] / 0.05, 9)) + 1)
        better = [
            other
            for other in range(len(of.arms.kind))
            if judged.plans.valid[row, other]
            and all(
                getattr(of.arms, name)[other] == getattr(of.arms, name)[arm]
                for name in ("kind", "discount", "interest_waiver", "fee_waiver", "frequency", "channel")
            )
            and judged.plans.monthly[row, other] < judged.plans.monthly[row, arm]
            and judged.kept[row, other] >= target
        ]
        if not better or target >= 1:
            assert text is None
            continue
        nearest = max(better, key=lambda other: (judged.plans.monthly[row, other], -other))
        less = judged.plans.instalment[row, arm] - judged.plans.instalment[row, nearest]
        assert text == (
            f"£{less / 100:,.2f} lower, {judged.plans.count[row, nearest]} payments, "
            f"keeps to {int(100 * judged.kept[row, nearest] + 1e-9)} %"
        )
        seen += 1
    assert seen > 3


def handoffs(batch: Batch) -> list[str]:
    return [HANDOFFS[each] for each in batch.decisions.handoff]


def test_who_is_handed_over_and_by_when() -> None:
    no, changes = np.zeros(ACCOUNTS), np.zeros(ACCOUNTS)
    asked = no.copy()
    asked[3], changes[4], changes[5] = 1, 3, 2
    driver = np.full(ACCOUNTS, "none", dtype=object)
    driver[6] = "health"
    of = engine("[handover.hours]\nREQUESTED = 24\nDATE_CHANGES = 48\nVULNERABLE = 12\n")
    batch = decided(of, human_requested=asked, date_changes_90d=changes, vulnerability_driver=driver)
    control = decided(of)
    assert set(handoffs(control)) == {""}
    assert handoffs(batch)[3:7] == ["REQUESTED", "DATE_CHANGES", "", "VULNERABLE"]
    assert (batch.decisions.code[[3, 4, 6]] == Decision.HUMAN).all()
    assert batch.decisions.code[5] == control.decisions.code[5] != Decision.HUMAN
    assert np.array_equal(batch.decisions.top[[3, 4, 6]], control.decisions.top[[3, 4, 6]]), "as proposals"
    found = output.table_of(of, batch, verify(of, batch.accounts, TODAY))
    first = {
        name: place
        for place, (name, rank) in enumerate(zip(found["account"], found["rank"], strict=True))
        if rank == 1
    }
    assert found["handoff_due"][first["c00003"]] == "2026-02-17T10:00"
    assert found["handoff_code"][first["c00003"]] == "REQUESTED"
    assert found["handoff_code"][first["c00005"]] is None


def test_an_unsure_prediction_is_handed_over_where_settings_say_so() -> None:
    sure, unsure = decided(engine()), decided(engine("[handover]\nleast_confidence = 0.5\n"))
    assert "LOW_CONFIDENCE" not in handoffs(sure)
    low = np.array([each == "LOW_CONFIDENCE" for each in handoffs(unsure)])
    top = sure.decisions.top[:, 0]
    offered = sure.decisions.code == Decision.OFFER
    kept = sure.judged.kept[np.arange(ACCOUNTS), np.maximum(top, 0)]
    assert np.array_equal(low, offered & (np.abs(2 * kept - 1) < 0.5))
    assert low.any()


def test_where_a_pack_needs_what_is_not_known_a_human_decides() -> None:
    batch = decided(engine(packs=("uk-breathing-space",)), jurisdiction=np.full(ACCOUNTS, "UK", dtype=object))
    assert set(handoffs(batch)) == {"UNKNOWN_FACT"}
    elsewhere = decided(
        engine(packs=("uk-breathing-space",)), jurisdiction=np.full(ACCOUNTS, "US", dtype=object)
    )
    assert set(handoffs(elsewhere)) == {"UNCOVERED"}, "no pack speaks about them"
    said = set(
        output.table_of(
            engine(packs=("uk-breathing-space",)),
            elsewhere,
            verify(engine(packs=("uk-breathing-space",)), elsewhere.accounts, TODAY),
        )["handoff_reason"]
    )
    assert said == {"covered by no pack given: conduct, contact, cost, automated_decision"}


def test_the_nearest_change_is_never_one_that_a_rule_forbids() -> None:
    """A card debt in China whose agreement has run for 52 months: a plan may take 8 more (Art 70)."""
    facts: dict[str, Any] = {
        **{
            name: np.full(ACCOUNTS, value, object)
            for name, value in (("jurisdiction", "CN"), ("debt_type", "card"))
        },
        **{name: np.zeros(ACCOUNTS) for name in ("agreement_kept", "unanswered_attempts_today")},
        "agreement_months": np.full(ACCOUNTS, 52.0),
    }

    def longest(packs: tuple[str, ...]) -> tuple[int, int]:
        """Payments of the longest plan that a change names, in the table and in explanations."""
        of = engine(packs=packs)
        batch = decided(of, **facts)
        table = [
            each
            for each in output.table_of(of, batch, verify(of, batch.accounts, TODAY))["counterfactual"]
            if each
        ]
        found = [
            explain(of, batch, today=TODAY, versions={}, row=row).content["counterfactual"]
            for row in range(30)
        ]
        counts = [each["count"] for each in found if each]
        assert table
        assert counts
        return max(int(each.split(" lower, ")[1].split()[0]) for each in table), max(counts)

    assert max(longest(("cn",))) <= 8
    assert min(longest(())) > 8, "control: without the rule"

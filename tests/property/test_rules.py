"""The masks say what a slow, plain reading of the packs says; packs stack; nothing unknown is allowed."""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.shared.plans.kinds import CONTACTING, KINDS
from fedrepay.shared.rules.cases import plan_columns
from fedrepay.shared.rules.masks import RulesVerdict
from fedrepay.shared.rules.pack import CasePlan, Pack, load_builtin
from fedrepay.shared.rules.parameters import MATTERS, ContactCap
from support import rules_oracle
from support.rules_world import World, evaluated, raw_packs, world

ACCOUNTS, PLANS = 20_000, 1
CHUNK = 100  # accounts that share a plan's kind and channel
DAYS = (date(2026, 11, 19), date(2026, 11, 20))
Raw = list[dict[str, Any]]


def day(when: date) -> int:
    return when.toordinal() - date(1970, 1, 1).toordinal()


def differences(verdict: RulesVerdict, packs: Raw, made: World, today: date) -> Iterator[str]:
    """Every way in which masks and oracle disagree, and every plan allowed that the oracle forbids."""

    def name(index: int) -> tuple[str, str] | None:
        return None if index < 0 else (verdict.rules[index].pack, verdict.rules[index].rule)

    order = [(pack["id"], rule["id"]) for pack in packs for rule in pack["rules"]]
    accounts, plans = verdict.blocked.shape
    for row in range(accounts):
        facts = made.account(row)
        answers = [rules_oracle.judge(packs, facts, made.plan(row, each), today) for each in range(plans)]
        for column, answer in enumerate(answers):
            if name(verdict.blocked[row, column]) != answer.blocked:
                yield f"{row}, {column}: blocked {name(verdict.blocked[row, column])}, not {answer.blocked}"
        humans = [answer.human for answer in answers if answer.human is not None]
        human = min(humans, key=order.index) if humans else None
        due = {
            (verdict.rules[each].pack, verdict.rules[each].rule)
            for each in np.flatnonzero(verdict.notices[row])
        }
        kept = verdict.retention_days[row]
        for what, masks, oracle in (
            ("human", name(verdict.human[row]), human),
            ("stop", name(verdict.stop[row]), answers[0].stop),
            ("unknown", bool(verdict.unknown[row]), any(answer.unknown for answer in answers)),
            (
                "covered",
                {each for each, has in zip(MATTERS, verdict.covered[row], strict=True) if has},
                answers[0].covered,
            ),
            ("notices", due, answers[0].notices),
            ("retention", None if kept < 0 else int(kept), answers[0].retention),
        ):
            if masks != oracle:
                yield f"{row}: {what} {masks}, not {oracle}"


@pytest.fixture(scope="module")
def packs() -> tuple[Pack, ...]:
    return load_builtin()


@pytest.mark.parametrize(("seed", "today"), list(enumerate(DAYS)))
def test_masks_and_oracle_agree_on_20000_accounts(packs: tuple[Pack, ...], seed: int, today: date) -> None:
    rng, raw = np.random.default_rng(seed), raw_packs()
    seen: list[int] = []
    for _ in range(ACCOUNTS // len(DAYS) // CHUNK):
        made = world(rng, CHUNK, PLANS)
        verdict = evaluated(packs, made.facts, made.plans, day(today))
        assert not list(differences(verdict, raw, made, today))
        seen += verdict.blocked.ravel().tolist()
    assert len(seen) == ACCOUNTS // len(DAYS) * PLANS
    assert len(set(seen)) > 20, "most rules were exercised"
    assert 0.1 < seen.count(-1) / len(seen) < 0.9


@pytest.fixture(scope="module")
def small() -> World:
    return world(np.random.default_rng(9), 1500, 14)


def test_control_each_rule_dropped_from_the_masks_is_found(packs: tuple[Pack, ...], small: World) -> None:
    raw = raw_packs()
    missed = []
    for place, pack in enumerate(packs):
        for rule in pack.rules:
            rest = tuple(each for each in pack.rules if each is not rule)
            if not rest or not getattr(rule.parameters, "required", True):
                continue  # a pack of one rule is dropped below; one that demands nothing cannot be missed
            dropped = (*packs[:place], pack.model_copy(update={"rules": rest}), *packs[place + 1 :])
            verdict = evaluated(dropped, small.facts, small.plans, day(DAYS[1]))
            if next(differences(verdict, raw, small, DAYS[1]), None) is None:
                missed.append((pack.id, rule.id))
    fewer = tuple(pack for pack in packs if pack.id != "eu-ccd2")
    verdict = evaluated(fewer, small.facts, small.plans, day(DAYS[1]))
    assert next(differences(verdict, raw, small, DAYS[1]), None) is not None
    assert not missed


def shifted(pack: Pack, rule: str, **changes: object) -> Pack:
    """The pack with one rule's parameters moved."""
    moved = tuple(
        each.model_copy(update={"parameters": each.parameters.model_copy(update=changes)})
        if each.id == rule
        else each
        for each in pack.rules
    )
    assert moved != pack.rules
    return pack.model_copy(update={"rules": moved})


@pytest.mark.parametrize(
    ("pack", "rule", "changes"),
    [
        ("us-fed", "calls-7-in-7-days", {"most": 8}),
        ("us-fed", "pause-after-conversation", {"pause_days": 6}),
        ("us-fed", "hours", {"opens": 479}),
        ("us-fed", "hours", {"closes": 1261}),
        ("uk-breathing-space", "standard-60-days", {"days": 59}),
        ("uk-breathing-space", "crisis-treatment", {"days": 29}),
        ("uk-hcstc", "total-cost-100-percent", {"most_share": 10_001}),
        ("uk-hcstc", "total-cost-100-percent", {"most_share": 9_999}),
        ("uk-hcstc", "cost-0-8-percent-a-day", {"most_rate": 29_201}),
        ("uk-hcstc", "default-fees-15-pounds", {"lowest": 1_501, "highest": 1_501}),
        ("nl", "cost-scale", {"highest": 677_501}),
        ("nl", "cost-scale", {"lowest": 4_001}),
        ("nl", "letter-14-days", {"fees_after_days": 13}),
        ("cn", "five-years", {"most_months": 61}),
        ("cn", "attempts-6-a-day", {"most": 7}),
        ("cn", "night", {"closes": 1321}),
    ],
)
def test_control_a_boundary_shifted_by_one_is_found(
    small: World, pack: str, rule: str, changes: dict[str, object]
) -> None:
    (one,) = load_builtin([pack])
    raw = [each for each in raw_packs() if each["id"] == pack]
    there = evaluated([one], small.facts, small.plans, day(DAYS[0]))
    assert next(differences(there, raw, small, DAYS[0]), None) is None
    moved = evaluated([shifted(one, rule, **changes)], small.facts, small.plans, day(DAYS[0]))
    assert next(differences(moved, raw, small, DAYS[0]), None) is not None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.sets(st.integers(0, 11)), st.integers(0, 11))
def test_adding_a_pack_never_unblocks_anything(seed: int, some: set[int], one: int) -> None:
    packs = load_builtin()
    made = world(np.random.default_rng(seed), 60, 8)
    fewer = [pack for place, pack in enumerate(packs) if place in some and place != one]
    more = [*fewer, packs[one]]
    before, after = (evaluated(each, made.facts, made.plans, day(DAYS[1])) for each in (fewer, more))
    for what in ("blocked", "human", "stop"):
        was, now = getattr(before, what) >= 0, getattr(after, what) >= 0
        assert not (was & ~now).any()
    assert not (before.unknown & ~after.unknown).any()
    assert not (before.covered & ~after.covered).any()
    assert not (before.notices & ~after.notices[:, : before.notices.shape[1]]).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.data())
def test_a_fact_that_is_lost_never_unblocks_anything(seed: int, data: st.DataObject) -> None:
    packs = load_builtin()
    made = world(np.random.default_rng(seed), 60, 8)
    lost = data.draw(st.sets(st.sampled_from(sorted(made.facts)), min_size=1))
    rest = {name: column for name, column in made.facts.items() if name not in lost}
    before, after = (evaluated(packs, each, made.plans, day(DAYS[1])) for each in (made.facts, rest))
    newly = (after.blocked >= 0) & (before.blocked < 0)
    assert not ((before.blocked >= 0) & (after.blocked < 0)).any()
    assert not ((before.stop >= 0) & (after.stop < 0)).any()
    assert not (after.covered & ~before.covered).any()
    assert (after.unknown & (after.human >= 0))[newly.any(axis=1)].all(), "handed to a human, and said why"


def test_no_offer_is_never_blocked_and_without_any_fact_nothing_else_is_allowed_by_phone() -> None:
    packs = load_builtin()
    made = world(np.random.default_rng(3), 50, 40)
    verdict = evaluated(packs, {}, made.plans, day(DAYS[1]))
    kinds = np.isin(made.plans.kind, [KINDS.index(each) for each in CONTACTING])
    by_phone = kinds & (made.plans.channel == 2)
    assert by_phone.any()
    assert (verdict.blocked[:, by_phone] >= 0).all()
    assert (verdict.blocked[:, ~kinds] < 0).all()
    assert verdict.unknown.all()
    assert (verdict.human >= 0).all()
    assert not verdict.covered.any()


def test_an_account_alone_gets_the_verdict_it_got_among_others(packs: tuple[Pack, ...], small: World) -> None:
    whole = evaluated(packs, small.facts, small.plans, day(DAYS[1]))
    for row in (0, 7, 1499):
        one = {name: column[row : row + 1] for name, column in small.facts.items()}
        cut = replace(
            small.plans,
            **{
                each.name: getattr(small.plans, each.name)[row : row + 1]
                for each in fields(small.plans)
                if getattr(small.plans, each.name).ndim == 2 or each.name == "bound"
            },
        )
        alone = evaluated(packs, one, cut, day(DAYS[1]))
        assert (alone.blocked[0] == whole.blocked[row]).all()
        assert alone.human[0] == whole.human[row]


def test_the_first_rule_in_pack_order_is_named(small: World) -> None:
    packs = load_builtin(["us-fed"])
    assert isinstance(packs[0].rules[0].parameters, ContactCap)
    facts = {
        "jurisdiction": np.array(["US"]),
        "debt_type": np.array(["card"]),
        "calls_7d": np.array([9]),
        "days_since_conversation": np.array([0]),
        "contact_minute": np.array([0]),
        "fees_authorised": np.array([False]),
    }
    plan = plan_columns(CasePlan(channel="call", fees=5))
    verdict = evaluated(packs, facts, plan, day(DAYS[0]))
    ref = verdict.rules[verdict.blocked[0, 0]]
    assert (ref.rule, ref.article, ref.hash) == (
        "calls-7-in-7-days",
        "12 CFR 1006.14(b)(2)(i)(A)",
        packs[0].sha256,
    )

"""Decisions: hard masks with controls, what remains where no plan is right, exploration."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.decide import TIERS, Chosen, Decision, decide
from fedrepay.client.plans.deciding.judged import NONE, Cases, Judged, Why, judge
from fedrepay.client.plans.deciding.settings import Value
from fedrepay.shared.arrays import F64, Bool
from fedrepay.shared.plans.candidates import Debts, candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue
from fedrepay.shared.rules.masks import RuleRef, RulesVerdict
from fedrepay.shared.rules.parameters import MATTERS

CATALOGUE = parse_catalogue(
    b"""
name = "tests"
version = 1
currency = "GBP"
[[plans]]
kind = "FULL"
first_due = [7, 21]
[[plans]]
kind = "INSTALMENT"
n = [3, 6, 12, 24]
first_due = [7, 21]
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.2, 0.4]
[[plans]]
kind = "TOKEN"
n = [6]
[[plans]]
kind = "DORMANT"
dormant_months = [24, 12]
[[plans]]
kind = "REFER"
""",
    "tests",
)
ARMS = arms(CATALOGUE)
COUNT = len(ARMS.kind)
RULE = RuleRef("uk-fca", 1, "R1", 1, "affordability", "CONC 7.3.10", "FCA", "00")


def verdict(n: int, **given_: Any) -> RulesVerdict:
    nobody = np.full(n, NONE, np.int32)
    parts: dict[str, Any] = {
        "rules": (RULE,),
        "blocked": np.full((n, COUNT), NONE, np.int32),
        "human": nobody,
        "stop": nobody,
        "notices": np.zeros((n, 1), np.bool_),
        "retention_days": nobody,
        "unknown": np.zeros(n, np.bool_),
        "covered": np.ones((n, len(MATTERS)), np.bool_),
    }
    return RulesVerdict(**{**parts, **given_})


def judged(
    n: int = 1,
    *,
    bound: int = 1_000_000,
    balance: int = 120_000,
    first: float | F64 = 0.3,
    kept: float | F64 = 0.25,
    said: RulesVerdict | None = None,
    value: Value | None = None,
    income_known: bool = True,
    hardship: bool = False,
    within: Bool | None = None,
    known: Bool | None = None,
) -> Judged:
    debts = Debts(np.full(n, balance), np.zeros(n, np.int64), np.full(n, 0.1), np.full(n, bound))
    cases = Cases(
        np.array([f"a{i}" for i in range(n)], dtype=object), np.full(n, income_known), np.full(n, hardship)
    )
    p, k = (np.broadcast_to(np.asarray(each, float), (n, COUNT)) for each in (first, kept))
    plans = candidates(CATALOGUE, ARMS, debts)
    learned = ARMS.pays if known is None else known
    return judge(
        value or Value(),
        plans,
        cases,
        p,
        k,
        said or verdict(n),
        learned,
        within,
        borders=Borders(discounts_known=True),
    )


def offered(decisions: Chosen) -> list[str]:
    return [ARMS.names[each] for each in decisions.top[0] if each != NONE]


# --- hard masks, each with its control ---


def random_case(seed: int, bound: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    first = rng.random((30, COUNT))
    return {"n": 30, "bound": bound, "first": first, "kept": first * rng.random((30, COUNT)) * 0.55}


@pytest.mark.parametrize("seed", range(3))
def test_an_unaffordable_plan_is_never_offered_and_without_the_mask_it_would_be(seed: int) -> None:
    case = random_case(seed, bound=12_000)

    def too_much(of: Judged) -> int:
        top = decide(of).top
        rows, places = np.nonzero(top != NONE)
        chosen = top[rows, places]
        ranked = of.plans.arms.is_kind("FULL", "INSTALMENT", "SETTLEMENT")[chosen]
        return int((ranked & (of.plans.monthly[rows, chosen] > 12_000)).sum())

    assert too_much(judged(**case)) == 0
    assert too_much(judged(**case, within=np.ones((30, COUNT), np.bool_))) > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_forbidden_plan_is_never_offered_and_without_the_rule_it_would_be(seed: int) -> None:
    case = random_case(seed, bound=1_000_000)
    forbidden = np.random.default_rng(seed).random((30, COUNT)) < 0.7
    said = verdict(30, blocked=np.where(forbidden, 0, NONE).astype(np.int32))

    def hits(of: Judged) -> int:
        top = decide(of).top
        rows, places = np.nonzero(top != NONE)
        return int(forbidden[rows, top[rows, places]].sum())

    ruled = judged(**case, said=said)
    assert hits(ruled) == 0
    assert hits(judged(**case)) > 0
    assert (ruled.why[forbidden & ruled.plans.valid] == Why.RULE).all()


def test_a_kind_that_no_model_has_learned_is_not_offered() -> None:
    of = judged(known=ARMS.is_kind("FULL", "INSTALMENT"), kept=0.1, first=0.2)
    assert set(of.why[0, ARMS.is_kind("SETTLEMENT")].tolist()) == {Why.TERMS}
    everything = judged(first=0.2, kept=np.where(ARMS.is_kind("SETTLEMENT"), 0.5, 0.05))
    assert Why.OK in everything.why[0, ARMS.is_kind("SETTLEMENT")]


def test_the_first_reason_that_holds_is_the_one_given() -> None:
    of = judged(
        bound=12_000, said=verdict(1, blocked=np.where(ARMS.is_kind("FULL"), 0, NONE)[None].astype(np.int32))
    )
    names = dict(zip(ARMS.names, of.why[0].tolist(), strict=True))
    assert names["FULL day7 portal"] == Why.RULE
    assert names["INSTALMENT n3 day7 portal"] == Why.UNAFFORDABLE
    assert names["INSTALMENT n12 day7 portal"] == Why.OK
    assert judged(balance=5_000).why[0, ARMS.names.index("INSTALMENT n24 day7 portal")] == Why.NO_SUCH_PLAN


def test_a_chunk_is_decided_as_each_account_alone() -> None:
    case = random_case(5, bound=15_000)
    whole = decide(judged(**case))
    for row in range(0, 30, 7):
        alone = decide(
            judged(1, bound=15_000, first=case["first"][row : row + 1], kept=case["kept"][row : row + 1])
        )
        for name in ("code", "top", "tier", "propensity"):
            assert np.array_equal(getattr(alone, name)[0], getattr(whole, name)[row]), name


# --- where no plan is right ---


def test_who_would_pay_as_much_of_themselves_gets_no_plan() -> None:
    nothing = judged(value=Value(no_plan_rate=0.06))
    found = decide(nothing)
    assert (found.code[0], TIERS[found.tier[0]]) == (Decision.NONE, "T1")
    assert found.top.tolist() == [[NONE] * 3]
    assert set(nothing.why[0, ARMS.is_kind("FULL", "INSTALMENT", "SETTLEMENT")].tolist()) == {Why.NO_GAIN}


def test_a_discount_needs_to_bring_more_than_any_plan_without_one() -> None:
    settled = ARMS.is_kind("SETTLEMENT")
    better = judged(first=np.where(settled, 0.6, 0.1), kept=np.where(settled, 0.55, 0.05))
    assert offered(decide(better))[0].startswith("SETTLEMENT")
    same = judged(first=0.3, kept=0.25)
    assert not any(name.startswith("SETTLEMENT") for name in offered(decide(same)))
    assert set(same.why[0, settled].tolist()) == {Why.NO_DISCOUNT_FOR_SELF_CURE}


def test_a_likely_self_curer_never_gets_a_discount() -> None:
    settled = ARMS.is_kind("SETTLEMENT")
    likely = np.where(settled, 1.0, np.where(ARMS.is_kind("FULL"), 0.62, 0.1))
    of = judged(first=likely, kept=likely, value=Value(lambda_first=5.0))
    assert (of.score[0, settled] > of.score[0, ~settled & ARMS.pays].max()).any(), (
        "it scores above all others"
    )
    found = decide(of)
    assert not any(name.startswith("SETTLEMENT") for name in offered(found))
    assert TIERS[found.tier[0]] == "T1"


@pytest.mark.parametrize(
    ("income_known", "hardship", "code", "plan", "tier"),
    [
        (True, False, Decision.TOKEN, "TOKEN n6 day14 portal", "T4"),
        (True, True, Decision.HUMAN, "DORMANT dormant12 portal", "T5"),
        (False, False, Decision.REFER, "REFER portal", "T2"),
        (False, True, Decision.REFER, "REFER portal", "T2"),
    ],
)
def test_what_remains_where_nothing_is_affordable(
    income_known: Any, hardship: Any, code: Decision, plan: str, tier: str
) -> None:
    found = decide(judged(bound=100, income_known=income_known, hardship=hardship))
    assert (found.code[0], offered(found), TIERS[found.tier[0]]) == (code, [plan], tier)


def test_what_remains_is_held_against_the_rules_too() -> None:
    def without(*kinds: str) -> Chosen:
        blocked = np.where(ARMS.is_kind(*kinds), 0, NONE)[None].astype(np.int32)
        return decide(judged(bound=100, hardship=True, said=verdict(1, blocked=blocked)))

    assert without("DORMANT").code[0] == Decision.TOKEN
    assert without("DORMANT", "TOKEN").code[0] == Decision.REFER
    assert without("DORMANT", "TOKEN", "REFER").code[0] == Decision.NONE


def test_rules_give_accounts_to_a_human_or_stop_collection() -> None:
    one = np.zeros(1, np.int32)
    human = decide(judged(said=verdict(1, human=one)))
    assert (human.code[0], TIERS[human.tier[0]]) == (Decision.HUMAN, "T5")
    assert offered(human), "plans beside it are proposals for the case worker"
    stopped = decide(judged(said=verdict(1, stop=one)))
    assert (stopped.code[0], offered(stopped), TIERS[stopped.tier[0]]) == (Decision.NONE, [], "T5")
    poor = decide(judged(bound=100, said=verdict(1, stop=one)))
    assert (poor.code[0], offered(poor)) == (Decision.NONE, [])
    both = decide(judged(said=verdict(1, stop=one, human=one)))
    assert (both.code[0], offered(both)) == (Decision.HUMAN, [])


def test_where_no_pack_covers_one_matter_of_an_account_a_human_decides() -> None:
    assert decide(judged()).code[0] == Decision.OFFER, "control: every matter covered"
    for lost in range(len(MATTERS)):
        partly = np.ones((1, len(MATTERS)), np.bool_)
        partly[0, lost] = False
        assert decide(judged(said=verdict(1, covered=partly))).code[0] == Decision.HUMAN
        assert verdict(1, covered=partly).missing(0) == (MATTERS[lost],)
        assert decide(judged(said=verdict(1, covered=partly, rules=()))).code[0] == Decision.OFFER, (
            "no pack was given"
        )


def test_a_hand_over_makes_a_decision_human() -> None:
    found = decide(judged(2), np.array([0, 2], np.uint8))
    assert found.code.tolist() == [Decision.OFFER, Decision.HUMAN]
    assert TIERS[found.tier[1]] == "T5"


# --- exploration ---


def test_without_exploration_every_propensity_is_one() -> None:
    assert decide(judged(5)).propensity.tolist() == [1.0] * 5


def test_exploration_draws_from_the_allowed_plans_as_often_as_it_says() -> None:
    n, epsilon = 6_000, 0.5
    of = judged(n, bound=25_000)
    best = decide(of).top[0, 0]
    found = decide(of, exploration=epsilon, batch_id="b1")
    allowed = np.flatnonzero(of.offers[0])
    assert set(found.top[:, 0].tolist()) == set(allowed.tolist())
    seen = Counter(found.top[:, 0].tolist())
    for arm in allowed.tolist():
        expected = epsilon / len(allowed) + (1 - epsilon) * (arm == best)
        assert found.propensity[found.top[:, 0] == arm] == pytest.approx(expected)
        assert abs(seen[arm] / n - expected) < 5 * np.sqrt(expected * (1 - expected) / n)
    for row in found.top:
        shown = [each for each in row.tolist() if each != NONE]
        assert len(shown) == len(set(shown))


def test_a_draw_depends_on_batch_and_account_alone() -> None:
    of = judged(200, bound=25_000)
    one, again, other = (decide(of, exploration=0.5, batch_id=each).top for each in ("b1", "b1", "b2"))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_who_goes_to_a_human_is_no_part_of_exploration() -> None:
    of = judged(50, said=verdict(50, human=np.zeros(50, np.int32)))
    found = decide(of, exploration=0.5, batch_id="b1")
    assert np.array_equal(found.top, decide(of).top)
    assert (found.propensity == 1).all()

"""A contract that still runs: arrears beside the instalment, a longer term, less for a while, or nothing at all."""

from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.judged import NONE, Why
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.schedule import plan_of, schedule
from support.judging import EXAMPLE
from support.market_accounts import market_book, random_accounts
from support.market_release import market_weights

TODAY = 20_800


def decided(facts: dict[str, Any], **changed: Any) -> Batch:
    columns = {name: each[:1] for name, each in random_accounts(1, 1).items()}
    columns |= {
        "income": np.array([200_000.0]),
        "surplus": np.array([40_000.0]),
        "income_verified": np.array(["verified"], object),
        "other_plans": np.array([0.0]),
        "priority_arrears": np.array([0.0]),
        "employment": np.array(["unknown"], object),
        "balance": np.array([1_200_000.0]),
        "fees": np.array([0.0]),
        "apr": np.array([0.06]),
        "dpd": np.array([40.0]),
        "stage": np.array(["early"], object),
    }
    columns |= {
        name: np.array([each], object if isinstance(each, str) else float) for name, each in changed.items()
    }
    names = columns.pop("customer")
    book = market_book()
    made = Engine(book, market_weights(book), EXAMPLE, Settings())
    try:
        given = {name: np.array([each], float) for name, each in facts.items()}
        return made.decide(made.accounts(names.tolist(), columns, given), today=TODAY)
    finally:
        made.close()


def outcome(batch: Batch) -> tuple[str, str | None]:
    arm = int(batch.decisions.top[0, 0])
    kind = None if arm == NONE else batch.judged.plans.arms.names[arm].split()[0]
    return Decision(batch.decisions.code[0]).name, kind


RUNS = {"contractual_instalment": 25_000, "arrears": 50_000, "term_left": 60}


@pytest.mark.parametrize(
    ("facts", "changed", "expected"),
    [
        (RUNS, {}, ("OFFER", "CATCH_UP")),
        (
            RUNS,
            {"surplus": 26_000.0},
            ("OFFER", "EXTEND"),
        ),  # the instalment alone is within reach, no arrears beside it
        (RUNS, {"surplus": 12_000.0}, ("OFFER", "REDUCED")),
        (RUNS, {"surplus": -1_000.0}, ("REFER", "REFER")),
        ({**RUNS, "arrears": 0}, {"dpd": 0.0}, ("NONE", None)),  # kept as agreed: left alone
        (
            {**RUNS, "arrears": 0},
            {"dpd": 0.0, "surplus": 12_000.0},
            ("OFFER", "REDUCED"),
        ),  # help before it breaks
        ({**RUNS, "arrears": 1_200_000}, {"surplus": 12_000.0}, ("REVIEW", "REVIEW")),  # all of it is overdue
        (RUNS, {"stage": "charged_off"}, ("OFFER", "INSTALMENT")),
        ({}, {"dpd": 0.0}, ("NONE", None)),  # not a day late, and nothing known of a contract
        ({}, {"dpd": 1.0, "surplus": 12_000.0}, ("REVIEW", "REVIEW")),
        ({"contractual_instalment": 25_000}, {}, ("HUMAN", None)),  # late, and what is overdue is not known
        (
            {"arrears": 50_000, "term_left": 60},
            {},
            ("HUMAN", None),
        ),  # a contract runs, its instalment is not known
        ({**RUNS, "arrears": 0}, {}, ("HUMAN", None)),  # 40 days late, and nothing overdue: a contradiction
    ],
)
def test_what_fits_a_contract(
    facts: dict[str, Any], changed: dict[str, Any], expected: tuple[str, str | None]
) -> None:
    batch = decided(facts, **changed)
    kind = outcome(batch)
    if expected[1] == "INSTALMENT":  # the balance is due: any plan that clears it
        assert kind[0] == "OFFER"
        assert kind[1] in ("FULL", "INSTALMENT", "SETTLEMENT")
    elif expected[0] == "HUMAN":  # what stands beside it is a proposal
        assert kind[0] == "HUMAN"
    else:
        assert kind == expected
    if expected == ("HUMAN", None):
        odd = facts.get("arrears") == 0
        assert HANDOFFS[batch.decisions.handoff[0]] == ("CONTRADICTION" if odd else "NO_PLAN")


def test_a_running_contract_is_never_offered_its_whole_balance() -> None:
    """The kind, whatever the means; the control is the same account without the contract's facts."""
    for surplus in (-1_000.0, 12_000.0, 26_000.0, 40_000.0, 190_000.0):
        batch = decided(RUNS, surplus=surplus)
        due = batch.judged.plans.arms.is_offer | batch.judged.plans.arms.is_kind("REVIEW")
        assert (batch.judged.why[0, due & batch.judged.plans.valid[0]] == Why.NOT_DUE).all()
        assert not due[batch.decisions.top[0][batch.decisions.top[0] != NONE]].any()
    assert outcome(decided({}, surplus=40_000.0))[1] in ("FULL", "INSTALMENT", "SETTLEMENT")


def test_the_money_of_each() -> None:
    batch = decided(RUNS)
    plans, arm = batch.judged.plans, int(batch.decisions.top[0, 0])
    caught = plan_of(plans, 0, arm)
    # 50,000 in twelve parts, in whole pounds: 4,200 beside 25,000
    assert (caught.instalment, caught.count, caught.interest) == (29_200, 12, 0)
    dated = schedule(caught, TODAY, Calendar())
    assert dated.total == 12 * 25_000 + 50_000
    assert dated.amounts[-1] == 12 * 25_000 + 50_000 - 11 * 29_200
    assert caught.instalment <= plans.debts.bound[0]
    longer = plan_of(plans, 0, plans.arms.names.index("EXTEND n12 day14 portal"))
    assert longer.instalment < 25_000
    assert longer.principal == 1_200_000
    less = decided(RUNS, surplus=12_000.0)
    asked = plan_of(less.judged.plans, 0, int(less.decisions.top[0, 0]))
    assert asked.instalment == less.judged.plans.debts.bound[0] // 100 * 100
    assert (asked.interest, asked.rate) == (0, 0.0), "it rests meanwhile"


@pytest.mark.parametrize("arrears", [100, 25_000, 59_900])
@pytest.mark.parametrize("left", [None, 1, 2, 24])
@pytest.mark.parametrize("surplus", [2_000.0, 20_000.0, 40_000.0, 90_000.0])
def test_no_plan_asks_for_more_than_is_owed_or_runs_beyond_the_contract(
    arrears: int, left: int | None, surplus: float
) -> None:
    """£600 owed at £250 a month: catching up over twelve months would have asked for five times the debt."""
    facts = {"contractual_instalment": 25_000, "arrears": arrears} | (
        {} if left is None else {"term_left": left}
    )
    batch = decided(facts, balance=60_000.0, surplus=surplus)
    plans = batch.judged.plans
    for arm in batch.decisions.top[0][batch.decisions.top[0] != NONE].tolist():
        plan = plan_of(plans, 0, arm)
        assert plan.principal <= 60_000, plan.name
        if plan.kind == "CATCH_UP":
            assert plan.count <= (left or 60)
    assert outcome(batch)[0] not in ("TOKEN", "REFER") or plans.debts.bound[0] < EXAMPLE.smallest_instalment


def test_a_longer_term_goes_on_at_no_more_than_the_highest_rate() -> None:
    for apr in (0.06, 0.2, 0.35):
        batch = decided(RUNS, surplus=22_000.0, apr=apr)
        arm = int(batch.decisions.top[0, 0])
        assert batch.judged.plans.rate[0, arm] <= Settings().relief.most_rate

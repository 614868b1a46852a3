"""Dear debt is helped more: at equal means the waived part never falls as the rate rises, and no plan costs beyond its cap."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.client.plans.deciding import judged as judging
from fedrepay.client.plans.deciding.decide import decide
from fedrepay.client.plans.deciding.judged import NONE, Judged
from fedrepay.client.plans.deciding.settings import Relief
from fedrepay.shared.arrays import F64
from support.judging import ARMS, EXAMPLE, judged_by

RATES = np.concatenate([np.arange(0.02, 1, 0.02), np.arange(1, 20, 0.5)])
"""Of debts that bear interest: where there is none, nothing can be waived."""


def by_rate(seed: int, balance: int, bound: int, relief: Relief | None = None, rounding: int = 100) -> Judged:
    """One account at every rate; its probabilities hang on the plan and on the rate, as a model's do."""
    rng = np.random.default_rng(seed)
    base = rng.random(len(ARMS.kind))
    sway = rng.random((len(RATES), len(ARMS.kind)))
    first = 0.6 * base + 0.3 * sway
    kept = first * (0.3 + 0.6 * rng.random((len(RATES), len(ARMS.kind))))
    n = len(RATES)
    return judged_by(
        EXAMPLE.model_copy(update={"rounding": rounding}),
        balance=np.full(n, balance),
        bound=np.full(n, bound),
        apr=RATES,
        first=first,
        kept=kept,
        relief=relief,
    )


def waived(of: Judged) -> F64:
    """The part of the interest waived by the recommended plan at each rate that has one."""
    top = decide(of).top[:, 0]
    return np.asarray(ARMS.interest_waiver[top][(top != NONE) & ARMS.pays[top]])


CASES = {
    "seed": st.integers(0, 10_000),
    "balance": st.integers(100, 3_000_000),
    "bound": st.integers(0, 100_000),
}


@given(
    **CASES,
    most_rate=st.sampled_from([0.05, 0.15, 0.5, 1.0]),
    most_cost=st.sampled_from([0.05, 0.3, 0.5, 1.0]),
    rounding=st.sampled_from([1, 100, 1_000, 5_000]),
)
def test_the_waived_part_never_falls_as_the_rate_rises(
    seed: int, balance: int, bound: int, most_rate: float, most_cost: float, rounding: int
) -> None:
    """Also where rounding an instalment up makes a dearer rate cost less: the exact level instalment is what counts."""
    relief = Relief(most_rate=most_rate, most_cost=most_cost)
    assert (np.diff(waived(by_rate(seed, balance, bound, relief, rounding))) >= 0).all()


@given(**CASES, most=st.sampled_from([0.05, 0.25, 1.0]))
def test_no_plan_costs_beyond_its_cap_and_no_balance_grows(
    seed: int, balance: int, bound: int, most: float
) -> None:
    of = by_rate(seed, balance, bound, Relief(most_rate=1.0, most_cost=most))
    top = decide(of).top
    rows, places = np.nonzero(top != NONE)
    arm = top[rows, places]
    plans = of.plans
    assert (plans.interest[rows, arm] <= most * plans.principal[rows, arm]).all()
    period = plans.rate[rows, arm] * ARMS.months_each[arm] / 12
    shrinks = (plans.count[rows, arm] <= 1) | (
        plans.instalment[rows, arm] > plans.principal[rows, arm] * period
    )
    assert shrinks.all()
    assert (plans.rate[rows, arm] * plans.principal[rows, arm] == 0)[~ARMS.is_offer[arm]].all()


def test_without_the_rule_dear_debt_is_helped_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: ranked by money alone, some account loses its waiver as the rate rises, and some cost passes any cap."""

    def all_of(plans: Any, *_: Any) -> Any:
        return np.ones(plans.valid.shape, np.bool_)

    monkeypatch.setattr(judging, "as_waived", all_of)
    monkeypatch.setattr(judging, "within_cost", lambda _, plans: all_of(plans))
    falls, dear = 0, 0
    for seed in range(20):
        of = by_rate(seed, 150_000, 20_000)
        falls += int((np.diff(waived(of)) < 0).any())
        top = decide(of).top[:, 0]
        at = np.arange(len(top))[top != NONE]
        dear += int((of.plans.interest[at, top[at]] > 0.5 * of.plans.principal[at, top[at]]).any())
    assert falls > 10
    assert dear > 0

"""What must hold of the market's truth whatever the debtor and the plan."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedrepay.shared.arrays import F64
from fedrepay.shared.plans.candidates import Candidates, Debts, candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue
from fedrepay.simulations.market import paths, truth
from fedrepay.simulations.market.truth import Debtors, Effects, Outcome

CATALOGUE = """
name = "some"
version = 1
currency = "GBP"
longest_months = 36
[[plans]]
kind = "FULL"
[[plans]]
kind = "INSTALMENT"
n = [2, 12, 48]
[[plans]]
kind = "INSTALMENT"
n = [20]
frequency = ["weekly"]
[[plans]]
kind = "INSTALMENT"
share = [0.5]
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.5]
interest_waiver = [1.0]
[[plans]]
kind = "TOKEN"
n = [6]
[[plans]]
kind = "DORMANT"
dormant_months = [12]
[[plans]]
kind = "NO_OFFER"
"""
CATALOGUE_READ = parse_catalogue(CATALOGUE.encode(), "some")
ARMS = arms(CATALOGUE_READ)
N = 40


def people(seed: int, *, heavy: bool) -> tuple[Debtors, Candidates]:
    """Debtors far out as well as ordinary ones; some without a bound, some who owe next to nothing."""
    rng = np.random.default_rng(seed)
    income = np.exp(rng.normal(12, 0.8, N))
    debtors = Debtors(
        willingness=rng.normal(0, 2, N),
        income_employed=income,
        state=rng.integers(0, 3, N),
        surplus=income * rng.normal(0.08, 0.25, N),
        promised=income * rng.uniform(0, 0.2, N) * (rng.random(N) < 0.5),
        payday=rng.integers(0, 31, N),
        heavy_shocks=heavy,
    )
    balance = np.round(np.exp(rng.normal(11, 2, N))).astype(np.int64)
    bound = np.maximum(rng.integers(-20_000, 60_000, N), 0)
    return debtors, candidates(
        CATALOGUE_READ, ARMS, Debts(balance, balance // 20, rng.uniform(0, 0.4, N), bound)
    )


def evaluate(link: str, debtors: Debtors, plans: Candidates) -> Outcome:
    return truth.outcome(Effects(link="cloglog" if link == "cloglog" else "logit"), debtors, plans)


def all_probabilities(found: Outcome) -> tuple[F64, ...]:
    return found.agreed, found.first, found.kept, found.done


def cash(found: Outcome) -> F64:
    """What comes once a plan is agreed, (n, P); NaN where nobody agrees."""
    without = (1 - found.agreed) * found.no_plan[:, None]
    agreed = np.where(found.agreed > 0, found.agreed, np.nan)
    return np.asarray((found.value - without) / agreed)


LINKS = pytest.mark.parametrize("link", ["logit", "cloglog"])
SEED = st.integers(0, 2**32 - 1)


@LINKS
@given(seed=SEED)
def test_probabilities_are_probabilities_in_order(link: str, seed: int) -> None:
    debtors, plans = people(seed, heavy=link == "cloglog")
    found = evaluate(link, debtors, plans)
    tiny = 1e-12
    for each in all_probabilities(found):
        assert ((each >= 0) & (each <= 1)).all()
    for less in (found.first, found.kept, found.done):
        assert (less <= found.agreed + tiny).all()
    ends = plans.count * ARMS.months_each
    assert (found.done <= np.where(ends > 3, found.kept, 1.0) + tiny).all()  # a plan that broke is not paid
    lump = plans.valid & (plans.count == 1)
    assert np.allclose(found.first[lump], found.kept[lump])
    assert np.allclose(found.first[lump], found.done[lump])
    assert (found.value >= 0).all()
    assert np.isfinite(found.value).all()


@LINKS
@given(seed=SEED)
def test_plans_that_are_not_there_bring_what_no_plan_brings(link: str, seed: int) -> None:
    debtors, plans = people(seed, heavy=False)
    found = evaluate(link, debtors, plans)
    unpaid = ~plans.valid | ~ARMS.pays
    for each in all_probabilities(found):
        assert (each[unpaid] == 0).all()
    asleep = ARMS.is_kind("DORMANT")
    none = np.broadcast_to(found.no_plan[:, None], found.value.shape)
    nothing = unpaid & ~asleep
    assert np.array_equal(found.value[nothing], none[nothing])
    assert (found.value[:, asleep] == 0).all()


@LINKS
@given(seed=SEED, more=st.floats(1.0, 200_000.0))
def test_more_money_left_never_hurts(link: str, seed: int, more: float) -> None:
    debtors, plans = people(seed, heavy=link == "cloglog")
    found = evaluate(link, debtors, plans)
    richer = evaluate(link, replace(debtors, surplus=debtors.surplus + more), plans)
    for name in ("agreed", "first", "kept", "done"):
        assert (getattr(richer, name) >= getattr(found, name) - 1e-12).all()
    lost = 1e-9 * plans.debts.balance[:, None]
    worthwhile = plans.valid & (found.agreed > 1e-6) & (plans.total >= plans.count * found.no_plan[:, None])
    before, after = cash(found), cash(richer)
    assert (after - before >= -lost)[worthwhile].all()
    gains = worthwhile & (
        before >= found.no_plan[:, None]
    )  # else agreeing itself costs: plans displace no-plan cash
    assert (richer.value - found.value >= -lost)[gains].all()


def test_more_money_promised_elsewhere_hurts() -> None:
    """Control: the comparison above can fail."""
    debtors, plans = people(1, heavy=False)
    poorer = evaluate("logit", replace(debtors, promised=debtors.promised + 10_000), plans)
    assert (poorer.first < evaluate("logit", debtors, plans).first - 1e-6).any()


@LINKS
@given(score=st.floats(-1e4, 1e4), step=st.floats(0, 50))
def test_links_rise_from_nothing_to_certainty(link: str, score: float, step: float) -> None:
    effects = Effects(link="cloglog" if link == "cloglog" else "logit")
    low, high = truth.linked(effects, np.array([score, score + step]))
    assert 0 <= low <= high <= 1


@LINKS
def test_links_are_the_named_ones(link: str) -> None:
    effects = Effects(link="cloglog" if link == "cloglog" else "logit")
    score = np.linspace(-4, 4, 9)
    expected = 1 / (1 + np.exp(-score)) if link == "logit" else 1 - np.exp(-np.exp(0.8 * score - 0.37))
    assert np.allclose(truth.linked(effects, score), expected)


@given(seed=SEED)
def test_paths_never_pay_without_a_plan_nor_after_a_break(seed: int) -> None:
    debtors, plans = people(seed, heavy=False)
    arm = np.array([np.flatnonzero(row & ARMS.pays & (ARMS.months_each == 1.0))[-1] for row in plans.valid])
    drawn = paths.draw(Effects(accept=5, engage=5), debtors, plans, arm, np.random.default_rng(seed))
    count = plans.count[np.arange(N), arm]
    assert not drawn.paid[~drawn.agreed].any()
    assert not (drawn.paid * (np.arange(paths.LONGEST) >= count[:, None])).any()
    missed = (drawn.paid == 0) & drawn.agreed[:, None]
    broken = np.maximum.accumulate(missed[:, 1:] & missed[:, :-1], axis=1)
    assert not (broken & (drawn.paid[:, 1:] > 0)).any()
    caught_up = drawn.paid[:, 1:] == 2
    assert (missed[:, :-1] | ~caught_up).all()

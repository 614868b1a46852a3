"""The canary audit: the product lies under its claim, wrong builds do not, and the test itself is honest.

Cross-check in development (jax-privacy 2.0.0, no dependency): the docstring of the attack has its figures.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from fedrepay.client.learning import contribution
from fedrepay.client.learning.contribution import Rows
from fedrepay.shared.privacy import accounting
from fedrepay.shared.privacy.accounting import Mechanism
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.attacks import canary
from fedrepay.simulations.attacks.base import AttackFinding, AttackOptions
from fedrepay.simulations.attacks.canary import LEAST_NORMAL, Audit, Build, estimate
from fedrepay.simulations.attacks.tools.switch import switched
from fedrepay.simulations.rows import figures

CLAIM = 0.268


@dataclass(frozen=True)
class Ran:
    """One quick run and its audits: the product, half the noise, a record counted twice; then with sums of labels."""

    finding: AttackFinding
    audits: list[Audit]


@pytest.fixture(scope="module")
def ran() -> Ran:
    made: list[Audit] = []
    audit = canary.audit

    def recorded(*given: Any, **named: Any) -> Audit:
        made.append(audit(*given, **named))
        return made[-1]

    with switched(canary, "audit", recorded):
        finding = canary.run(AttackOptions(quick=True), SeededEntropy(b"canary"))
    return Ran(finding, made)


@pytest.fixture(scope="module", params=[0, 3], ids=["gradients", "labels"])
def product(ran: Ran, request: pytest.FixtureRequest) -> Audit:
    which: int = request.param
    return ran.audits[which]


def test_the_defence_holds_and_the_control_fails_the_audit(ran: Ran) -> None:
    assert ran.finding.held
    assert ran.finding.bites
    assert (ran.finding.attack, ran.finding.threat) == ("canary", "B4")
    assert len(ran.audits) == 5
    least, wrong = float(ran.finding.rows[-1].on), float(ran.finding.rows[-1].off)
    assert 0.7 < least < 1  # ε, where 1 is claimed
    assert wrong > 1.8


def test_the_product_lies_under_its_claim(product: Audit) -> None:
    assert product.canaries == 20_000
    assert product.claim == pytest.approx(CLAIM, abs=5e-4)
    assert not product.over
    assert product.normal > LEAST_NORMAL
    assert abs(product.mu - product.claim) < 4 * 0.0142


def test_the_canary_is_nearly_as_bad_as_the_claim_allows(product: Audit) -> None:
    assert 0.99 < product.reach <= 1


def test_a_ranking_without_any_parameters_says_the_same(product: Audit) -> None:
    """AUC = Φ(μ/√2) for two normals: jax-privacy's AUROC, computed by the project's own function."""
    ranked = figures.auc(product.inside.astype(np.int8), product.scores)
    assert ranked is not None
    assert math.sqrt(2) * ndtri(ranked) == pytest.approx(product.mu, abs=0.02)


@pytest.mark.parametrize("which", [1, 2, 4], ids=["half the noise", "counted twice", "a label twice"])
def test_a_wrong_build_fails(ran: Ran, which: int) -> None:
    wrong = ran.audits[which]
    assert wrong.over
    assert wrong.mu == pytest.approx(2 * CLAIM, abs=0.06)


def small(canaries: int) -> Audit:
    """One audit of releases of two sums."""
    return canary.audit(
        Build(), canaries=canaries, rounds=2, seed=3, known_shares=1, entropy=SeededEntropy(b"small")
    )


def test_a_plan_of_half_the_variance_fails_whatever_it_says_of_itself() -> None:
    """The claim is the promised ε, not what the plan adds up to."""
    real = accounting.plan_attempt

    def halved(*given: Any) -> tuple[Mechanism, ...]:
        return tuple(replace(each, variance=each.variance / 2) for each in real(*given))

    with switched(accounting, "plan_attempt", halved):
        found = small(10_000)
    assert found.claim == pytest.approx(CLAIM, abs=5e-4)
    assert found.mu == pytest.approx(math.sqrt(2) * CLAIM, abs=0.06)
    assert found.over


def test_shares_that_count_colluders_in_are_wider_in_their_own_claim_only() -> None:
    """A share of variance/K claims the μ of what it draws: a claim above the promise is none."""
    with switched(Mechanism, "share_variance", property(lambda each: each.variance / each.cohort)):
        assert small(400).claim == pytest.approx(CLAIM, abs=5e-4)


def test_a_canary_is_encoded_together_with_the_other_records() -> None:
    """A build in which a record changes what the others bring (here their weights) moves the sum by more than Δ."""
    real = contribution.prepare

    def by_number(*given: Any) -> Rows:
        made = real(*given)
        return replace(made, weights=made.weights * len(made.weights))

    assert not small(400).over
    with switched(contribution, "prepare", by_number):
        found = small(400)
    assert found.reach > 10
    assert found.over


def test_scores_that_are_not_normal_are_told() -> None:
    """Noise of another shape would make μ̂ meaningless."""
    rng = np.random.default_rng(5)
    inside = rng.random(20_000) < 0.5
    heavy = rng.laplace(size=20_000) / math.sqrt(2)
    assert estimate(heavy, inside, CLAIM).normal < LEAST_NORMAL
    assert estimate(rng.normal(size=20_000), inside, CLAIM).normal > LEAST_NORMAL


@pytest.mark.parametrize(
    ("mu", "least", "most"),
    [
        (CLAIM, 0.03, 0.07),  # as bad as the claim: one in twenty
        (0.9 * CLAIM, 0.0, 0.001),
        (math.sqrt(2) * CLAIM, 0.999, 1.0),  # half the variance
        (2 * CLAIM, 1.0, 1.0),  # half the noise
    ],
)
def test_how_often_the_test_rejects(mu: float, least: float, most: float) -> None:
    """The power that the docstring derives, on 2,000 audits of 20,000 canaries each.

    An audit's statistic depends on its scores only by two means and a pooled variance, so those are drawn.
    """
    rng, m = np.random.default_rng(8), 20_000
    rejected = 0
    for _ in range(2_000):
        inner = rng.binomial(m, 0.5)
        outer = m - inner
        apart = mu + rng.normal() * math.sqrt(1 / inner + 1 / outer)
        found = apart / math.sqrt(rng.chisquare(m - 2) / (m - 2))
        error = math.sqrt(1 / inner + 1 / outer + found**2 / (2 * (m - 2)))
        rejected += found - canary.LEVEL_95 * error > CLAIM
    assert least <= rejected / 2_000 <= most


def test_the_estimate_is_the_one_whose_power_was_computed() -> None:
    rng = np.random.default_rng(9)
    inside = np.arange(1_000) < 400
    scores = rng.normal(size=1_000) + inside
    found = estimate(scores, inside, CLAIM)
    pooled = math.sqrt((399 * scores[inside].var(ddof=1) + 599 * scores[~inside].var(ddof=1)) / 998)
    assert found.mu == pytest.approx((scores[inside].mean() - scores[~inside].mean()) / pooled, rel=1e-12)
    error = math.sqrt(1 / 400 + 1 / 600 + found.mu**2 / (2 * 998))
    assert found.low == pytest.approx(found.mu - 1.644853627 * error, rel=1e-9)


def test_a_rejection_is_repeated_before_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    said, calls = [0.5, 0.2, 0.5, 0.5], []

    def scripted(_build: Build, *, seed: int, **_rest: object) -> Audit:
        calls.append(seed)
        low = said.pop(0)
        return Audit(CLAIM, low, low, 1.0, 1.0, np.zeros(1), np.zeros(1, dtype=np.bool_))

    monkeypatch.setattr(canary, "audit", scripted)
    options = AttackOptions(seed=2, quick=True)
    assert not canary.settled(Build(), 1, options, SeededEntropy(b"")).over
    assert canary.settled(Build(), 1, options, SeededEntropy(b"")).over
    assert calls == [2000, 2001, 2000, 2001]

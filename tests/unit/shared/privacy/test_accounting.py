import json
import math

import pytest

from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy.accounting import (
    Mechanism,
    Segment,
    check_width,
    gdp_delta,
    gdp_epsilon,
    gdp_mu,
    most_draws,
    overflow_ok,
    plan_attempt,
    target_mu,
)
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.statement import Charge, statement

DELTA = 1e-5
SUMS = [(Segment(20_706, 2_672, 0.2),), *[(Segment(203, 61 << 16, 0.2),)] * 4]
GD_SUMS = [
    (Segment(600, 61 << 16, 0.98 / 100), Segment(1, 1024, 0.02)),
    *[(Segment(600, 61 << 16, 0.98 / 100),)] * 99,
]


def planned(
    epsilon: float = 1.0, cohort: int = 50, colluders: int = 5, earlier: tuple[int, ...] = ()
) -> list[tuple[int, tuple[Mechanism, ...]]]:
    """All attempts of a run: those of ``earlier`` first, then each sum that is not in it once completed."""
    mu = target_mu(epsilon, DELTA, most_draws(SUMS, cohort, 3))
    order = [*earlier, *range(len(SUMS))]
    return [
        (index, plan_attempt(mu, SUMS, order[:i], index, cohort, colluders)) for i, index in enumerate(order)
    ]


def flat(attempts: list[tuple[int, tuple[Mechanism, ...]]]) -> list[Mechanism]:
    return [mechanism for _, mechanisms in attempts for mechanism in mechanisms]


@pytest.mark.parametrize("epsilon", [0.25, 1.0, 8.0])
def test_the_plan_spends_what_was_asked_and_no_more(epsilon: float) -> None:
    assert 0.9998 * epsilon < composed_epsilon(flat(planned(epsilon)), DELTA) <= epsilon


def test_the_gate_would_notice_a_plan_that_forgets_its_colluders() -> None:
    assert composed_epsilon(flat(planned(colluders=0)), DELTA, colluders=5) > 1.05


def test_pld_agrees_with_exact_gaussian_dp() -> None:
    mechanisms = flat(planned())
    mu = math.sqrt(math.fsum(m.mu() ** 2 for m in mechanisms))
    exact = gdp_epsilon(mu, DELTA)
    assert exact <= composed_epsilon(mechanisms, DELTA) <= exact * (1 + 1e-6)
    assert composed_epsilon(mechanisms[:-1], DELTA) < exact * 0.95


def test_a_hundred_gradients_and_a_count_compose() -> None:
    mu = target_mu(1.0, DELTA, most_draws(GD_SUMS, 50, 3))
    attempts = [plan_attempt(mu, GD_SUMS, list(range(i)), i, 50, 5) for i in range(100)]
    mechanisms = [m for attempt in attempts for m in attempt]
    assert math.fsum(m.mu() ** 2 for m in mechanisms) == pytest.approx(mu**2)
    assert 0.9998 < composed_epsilon(mechanisms, DELTA) <= 1.0
    assert attempts[0][1].mu() ** 2 == pytest.approx(0.02 * mu**2)


@pytest.mark.parametrize(("cohort", "colluders", "expected"), [(5, 1, 2.15), (20, 2, 5.1), (50, 5, 8.8)])
def test_all_others_colluding_costs_what_the_protocol_says(
    cohort: int, colluders: int, expected: float
) -> None:
    mechanisms = flat(planned(cohort=cohort, colluders=colluders))
    found = composed_epsilon(mechanisms, DELTA, colluders=cohort - 1)
    assert found == pytest.approx(expected, rel=0.005)
    assert composed_epsilon(mechanisms, DELTA, colluders=0) < 1.0


@pytest.mark.parametrize(("runs", "expected"), [(2, 1.47), (4, 2.15), (12, 4.02), (52, 9.59)])
def test_runs_of_a_year_compose(runs: int, expected: float) -> None:
    assert composed_epsilon(flat(planned()) * runs, DELTA) == pytest.approx(expected, rel=0.005)


@pytest.mark.parametrize(("memberships", "expected"), [(2, 2.15), (3, 3.41), (5, 6.17)])
def test_a_person_at_several_members(memberships: int, expected: float) -> None:
    found = composed_epsilon(flat(planned()), DELTA, memberships=memberships)
    assert found == pytest.approx(expected, rel=0.005)


def test_a_void_gram_attempt_widens_all_later_noise() -> None:
    plain, retried = planned(), planned(earlier=(0,))
    for (_, before), (_, after) in zip(plain[1:], retried[2:], strict=True):
        assert math.sqrt(after[0].variance / before[0].variance) == pytest.approx(1.118, abs=0.001)
    assert composed_epsilon(flat(retried), DELTA) <= 1.0


def test_without_retries_the_shares_are_the_weights() -> None:
    mechanisms = flat(planned())
    total = math.fsum(m.mu() ** 2 for m in mechanisms)
    assert [m.mu() ** 2 / total for m in mechanisms] == pytest.approx([0.2] * 5)


def test_variances_of_share_honest_and_total() -> None:
    mechanism = Mechanism(sensitivity=12, variance=450.0, cohort=10, colluders=1, size=7)
    assert mechanism.share_variance == 50.0
    assert mechanism.total_variance == 500.0
    assert mechanism.mu() == 12 / math.sqrt(446)
    assert mechanism.mu(9) == mechanism.mu(10) == 12 / math.sqrt(46)


def test_gaussian_dp_is_inverted_exactly() -> None:
    assert gdp_delta(1.0, 1.0) == pytest.approx(0.126936738)
    for epsilon, delta in [(0.01, 1e-9), (1.0, 1e-5), (8.0, 1e-6), (500.0, 1e-5)]:
        mu = gdp_mu(epsilon, delta)
        assert gdp_delta(mu, epsilon) <= delta
        assert gdp_epsilon(mu, delta) == pytest.approx(epsilon, rel=1e-6)
    assert gdp_epsilon(1e-9, 1e-5) == 0.0
    assert gdp_delta(0.0, 1.0) == 0.0


@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [(0.0, 1e-5), (-1.0, 1e-5), (1.0, 0.0), (1.0, 1.0), (math.inf, 1e-5), (math.nan, 0.1)],
)
def test_senseless_targets_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(BudgetError):
        target_mu(epsilon, delta, 1000)


def test_the_sampler_cannot_carry_a_senselessly_large_epsilon() -> None:
    with pytest.raises(BudgetError, match="distance"):
        target_mu(500.0, 1e-5, 1000)


def test_nobody_honest_is_refused() -> None:
    with pytest.raises(BudgetError, match="colluders"):
        plan_attempt(0.3, SUMS, [], 0, 3, 3)


def test_the_last_sum_takes_all_that_is_left_so_it_cannot_be_tried_again() -> None:
    mechanisms = plan_attempt(0.3, SUMS, [0, 0, 1, 2, 3], 4, 5, 1)
    assert mechanisms[0].mu() ** 2 == pytest.approx(0.3**2 * 0.8 * 0.8 / 4)
    with pytest.raises(BudgetError, match="spent"):
        plan_attempt(0.3, SUMS, [0, 0, 1, 2, 3, 4], 4, 5, 1)


def test_narrow_shares_are_refused() -> None:
    check_width(Mechanism(1, 4 * 16.0, 5, 1, 1))
    with pytest.raises(BudgetError, match="narrow"):
        check_width(Mechanism(1, 4 * 15.9, 5, 1, 1))


def test_noise_too_narrow_for_the_lemma_is_unbounded() -> None:
    assert composed_epsilon([Mechanism(1, 8.0, 3, 1, 1)], DELTA, colluders=2) == math.inf


def test_nothing_costs_nothing() -> None:
    assert composed_epsilon([], DELTA) == 0.0


def test_overflow_counts_members_customers_and_noise() -> None:
    assert overflow_ok(10, 100, 7, 4.0, 2 * (7000 + 22) + 1)
    assert not overflow_ok(10, 100, 7, 4.0, 2 * (7000 + 22))


def charges(*void: int) -> list[Charge]:
    attempts = planned(cohort=5, colluders=1, earlier=void)
    return [Charge(index, i >= len(void), mechanisms) for i, (index, mechanisms) in enumerate(attempts)]


def test_statement_of_a_plain_run() -> None:
    said = statement(charges(), mode="distributed", epsilon=1.0, delta=DELTA, colluders=1, cohort=5)
    assert said["epsilon"] == 1.0
    assert said["epsilon_spent"] == 0.999901
    assert said["epsilon_if_all_others_collude"] == pytest.approx(2.15, abs=0.01)
    assert said["epsilon_no_colluders"] < 0.9
    assert list(said["epsilon_by_memberships"]) == ["1", "2", "3", "5"]
    assert said["epsilon_by_memberships"]["3"] == pytest.approx(3.41, abs=0.01)
    assert (said["attempts_charged"], said["attempts_void"], said["retry_noise_factor"]) == (5, 0, 1.0)
    assert said["not_private"] is None
    assert "one customer at one member" in said["adjacency"]
    assert json.loads(json.dumps(said, allow_nan=False)) == said


def test_statement_says_what_retries_cost() -> None:
    said = statement(charges(0), mode="distributed", epsilon=1.0, delta=DELTA, colluders=1, cohort=5)
    assert (said["attempts_charged"], said["attempts_void"]) == (6, 1)
    assert said["retry_noise_factor"] == pytest.approx(1.118, abs=0.001)


@pytest.mark.parametrize(
    ("mode", "seeded", "why"), [("none", False, "none"), ("distributed", True, "seeded")]
)
def test_statement_claims_nothing_without_privacy(mode: str, why: str, *, seeded: bool) -> None:
    run = [Charge(i, completed=True, mechanisms=()) for i in range(5)] if mode == "none" else charges()
    said = statement(run, mode=mode, epsilon=1.0, delta=DELTA, colluders=1, cohort=5, seeded=seeded)
    assert said["not_private"] == why
    figures = [value for key, value in said.items() if key.startswith("epsilon")]
    assert figures == [None, None, None, None, dict.fromkeys("1235")]
    assert said["attempts_charged"] == 5

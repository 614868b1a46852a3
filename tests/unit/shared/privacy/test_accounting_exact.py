"""The accountant's arithmetic by hand, each bound just inside and just outside; PLD itself is in test_accounting."""

import math
from collections import Counter
from typing import Any, ClassVar

import pytest
from scipy.special import log_ndtr

from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy import accounting, composition
from fedrepay.shared.privacy.accounting import (
    Mechanism,
    SampledSteps,
    Segment,
    charged_of,
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

SHARED = Mechanism(sensitivity=12, variance=450.0, cohort=10, colluders=1, size=7)
STEPS = SampledSteps(sensitivity=6, variance=40.0, sampling_rate=0.25, steps=3, cohort=5, size=11)
SUMS = [(Segment(10, 20, 0.5), Segment(4, 8, 0.25)), (Segment(9, 30, 0.75),), (Segment(3, 10, 0.5),)]


# --- mechanisms ---


def test_shares_and_what_colluders_take_away() -> None:
    assert SHARED.share_variance == 50.0
    assert SHARED.total_variance == 500.0
    assert SHARED.mu() == SHARED.mu(1) == 12 / math.sqrt(446)
    assert SHARED.mu(0) == 12 / math.sqrt(496)
    assert SHARED.mu(8) == 12 / math.sqrt(96)
    assert SHARED.mu(9) == SHARED.mu(10) == 12 / math.sqrt(46)  # the asking customer's member is honest
    for narrow in (3.0, 4.0):
        assert Mechanism(12, narrow, 2, 1, 7).mu() == math.inf
    assert Mechanism(12, 5.0, 2, 1, 7).mu() == 12.0


def test_a_step_adds_all_its_noise_itself() -> None:
    assert STEPS.mu() == 1.0
    for narrow in (3.0, 4.0):
        assert SampledSteps(6, narrow, 0.25, 3, 5, 11).mu() == math.inf
    assert SampledSteps(6, 5.0, 0.25, 3, 5, 11).mu() == 6.0


def test_charges_come_back_from_the_ledger_as_they_were() -> None:
    for charge in (SHARED, STEPS):
        assert charged_of(vars(charge)) == charge


@pytest.mark.parametrize("charge", [Mechanism(1, 64.0, 5, 1, 1), SampledSteps(1, 16.0, 0.5, 1, 9, 1)])
def test_a_share_is_four_grid_units_wide(charge: Any) -> None:
    check_width(charge)
    narrow = type(charge)(**{**vars(charge), "variance": math.nextafter(charge.variance, 0) - 1e-9})
    with pytest.raises(BudgetError, match="narrow"):
        check_width(narrow)


def test_a_sum_stays_inside_half_of_t() -> None:
    for noise, room in ((4.0, 22), (4.1, 23), (0.0, 0)):
        least = 2 * (10 * 100 * 7 + room) + 1
        assert overflow_ok(10, 100, 7, noise, least)
        assert not overflow_ok(10, 100, 7, noise, least - 1)


# --- Gaussian DP ---


@pytest.mark.parametrize("mu", [0.01, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 4.0, 50.0])
def test_delta_is_the_closed_form(mu: float, epsilon: float) -> None:
    exact = math.exp(log_ndtr(mu / 2 - epsilon / mu)) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))
    assert gdp_delta(mu, epsilon) == pytest.approx(max(0.0, exact), rel=1e-12, abs=1e-300)
    assert gdp_delta(mu, epsilon) >= 0.0


def test_no_gaussian_no_delta() -> None:
    assert gdp_delta(0.0, 0.0) == gdp_delta(-1.0, 0.0) == 0.0
    assert gdp_delta(1e-3, 0.0) > 0.0
    assert gdp_delta(1e-6, 700.0) == 0.0
    assert gdp_delta(100.0, 5000.0) <= 1.0  # e^ε past what a float holds


@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.1])
@pytest.mark.parametrize("mu", [0.05, 0.5, 3.0])
def test_epsilon_is_the_least_float_that_holds(mu: float, delta: float) -> None:
    epsilon = gdp_epsilon(mu, delta)
    assert gdp_delta(mu, epsilon) <= delta
    assert epsilon == 0.0 or gdp_delta(mu, math.nextafter(epsilon, 0)) > delta


@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.1])
@pytest.mark.parametrize("epsilon", [0.05, 1.0, 8.0])
def test_mu_is_the_largest_float_that_holds(epsilon: float, delta: float) -> None:
    mu = gdp_mu(epsilon, delta)
    assert gdp_delta(mu, epsilon) <= delta
    assert gdp_delta(math.nextafter(mu, math.inf), epsilon) > delta


def test_a_bound_that_is_met_exactly_holds() -> None:
    """Where δ is the very float that a μ or an ε gives."""
    for mu, epsilon in ((2.3, 2.12), (1.51, 3.65), (1.97, 6.33)):
        delta = gdp_delta(mu, epsilon)
        assert gdp_mu(epsilon, delta) >= mu
        assert gdp_epsilon(mu, delta) <= epsilon


def test_where_floats_cancel_delta_is_nothing_less_than_zero() -> None:
    """At these, e^ε times a chance comes out as e⁸¹⁹²."""
    assert gdp_delta(8602325267.042627, 3.7e19) == 0.0


def test_epsilon_is_zero_where_delta_alone_is_enough() -> None:
    at_zero = gdp_delta(0.5, 0.0)
    assert gdp_epsilon(0.5, at_zero) == 0.0
    assert gdp_epsilon(0.5, math.nextafter(at_zero, 0)) > 0.0


@pytest.mark.parametrize("epsilon", [0.0, -1.0, math.inf, math.nan])
def test_an_epsilon_is_above_zero_and_finite(epsilon: float) -> None:
    with pytest.raises(BudgetError, match="No noise gives"):
        gdp_mu(epsilon, 1e-5)


@pytest.mark.parametrize("delta", [0.0, -0.1, 1.0, 1.5])
def test_a_delta_is_between_zero_and_one(delta: float) -> None:
    with pytest.raises(BudgetError, match="No noise gives"):
        gdp_mu(1.0, delta)
    assert gdp_mu(1.0, 0.999) > gdp_mu(1.0, 0.5)
    assert gdp_mu(0.5, 1e-5) > 0


# --- the sampler's distance ---


def test_the_most_draws_are_all_sums_and_the_largest_again() -> None:
    assert most_draws(SUMS, 6, 0) == 6 * (14 + 9 + 3)
    assert most_draws(SUMS, 6, 2) == 6 * (14 + 9 + 3 + 2 * 14)


def test_draws_take_their_part_of_delta() -> None:
    assert accounting.sampler_delta(1000, 2.0) == 1000 * 1e-70 * (1 + math.exp(2.0))
    assert accounting.sampler_delta(0, 2.0) == 0.0
    assert accounting.sampler_delta(1, 699.9) < math.inf
    assert accounting.sampler_delta(1, 700.0) == math.inf


def test_a_runs_mu_is_what_the_plan_may_use_of_epsilon_and_the_draws_leave_of_delta() -> None:
    assert target_mu(1.0, 1e-5, 1000) == gdp_mu(0.9999, 1e-5 - 1000 * 1e-70 * (1 + math.e))
    assert target_mu(3.0, 1e-5, 0) == gdp_mu(0.9999 * 3.0, 1e-5)
    draws = 10**60
    assert target_mu(1.0, 1e-5, draws) == gdp_mu(0.9999, 1e-5 - draws * 1e-70 * (1 + math.e))
    assert target_mu(1.0, 1e-5, draws) < target_mu(1.0, 1e-5, 0)
    for senseless in ((0.0, 1e-5), (1.0, 0.0)):
        with pytest.raises(BudgetError, match="No noise gives"):
            target_mu(*senseless, 0)


def test_draws_that_use_delta_up_are_refused() -> None:
    delta = accounting.sampler_delta(1000, 1.0)
    with pytest.raises(BudgetError, match="uses up delta"):
        target_mu(1.0, delta, 1000)
    assert target_mu(1.0, math.nextafter(delta, 1), 1000) > 0
    with pytest.raises(BudgetError, match="uses up delta"):
        target_mu(1.0, delta / 2, 1000)


# --- the plan ---


def test_each_attempt_takes_its_part_of_what_is_left() -> None:
    """μ² = 0.36 over weights 0.75, 0.75, 0.5."""
    made = plan_attempt(0.6, SUMS, [], 0, 10, 2)
    unit = 0.6**2 / 2.0
    assert [m.variance for m in made] == pytest.approx(
        [20**2 / (unit * 0.5) + 4, 8**2 / (unit * 0.25) + 4], rel=1e-12
    )
    assert [(m.sensitivity, m.cohort, m.colluders, m.size) for m in made] == [(20, 10, 2, 10), (8, 10, 2, 4)]
    assert sum(m.mu() ** 2 for m in made) == pytest.approx(unit * 0.75, rel=1e-12)

    (second,) = plan_attempt(0.6, SUMS, [0], 1, 10, 2)
    assert second.mu() ** 2 == pytest.approx(0.36 * (1 - 0.75 / 2) * 0.75 / 1.25, rel=1e-12)
    (again,) = plan_attempt(0.6, SUMS, [0, 0, 1], 1, 10, 2)
    left = 0.36 * (1 - 0.75 / 2) ** 2 * (1 - 0.75 / 1.25)
    assert again.mu() ** 2 == pytest.approx(left * 0.75 / 1.25, rel=1e-12)
    (last,) = plan_attempt(0.6, SUMS, [0, 0, 1, 1], 2, 10, 2)
    assert last.mu() ** 2 == pytest.approx(left * (1 - 0.75 / 1.25), rel=1e-12)


def test_somebody_must_be_honest() -> None:
    assert plan_attempt(0.6, SUMS, [], 0, 3, 2)
    assert plan_attempt(0.6, SUMS, [], 0, 3, 0)
    for colluders in (3, 4, -1):
        with pytest.raises(BudgetError, match="cannot bear"):
            plan_attempt(0.6, SUMS, [], 0, 3, colluders)


def test_after_the_last_sum_nothing_is_left() -> None:
    with pytest.raises(BudgetError, match="spent"):
        plan_attempt(0.6, SUMS, [0, 1, 2], 2, 10, 2)
    with pytest.raises(BudgetError, match="spent"):
        plan_attempt(0.0, SUMS, [], 0, 10, 2)


# --- composition ---


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, float, int]]:
    """What the PLD accountant is asked."""
    found: list[tuple[Any, float, int]] = []

    def keep(events: Any, delta: float, draws: int) -> float:
        found.append((events, delta, draws))
        return 1.5

    monkeypatch.setattr(composition, "_pld_epsilon", keep)
    return found


def test_equal_charges_are_one_event_and_draws_add_up(asked: list[tuple[Any, float, int]]) -> None:
    assert composed_epsilon([SHARED, STEPS, SHARED, STEPS], 1e-6) == 1.5
    ((events, delta, draws),) = asked
    assert delta == 1e-6
    assert draws == 2 * 10 * 7 + 2 * 3 * 11
    assert {(rate, count) for _, rate, count in events} == {(1.0, 2), (0.25, 6)}
    assert list(events) == sorted(events)
    by_rate = {rate: multiplier for multiplier, rate, _ in events}
    for multiplier, mu in ((by_rate[1.0], SHARED.mu()), (by_rate[0.25], STEPS.mu())):
        assert (1 - 3e-11) / mu < multiplier < 1 / mu  # rounded down: the bound stays a bound
        assert multiplier == float(f"{multiplier:.11e}")


def test_a_person_at_several_members_and_colluders(asked: list[tuple[Any, float, int]]) -> None:
    composed_epsilon([SHARED], 1e-6, colluders=8, memberships=3)
    composed_epsilon([STEPS], 1e-6, colluders=4, memberships=3)
    ((shared,), _, draws), ((steps,), _, steps_draws) = asked
    assert shared[0] == pytest.approx(1 / (3 * SHARED.mu(8)), rel=1e-10)
    assert (shared[1:], draws) == ((1.0, 1), 70)
    assert steps[0] == pytest.approx(1 / STEPS.mu(), rel=1e-10)
    assert (steps[1:], steps_draws) == ((0.25, 9), 99)


def test_nothing_costs_nothing_and_no_noise_everything(asked: list[tuple[Any, float, int]]) -> None:
    assert composed_epsilon([], 1e-6) == 0.0
    assert composed_epsilon([SHARED, Mechanism(1, 4.0, 2, 1, 1)], 1e-6) == math.inf
    assert asked == []


class Ledgered:
    """Stands for the PLD accountant: keeps what is composed, and gives ε = 1/δ′ for the δ′ it is asked."""

    made: ClassVar[Counter[tuple[str, int]]] = Counter()
    interval = 0.0
    asked: tuple[float, ...] = ()

    def __init__(self, value_discretization_interval: float) -> None:
        type(self).interval = value_discretization_interval
        type(self).made, type(self).asked = Counter(), ()

    def compose(self, event: object, count: int) -> None:
        type(self).made[str(event), count] += 1

    def get_epsilon(self, delta: float) -> float:
        type(self).asked = (*type(self).asked, delta)
        return 1e-6 / delta


def test_sampled_steps_are_composed_as_sampled_and_the_rest_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent

    monkeypatch.setattr("dp_accounting.pld.PLDAccountant", Ledgered)
    composition._pld_epsilon.cache_clear()
    events = ((2.0, 1.0, 3), (4.0, 0.25, 7))
    composition._pld_epsilon(events, 1e-5, 0)
    whole, sampled = GaussianDpEvent(2.0), PoissonSampledDpEvent(0.25, GaussianDpEvent(4.0))
    assert Ledgered.made == {(str(whole), 3): 1, (str(sampled), 7): 1}
    assert Ledgered.interval == 1e-4
    composition._pld_epsilon.cache_clear()


def test_epsilon_rises_until_it_pays_for_its_own_part_of_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dp_accounting.pld.PLDAccountant", Ledgered)
    composition._pld_epsilon.cache_clear()
    draws, delta = 10**64, 1e-5
    epsilon = composition._pld_epsilon(((2.0, 1.0, 1),), delta, draws)
    left = delta - accounting.sampler_delta(draws, epsilon)
    assert epsilon >= 1e-6 / left + 1e-20  # it holds with the draws it allows for
    assert epsilon < 1e-6 / left + 2e-9  # and is the least that does
    assert epsilon == 1e-6 / Ledgered.asked[-2] + 1e-20 + 1e-9  # steps of 10⁻⁹ past what was found
    assert Ledgered.asked[0] == delta - accounting.sampler_delta(draws, 0.0)
    assert len(Ledgered.asked) > 1
    assert composition._pld_epsilon(((3.0, 1.0, 1),), delta, 10**66) == math.inf  # they take all of δ
    exactly = accounting.sampler_delta(draws, 0.0)
    assert (
        composition._pld_epsilon(((4.0, 1.0, 1),), exactly, draws) == math.inf
    )  # and nothing is left to ask
    monkeypatch.setattr(Ledgered, "get_epsilon", lambda *_: 0.0)
    assert composition._pld_epsilon(((5.0, 1.0, 1),), delta, 0) > 1e-20  # the lemma's own part is never free
    composition._pld_epsilon.cache_clear()


@pytest.mark.parametrize(
    ("events", "interval"),
    [
        (((2.0, 1.0, 3),), 1e-4),
        (((1.0, 1.0, 1),), 1e-4),
        (((0.5, 1.0, 3),), 12e-4),
        (((0.5, 0.5, 3),), 3e-4),
        (((0.5, 1.0, 3), (1.0, 1.0, 2)), 14e-4),
        (((0.25, 0.01, 1),), 4e-4),  # one step's loss alone, however seldom it is met
        (((0.25, 0.01, 1), (0.125, 0.01, 1)), 16e-4),
    ],
)
def test_the_grid_of_losses_grows_with_the_loss(events: Any, interval: float) -> None:
    assert composition._interval(events) == pytest.approx(interval, rel=1e-12)


def test_a_loss_past_every_bound_is_not_tabulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dp_accounting.pld.PLDAccountant", Ledgered)
    events = ((4e-4, 0.01, 1),)
    assert composition._COARSEST == 100.0 < composition._interval(events)
    composition._pld_epsilon.cache_clear()
    assert composition._pld_epsilon(events, 1e-5, 0) == math.inf
    composition._pld_epsilon.cache_clear()
    monkeypatch.setattr(composition, "_COARSEST", composition._interval(events))
    assert composition._pld_epsilon(events, 1e-5, 0) < math.inf
    assert composition._interval(events) == Ledgered.interval
    composition._pld_epsilon.cache_clear()


def test_constants_of_the_protocol() -> None:
    assert accounting.SMALLEST_WIDTH == 4
    assert accounting._LEMMA_VARIANCE == 4
    assert composition._LEMMA_EPSILON == 1e-20
    assert accounting._PROVABLE == 0.9999

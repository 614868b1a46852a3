"""Local mode's accountant beside Opacus' own, and what goes wrong where the two of them disagree."""

import math
import warnings

import pytest
from opacus.accountants import GaussianAccountant, IAccountant, PRVAccountant
from pydantic import ValidationError

from fedrepay.shared.errors import ArgumentError, BudgetError
from fedrepay.shared.privacy.accounting import (
    Mechanism,
    SampledSteps,
    charged_of,
    gdp_epsilon,
)
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.multiplier import SMALLEST_MULTIPLIER
from fedrepay.shared.privacy.subsampled import (
    COUNT_SHARE,
    SENSITIVITY,
    calibrate,
    count_mechanism,
    steps_mechanism,
    whole_run,
)
from fedrepay.shared.trust.terms import LocalTerms

DELTA = 1e-5
POINTS = [
    (0.01, 1.0, 1000),
    (0.1, 2.0, 200),
    (0.5, 11.0, 33),
    (0.05, 0.8, 100),
    (0.2, 4.0, 300),
    (1.0, 20.0, 30),
]
"""(q, noise multiplier, steps)."""


def ours(q: float, z: float, steps: int) -> float:
    return composed_epsilon([steps_mechanism(z, q, steps, 8, 1000)], DELTA)


def theirs(kind: type[IAccountant], q: float, z: float, steps: int, **accuracy: float) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        accountant = kind()
        accountant.history = [(z, q, steps)]
        return float(accountant.get_epsilon(DELTA, **accuracy))


@pytest.mark.parametrize(("q", "z", "steps"), POINTS)
def test_pld_and_opacus_prv_agree_to_one_per_cent(q: float, z: float, steps: int) -> None:
    assert ours(q, z, steps) == pytest.approx(theirs(PRVAccountant, q, z, steps, eps_error=1e-3), rel=0.01)


def test_opacus_central_limit_accountant_claims_too_little() -> None:
    """Why it is not offered: at every sampled point it promises more than holds, at q = 0.05 by a quarter."""
    for q, z, steps in POINTS[:-1]:
        assert theirs(GaussianAccountant, q, z, steps) < 0.99 * ours(q, z, steps)
    assert theirs(GaussianAccountant, *POINTS[3]) < 0.75 * ours(*POINTS[3])


def test_batches_in_shuffled_order_under_a_poisson_accountant_claim_far_too_little() -> None:
    """Why steps sample by Poisson: each customer once an epoch has no amplification that holds for any order."""
    q, epochs, noise = 0.05, 5, 2.14
    assert ours(q, noise, round(epochs / q)) == pytest.approx(1, abs=0.02)
    assert gdp_epsilon(math.sqrt(epochs) / noise, DELTA) > 4.5


def test_colluders_change_nothing_and_members_of_a_person_compose() -> None:
    charged = [count_mechanism(1.0, DELTA, 8), steps_mechanism(22.0, 0.5, 30, 8, 1000)]
    alone = composed_epsilon(charged, DELTA)
    assert (
        composed_epsilon(charged, DELTA, colluders=0)
        == alone
        == composed_epsilon(charged, DELTA, colluders=7)
    )
    assert composed_epsilon(charged, DELTA, memberships=2) == composed_epsilon(2 * charged, DELTA) > alone


def test_shared_noise_and_own_noise_stand_in_one_years_ledger() -> None:
    shared = Mechanism(100, (100 / 0.2) ** 2 + 4, cohort=8, colluders=1, size=10)
    own = steps_mechanism(20.0, 1.0, 4, 8, 10)  # μ = √4/20 = 0.1
    both = composed_epsilon([shared, own], DELTA)
    assert both == pytest.approx(gdp_epsilon(math.hypot(0.2, 0.1), DELTA), rel=1e-3)
    for each in (shared, own):
        assert charged_of(each.__dict__) == each


def test_the_lemmas_part_is_taken_off_the_noise() -> None:
    """A multiplier is what is left of the variance when the discrete noise's part is gone: never more is claimed."""
    steps = steps_mechanism(2.0, 1.0, 1, 3, 10)
    assert steps.variance == (2 * SENSITIVITY) ** 2 + 4
    assert steps.mu() == pytest.approx(0.5, rel=1e-12)
    coarse = SampledSteps(4, 8.0**2, 1.0, 1, 3, 10)
    assert composed_epsilon([coarse], DELTA) > gdp_epsilon(4 / 8, DELTA) * 1.01


@pytest.mark.parametrize(("epsilon", "q", "steps", "rounds"), [(0.5, 0.5, 2, 16), (4.0, 1.0, 1, 11)])
def test_a_calibrated_run_spends_its_budget_and_no_more(
    epsilon: float, q: float, steps: int, rounds: int
) -> None:
    z = calibrate(epsilon, DELTA, q, steps, rounds, 3, 500)
    count = count_mechanism(epsilon, DELTA, 8)

    def spent(multiplier: float) -> float:
        return composed_epsilon(
            whole_run(count, steps_mechanism(multiplier, q, steps, 8, 500), rounds, 3), DELTA
        )

    assert 0.99 * epsilon < spent(z) <= epsilon
    assert spent(z * 0.98) > epsilon
    assert float(f"{z:.4g}") == z


def test_the_count_takes_its_share() -> None:
    whole = gdp_epsilon(count_mechanism(2.0, DELTA, 8).mu() / math.sqrt(COUNT_SHARE), DELTA)
    assert whole == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    ("z", "q", "steps"), [(SMALLEST_MULTIPLIER, 1e-6, 1000), (SMALLEST_MULTIPLIER, 0.5, 1_000_000)]
)
def test_what_the_wire_allows_is_judged_with_a_short_table(
    z: float, q: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A coordinator's numbers must not fill a member's memory: losses of one step over the grid, in points."""
    from dp_accounting.pld import PLDAccountant

    grids: list[float] = []

    class Watched(PLDAccountant):  # type: ignore[misc]
        def __init__(self, **options: float) -> None:
            grids.append(options["value_discretization_interval"])
            super().__init__(**options)

    monkeypatch.setattr("dp_accounting.pld.PLDAccountant", Watched)
    assert ours(q, z, steps) > 50
    largest = 0.5 / z**2 + 10 / z
    assert all(largest / grid < 100_000 for grid in grids)
    with pytest.raises(ValidationError):
        LocalTerms.model_validate(
            {
                "model": "mlp",
                "model_hash": bytes(32),
                "parameters": 10,
                "sampling_rate": q,
                "local_steps": 1,
                "clip": 1.0,
                "learning_rate": 1.0,
                "noise_multiplier": 0.99 * z,
            }
        )


def test_impossible_plans_are_refused() -> None:
    with pytest.raises(ArgumentError):
        calibrate(1.0, DELTA, 1.5, 1, 5, 3, 10)
    with pytest.raises(ArgumentError):
        calibrate(1.0, DELTA, 0.5, 0, 5, 3, 10)
    with pytest.raises(BudgetError):
        calibrate(0.001, DELTA, 1.0, 1000, 1000, 3, 10)

"""What is judged before a reserve: each bound just inside and just outside, without a consortium."""

import math
from typing import Any

from fedrepay.client.store.tables import LedgerEntry
from fedrepay.client.veto import budget, room
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import BudgetError
from fedrepay.shared.privacy import subsampled
from fedrepay.shared.privacy.accounting import (
    Mechanism,
    SampledSteps,
    Segment,
    most_draws,
    overflow_ok,
    plan_attempt,
    target_mu,
)
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.schema.codebook import PLAIN_MODULUS
from fedrepay.shared.trust.terms import LocalTerms
from fedrepay.shared.trust.wire import RoundConfig
from support.eight_members import CONFIG, HISTORY, changed
from support.tiny_book import tiny_book

NOW = 2e9
BOOK = tiny_book()
YEAR_DELTA = 1 / (10 * 8 * 10_000)  # the cap of its schema
SUMS = ((Segment(45, 3000, 0.4),), (Segment(9, 1 << 20, 0.3),), (Segment(9, 1 << 20, 0.3),))
LOCAL = LocalTerms(
    model="mlp",
    model_hash=bytes(32),
    parameters=40,
    sampling_rate=0.05,
    local_steps=2,
    clip=1.0,
    learning_rate=0.1,
    noise_multiplier=2.0,
)
WIDE = Limits(epsilon_per_release=10.0, epsilon_per_year=10.0)
QUIET = Mechanism(sensitivity=10, variance=7 * 1e6, cohort=7, colluders=0, size=9)


def in_local_mode(**fields: object) -> RoundConfig:
    return changed(**{"mode": "local", "learner": "dp-sgd", "local": LOCAL, "rounds": 2, **fields})  # type: ignore[arg-type]


def entry(
    charges: tuple[Any, ...], *, at: float = NOW, status: str = "reserved", run: int = 1
) -> LedgerEntry:
    return LedgerEntry(at, run, 0, 0, status, budget.as_event(charges))


# --- mechanisms ---


def test_a_whole_run_is_planned_with_everybody_there() -> None:
    config = changed(colluders=2)
    mu = budget.run_mu(config, SUMS, 9)
    each = (plan_attempt(mu, SUMS, range(index), index, 9, 2) for index in range(len(SUMS)))
    assert budget.whole_run(config, SUMS, 9) == tuple(mechanism for one in each for mechanism in one)
    assert budget.whole_run(changed(mode="none"), SUMS, 9) == ()
    local = in_local_mode()
    assert (
        budget.whole_run(local, SUMS, 9) == budget.planned(local, LOCAL, 9) != budget.planned(local, LOCAL, 8)
    )


def test_a_runs_mu_and_an_attempts_mechanisms_follow_from_the_public_list() -> None:
    mu = target_mu(1.0, 1e-6, most_draws(SUMS, 8, 3))
    assert budget.run_mu(CONFIG, SUMS, 8) == mu
    assert budget.mechanisms(CONFIG, SUMS, 8, CONFIG) == plan_attempt(mu, SUMS, [0, 1], 1, 7, 2)
    assert budget.mechanisms(CONFIG, SUMS, 8, HISTORY[1]) == plan_attempt(mu, SUMS, [0], 1, 6, 2)
    assert budget.mechanisms(CONFIG, SUMS, 8, HISTORY[0]) == plan_attempt(mu, SUMS, [], 0, 8, 2)
    assert budget.mechanisms(changed(mode="none"), SUMS, 8, CONFIG) == ()
    many = changed(max_attempts=0)
    assert budget.run_mu(many, SUMS, 10**60) > budget.run_mu(CONFIG, SUMS, 10**60)  # its draws cost δ


def test_in_local_mode_a_count_then_steps() -> None:
    config = in_local_mode()
    count = subsampled.count_mechanism(1.0, 1e-6, 8)
    steps = subsampled.steps_mechanism(2.0, 0.05, 2, 7, 40)
    assert budget.mechanisms(config, SUMS, 8, HISTORY[0]) == (count,)
    assert budget.mechanisms(config, SUMS, 8, config) == (steps,)
    assert budget.local_mechanisms(config, LOCAL, 7)[1] == steps
    whole = budget.planned(config, LOCAL, 7)
    assert whole == subsampled.whole_run(subsampled.count_mechanism(1.0, 1e-6, 7), steps, 2, 3)


def test_the_ledger_keeps_mechanisms_whole() -> None:
    charges = (QUIET, subsampled.steps_mechanism(2.0, 0.05, 2, 7, 40))
    assert budget.as_event(charges) == tuple(vars(each) for each in charges)


# --- room mod t ---


def by_hand(mechanism: Mechanism) -> bool:
    """Seven members' n_max customers, the largest residual times the largest entry, and the noise."""
    largest = max(int(abs(block.matrix).max()) for block in BOOK.blocks)
    entry = max(largest, BOOK.residual_scale) * largest << BOOK.weight_bits
    return overflow_ok(7, 10_000, entry, 7 * mechanism.share_variance, PLAIN_MODULUS)


def test_a_sum_of_shared_noise_must_not_wrap() -> None:
    low, high = 1.0, 1e28
    while high / low > 1 + 1e-12:
        middle = math.sqrt(low * high)
        fits = room.fits(CONFIG, BOOK, Mechanism(10, middle, 7, 2, 9))
        assert fits == by_hand(Mechanism(10, middle, 7, 2, 9))
        low, high = (middle, high) if fits else (low, middle)
    assert 1e20 < high < 1e27
    weighted = tiny_book(weight_bits=10, p_floor=0.1)  # entries 1,024 times as large
    assert room.fits(CONFIG, BOOK, Mechanism(10, low / 2, 7, 2, 9))
    assert not room.fits(CONFIG, weighted, Mechanism(10, low / 2, 7, 2, 9))
    coarse = tiny_book(residual_scale=1)  # of a Gram matrix it is the entries' own square that counts
    square = max(int(abs(block.matrix).max()) for block in coarse.blocks) ** 2
    assert room.fits(CONFIG, coarse, QUIET) == overflow_ok(7, 10_000, square, 7e6, PLAIN_MODULUS)


def test_local_mode_judges_its_count_and_lets_packed_updates_saturate() -> None:
    def steps(size: int, variance: float) -> SampledSteps:
        return SampledSteps(1024, variance, 1.0, 1, 7, size)

    assert room.fits(CONFIG, BOOK, steps(2, 1e30))
    assert room.fits(CONFIG, BOOK, steps(1, 1e6))
    low, high = 1e6, 1e30
    while high / low > 1 + 1e-12:
        middle = math.sqrt(low * high)
        fits = room.fits(CONFIG, BOOK, steps(1, middle))
        assert fits == overflow_ok(7, 10_000, 1024, 7 * middle, PLAIN_MODULUS)
        low, high = (middle, high) if fits else (low, middle)
    assert 1e20 < high < 1e27


# --- judging an attempt ---


def judged(
    config: RoundConfig = CONFIG,
    spent: tuple[Any, ...] = (),
    new: tuple[Any, ...] = (QUIET,),
    ledger: tuple[LedgerEntry, ...] = (),
    limits: Limits = WIDE,
) -> str:
    """The cause of the refusal, or "" """
    try:
        budget.judge_attempt(config, spent, new, ledger, limits, BOOK, NOW)
    except BudgetError as error:
        return error.cause
    return ""


def test_a_quiet_attempt_passes_and_mode_none_is_not_judged() -> None:
    assert judged() == ""
    narrow = Mechanism(10, 1.0, 7, 2, 9)
    assert judged(changed(mode="none"), new=(narrow,)) == ""
    assert "too narrow" in judged(new=(narrow,))
    assert "too narrow" in judged(new=(QUIET, narrow))


def test_noise_that_could_wrap_is_refused() -> None:
    assert "could pass t/2" in judged(new=(Mechanism(10, 1e30, 7, 2, 9),))


def test_a_runs_epsilon_is_a_bound_on_all_that_was_spent() -> None:
    two = composed_epsilon((QUIET, QUIET), CONFIG.delta)
    exact = changed(epsilon=two)
    assert judged(exact, spent=(QUIET,)) == ""
    assert "above" in judged(changed(epsilon=math.nextafter(two, 0)), spent=(QUIET,))
    assert "above" in judged(exact, spent=(QUIET,), new=(QUIET, QUIET))
    assert "above" in judged(exact, spent=(QUIET, QUIET))


def test_a_year_counts_what_was_reserved_or_rolled_back_within_it() -> None:
    two = composed_epsilon((QUIET, QUIET), YEAR_DELTA)
    just = Limits(epsilon_per_release=10.0, epsilon_per_year=two)
    less = Limits(epsilon_per_release=10.0, epsilon_per_year=math.nextafter(two, 0))
    year = 365 * 86400
    for old in (entry((QUIET,)), entry((QUIET,), status="rolled-back"), entry((QUIET,), at=NOW - year + 1)):
        assert judged(ledger=(old,), limits=just) == ""
        assert "the year's ε" in judged(ledger=(old,), limits=less)
    for free in (
        entry((QUIET,), at=NOW - year),
        entry((QUIET,), status="committed"),
        entry((QUIET,), status="unprotected"),
    ):
        assert judged(ledger=(free,), limits=less) == ""
    assert "the year's ε" in judged(ledger=(entry((QUIET, QUIET)),), limits=just)
    assert "the year's ε" in judged(ledger=(entry((QUIET,)), entry((QUIET,))), limits=just)
    other_delta = Limits(epsilon_per_release=10.0, epsilon_per_year=two, delta_per_year=1e-7)
    assert "the year's ε" in judged(ledger=(entry((QUIET,)),), limits=other_delta)


def test_the_years_own_numbers_are_told() -> None:
    said = judged(limits=Limits(epsilon_per_release=10.0, epsilon_per_year=1e-3))
    assert "the limit is 0.001 at δ = 1.25e-06" in said


# --- local mode: the whole run at every attempt ---


def test_in_local_mode_the_whole_run_is_judged_at_its_first_step() -> None:
    """Two steps alone would pass: it is all that may still come that does not."""
    terms = LOCAL.model_copy(update={"noise_multiplier": 1.5})
    config = in_local_mode(max_attempts=90, local=terms)
    _, steps = budget.local_mechanisms(config, terms, 7)
    assert composed_epsilon((steps,), config.delta) < config.epsilon
    assert composed_epsilon(budget.planned(config, terms, 7), config.delta) > config.epsilon
    assert "above 1" in judged(config, new=(steps,))
    quiet = in_local_mode(max_attempts=1)
    assert judged(quiet, new=budget.local_mechanisms(quiet, LOCAL, 7)[1:]) == ""


def test_in_local_mode_no_more_is_charged_than_was_judged() -> None:
    config = in_local_mode(max_attempts=1, epsilon=50.0)
    count, steps = budget.local_mechanisms(config, LOCAL, 7)
    year = Limits(epsilon_per_release=60.0, epsilon_per_year=60.0)
    full = (count, count, steps)  # one extra attempt, and two rounds: two counts and two steps at most
    assert judged(config, spent=full, new=(steps,), limits=year) == ""
    assert "not among those" in judged(config, spent=(*full, steps), new=(steps,), limits=year)
    assert "not among those" in judged(config, spent=(count, count), new=(count,), limits=year)
    assert "not among those" in judged(config, new=(QUIET,), limits=year)
    for others in ({"sampling_rate": 0.06}, {"local_steps": 3}, {"noise_multiplier": 1.9}):
        _, other = budget.local_mechanisms(config, LOCAL.model_copy(update=others), 7)
        assert "not among those" in judged(config, new=(other,), limits=year)
    _, fewer_members = budget.local_mechanisms(config, LOCAL, 5)
    assert (
        judged(config, new=(fewer_members,), limits=year) == ""
    )  # each adds its own noise, whoever is there


def test_in_local_mode_a_year_counts_other_runs_and_this_one_once() -> None:
    config = in_local_mode(max_attempts=1, epsilon=50.0)
    _, steps = budget.local_mechanisms(config, LOCAL, 7)
    alone = composed_epsilon(budget.planned(config, LOCAL, 7), YEAR_DELTA)
    just = Limits(epsilon_per_release=60.0, epsilon_per_year=alone)
    assert judged(config, new=(steps,), limits=just) == ""
    assert judged(config, new=(steps,), ledger=(entry((steps,), run=3),), limits=just) == ""
    assert "the year's ε" in judged(config, new=(steps,), ledger=(entry((steps,), run=1),), limits=just)
    assert "the year's ε" in judged(config, new=(steps,), ledger=(entry((steps,), run=4),), limits=just)
    told = entry((steps,), run=3, status="told")
    assert "the year's ε" in judged(config, new=(steps,), ledger=(told,), limits=just), (
        "what others say of this run is none of what is judged"
    )

"""Whatever fails, all attempts of a run together stay within its budget, and the veto agrees."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from fedrepay.shared.privacy.accounting import (
    Mechanism,
    Segment,
    most_draws,
    plan_attempt,
    target_mu,
)
from fedrepay.shared.privacy.composition import composed_epsilon

DELTA = 1e-5


@st.composite
def runs(draw: st.DrawFn) -> tuple[list[tuple[Segment, ...]], list[tuple[int, int]], int]:
    """Segments of each sum; the attempts as (sum, cohort), any but the last sum retried; colluders."""
    rounds = draw(st.integers(2, 6))
    segment = st.builds(
        Segment, st.integers(1, 1000), st.integers(1000, 10**7), st.floats(0.01, 1.0, allow_subnormal=False)
    )
    sums = [tuple(draw(st.lists(segment, min_size=1, max_size=2))) for _ in range(rounds)]
    voids = draw(st.lists(st.integers(0, rounds - 2), max_size=4))
    colluders = draw(st.integers(1, 3))
    order = sorted([*range(rounds), *voids])
    return sums, [(index, draw(st.integers(colluders + 2, 60))) for index in order], colluders


def attempts(
    mu: float, run: tuple[list[tuple[Segment, ...]], list[tuple[int, int]], int], *, forget: bool = False
) -> list[Mechanism]:
    sums, order, colluders = run
    found: list[Mechanism] = []
    for i, (index, cohort) in enumerate(order):
        earlier = [at for at, _ in order[:i]]
        if forget:
            earlier = sorted(set(earlier) - {index})
        found += plan_attempt(mu, sums, earlier, index, cohort, colluders)
    return found


@given(runs())
def test_the_filter_holds_over_every_history(
    run: tuple[list[tuple[Segment, ...]], list[tuple[int, int]], int],
) -> None:
    spent = math.fsum(m.mu() ** 2 for m in attempts(0.27, run))
    assert spent <= 0.27**2 * (1 + 1e-9)


@given(runs().filter(lambda run: len(run[1]) > len(run[0])))
def test_forgetting_void_attempts_would_break_it(
    run: tuple[list[tuple[Segment, ...]], list[tuple[int, int]], int],
) -> None:
    spent = math.fsum(m.mu() ** 2 for m in attempts(0.27, run, forget=True))
    assert spent > 0.27**2 * (1 + 1e-6)


@settings(max_examples=8, deadline=None)
@given(runs(), st.sampled_from([0.25, 1.0, 4.0]))
def test_the_gate_never_refuses_its_own_plan(
    run: tuple[list[tuple[Segment, ...]], list[tuple[int, int]], int], epsilon: float
) -> None:
    sums, order, _ = run
    mu = target_mu(epsilon, DELTA, most_draws(sums, 60, len(order)))
    assert composed_epsilon(attempts(mu, run), DELTA) <= epsilon

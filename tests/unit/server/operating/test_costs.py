"""What runs cost in closed form is never below what the members' accountant says of the same noise, and near it."""

import itertools
import time

import pytest

from fedrepay.client.learning import make_learner
from fedrepay.client.veto import budget
from fedrepay.server.network.runs import RunWishes, planned
from fedrepay.server.operating import costs
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.privacy.accounting import Charged
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.trust.terms import NumberedTerms
from support.founded import book

BOOK = book()
K = 7


def run(epsilon: float = 1.0, colluders: int | None = None, mode: str = "distributed") -> NumberedTerms:
    return planned(None, BOOK, K, RunWishes(epsilon, colluders=colluders, mode=mode))


def charged(terms: NumberedTerms, members: int = K) -> tuple[Charged, ...]:
    """What members are charged with, everybody there."""
    return budget.whole_run(terms, make_learner(terms.learner, BOOK, terms.rounds).segments(), members)


@pytest.mark.parametrize("epsilons", [(1.0,), (0.1,), (1.0, 1.0), (0.5, 2.0, 1.0)])
def test_a_year_is_bounded_and_near(epsilons: tuple[float, ...]) -> None:
    runs = [run(each) for each in epsilons]
    delta = runs[0].delta
    exact = composed_epsilon(itertools.chain.from_iterable(map(charged, runs)), delta)
    said = costs.composed(runs, delta, K)
    assert said is not None
    assert exact <= said <= 1.02 * exact + 1e-3


@pytest.mark.parametrize("members", [3, 5, 7])
@pytest.mark.parametrize("colluders", [1, 2, 3])
@pytest.mark.parametrize("memberships", [1, 2, 3])
def test_what_colluders_learn_is_bounded_whatever_the_cohort(
    members: int, colluders: int, memberships: int
) -> None:
    """A cohort may be smaller than the roster: the bound is for all others of whatever cohort."""
    if colluders > members - 2:
        return
    terms = run(2.0, colluders)
    for number, mine in ((0, 0), (colluders, colluders), (K - 1, members - 1)):
        exact = composed_epsilon(
            charged(terms, members), terms.delta, colluders=mine, memberships=memberships
        )
        said = costs.if_colluding(terms, K, number, memberships)
        assert said is not None
        assert exact <= said * (1 + 1e-9), (number, exact, said)
        if members == K and memberships == 1:
            assert said <= 1.35 * exact + 1e-3


def test_without_noise_no_epsilon_is_claimed() -> None:
    bare = run(mode="none")
    assert costs.composed([run(), bare], bare.delta, K) is None
    assert costs.if_colluding(bare, K, 1) is None
    assert costs.composed([], 1e-9, K) == 0.0


def test_local_runs_add_up_and_use_up_delta(monkeypatch: pytest.MonkeyPatch) -> None:
    local = run().model_copy(update={"mode": "local", "epsilon": 2.0, "delta": 1e-9})
    assert costs.composed([local], 1e-9, K) == 2.0
    assert costs.composed([local, local], 2e-9, K) == 4.0
    assert costs.composed([local, local], 1e-9, K) is None, "their δ is more than the year's"
    assert costs.if_colluding(local, K, K - 1) == 2.0
    assert costs.if_colluding(local, K, 1, 3) == 6.0


def test_a_year_counts_runs_that_began_an_attempt_within_it(database_url: str) -> None:
    now = [time.time() - 366 * 86400]
    store = CoordinatorStore(database_url, clock=lambda: now[0])
    for number in (1, 2, 3, 4):
        store.begin(run().model_copy(update={"run": number}))
        if number != 3:
            store.append(number, [Event("attempt", "", b"")])
        if number == 1:
            now[0] = time.time() - 10
    store.append(3, [Event("answer:terms", "m0", b"")])
    store.append(4, [Event("abandoned", "", b"")])
    assert [terms.run for terms in costs.of_year(store, time.time())] == [2, 4]  # type: ignore[attr-defined]

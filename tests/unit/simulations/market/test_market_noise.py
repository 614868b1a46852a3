"""The market's shared model is charged and noised as the protocol does it: its plan, its mechanisms, all shares."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.learning import make_learner
from fedrepay.client.veto import budget
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.trust.wire import Attempt, RoundConfig
from fedrepay.simulations.bench import market
from fedrepay.simulations.market import lenders, models, records
from fedrepay.simulations.run.arguments import MarketArguments
from fedrepay.simulations.run.terms import make_terms

K = 20
BOOK = records.book()
PLAN = make_terms(MarketArguments(), BOOK, K)


def by_the_protocol() -> Iterator[tuple[Any, ...]]:
    """The mechanisms each member computes from the coordinator's configurations, one sum after the other."""
    names = tuple(f"m{number:02d}" for number in range(K))
    learner = make_learner(PLAN.learner, BOOK, PLAN.rounds)
    facts = PLAN.model_dump(exclude={"run"})
    history: tuple[Attempt, ...] = ()
    for index in range(PLAN.rounds):
        config = RoundConfig(
            **facts,
            run=1,
            epoch=bytes(32),
            roster_hash=bytes(32),
            round=index,
            attempt=index,
            cohort=names,
            history=history,
        )
        yield budget.mechanisms(config, learner.segments(), K, config)
        history += (Attempt(round=index, attempt=index, cohort=names, completed=True),)


def test_the_benchmark_runs_what_an_operator_would_start() -> None:
    assert (PLAN.rounds, PLAN.max_attempts, PLAN.delta) == (models.ROUNDS, models.ATTEMPTS, models.delta())
    assert (PLAN.learner, PLAN.epsilon, PLAN.colluders) == ("dp-newton", market.EPSILON, market.COLLUDERS)


def test_every_member_draws_its_share_of_the_mechanisms_the_protocol_charges(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    who = lenders.lenders("mixed", 0, [60] * 2)
    tables = [records.training_table(records.record(each, 0)) for each in who] * (K // 2)
    drawn: list[tuple[Any, ...]] = []
    noise: list[np.ndarray] = []

    def watched(values: Any, mechanisms: Any, entropy: Any) -> Any:
        found = add_noise(values, mechanisms, entropy)
        drawn.append(mechanisms)
        noise.append(found - values)
        return found

    monkeypatch.setattr(models, "add_noise", watched)
    models.shared(tables, PLAN.epsilon, PLAN.colluders, 0)
    wanted = list(by_the_protocol())
    assert drawn == [each for each in wanted for _ in range(K)]
    spent = [mechanism for each in wanted for mechanism in each]
    assert 0.99 * PLAN.epsilon < composed_epsilon(spent, PLAN.delta) <= PLAN.epsilon
    assert composed_epsilon(spent, PLAN.delta, colluders=PLAN.colluders + 3) > PLAN.epsilon, "control"
    for index, (mechanism,) in enumerate(wanted):
        shares = np.array(noise[index * K : (index + 1) * K], float)
        ratio = shares.sum(axis=0).std() / math.sqrt(mechanism.total_variance)
        assert ratio == pytest.approx(1, abs=5 / math.sqrt(2 * shares.shape[1]))
        pairs = np.corrcoef(shares)[np.triu_indices(K, 1)]
        assert np.abs(pairs).max() < 6 / math.sqrt(shares.shape[1]), "members draw independently"

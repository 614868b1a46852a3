"""The worlds of a year: the same debtors and shocks, and another way of choosing plans in each.

``own`` goes on with the lender's policy, kept to affordable plans; ``alone`` fits the better of a lender's own two models
(without privacy) again every month; ``once`` chooses with the release of the past all year; ``monthly`` with a release
that every matured month was added to. ``once_open`` and ``monthly_open`` are the last two in mode none: no noise, and a learner that
knows of none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import contribution, monotone
from fedrepay.client.learning.dp_recursive import (
    FIRST_ROUNDS,
    LATER_ROUNDS,
    DPRecursive,
    RecursiveModel,
    WindowsSaid,
)
from fedrepay.shared.arrays import F64
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.simulations.engines import clear
from fedrepay.simulations.market import evaluate, models
from fedrepay.simulations.market.evaluate import Ground
from fedrepay.simulations.market.models import ATTEMPTS, Expert, FittedAdditive, HeadsModel
from fedrepay.simulations.market.records import book
from fedrepay.simulations.market.value import Worth
from fedrepay.simulations.market.year.months import Month, joined

Tables = Mapping[str, Table]
LEAST_ROWS = 30
"""A lender with fewer has no model of its own."""


class YearWorld(Protocol):
    """One way of going through a year."""

    def choose(self, month: Month) -> dict[str, Worth]:
        """What each lender offers to its new accounts, and what that is truly worth."""
        ...

    def learn(self, closed: Tables) -> None:
        """A window has closed: these are its matured offers, by lender. The first is the past."""
        ...


class OwnPolicy:
    """Every lender's own policy, kept to affordable plans."""

    def choose(self, month: Month) -> dict[str, Worth]:
        """By the policy of each."""
        return {name: _by_policy(month, each) for name, each in month.grounds.items()}

    def learn(self, closed: Tables) -> None:
        """A policy stays as it is."""


@dataclass
class Alone:
    """Every lender with the better of two models of its own records, fitted again after each window, without privacy.

    Which of the two, and their penalties, are chosen by cross-validation at first and whenever the records have doubled.
    """

    seed: int
    _seen: dict[str, list[Table]] = field(default_factory=dict)
    _models: dict[str, FittedAdditive | Expert] = field(default_factory=dict)
    _chosen_at: dict[str, int] = field(default_factory=dict)

    def choose(self, month: Month) -> dict[str, Worth]:
        """With its model; by policy where it has none."""
        return {
            name: _with(ground, self._models[name]) if name in self._models else _by_policy(month, ground)
            for name, ground in month.grounds.items()
        }

    def learn(self, closed: Tables) -> None:
        """Fit again to all that a lender has seen."""
        for name, table in closed.items():
            seen = self._seen.setdefault(name, [])
            seen.append(table)
            whole = joined(seen)
            if len(whole.codes) < LEAST_ROWS:
                continue
            before = self._models.get(name)
            if before is None or len(whole.codes) >= 2 * self._chosen_at[name]:
                found, self._chosen_at[name] = evaluate.own_models(whole, self.seed).best, len(whole.codes)
            elif isinstance(before, Expert):
                found = models.own_expert(whole, self.seed, before.penalties)
            else:
                found = models.own_additive(whole, self.seed, before.penalties)
            if found is not None:
                self._models[name] = found


@dataclass
class Together:
    """All lenders with one release.

    Args:
        stream: names the noise of this world, the same in all worlds that are compared.
        epsilon: of one customer, who is in one window only.
        colluders: c.
        again: whether later windows are learned from too.
        private: False is mode none.
    """

    stream: str
    epsilon: float
    colluders: int
    again: bool = True
    private: bool = True
    running: WindowsSaid | None = None
    weights: F64 | None = None
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def choose(self, month: Month) -> dict[str, Worth]:
        """With the newest release; by policy before there is one."""
        if self.weights is None:
            return {name: _by_policy(month, ground) for name, ground in month.grounds.items()}
        model = FittedAdditive(self.weights)
        return {name: _with(ground, model) for name, ground in month.grounds.items()}

    def learn(self, closed: Tables) -> None:
        """One run of secure sums over a window, added up in the clear with every member's share of noise.

        Raises:
            ValueError: a customer was in an earlier window; then ε would not be for all windows together.
        """
        if self.running is not None and not self.again:
            return
        if not any(len(each.codes) for each in closed.values()):
            return  # nobody has a past: there is nothing to run
        here = {(name, str(customer)) for name, each in closed.items() for customer in each.customers}
        if again := self._seen & here:
            raise ValueError(f"{len(again)} customers were learned from before, such as {min(again)}")
        self._seen |= here
        rows = [contribution.from_table(book(), each) for each in closed.values()]
        learner = DPRecursive(book(), FIRST_ROUNDS if self.running is None else LATER_ROUNDS, self.running)
        window = 0 if self.running is None else len(self.running.windows)
        mechanisms: clear.Charged = ((),) * learner.rounds
        if self.private:
            mechanisms = clear.planned(
                learner,
                epsilon=self.epsilon,
                delta=models.delta(),
                members=len(rows),
                colluders=self.colluders,
                max_attempts=ATTEMPTS,
            )

        def streams(member: int, index: int) -> SeededEntropy:
            return SeededEntropy(f"{self.stream} {window} {member} {index}".encode())

        exact = clear.together(learner, clear.pool(rows))
        opened = clear.run(learner, exact, mechanisms, len(rows), streams)
        assert isinstance(opened.state, RecursiveModel)  # noqa: S101 - of this learner
        self.running = learner.running(opened.state)
        self.weights = monotone.project(book(), opened.state.weights)


def _by_policy(month: Month, ground: Ground) -> Worth:
    rng = np.random.default_rng([44, month.seed, month.number, int(ground.lender.name[1:])])
    return evaluate.within_policy(ground, rng)


def _with(ground: Ground, model: HeadsModel) -> Worth:
    return ground.worth(model.predict(ground.scored))


def worlds(seed: int, draw: int, epsilon: float, colluders: int) -> dict[str, YearWorld]:
    """All worlds of a year, by name.

    Args:
        seed: of the year.
        draw: which draw of its noise.
        epsilon: of one customer.
        colluders: c.
    """
    stream = f"year {seed} {draw}"

    def together(*, again: bool, private: bool) -> Together:
        return Together(stream, epsilon, colluders, again=again, private=private)

    return {
        "own": OwnPolicy(),
        "alone": Alone(seed),
        "once": together(again=False, private=True),
        "monthly": together(again=True, private=True),
        "once_open": together(again=False, private=False),
        "monthly_open": together(again=True, private=False),
    }

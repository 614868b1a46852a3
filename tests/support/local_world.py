"""A small consortium in local mode: members that hold a torch module, and terms that train it."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from fedrepay.client.learning.torch_models.registry import TorchModel, load
from fedrepay.client.protocol.member import Member
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.privacy.subsampled import calibrate
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.shared.trust.terms import LocalTerms, NumberedTerms
from support.world import World, rows

model = cache(load)
"""A module by name and dimension, checked once a process."""


def terms(
    held: TorchModel, epsilon: float = 4.0, rounds: int = 3, attempts: int = 3, **changes: object
) -> LocalTerms:
    """Constants of a run that trains ``held``, its noise as it must be."""
    facts: dict[str, Any] = {
        "model": held.name,
        "model_hash": held.hash,
        "parameters": held.parameters,
        "sampling_rate": 1.0,
        "local_steps": 2,
        "clip": 1.0,
        "learning_rate": 5.0,
        **changes,
    }
    facts.setdefault("noise_multiplier", 0.0)
    if not facts["noise_multiplier"]:
        of = (facts["sampling_rate"], facts["local_steps"], rounds, attempts, held.parameters)
        facts["noise_multiplier"] = calibrate(epsilon, 1e-5, *of)
    return LocalTerms.model_validate(facts)


@dataclass
class LocalWorld(World):
    """``World`` in local mode: ``held`` names each member's module (by default all hold the run's)."""

    mode: str = "local"
    name: str = "logistic"
    entropy: Entropy | None = None

    def held(self, name: str) -> TorchModel | None:
        """The module this member is configured with."""
        del name
        return model(self.name, self.book.dimension)

    def member(self, name: str) -> Member:
        number = int(name[1:])
        snapshot = rows(self.book, number)
        limits = self.limits or Limits(
            minimum_cohort=3, epsilon_per_release=self.epsilon, epsilon_per_year=self.epsilon * 1.001
        )
        return Member(
            self.identities[name],
            self.store(name),
            self.book,
            lambda: (snapshot, bytes([number]) * 32),
            limits,
            lambda: 1.8e9,
            self.entropy,
            model=self.held(name),
        )

    def local(self) -> LocalTerms:
        """The run's constants."""
        return terms(model(self.name, self.book.dimension), self.epsilon, self.rounds)

    def terms(self, run: int = 1) -> NumberedTerms:
        return NumberedTerms(
            run=run,
            schema_hash=self.book.schema_hash,
            mode="local",
            learner="dp-sgd",
            dimension=self.book.dimension,
            heads=1,
            epsilon=self.epsilon,
            delta=1e-5,
            colluders=default_colluders(self.size),
            rounds=self.rounds,
            local=self.local(),
        )

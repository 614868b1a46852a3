"""DP-SGD at each member, any torch module: noisy steps at home, their outcome summed under masks.

Sum 0 counts customers, each member under noise of its own, so that no step is divided by a member's own, secret
number of customers. Every other sum adds what ``local_steps`` noisy steps (``torch_models/clipping.py``) changed in the
weights, written in a public range of short integers. Momentum and the average of the last half of the models
are post-processing of opened sums: plain numpy, the same at every member.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fedrepay.client.learning.base import Model, refuse_starts
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.accounting import SampledSteps, Segment
from fedrepay.shared.privacy.noise import DiscreteGaussian
from fedrepay.shared.privacy.subsampled import COUNT_UNIT, SENSITIVITY, count_mechanism, steps_mechanism
from fedrepay.shared.secure_sum.packing import update_limit, update_packing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fedrepay.client.learning.contribution import Rows
    from fedrepay.client.learning.torch_models.clipping import Steps
    from fedrepay.client.learning.torch_models.registry import TorchModel
    from fedrepay.shared.arrays import F64, I64
    from fedrepay.shared.privacy.accounting import Charged
    from fedrepay.shared.privacy.entropy import Entropy
    from fedrepay.shared.schema.codebook import CodeBook
    from fedrepay.shared.trust.terms import LocalTerms, RunTerms

MOMENTUM = 0.9
RANGE_DEVIATIONS = 6.0
"""Standard deviations of its noise that a number of an update has room for, beside a step of full length."""

STEP_SHARE = 0.8
"""Of the step at which noise and progress balance, as in DP-GD."""


@dataclass(frozen=True)
class LocalModel(Model):
    """A module's weights between two sums, shape (1, parameters).

    Attributes:
        tail: sum of the iterates that will be averaged, shape (1, parameters).
        customers: of a member on average, as the noisy count has them; 0 before it.
        rate: the step of DP-SGD; 0 before the count.
    """

    tail: F64
    customers: float = 0.0
    rate: float = 0.0


@dataclass(frozen=True)
class DPSGD:
    """A count, then ``rounds`` − 1 sums of updates.

    Attributes:
        book: the code book.
        rounds: secure sums, the count included.
        terms: the run's public constants of local mode.
        epsilon: ε of the run, which sizes the count's noise.
        delta: δ of the run.
        members: of the roster; they decide how many bits an update has.
        model: the member's module.
        entropy: of this member's sampling and noise.
    """

    book: CodeBook
    rounds: int
    terms: LocalTerms
    epsilon: float
    delta: float
    members: int
    model: TorchModel
    entropy: Entropy
    name: str = "dp-sgd"

    def __post_init__(self) -> None:
        """Refuse a schema with a public start; SchemaError."""
        refuse_starts(self.book, "--mode local")

    def segments(self) -> tuple[tuple[Segment, ...], ...]:
        """The count, then updates of all parameters; local mode shares no noise, so weights mean nothing."""
        update = Segment(self.terms.parameters, SENSITIVITY, 1.0)
        return ((Segment(1, COUNT_UNIT, 1.0),),) + ((update,),) * (self.rounds - 1)

    def start(self) -> LocalModel:
        """The module's public initial weights."""
        weights = self.model.initial[None]
        return LocalModel(weights, np.zeros_like(weights), np.zeros_like(weights))

    def contribution(self, index: int, state: LocalModel, data: Rows) -> I64:
        """The noisy count, or the outcome of noisy steps: unlike the other learners', it is protected already."""
        if index == 0:
            noise = DiscreteGaussian(count_mechanism(self.epsilon, self.delta, 1).variance)
            return COUNT_UNIT * data.customers + noise.sample(1, self.entropy)
        from fedrepay.client.learning.torch_models import clipping  # noqa: PLC0415 - imports torch

        before = state.weights[0]
        after = clipping.train(self.model, before, data, self.steps(state), self.entropy)
        return self.quantised(state, after - before)

    def steps(self, state: LocalModel) -> Steps:
        """The public numbers of the next round of steps."""
        from fedrepay.client.learning.torch_models import clipping  # noqa: PLC0415 - imports torch

        terms, prior = self.terms, self.book.schema.priors[0]
        return clipping.Steps(
            sampling_rate=terms.sampling_rate,
            steps=terms.local_steps,
            clip=terms.clip,
            variance=self._mechanism().variance,
            grid=grid(terms.clip, terms.parameters, self.book.schema.public.n_max),
            batch=terms.sampling_rate * state.customers,
            rate=state.rate,
            prior=math.log(prior / (1 - prior)),
        )

    def step(self, index: int, state: LocalModel, opened: I64, mechanisms: Sequence[Charged]) -> LocalModel:
        """Fix the step from the count, or move by the members' mean update with momentum."""
        (charged,) = mechanisms
        assert isinstance(charged, SampledSteps)  # noqa: S101 - local mode has no others
        if index == 0:
            noise = math.sqrt(charged.variance / charged.cohort)
            customers = max(float(opened[0]) / charged.cohort, 3 * noise, COUNT_UNIT) / COUNT_UNIT
            return replace(state, customers=customers, rate=self._rate(customers, charged.cohort))
        unit = self._unit(state)
        velocity = MOMENTUM * state.velocity + opened[None] * (unit / charged.cohort)
        weights = state.weights + velocity
        first = 1 + (self.rounds - 1) // 2
        tail = state.tail + weights if index >= first else state.tail
        if index == self.rounds - 1:
            weights = tail / (self.rounds - first)
        return replace(state, weights=weights, velocity=velocity, tail=tail)

    def quantised(self, state: LocalModel, update: F64) -> I64:
        """An update as integers in the packing's range; what lies outside becomes the largest one."""
        limit = update_limit(update_packing(self.members))
        return np.clip(np.rint(update / self._unit(state)), -limit, limit).astype(np.int64)

    def _mechanism(self) -> SampledSteps:
        terms = self.terms
        return steps_mechanism(
            terms.noise_multiplier, terms.sampling_rate, terms.local_steps, self.members, terms.parameters
        )

    def _rate(self, customers: float, cohort: int) -> float:
        """The public step, or the one at which the noise of all steps balances their progress if that is shorter.

        0.8·μ·n·(1 − m)/T of DP-GD, with μ = √T·q/z for T steps and noise of K members on a mean over K·n customers.
        """
        terms = self.terms
        steps = (self.rounds - 1) * terms.local_steps
        signal = math.sqrt(cohort) * terms.sampling_rate * customers / terms.noise_multiplier
        return min(terms.learning_rate, STEP_SHARE * (1 - MOMENTUM) * signal / math.sqrt(steps))

    def _unit(self, state: LocalModel) -> float:
        """What one integer of an update is worth: the range holds steps of full length and their noise."""
        terms = self.terms
        noise = terms.noise_multiplier / (terms.sampling_rate * state.customers)
        steps = terms.local_steps
        reach = state.rate * (steps + RANGE_DEVIATIONS * math.sqrt(steps) * noise)
        return reach / update_limit(update_packing(self.members))


def grid(clip: float, parameters: int, n_max: int) -> float:
    """G, so that rounding and floating point keep a step's sum within Δ = 2²⁰ grid units of its neighbour's.

    Raises:
        ArgumentError: so many parameters or customers leave nothing of Δ for the gradient.
    """
    adding = (n_max / 2**13) ** 2  # 2·Δ·2⁻⁵³ · 64·n_max rows · n_max, their weight together
    slack = math.ceil(math.sqrt(parameters)) + 16 + n_max / 16 + adding
    if slack > SENSITIVITY / 8:
        raise ArgumentError(
            f"A module of {parameters:,} parameters at n_max = {n_max:,} passes the grid of local mode.",
            "Bring a smaller module, or a schema with a lower n_max.",
        )
    return (SENSITIVITY - slack) / clip


def make(book: CodeBook, terms: RunTerms, members: int, model: TorchModel, entropy: Entropy) -> DPSGD:
    """The learner of a run in local mode.

    Args:
        book: the code book.
        terms: the run's plan or a configuration of its.
        members: of the roster.
        model: the member's own module.
        entropy: of this member's sampling and noise.

    Raises:
        ArgumentError: the run is not in local mode.
    """
    if terms.local is None:
        raise ArgumentError("The run is not in local mode.", "Start it with --mode local.")
    return DPSGD(book, terms.rounds, terms.local, terms.epsilon, terms.delta, members, model, entropy)

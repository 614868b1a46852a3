"""The public constants of a run in local mode: what a module is trained with, and the noise that this needs.

The defaults were chosen on validation parts (a fifth of the training rows) of the shipped data, never on test
rows; ``docs/adr/0014-local-mode.md`` says how.
"""

from dataclasses import dataclass

from fedrepay.client.learning.dp_sgd import grid
from fedrepay.client.learning.torch_models.registry import TorchModel
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.privacy.composition import composed_epsilon
from fedrepay.shared.privacy.delta import chosen_delta
from fedrepay.shared.privacy.statement import HEADLINE
from fedrepay.shared.privacy.subsampled import calibrate, count_mechanism, steps_mechanism, whole_run
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.local_run import LocalRun
from fedrepay.shared.trust.sums import default_rounds
from fedrepay.shared.trust.terms import MAX_ATTEMPTS, LocalTerms

SAMPLING_RATE = 0.5
LOCAL_STEPS = 2


@dataclass(frozen=True)
class Choice:
    """What suits one module: C, and the largest step between two sums, which local steps share."""

    clip: float
    learning_rate: float


CHOICES = {"logistic": Choice(clip=1.0, learning_rate=20.0), "mlp": Choice(clip=1.0, learning_rate=20.0)}
OTHERS = Choice(clip=1.0, learning_rate=1.0)
"""For an institution's own module, where nothing is known of it."""


@dataclass(frozen=True)
class LocalWishes:
    """What was asked for (:class:`LocalTerms`); None takes the default."""

    sampling_rate: float | None = None
    local_steps: int | None = None
    clip: float | None = None
    learning_rate: float | None = None


def local_terms(
    model: TorchModel, wishes: LocalWishes, epsilon: float, delta: float, rounds: int, max_attempts: int
) -> LocalTerms:
    """The constants asked for, defaults elsewhere, and the noise that they need.

    Raises:
        BudgetError: no noise keeps them within (ε, δ).
    """
    choice = CHOICES.get(model.name, OTHERS)
    rate = wishes.sampling_rate or SAMPLING_RATE
    steps = wishes.local_steps or LOCAL_STEPS
    return LocalTerms(
        model=model.name,
        model_hash=model.hash,
        parameters=model.parameters,
        sampling_rate=rate,
        local_steps=steps,
        clip=wishes.clip or choice.clip,
        learning_rate=wishes.learning_rate or choice.learning_rate / steps,
        noise_multiplier=calibrate(epsilon, delta, rate, steps, rounds, max_attempts, model.parameters),
    )


def at_several(run: LocalRun) -> tuple[float, ...]:
    """ε of a person at two and at three members, every extra attempt included; each member adds noise of its own."""
    count = count_mechanism(run.epsilon, run.delta, 1)
    steps = steps_mechanism(
        run.local.noise_multiplier, run.local.sampling_rate, run.local.local_steps, 1, run.local.parameters
    )
    whole = whole_run(count, steps, run.rounds, run.max_attempts)
    return tuple(composed_epsilon(whole, run.delta, memberships=number) for number in HEADLINE)


def local_run(
    book: CodeBook,
    model: TorchModel,
    wishes: LocalWishes,
    epsilon: float,
    delta: float | None,
    rounds: int | None,
) -> LocalRun:
    """What a member states for the operator: the terms, and what they were made for.

    Raises:
        ArgumentError: several outcomes, a δ that every member would refuse, or more customers than the grid holds.
        BudgetError: no noise keeps the run within (ε, δ).
    """
    if book.heads != 1:
        raise ArgumentError(
            f"The schema has {book.heads} outcomes; local mode takes one.", "Use another schema."
        )
    delta = chosen_delta(delta, book.schema.public)
    rounds = rounds or default_rounds("dp-sgd")
    terms = local_terms(model, wishes, epsilon, delta, rounds, MAX_ATTEMPTS)
    grid(terms.clip, terms.parameters, book.schema.public.n_max)
    return LocalRun(
        schema_hash=book.schema_hash,
        epsilon=epsilon,
        delta=delta,
        rounds=rounds,
        max_attempts=MAX_ATTEMPTS,
        local=terms,
    )

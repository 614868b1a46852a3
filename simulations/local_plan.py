"""The public constants of a run in local mode, as an operator would state them.

The defaults were chosen on validation parts (a fifth of the training rows) of the shipped data, never on test
rows; ``docs/adr/0014-local-mode.md`` says how.
"""

from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.learning.torch_models.registry import TorchModel, load
from fedrepay.shared.privacy.subsampled import calibrate
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.wire import LocalTerms
from fedrepay.simulations.arguments import Arguments

MODEL = "logistic"
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


def model_of(arguments: Arguments) -> TorchModel | None:
    """The torch module asked for; None in the other modes.

    Raises:
        ArgumentError: it cannot be used, or torch is missing.
        SchemaError: the schema or its code book cannot be read.
    """
    if arguments.mode != "local":
        return None
    return load(arguments.model or MODEL, codebook.load(Path(arguments.schema)).dimension)


def local_terms(
    arguments: Arguments, model: TorchModel, epsilon: float, delta: float, rounds: int, max_attempts: int
) -> LocalTerms:
    """The constants asked for, defaults elsewhere, and the noise that they need.

    Raises:
        BudgetError: no noise keeps them within (ε, δ).
    """
    choice = CHOICES.get(model.name, OTHERS)
    rate = arguments.sampling_rate or SAMPLING_RATE
    steps = arguments.local_steps or LOCAL_STEPS
    return LocalTerms(
        model=model.name,
        model_hash=model.hash,
        parameters=model.parameters,
        sampling_rate=rate,
        local_steps=steps,
        clip=arguments.clip or choice.clip,
        learning_rate=arguments.learning_rate or choice.learning_rate / steps,
        noise_multiplier=calibrate(epsilon, delta, rate, steps, rounds, max_attempts, model.parameters),
    )

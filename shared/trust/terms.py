"""The terms of a run: everything public that a member says yes or no to before it costs anything."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from fedrepay.shared import keys
from fedrepay.shared.privacy.multiplier import SMALLEST_MULTIPLIER
from fedrepay.shared.trust.agreement import NOTHING
from fedrepay.shared.trust.fields import (
    Digest,
    Heads,
    LearnerName,
    Mode,
    ModelName,
    Small,
)
from fedrepay.shared.trust.message import Wire

MAX_ATTEMPTS = 3
"""Beside the sums planned, in a run, unless the operator says otherwise."""


class LocalTerms(Wire):
    """Public constants of local mode: which torch module, and how each member trains it (DP-SGD).

    Attributes:
        model: the module's name; a member compares it with what its own configuration names.
        model_hash: SHA-256 over names, shapes and types of the parameters and their initial values.
        parameters: numbers in the module.
        sampling_rate: q, the chance of each customer to be in a step.
        local_steps: noisy steps a member takes between two secure sums.
        clip: C, the most that one customer's gradient may be long.
        learning_rate: the largest step, in units of a mean gradient divided by C.
        noise_multiplier: z, a step's noise over its sensitivity; every member proves it again.
    """

    model: ModelName
    model_hash: Digest
    parameters: Annotated[int, Field(ge=1, le=1 << 24)]
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    local_steps: Annotated[int, Field(ge=1, le=1000)]
    clip: Annotated[float, Field(ge=1e-6, le=1e6)]
    learning_rate: Annotated[float, Field(gt=0, le=1e6)]
    noise_multiplier: Annotated[float, Field(ge=SMALLEST_MULTIPLIER, le=4096)]


class GramPairs(Wire):
    """How two numbers of the Gram sum share a slot (``shared/secure_sum/packing.py``), where public bounds leave room.

    Attributes:
        most: the most that one member adds to a field: n_max times the largest entry of a record, and twice ``offset``.
        offset: what a member adds to each number, so that no sum is negative with all its noise.
    """

    most: Annotated[int, Field(ge=1, lt=1 << 28)]
    offset: Annotated[int, Field(ge=0, lt=1 << 27)]


class RunTerms(Wire):
    """What must not change in a run: schema, model, privacy, noise.

    ``agreed`` is the hash of the consortium's terms (``agreement``); ``simulated`` marks made-up members.
    """

    schema_hash: Digest
    mode: Mode
    learner: LearnerName
    dimension: Annotated[int, Field(ge=1, le=1 << 20)]
    heads: Heads
    epsilon: Annotated[float, Field(gt=0, le=1000)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    colluders: Annotated[int, Field(ge=1, lt=2**31)]
    rounds: Annotated[int, Field(ge=2, le=1000)]
    max_attempts: Annotated[int, Field(ge=0, le=100)] = MAX_ATTEMPTS
    timeout: Annotated[float, Field(gt=0)] = 600.0
    agreed: Digest = NOTHING
    simulated: bool = False
    local: LocalTerms | None = None
    pairs: GramPairs | None = None

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        """Local mode, its learner and its constants come together, with one outcome; or none of them does."""
        local = {self.mode == "local", self.learner == "dp-sgd", self.local is not None}
        if len(local) != 1 or (self.local and self.heads != 1):
            raise ValueError("mode local, learner dp-sgd and local terms come together, with one outcome")
        return self

    def terms(self) -> "RunTerms":
        """The terms alone, of whatever carries them."""
        return RunTerms.model_construct(**{name: getattr(self, name) for name in RunTerms.model_fields})

    def terms_hash(self) -> bytes:
        """Identity of all the terms together (32 bytes), so that no field can be left out of what is agreed."""
        return keys.digest(b"terms", self.terms().encode())


class NumberedTerms(RunTerms):
    """What the operator starts: terms and a number, everything but who takes part. No row counts, ever."""

    run: Small

"""What crosses the wire: one model a message, of the ceremony, of the rounds and of the release."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fedrepay.shared.trust.message import Signed, Wire

MAX_MEMBERS = 1500
SMALLEST_MULTIPLIER = 0.1
"""Of local mode's noise: less is not worth the name, and the accountant's table of its losses grows beyond memory."""
Key = Annotated[bytes, Field(min_length=32, max_length=32)]
Digest = Annotated[bytes, Field(min_length=32, max_length=32)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Names = Annotated[tuple[Name, ...], Field(min_length=1, max_length=MAX_MEMBERS)]
Small = Annotated[int, Field(ge=0, lt=2**31)]
Heads = Annotated[int, Field(ge=1, le=8)]
Tag = Annotated[int, Field(ge=0, lt=2**60)]
Mode = Literal["distributed", "local", "none"]
LearnerName = Literal["dp-newton", "dp-gd", "dp-sgd"]
ModelName = Annotated[
    str, Field(max_length=200, pattern=r"^[A-Za-z_][A-Za-z0-9_.]*(:[A-Za-z_][A-Za-z0-9_]*)?$")
]
"""Of a torch module: a shipped one's name or ``module:Class``; compared, shown, and never imported."""


# --- the ceremony -----------------------------------------------------------------------------


class EpochStart(Wire):
    """Coordinator → all: a run wants an epoch; ``colluders`` decides who seeds the keys."""

    run: Small
    coordinator: Key
    colluders: Small


class Hello(Wire):
    """Member → coordinator: who I am, and this epoch's fresh keys."""

    run: Small
    name: Name
    signing: Key
    sealing: Key
    node: bytes
    nonce: Key
    envelope: Key
    mask: Key


class Introduction(Wire):
    """Coordinator → all: the roster and everybody's hello."""

    roster: bytes
    start: Signed
    hellos: tuple[Signed, ...]


class Acceptance(Wire):
    """Member: I take part in this epoch of this roster."""

    roster_hash: Digest
    epoch: Digest
    name: Name


class Acceptances(Wire):
    """Coordinator → seeders: everybody has accepted; send your contributions."""

    signed: tuple[Signed, ...]


class Envelope(Wire):
    """A seeder's contribution for one recipient (HPKE)."""

    epoch_nonce: Digest
    roster_hash: Digest
    sender: Name
    recipient: Name
    sealed: bytes


class Envelopes(Wire):
    """A bundle of signed envelopes: from one seeder to all, or from all seeders to one."""

    signed: tuple[Signed, ...]


class ContextOffer(Wire):
    """The maker's BFV context: public in clear, secret sealed under the group seed, a test vector."""

    epoch: Digest
    public: bytes
    sealed: bytes
    test: bytes


class ContextClosing(Wire):
    """Coordinator → all: everybody's acceptance and the maker's context; confirm it."""

    acceptances: tuple[Signed, ...]
    offer: Signed


class Confirmation(Wire):
    """Member: the context opens, the test vector is right."""

    epoch: Digest
    name: Name
    mac: Digest


# --- rounds -----------------------------------------------------------------------------------


class Attempt(Wire):
    """An attempt at a round, as everybody must see it."""

    round: Small
    attempt: Small
    cohort: Names
    completed: bool


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


def check_mode(mode: str, learner: str, local: LocalTerms | None, heads: int) -> None:
    """Local mode, its learner and its constants come together, with one outcome; or none of them does.

    Raises:
        ValueError: which pydantic turns into a refusal of the message.
    """
    if len({mode == "local", learner == "dp-sgd", local is not None}) != 1 or (local and heads != 1):
        raise ValueError("mode local, learner dp-sgd and local terms come together, with one outcome")


class RoundConfig(Wire):
    """The same bytes for every member, signed by the coordinator (protocol.md, *One round*)."""

    run: Small
    epoch: Digest
    roster_hash: Digest
    round: Small
    attempt: Small
    cohort: Names
    history: tuple[Attempt, ...]
    schema_hash: Digest
    mode: Mode
    learner: LearnerName
    dimension: Small
    heads: Heads
    epsilon: Annotated[float, Field(gt=0, le=1000)]
    delta: Annotated[float, Field(gt=0, lt=1)]
    colluders: Small
    rounds: Annotated[int, Field(ge=2, le=1000)]
    max_attempts: Annotated[int, Field(ge=0, le=100)]
    timeout: Annotated[float, Field(gt=0)]
    local: LocalTerms | None = None

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        check_mode(self.mode, self.learner, self.local, self.heads)
        return self


class Header(Wire):
    """What a member signs over its upload."""

    run: Small
    epoch: Digest
    context_id: Digest
    config: Digest
    round: Small
    attempt: Small
    name: Name
    payload: Digest
    tags: Annotated[tuple[Tag, ...], Field(max_length=1 << 14)]  # one a ciphertext
    opened: Digest
    ledger: Digest


class Upload(Wire):
    """Member → coordinator."""

    header: Signed
    payload: bytes


class Sum(Wire):
    """One completed sum as it goes to the members."""

    round: Small
    attempt: Small
    config: Signed
    headers: tuple[Signed, ...]
    payload: bytes
    tags: Annotated[tuple[Tag, ...], Field(max_length=1 << 14)]  # one a ciphertext


class Ping(Wire):
    """Coordinator → a member that was away: are you there for this round?"""

    run: Small
    round: Small


class RoundRequest(Wire):
    """Coordinator → member, the part many share; the member's own last header travels beside it."""

    config: Signed
    confirmations: tuple[Signed, ...]
    sums: tuple[Sum, ...]


# --- the release ------------------------------------------------------------------------------


class Closing(Wire):
    """Coordinator → members after the last sum: make or check the release (``sealed`` is None: make it)."""

    config: Signed
    sums: tuple[Sum, ...]
    sealed: bytes | None


class SealedRelease(Wire):
    """The writer's release: one payload, one wrapped key a member."""

    number: Small
    payload: bytes
    wrapped: tuple[tuple[Name, bytes], ...]


class ReleaseVote(Wire):
    """Member: these release bytes are what I computed."""

    run: Small
    name: Name
    release: Digest


class Written(Wire):
    """The writer's answer: the sealed release and its own vote."""

    sealed: bytes
    vote: Signed


class Votes(Wire):
    """Coordinator → members: enough members have signed; store the release, forget the epoch."""

    run: Small
    signed: tuple[Signed, ...]


# --- every answer -----------------------------------------------------------------------------


class Reply(Wire):
    """Every answer of a member: one of a closed set, so that refusals are data and not exceptions."""

    kind: Literal["ok", "need", "refused"]
    body: bytes = b""
    need: Small = 0
    code: str = ""
    cause: str = ""

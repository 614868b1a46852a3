"""What crosses the wire in a run: its terms, its rounds, a sum that failed, the release; and every answer."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from fedrepay.shared import keys
from fedrepay.shared.trust.fields import (
    MAX_MEMBERS,
    Digest,
    Hashes,
    Name,
    Names,
    Small,
    Tags,
)
from fedrepay.shared.trust.message import MAX_MESSAGE, Signed, Wire
from fedrepay.shared.trust.terms import RunTerms

MAX_HISTORY = 1 << 11
"""Attempts of a run: at most 1,000 sums and 101 lost."""
Payload = Annotated[bytes, Field(max_length=MAX_MESSAGE)]
SignedByAll = Annotated[tuple[Signed, ...], Field(max_length=MAX_MEMBERS)]


class Kind(StrEnum):
    """What a message asks of a member; of ``sign``, ``call`` and ``void`` the coordinator asks itself, and nobody else."""

    HELD = "held"
    CALL = "call"
    PROPOSE = "propose"
    REVEAL = "reveal"
    APPROVE = "approve"
    VOID = "void"
    CERTIFY = "certify"
    TERMS = "terms"
    HELLO = "hello"
    INTRODUCE = "introduce"
    SEED = "seed"
    CONFIRM = "confirm"
    PREPARE = "prepare"
    ROUND = "round"
    RESEND = "resend"
    BLAME = "blame"
    SIGN = "sign"
    WRITE = "write"
    CLOSE = "close"
    VOTES = "votes"
    RESEAL = "reseal"


# --- before anything costs --------------------------------------------------------------------


class Offer(Wire):
    """Coordinator → all: these would be the run's terms; yes or no? Nothing is reserved before all have said yes."""

    run: Small
    roster: Digest
    terms: RunTerms


# --- rounds -----------------------------------------------------------------------------------


class Attempt(Wire):
    """An attempt at a round, as everybody must see it."""

    round: Small
    attempt: Small
    cohort: Names
    completed: bool


class RoundConfig(RunTerms):
    """The same bytes for every member, signed by the coordinator (docs/protocol.md, *One round*)."""

    run: Small
    epoch: Digest
    roster_hash: Digest
    round: Small
    attempt: Small
    cohort: Names
    history: Annotated[tuple[Attempt, ...], Field(max_length=MAX_HISTORY)]


class Header(Wire):
    """What a member signs over its upload: one hash and one tag a ciphertext."""

    run: Small
    epoch: Digest
    config: Digest
    round: Small
    attempt: Small
    name: Name
    chunks: Hashes
    tags: Tags
    opened: Digest
    ledger: Digest


class Upload(Wire):
    """Member → coordinator."""

    header: Signed
    payload: Payload


class Sum(Wire):
    """One completed sum as it goes to the members."""

    round: Small
    attempt: Small
    config: Signed
    headers: SignedByAll
    payload: Payload
    tags: Tags


Sums = Annotated[tuple[Sum, ...], Field(max_length=1000)]


class Prepare(RunTerms):
    """The next attempt but for its cohort, which follows from who answers; signed by the coordinator."""

    run: Small
    epoch: Digest
    roster_hash: Digest
    round: Small
    history: Annotated[tuple[Attempt, ...], Field(max_length=MAX_HISTORY)]

    def config(self, cohort: tuple[str, ...]) -> RoundConfig:
        """The attempt's configuration with that cohort."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return RoundConfig(**fields, attempt=len(self.history), cohort=cohort)


class PrepareRequest(Wire):
    """Coordinator → member, the part many share; the member's own last header travels beside it.

    Open the sums you lack, compute your contribution, keep it, and say that you are there. A ``round`` follows, whose
    ``shared`` is the attempt's signed :class:`RoundConfig`.
    """

    asked: Signed
    confirmations: SignedByAll
    sums: Sums


# --- a sum whose tag failed -------------------------------------------------------------------


class Resend(Wire):
    """Coordinator → the cohort: a sum failed at this ciphertext; send that one of your upload again."""

    config: Signed
    chunk: Small


class Evidence(Wire):
    """Coordinator → the cohort: everybody's single ciphertext under its signed header; whose does not fit its tag?

    Attributes:
        config: the configuration of the attempt that failed.
        headers: signed headers, in the order of ``config``'s cohort.
        chunk: which ciphertext.
        payloads: that ciphertext of each, in the same order; empty where a member did not send it again.
    """

    config: Signed
    headers: SignedByAll
    chunk: Small
    payloads: Annotated[tuple[Payload, ...], Field(max_length=MAX_MEMBERS)]


class Verdict(Wire):
    """Member: of this attempt's uploads, these do not fit. ``suspects`` is sorted; empty: all of them fit."""

    config: Digest
    name: Name
    suspects: Annotated[tuple[Name, ...], Field(max_length=MAX_MEMBERS + 1)]


# --- the release ------------------------------------------------------------------------------


class Closing(Wire):
    """Coordinator → members after the last sum: make or check the release (``sealed`` is None: make it)."""

    config: Signed
    sums: Sums
    sealed: Payload | None


class SealedRelease(Wire):
    """The writer's release: one payload, one wrapped key a member."""

    number: Small
    payload: Payload
    wrapped: Annotated[
        tuple[tuple[Name, Annotated[bytes, Field(max_length=256)]], ...], Field(max_length=MAX_MEMBERS)
    ]


class ReleaseVote(Wire):
    """Member: these release bytes are what I computed."""

    run: Small
    name: Name
    release: Digest


class Written(Wire):
    """The writer's answer: the sealed release and its own vote."""

    sealed: Payload
    vote: Signed


class Votes(Wire):
    """Coordinator → members: enough members have signed; store the release, forget the epoch."""

    run: Small
    signed: SignedByAll


class Pulled(Wire):
    """Coordinator → a member that was away at the end of a run: its release, for its long-term key, and who signed it.

    Attributes:
        number: the run's, and so the release's.
        introduction: of the run's epoch: its roster, its call, and everybody's hello.
        sealed: a :class:`SealedRelease`.
        votes: of a quorum of that roster.
    """

    number: Small
    introduction: Annotated[bytes, Field(max_length=8 << 20)]
    sealed: Payload
    votes: Votes


class KeptRelease(Wire):
    """A release as a member keeps it."""

    release: Payload
    votes: Votes


class Resealed(Wire):
    """A current member → one that has joined since: the last release, sealed to its key in this roster (HPKE)."""

    number: Small
    roster: Digest
    sender: Name
    recipient: Name
    sealed: Payload


# --- every answer -----------------------------------------------------------------------------


class Reply(Wire):
    """Every answer of a member: one of a closed set, so that refusals are data and not exceptions.

    It travels signed and names what it answers, so that no other node can answer in a member's place. A refusal's
    ``body`` is what proves it, where something can: the newest call for an epoch, the ciphertext that failed.
    """

    kind: Literal["ok", "need", "refused"]
    name: Name
    asked: Digest
    run: Small = 0
    attempt: Small = 0
    body: Payload = b""
    need: Small = 0
    code: Annotated[str, Field(max_length=64)] = ""
    cause: Annotated[str, Field(max_length=4000)] = ""


def asked(kind: str, shared: bytes, own: bytes) -> bytes:
    """What an answer names: the digest of the message it answers (32 bytes)."""
    return keys.digest(kind.encode(), shared, own)

"""The messages by which an epoch begins: call, hellos, acceptances, contributions, confirmations."""

from typing import Annotated

from pydantic import Field

from fedrepay.shared.trust.fields import MAX_MEMBERS, Digest, Key, Name, Small
from fedrepay.shared.trust.message import Signed, Wire

SignedByAll = Annotated[tuple[Signed, ...], Field(max_length=MAX_MEMBERS)]


class EpochStart(Wire):
    """Coordinator → all who said yes to the terms: a run wants an epoch of this roster."""

    run: Small
    coordinator: Key
    colluders: Small
    roster: Digest
    terms: Digest


class Year(Wire):
    """What a member states of its ledger's last 365 days, before the run (``YearBefore`` in the statement).

    Attributes:
        epsilon: composed over all attempts; None where none is finite.
        delta: at which.
        runs: in which the attempts were.
        attempts: whatever became of them.
    """

    epsilon: Annotated[float, Field(ge=0, le=1e9)] | None
    delta: Annotated[float, Field(gt=0, lt=1)]
    runs: Small
    attempts: Small


class Declared(Wire):
    """What a member tells all others of itself before a run, to stand in the statement.

    Attributes:
        year: of its ledger.
        override: SHA-256 of its signed override of the checks of its mapping; empty where they hold.
    """

    year: Year
    override: Annotated[bytes, Field(max_length=32)] = b""


class Hello(Wire):
    """Member → coordinator: this epoch's fresh keys, a commitment to what it may contribute to the seed, its year."""

    start: Digest
    name: Name
    nonce: Key
    envelope: Key
    mask: Key
    commitment: Digest
    declared: Declared


class Introduction(Wire):
    """Coordinator → all present: the roster, the call, and the hello of everybody who is present."""

    roster: Annotated[bytes, Field(max_length=1 << 20)]
    start: Signed
    hellos: SignedByAll


class Acceptance(Wire):
    """Member: I take part in this epoch; its id covers the roster and all signed hellos."""

    roster_hash: Digest
    epoch: Digest
    name: Name


class Acceptances(Wire):
    """Coordinator → seeders: everybody present has accepted, send your contributions; then → all, with their envelopes."""

    signed: SignedByAll


class Envelope(Wire):
    """A seeder's contribution for one recipient (HPKE)."""

    epoch_nonce: Digest
    roster_hash: Digest
    sender: Name
    recipient: Name
    sealed: Annotated[bytes, Field(max_length=256)]


class Envelopes(Wire):
    """A bundle of signed envelopes: from one seeder to all, or from all seeders to one."""

    signed: SignedByAll


class Confirmation(Wire):
    """Member: I hold the group seed of this epoch; a MAC under it."""

    epoch: Digest
    name: Name
    mac: Digest

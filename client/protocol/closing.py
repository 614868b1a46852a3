"""The release at a member: compute it, seal it, check somebody else's, vote. Pure."""

from typing import Any

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.learning import monotone
from fedrepay.client.protocol.ceremony import STEPS
from fedrepay.client.protocol.session import Session
from fedrepay.shared import keys
from fedrepay.shared.arrays import F64
from fedrepay.shared.errors import Code, ProtocolError, Refusal, ReleaseError
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.privacy.statement import Charge, YearBefore, statement
from fedrepay.shared.trust import release
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import Year
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.wire import Kind, ReleaseVote, RoundConfig, SealedRelease, Votes

EPOCH_REPLIES = tuple(f"reply:{kind}" for kind in (Kind.HELLO, *STEPS, Kind.WRITE, Kind.CLOSE))
EPOCH_FACTS = ("epoch", "candidate", *EPOCH_REPLIES)
"""What a member forgets with an epoch: its secrets, and every answer that was made with them."""


def compute(session: Session, config: RoundConfig, *, private: bool) -> ReleaseContent:
    """The release as this member computes it from the opened sums."""
    charges = [
        Charge(each.round, each.completed, session.mechanisms(config, each)) for each in config.history
    ]
    customers = any(column.role == "customer" for column in session.book.schema.columns)
    return ReleaseContent(
        number=config.run,
        weights=_weights(session, config),
        sums=session.sums(),
        schema=session.book.schema_bytes,
        codebook=session.book.codebook_bytes,
        roster=session.epoch.roster,
        card=model_card(session, config),
        statement=statement(
            charges,
            mode=config.mode,
            epsilon=config.epsilon,
            delta=config.delta,
            colluders=config.colluders,
            cohort=len(session.epoch.present),
            unit="customer" if customers else "row",
            seeded=not private,
            year=[_year(name, hello.declared.year) for name, hello in session.epoch.hellos.items()],
        )
        | {"mapping_overrides": _overrides(session.epoch)},
    )


def _year(name: str, said: Year) -> YearBefore:
    return YearBefore(name, said.epsilon, said.delta, said.runs, said.attempts)


def _overrides(epoch: Epoch) -> dict[str, str]:
    """Members whose mapping's checks were overridden, and the hash of what was signed for it."""
    said = {name: hello.declared.override.hex() for name, hello in epoch.hellos.items()}
    return {name: digest for name, digest in said.items() if digest}


def _weights(session: Session, config: RoundConfig) -> F64:
    """The model's weights, monotone where the schema asks for it and tables of effects make it possible."""
    weights = session.weights(config).weights
    return weights if config.local is not None else monotone.project(session.book, weights)


def model_card(session: Session, config: RoundConfig) -> dict[str, Any]:
    """What the model is, for whom, and what it must not be used for; the same bytes at every member."""
    schema = session.book.schema
    local: dict[str, Any] = {}
    if config.local is not None:
        terms = config.local.model_dump() | {"model_hash": config.local.model_hash.hex()}
        local = {"local": terms | {"layout": session.layout()}}
        named = [column.name for column in schema.columns if column.monotone]
        local["local"]["not_monotone"] = named  # a torch module makes no such promise
    started = {column.name: sorted(column.start) for column in schema.features if column.start}
    return {
        "schema": {"name": schema.name, "version": schema.version, "hash": config.schema_hash.hex()},
        "learner": config.learner,
        "model": "additive logistic model on public bins"
        if config.local is None
        else f"torch module {config.local.model} on public bins",
        "heads": [outcome.name for outcome in schema.outcomes],
        "parameters": config.heads * config.dimension if config.local is None else config.local.parameters,
        **local,
        **({"started_from": started} if started else {}),  # public guesses, which no row said
        "members": len(session.epoch.roster.names),
        "present": len(session.epoch.present),
        "simulated": config.simulated,
        "cohorts": [list(each.cohort) for each in config.history if each.completed],
        "rounds": sum(each.completed for each in config.history),
        "attempts": len(config.history),
        "intended_use": "Ranking accounts, and plans where the schema has them, by the likelihood of the "
        "schema's good outcomes, at member institutions, with a human in reach of every decision.",
        "not_for": "Granting or refusing credit, contact of people in dormancy, or any use outside the members.",
        "gate": "not run: this release was checked by recomputation only",
    }


def seal(made: bytes, number: int, epoch: Epoch, entropy: Entropy) -> bytes:
    """Seal release bytes to every member: one random key, wrapped by HPKE to each long-term key."""
    key = entropy.draw(32)
    wrapped = tuple(
        (e.name, keys.hpke_seal(e.sealing, key, _info(number, epoch, e.name))) for e in epoch.roster.members
    )
    payload = keys.seal_once(key, made, _info(number, epoch))
    return SealedRelease(number=number, payload=payload, wrapped=wrapped).encode()


def open_sealed(identity: Identity, sealed: bytes, epoch: Epoch) -> bytes:
    """Open a sealed release with this member's long-term key.

    Raises:
        Refusal: code ``release``: its writer sealed something else, or to others.
    """
    try:
        message = SealedRelease.decode_once(sealed)
        wrapped = dict(message.wrapped).get(identity.name)
        if wrapped is None:
            raise Refusal(Code.RELEASE, "The release is not sealed to this member.")
        key = keys.hpke_open(identity.sealing, wrapped, _info(message.number, epoch, identity.name))
        return keys.open_once(key, message.payload, _info(message.number, epoch))
    except ProtocolError as error:
        raise Refusal(
            Code.RELEASE,
            f"The sealed release cannot be opened: {error.cause}",
            "Were your keys rotated since, it was sealed to those before: ask another member to seal it anew, or wait for the next release.",
        ) from error


def _info(number: int, epoch: Epoch, recipient: str = "") -> bytes:
    """What a seal is for; with the recipient's name, a copied sealing key opens nothing of another's."""
    return keys.digest(b"release", number.to_bytes(8, "big"), epoch.id, recipient.encode())


def check(made: ReleaseContent, offered: bytes) -> None:
    """Refuse a release that is not what this member computed."""
    try:
        difference = made.disagrees(ReleaseContent.decode(offered))
    except ReleaseError as error:
        raise Refusal(Code.RELEASE, error.cause) from error
    if difference is not None:
        raise Refusal(
            Code.RELEASE, f"The offered release differs from the recomputed one in its {difference}."
        )


def vote(identity: Identity, number: int, made: bytes) -> Signed:
    """Sign these release bytes."""
    message = ReleaseVote(run=number, name=identity.name, release=keys.digest(made))
    return Signed.make(identity.signing, message)


def check_votes(candidate: bytes, epoch: Epoch, votes: Votes) -> None:
    """A quorum of the roster signed exactly these bytes."""
    if votes.run != epoch.run:
        raise Refusal(Code.RELEASE, "The votes belong to another run.")
    try:
        release.check_votes(candidate, epoch.run, epoch.roster, epoch.colluders, votes.signed)
    except (ReleaseError, ProtocolError) as error:
        raise Refusal(Code.RELEASE, error.cause) from error

"""The ceremony, at the member: hello, roster, group seed, confirmation.

Pure: each step takes the epoch's state and a message and returns the next state and the answer;
``client/protocol/member.py`` stores both before anything is sent. docs/protocol.md, *Epochs, roster, keys*.
"""

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto.identity import Identity
from fedrepay.shared import keys
from fedrepay.shared.errors import Code, ProtocolError, Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.trust.epoch import Epoch, confirmation_mac, seed_commitment
from fedrepay.shared.trust.fields import Key, Small
from fedrepay.shared.trust.handshake import (
    Acceptance,
    Confirmation,
    Declared,
    Envelope,
    Envelopes,
    EpochStart,
    Hello,
    Introduction,
)
from fedrepay.shared.trust.message import Signed, Wire, parts
from fedrepay.shared.trust.roster import Roster


class EpochState(Wire):
    """Everything of one epoch; secrets included, so it lives in the member's store only."""

    run: Small
    start: Signed
    nonce: Key
    envelope: Key
    mask: Key
    contribution: Key
    introduction: bytes = b""
    seed: bytes = b""

    def epoch(self) -> Epoch:
        """The public facts of the epoch, once introduced.

        Raises:
            Refusal: code ``epoch``: it is not.
        """
        if not self.introduction:
            raise Refusal(Code.EPOCH, "This member has not been told who else is present in the epoch.")
        return Epoch.decode(self.introduction)


def hello(
    identity: Identity, signed: Signed, start: EpochStart, declared: Declared, entropy: Entropy
) -> tuple[EpochState, Signed]:
    """Answer a run's call for an epoch with fresh keys and a commitment to a fresh contribution."""
    envelope, mask = (X25519PrivateKey.from_private_bytes(entropy.draw(32)) for _ in range(2))
    state = EpochState(
        run=start.run,
        start=signed,
        nonce=entropy.draw(32),
        envelope=envelope.private_bytes_raw(),
        mask=mask.private_bytes_raw(),
        contribution=entropy.draw(32),
    )
    message = Hello(
        start=signed.digest(),
        name=identity.name,
        nonce=state.nonce,
        envelope=keys.public_bytes(envelope),
        mask=keys.public_bytes(mask),
        commitment=seed_commitment(state.contribution, identity.name),
        declared=declared,
    )
    return state, Signed.make(identity.signing, message)


def introduce(
    identity: Identity, state: EpochState, body: bytes, roster: Roster
) -> tuple[EpochState, Signed]:
    """Check who is present and everybody's hello; accept."""
    introduction = Introduction.decode_once(body)
    epoch = Epoch.decode(body)
    if introduction.start != state.start:
        raise Refusal(Code.EPOCH, "The introduction belongs to another call for an epoch.")
    if introduction.roster != roster.encode():
        raise Refusal(Code.ROSTER, "The epoch is for another roster than the one this member takes part in.")
    if identity.name not in epoch.hellos or epoch.hello(identity.name).nonce != state.nonce:
        raise Refusal(Code.ROSTER, "The introduction does not hold this member's own hello.")
    acceptance = Acceptance(roster_hash=roster.hash(), epoch=epoch.id, name=identity.name)
    accepted = state.model_copy(update={"introduction": body})
    return accepted, Signed.make(identity.signing, acceptance)


def two_introductions(first: Epoch, second: Epoch) -> str:
    """Who has signed two hellos for one call, if somebody has: then it stands convicted, else the coordinator."""
    both = set(first.hellos) & set(second.hellos) if first.start == second.start else set()
    twice = sorted(name for name in both if first.hello(name) != second.hello(name))
    if twice:
        return f"{', '.join(twice)} signed two hellos for one call; this member's keys are given to the first introduction."
    return "The coordinator made two introductions for one call; this member's keys are given to the first."


def check_acceptances(epoch: Epoch, signed: tuple[Signed, ...]) -> None:
    """Everybody present has accepted this very epoch, that is, the same hellos; looked at once for the same bytes."""
    asked = parts(signed)
    _accepted.get((epoch.id, asked), sum(map(len, asked)), lambda: _check_acceptances(epoch, signed))


_accepted: Remembered[None] = Remembered(8 << 20)


def _check_acceptances(epoch: Epoch, signed: tuple[Signed, ...]) -> None:
    waiting = set(epoch.present)
    for each in signed:
        name = Acceptance.decode_once(each.body).name
        if name not in waiting:
            raise Refusal(Code.EPOCH, f"An acceptance by {name!r} is doubled or from outside.")
        acceptance = each.verified(epoch.roster.entry(name).signing, Acceptance)
        if (acceptance.roster_hash, acceptance.epoch) != (epoch.roster.hash(), epoch.id):
            raise Refusal(
                Code.EPOCH,
                f"{name} accepted another epoch: the coordinator showed it other hellos, or it lies.",
            )
        waiting.remove(name)
    if waiting:
        raise Refusal(Code.EPOCH, f"No acceptance by {', '.join(sorted(waiting))}.")


def envelopes(identity: Identity, state: EpochState) -> Envelopes:
    """A seeder's contribution, sealed to every member."""
    epoch = state.epoch()
    if identity.name not in epoch.seeders:
        raise Refusal(Code.EPOCH, "This member is not among the seeders of the epoch.")
    signed = []
    for recipient in epoch.present:
        sealed = keys.hpke_seal(
            epoch.hello(recipient).envelope, state.contribution, epoch.envelope_info(identity.name, recipient)
        )
        envelope = Envelope(
            epoch_nonce=epoch.nonce,
            roster_hash=epoch.roster.hash(),
            sender=identity.name,
            recipient=recipient,
            sealed=sealed,
        )
        signed.append(Signed.make(identity.signing, envelope))
    return Envelopes(signed=tuple(signed))


def group_seed(identity: Identity, state: EpochState, body: bytes) -> bytes:
    """Open the seeders' envelopes: HKDF(sorted contributions ‖ roster hash), 32 bytes."""
    epoch = state.epoch()
    key = X25519PrivateKey.from_private_bytes(state.envelope)
    contributions: dict[str, bytes] = {}
    for signed in Envelopes.decode(body).signed:
        sender = Envelope.decode(signed.body).sender
        if sender not in epoch.seeders or sender in contributions:
            raise Refusal(Code.SEED, f"An envelope by {sender!r}, who is no seeder or sent two.")
        envelope = signed.verified(epoch.roster.entry(sender).signing, Envelope)
        if (envelope.epoch_nonce, envelope.roster_hash, envelope.recipient) != (
            epoch.nonce,
            epoch.roster.hash(),
            identity.name,
        ):
            raise Refusal(Code.SEED, f"The envelope by {sender} is for another epoch or member.")
        contributions[sender] = _opened(key, envelope, epoch)
    if set(contributions) != set(epoch.seeders):
        raise Refusal(Code.SEED, "An envelope of a seeder is missing.")
    return keys.derive(b"".join(sorted(contributions.values())) + epoch.roster.hash(), "group-seed", epoch.id)


def _opened(key: X25519PrivateKey, envelope: Envelope, epoch: Epoch) -> bytes:
    """What a seeder sent: it must be what its hello committed to, or two members could hold two seeds."""
    sender = envelope.sender
    try:
        sent = keys.hpke_open(key, envelope.sealed, epoch.envelope_info(sender, envelope.recipient))
    except ProtocolError as error:
        raise Refusal(Code.SEED, f"The envelope by {sender} does not open.") from error
    if seed_commitment(sent, sender) != epoch.hello(sender).commitment:
        raise Refusal(Code.SEED, f"{sender} sent another contribution than its hello committed to.")
    return sent


def confirm(identity: Identity, state: EpochState, seed: bytes) -> tuple[EpochState, Signed]:
    """Take the seed, of which the group's key follows, and say so under it."""
    epoch = state.epoch()
    confirmation = Confirmation(
        epoch=epoch.id,
        name=identity.name,
        mac=confirmation_mac(seed, epoch.id, epoch.roster.hash(), identity.name),
    )
    return state.model_copy(update={"seed": seed}), Signed.make(identity.signing, confirmation)


def check_confirmations(epoch: Epoch, seed: bytes, signed: tuple[Signed, ...]) -> None:
    """All who are present hold this very seed: nobody trains before that."""
    waiting = set(epoch.present)
    for each in signed:
        name = Confirmation.decode_once(each.body).name
        if name not in waiting:
            raise Refusal(Code.SEED, f"A confirmation by {name!r} is doubled or from outside.")
        confirmation = each.verified(epoch.roster.entry(name).signing, Confirmation)
        expected = confirmation_mac(seed, epoch.id, epoch.roster.hash(), name)
        if confirmation.epoch != epoch.id or confirmation.mac != expected:
            raise Refusal(Code.SEED, f"{name} confirmed another seed.")
        waiting.remove(name)
    if waiting:
        raise Refusal(Code.SEED, f"No confirmation by {', '.join(sorted(waiting))}.")

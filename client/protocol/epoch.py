"""The ceremony, at the member: hello, roster, group seed, BFV context, confirmation.

Pure: each step takes the epoch's state and a message and returns the next state and the answer;
``client/protocol/member.py`` stores both before anything is sent. docs/protocol.md, *Epochs, roster, keys*.
"""

from hashlib import sha256

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto.he import GroupContext
from fedrepay.client.crypto.identity import Identity
from fedrepay.shared import keys
from fedrepay.shared.errors import Code, ProtocolError, Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.secure_sum.ciphertext import coefficients
from fedrepay.shared.secure_sum.packing import GAM
from fedrepay.shared.trust.epoch import Epoch, confirmation_mac, probe_vector, seed_commitment
from fedrepay.shared.trust.fields import Key, Small
from fedrepay.shared.trust.handshake import (
    Acceptance,
    Confirmation,
    ContextOffer,
    Declared,
    Envelope,
    Envelopes,
    EpochStart,
    Hello,
    Introduction,
)
from fedrepay.shared.trust.message import Signed, Wire
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
    context_public: bytes = b""
    context_secret: bytes = b""

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
    """Everybody present has accepted this very epoch, that is, the same hellos."""
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


def _context_key(seed: bytes, epoch: Epoch, public: bytes) -> tuple[bytes, bytes]:
    """Key and associated data that seal the secret context: bound to what they seal, so never two plaintexts."""
    bound = keys.digest(epoch.id, sha256(public).digest())
    return keys.derive(seed, "context", bound), bound


def offer_context(identity: Identity, state: EpochState, seed: bytes) -> Signed:
    """The maker: new BFV keys with TenSEAL's own generator, sealed under the seed, a test vector."""
    epoch = state.epoch()
    if identity.name != epoch.maker:
        raise Refusal(Code.EPOCH, "This member does not make the epoch's context.")
    group = GroupContext.create()
    public = group.public_bytes()
    test = group.encrypt(probe_vector(seed, epoch.id))
    key, bound = _context_key(seed, epoch, public)
    offer = ContextOffer(
        epoch=epoch.id,
        public=public,
        sealed=keys.seal_once(key, group.secret_bytes(), bound),
        test=test.astype("<u8").tobytes(),
    )
    return Signed.make(identity.signing, offer)


def confirm(identity: Identity, state: EpochState, seed: bytes, signed: Signed) -> tuple[EpochState, Signed]:
    """Open the context and the test vector; confirm under the seed."""
    epoch = state.epoch()
    offer = signed.verified(epoch.roster.entry(epoch.maker).signing, ContextOffer)
    if offer.epoch != epoch.id:
        raise Refusal(Code.EPOCH, "The encryption context belongs to another epoch.")
    if state.context_public not in (b"", offer.public):
        raise Refusal(Code.CONTEXT, "This member has confirmed another context in this epoch.")
    secret = _check_context(epoch, seed, offer)
    confirmed = state.model_copy(
        update={"seed": seed, "context_public": offer.public, "context_secret": secret}
    )
    confirmation = Confirmation(
        epoch=epoch.id,
        name=identity.name,
        mac=confirmation_mac(seed, sha256(offer.public).digest(), epoch.roster.hash(), identity.name),
    )
    return confirmed, Signed.make(identity.signing, confirmation)


def _check_context(epoch: Epoch, seed: bytes, offer: ContextOffer) -> bytes:
    """The secret context, once its keys belong together and its parameters are those of the table.

    Raises:
        Refusal: code ``context``, naming the maker: it alone can have made what its signature and the seed vouch for.
    """
    maker, (key, bound) = epoch.maker, _context_key(seed, epoch, offer.public)
    try:
        secret = keys.open_once(key, offer.sealed, bound)
        group = GroupContext.from_secret(secret)
        test = group.decrypt(coefficients(offer.test, 1))
    except ProtocolError as error:
        raise Refusal(Code.CONTEXT, f"The context that {maker} made is of no use: {error.cause}") from error
    if group.t_bits != GAM.t_bits:
        raise Refusal(
            Code.CONTEXT, f"{maker} made a context with t of {group.t_bits} bits, not {GAM.t_bits}."
        )
    if group.public_bytes() != offer.public:
        raise Refusal(Code.CONTEXT, f"{maker} sealed another context than it published.")
    if not np.array_equal(test, probe_vector(seed, epoch.id)):
        raise Refusal(Code.CONTEXT, f"The test vector of {maker} does not open to what it must.")
    return secret


def check_confirmations(epoch: Epoch, seed: bytes, context_id: bytes, signed: tuple[Signed, ...]) -> None:
    """All who are present have confirmed this very context: nobody trains before that."""
    waiting = set(epoch.present)
    for each in signed:
        name = Confirmation.decode_once(each.body).name
        if name not in waiting:
            raise Refusal(Code.CONTEXT, f"A confirmation by {name!r} is doubled or from outside.")
        confirmation = each.verified(epoch.roster.entry(name).signing, Confirmation)
        expected = confirmation_mac(seed, context_id, epoch.roster.hash(), name)
        if confirmation.epoch != epoch.id or confirmation.mac != expected:
            raise Refusal(Code.CONTEXT, f"{name} confirmed another context.")
        waiting.remove(name)
    if waiting:
        raise Refusal(Code.CONTEXT, f"No confirmation by {', '.join(sorted(waiting))}.")

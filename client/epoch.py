"""The ceremony, at the member: hello, roster, group seed, BFV context, confirmation.

Pure: each step takes the epoch's state and a message and returns the next state and the answer;
``client/member.py`` stores both before anything is sent. protocol.md, *Epochs, roster, keys*.
"""

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.he import GroupContext
from fedrepay.client.identity import Identity
from fedrepay.shared.errors import Refusal
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.secure_sum.ciphertext import coefficients
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.epoch import Epoch, confirmation_mac, probe_vector
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import (
    Acceptance,
    Confirmation,
    ContextOffer,
    Envelope,
    Envelopes,
    EpochStart,
    Hello,
    Introduction,
    Key,
    Small,
)


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
        """The public facts of the epoch, once introduced."""
        return Epoch.decode(self.introduction)


def hello(identity: Identity, signed: Signed, entropy: Entropy) -> tuple[EpochState, Signed]:
    """Answer a run's call for an epoch with fresh keys."""
    claimed = EpochStart.decode(signed.body)
    start = signed.verified(claimed.coordinator, EpochStart)
    envelope, mask = (X25519PrivateKey.from_private_bytes(entropy.draw(32)) for _ in range(2))
    state = EpochState(
        run=start.run,
        start=signed,
        nonce=entropy.draw(32),
        envelope=envelope.private_bytes_raw(),
        mask=mask.private_bytes_raw(),
        contribution=entropy.draw(32),
    )
    mine = identity.entry()
    message = Hello(
        run=start.run,
        name=mine.name,
        signing=mine.signing,
        sealing=mine.sealing,
        node=mine.node,
        nonce=state.nonce,
        envelope=keys.public_bytes(envelope),
        mask=keys.public_bytes(mask),
    )
    return state, Signed.make(identity.signing, message)


def introduce(
    identity: Identity, state: EpochState, body: bytes, approved_code: str, last_roster: bytes | None
) -> tuple[EpochState, Signed]:
    """Check the roster and everybody's hello; accept, or refuse an unknown roster."""
    introduction = Introduction.decode_once(body)
    epoch = Epoch.decode(body)
    if introduction.start != state.start:
        raise Refusal("epoch", "The roster message belongs to another call for an epoch.")
    if state.introduction not in (b"", body):
        raise Refusal("epoch", "This member's keys of the epoch are given to another roster message already.")
    if introduction.roster != last_roster and epoch.roster.code() != approved_code:
        raise Refusal(
            "roster",
            "The roster's twelve words are not the ones this institution approved.",
            "Compare the words with the other members by telephone, then run "
            "`fedrepay member approve-roster CODE`. Differing words mean somebody else is in the roster.",
        )
    mine = epoch.hello(identity.name)
    if mine.nonce != state.nonce or epoch.roster.entry(identity.name) != identity.entry():
        raise Refusal("roster", "The roster does not hold this member's own keys.")
    acceptance = Acceptance(roster_hash=epoch.roster.hash(), epoch=epoch.id, name=identity.name)
    accepted = state.model_copy(update={"introduction": body})
    return accepted, Signed.make(identity.signing, acceptance)


def check_acceptances(epoch: Epoch, signed: tuple[Signed, ...], last_roster: bytes | None) -> None:
    """Every member of the roster, and every member of the roster before, has accepted this epoch."""
    required = {entry.name: entry.signing for entry in epoch.roster.members}
    if last_roster is not None:
        for entry in Roster.decode(last_roster).members:
            if required.setdefault(entry.name, entry.signing) != entry.signing:
                raise Refusal("roster", f"The key of {entry.name} changed without its own signature.")
    for each in signed:
        claimed = Acceptance.decode_once(each.body)
        signing = required.pop(claimed.name, None)
        if signing is None:
            raise Refusal("roster", f"An acceptance by {claimed.name!r} is doubled or from outside.")
        acceptance = each.verified(signing, Acceptance)
        if (acceptance.roster_hash, acceptance.epoch) != (epoch.roster.hash(), epoch.id):
            raise Refusal("roster", f"{claimed.name} accepted another roster or epoch.")
    if required:
        raise Refusal("roster", f"No acceptance by {', '.join(sorted(required))}.")


def envelopes(identity: Identity, state: EpochState) -> Envelopes:
    """A seeder's contribution, sealed to every member."""
    epoch = state.epoch()
    if identity.name not in epoch.seeders:
        raise Refusal("epoch", "This member is not among the seeders of the epoch.")
    signed = []
    for recipient in epoch.roster.names:
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
            raise Refusal("seed", f"An envelope by {sender!r}, who is no seeder or sent two.")
        envelope = signed.verified(epoch.roster.entry(sender).signing, Envelope)
        if (envelope.epoch_nonce, envelope.roster_hash, envelope.recipient) != (
            epoch.nonce,
            epoch.roster.hash(),
            identity.name,
        ):
            raise Refusal("seed", f"The envelope by {sender} is for another epoch or member.")
        contributions[sender] = keys.hpke_open(
            key, envelope.sealed, epoch.envelope_info(sender, identity.name)
        )
    if set(contributions) != set(epoch.seeders):
        raise Refusal("seed", "An envelope of a seeder is missing.")
    return keys.derive(b"".join(sorted(contributions.values())) + epoch.roster.hash(), "group-seed", epoch.id)


def offer_context(identity: Identity, state: EpochState, seed: bytes) -> Signed:
    """The maker: new BFV keys with TenSEAL's own generator, sealed under the seed, a test vector."""
    epoch = state.epoch()
    if identity.name != epoch.maker:
        raise Refusal("epoch", "This member does not make the epoch's context.")
    group = GroupContext.create()
    public = group.public_bytes()
    test = group.encrypt(probe_vector(seed, epoch.id))
    offer = ContextOffer(
        epoch=epoch.id,
        public=public,
        sealed=keys.seal_once(keys.derive(seed, "context"), group.secret_bytes(), epoch.id),
        test=test.astype("<u8").tobytes(),
    )
    return Signed.make(identity.signing, offer)


def confirm(identity: Identity, state: EpochState, seed: bytes, signed: Signed) -> tuple[EpochState, Signed]:
    """Open the context and the test vector; confirm under the seed."""
    epoch = state.epoch()
    offer = signed.verified(epoch.roster.entry(epoch.maker).signing, ContextOffer)
    if offer.epoch != epoch.id:
        raise Refusal("epoch", "The encryption context belongs to another epoch.")
    secret = keys.open_once(keys.derive(seed, "context"), offer.sealed, epoch.id)
    group = GroupContext.from_secret(secret)
    if group.public_bytes() != offer.public:
        raise Refusal("context", "The sealed context and the public one differ.")
    if state.context_public not in (b"", offer.public):
        raise Refusal("context", "This member has confirmed another context in this epoch.")
    if not np.array_equal(group.decrypt(coefficients(offer.test, 1)), probe_vector(seed, epoch.id)):
        raise Refusal("context", "The test vector does not open to what it must.")
    confirmed = state.model_copy(
        update={"seed": seed, "context_public": offer.public, "context_secret": secret}
    )
    confirmation = Confirmation(
        epoch=epoch.id,
        name=identity.name,
        mac=confirmation_mac(seed, group.context_id, epoch.roster.hash(), identity.name),
    )
    return confirmed, Signed.make(identity.signing, confirmation)


def check_confirmations(epoch: Epoch, seed: bytes, context_id: bytes, signed: tuple[Signed, ...]) -> None:
    """All K members have confirmed this very context: nobody trains before that."""
    waiting = set(epoch.roster.names)
    for each in signed:
        name = Confirmation.decode_once(each.body).name
        if name not in waiting:
            raise Refusal("context", f"A confirmation by {name!r} is doubled or from outside.")
        confirmation = each.verified(epoch.roster.entry(name).signing, Confirmation)
        expected = confirmation_mac(seed, context_id, epoch.roster.hash(), name)
        if confirmation.epoch != epoch.id or confirmation.mac != expected:
            raise Refusal("context", f"{name} confirmed another context.")
        waiting.remove(name)
    if waiting:
        raise Refusal("context", f"No confirmation by {', '.join(sorted(waiting))}.")

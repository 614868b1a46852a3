"""A release that a member gets after its run: pulled where it was away at the end, re-sealed where it joined since.

Nothing is believed of whoever hands it over. A release of the roster this member takes part in is known by a quorum's
votes. An earlier one is known by number and hash, which its people approved with the roster's words: the votes of an
earlier roster alone prove nothing to it, since nobody need keep those keys any more, and anybody can make a roster up.
"""

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import closing, enrolment
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared import keys
from fedrepay.shared.errors import Code, ProtocolError, Refusal, ReleaseError
from fedrepay.shared.trust import release
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import KeptRelease, Pulled, Resealed, Votes


def open_pulled(identity: Identity, store: MemberStore, pulled: Pulled) -> bool:
    """Keep the release of a run at whose end this member was away, and forget that epoch's secrets.

    Returns:
        whether it was new.

    Raises:
        ProtocolError: a signature or key of the epoch does not hold.
        Refusal: another roster's, not sealed to this member, not signed by a quorum, older than what it holds or than
            what the roster names, or not the release it has signed itself.
    """
    roster, epoch = _held(store), Epoch.decode(pulled.introduction)
    if epoch.run != pulled.number:
        raise Refusal(Code.RELEASE, "The release and its epoch are of two runs.")
    _check_roster(roster, epoch)
    made = closing.open_sealed(identity, pulled.sealed, epoch)
    content = _content(made, epoch.run)
    if (content.roster.hash(), content.colluders) != (epoch.roster.hash(), epoch.colluders):
        raise Refusal(Code.RELEASE, "The release tells of another roster than its epoch.")
    _check_named(roster, epoch.run, made)
    closing.check_votes(made, epoch, pulled.votes)
    return _keep(store, epoch.run, made, pulled.votes)


def reseal(identity: Identity, store: MemberStore, recipient: bytes) -> Signed:
    """Seal the release that the roster names to one of its members, who has joined since it was made.

    Args:
        identity: of this member.
        store: its own.
        recipient: the other's name, as the message has it.

    Raises:
        Refusal: the recipient is not in the roster, or this member does not hold that release.
    """
    roster, name = enrolment.current(store), recipient.decode(errors="replace")
    if name not in roster.names or name == identity.name:
        raise Refusal(
            Code.ROSTER, "A release is re-sealed to another member of the roster, and to nobody else."
        )
    number, made, votes = store.release() or (0, b"", b"")
    if not made or (number, keys.digest(made)) != (roster.released, roster.release):
        raise Refusal(
            Code.RELEASE,
            "This member's newest release is not the one that the roster names.",
            "Ask another member. A release of this roster's own runs is pulled, not re-sealed.",
        )
    kept = KeptRelease(release=made, votes=Votes.decode(votes)).encode()
    info = _info(number, roster, identity.name, name)
    message = Resealed(
        number=number,
        roster=roster.hash(),
        sender=identity.name,
        recipient=name,
        sealed=keys.hpke_seal(roster.entry(name).sealing, kept, info),
    )
    return Signed.make(identity.signing, message)


def open_resealed(identity: Identity, store: MemberStore, signed: Signed) -> bool:
    """Keep the release that the roster named when this member's people approved it, as another member sealed it.

    Returns:
        whether it was new.

    Raises:
        ProtocolError: it is not signed by its sender, or does not open.
        Refusal: another roster's or member's, or another release than the roster names.
    """
    roster = _held(store)
    sender = Resealed.decode(signed.body).sender
    message = signed.verified(roster.entry(sender).signing, Resealed)
    if (message.roster, message.recipient) != (roster.hash(), identity.name):
        raise Refusal(Code.ROSTER, "The release was re-sealed to another member, or under another roster.")
    info = _info(message.number, roster, sender, identity.name)
    kept = KeptRelease.decode(keys.hpke_open(identity.sealing, message.sealed, info))
    content = _content(kept.release, message.number)
    if message.number > roster.released:
        raise Refusal(Code.RELEASE, f"Release {message.number} is above the one that the roster names.")
    _check_named(roster, message.number, kept.release)
    try:
        if kept.votes.run != message.number:
            raise ReleaseError("The votes belong to another run.", "Ask another member.")
        release.check_votes(
            kept.release, message.number, content.roster, content.colluders, kept.votes.signed
        )
    except ReleaseError as error:
        raise Refusal(Code.RELEASE, error.cause) from error
    return _keep(store, message.number, kept.release, kept.votes)


def _held(store: MemberStore) -> Roster:
    roster = enrolment.held(store)
    if roster is None:
        raise Refusal(Code.ROSTER, "This member is in no roster yet.", "Enrol it first.")
    return roster


def _check_roster(roster: Roster, epoch: Epoch) -> None:
    """The epoch is of this member's roster; of an earlier one only if that release is named, by number and hash."""
    if epoch.run > roster.released and epoch.roster.hash() != roster.hash():
        raise Refusal(
            Code.ROSTER,
            f"Release {epoch.run} is of another roster than this member takes part in, and its roster does not name it.",
        )


def _content(made: bytes, number: int) -> ReleaseContent:
    try:
        content = ReleaseContent.decode(made)
        content.roster.check()
        said = (content.number, content.colluders >= 1)
    except (ReleaseError, ProtocolError) as error:
        raise Refusal(Code.RELEASE, error.cause) from error
    if said != (number, True):
        raise Refusal(Code.RELEASE, f"The release says that it is number {content.number}, and not {number}.")
    return content


def _check_named(roster: Roster, number: int, made: bytes) -> None:
    """No release older than the one that the roster names, and in its place no other."""
    if number < roster.released:
        raise Refusal(
            Code.RELEASE, f"Release {number} is older than release {roster.released} of the roster."
        )
    if number == roster.released and keys.digest(made) != roster.release:
        raise Refusal(
            Code.RELEASE, f"This is not release {number} as people approved it with the roster's words."
        )


def _keep(store: MemberStore, number: int, made: bytes, votes: Votes) -> bool:
    """Store it, and forget the secrets of its run and of any before."""
    known, stored, _ = store.release() or (-1, b"", b"")
    if number < known:
        raise Refusal(Code.RELEASE, f"Release {number} is not above release {known}.")
    digest = keys.digest(made)
    if (store.fact(f"voted:{number}") or digest) != digest or (number == known and made != stored):
        raise Refusal(Code.RELEASE, f"This member holds, or has signed, another release of run {number}.")
    if number == known:
        return False
    state = store.fact("epoch")
    over = not state or EpochState.decode(state).run <= number
    store.store_release(number, made, votes.encode(), forget=closing.EPOCH_FACTS if over else ())
    return True


def _info(number: int, roster: Roster, sender: str, recipient: str) -> bytes:
    """What a re-sealed release is for: both names, so that a copied key opens nothing of another's."""
    parts = (sender.encode(), recipient.encode())
    return keys.digest(b"reseal", number.to_bytes(8, "big"), roster.hash(), *parts)

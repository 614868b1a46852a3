"""How a roster comes about: call, joinings, a frozen proposal, revealed nonces, approvals, a certificate.

Twelve words over keys alone would be worth 2⁶⁴ only: a coordinator that adds ghosts to *two* rosters chooses their keys
until the words agree. So each member commits to a fresh nonce, reveals it once, to one whole list of entries and
commitments, and the words cover the nonces: when they are drawn, nothing is left to choose. docs/protocol.md, *Epochs,
roster, keys*, 1; docs/adr/0019. What may change from one roster to the next: ``succession``.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.remembered import Remembered
from fedrepay.shared.trust import succession, testimony
from fedrepay.shared.trust.fields import MAX_MEMBERS, Digest, Key, Name, Small
from fedrepay.shared.trust.message import Signed, Wire, parts
from fedrepay.shared.trust.roster import Entry, RevokedMembers, Roster, check_revoked, default_colluders
from fedrepay.shared.trust.succession import Leaving, SignedParts

FIRST = bytes(32)
"""The predecessor of a first roster."""
FAR = 1000
"""How far above its own a member lets a coordinator's number be: nobody can name the last one."""
_REMEDY = "Start a new proposal."


class Call(Wire):
    """Coordinator → all: who wants to be in a roster?

    Attributes:
        leaving: what members of the predecessor have signed who go by themselves, sorted by name.
        revoked: members of the predecessor who are put out, sorted by name.
        handover: the old key's word for this one, where the coordinator's key is another than in the predecessor.
    """

    number: Annotated[int, Field(ge=1, lt=2**31)]
    coordinator: Key
    predecessor: Digest
    released: Small
    release: Digest
    leaving: SignedParts = ()
    revoked: RevokedMembers = ()
    handover: Signed | None = None


class Joining(Wire):
    """Member → coordinator: my long-term keys, and a commitment to a nonce; signed with the key it names.

    ``rotation`` is by the key of the roster before, where that is another; ``released`` and ``release`` are number and
    hash of the newest release that the member holds; ``empty``: its ledger may lack attempts that named it.
    """

    call: Digest
    entry: Entry
    commitment: Digest
    rotation: Signed | None = None
    released: Small = 0
    release: Digest = bytes(32)
    empty: bool = False


class Proposal(Wire):
    """Coordinator → all who joined: everybody's joining, sorted by name; who reveals its nonce?"""

    call: Signed
    joinings: Annotated[tuple[Signed, ...], Field(min_length=3, max_length=MAX_MEMBERS)]


class Revealed(Wire):
    """Member: the nonce behind my commitment, for this proposal and no other, and what I know of who starts empty.

    ``told`` is all there is to say (``testimony``); ``since``: since when, if its store was lost or set back; else 0.
    """

    proposal: Digest
    name: Name
    nonce: Key
    told: testimony.AllTold = ()
    since: testimony.At = 0
    gone: testimony.Gone = ()


class Reveals(Wire):
    """Coordinator → all: the proposal and everybody's nonce; do your people approve the words?"""

    proposal: Annotated[bytes, Field(max_length=4 << 20)]
    revealed: Annotated[tuple[Signed, ...], Field(min_length=3, max_length=MAX_MEMBERS)]


class Approval(Wire):
    """Member: people here compared the words of this roster, and I take part in it."""

    roster: Digest
    name: Name


class Certificate(Wire):
    """Coordinator → all: everybody of this roster, and of the one before, approved it, and the coordinator too.

    Its own signature tells a coordinator that lost its database which roster was its: a member can sign for ghosts of
    its own, and not for that. ``leaving`` and ``rotations`` stand in for approvals under old keys.
    """

    roster: Annotated[bytes, Field(max_length=4 << 20)]
    approvals: Annotated[tuple[Signed, ...], Field(min_length=3, max_length=2 * MAX_MEMBERS)]
    coordinator: Signed
    leaving: SignedParts = ()
    rotations: SignedParts = ()


def commitment(nonce: bytes, name: str) -> bytes:
    """SHA-256 over a fresh 32-byte nonce and the name of who drew it (32 bytes)."""
    return keys.digest(b"roster nonce", name.encode(), nonce)


def joined(signed: Signed, call: bytes) -> Joining:
    """A joining, signed with the very key it names.

    Args:
        signed: as it came.
        call: digest of the signed call it must answer.

    Raises:
        ProtocolError: another signature, another call, or a sealing key that is of no use.
    """
    joining = signed.verified(Joining.decode(signed.body).entry.signing, Joining)
    if joining.call != call:
        raise ProtocolError(f"The joining of {joining.entry.name} answers another call.", _REMEDY)
    keys.check_exchange(joining.entry.sealing, f"The sealing key of {joining.entry.name}")
    return joining


def checked(proposal: bytes) -> tuple[Call, list[Joining]]:
    """A proposal whose every signature holds, with each name and signing key once, sorted by name; once for the same bytes.

    Raises:
        ProtocolError: otherwise, naming whose joining it is.
    """
    return _proposals.get(proposal, len(proposal), lambda: _checked(proposal))


_proposals: Remembered[tuple[Call, list[Joining]]] = Remembered(16 << 20)


def _checked(proposal: bytes) -> tuple[Call, list[Joining]]:
    message = Proposal.decode_once(proposal)
    call = message.call.verified(Call.decode(message.call.body).coordinator, Call)
    joinings = [joined(each, message.call.digest()) for each in message.joinings]
    names = [each.entry.name for each in joinings]
    if names != sorted(set(names)):
        raise ProtocolError("The proposal names a member twice, or is not sorted.", _REMEDY)
    check_revoked(call.revoked, names)
    if call.predecessor == FIRST and (call.leaving or call.revoked or call.handover or rotations(joinings)):
        raise ProtocolError("Nobody leaves, is revoked or changes its key in a first roster.", _REMEDY)
    left = [Leaving.decode(each.body).name for each in call.leaving]
    if left != sorted(set(left)) or set(left) & {*names, *(each.name for each in call.revoked)}:
        raise ProtocolError("Who leaves is named twice, not in order, joins, or is revoked.", _REMEDY)
    return call, joinings


def drafted(call: Call, joinings: Sequence[Joining], nonces: Sequence[bytes] = ()) -> Roster:
    """The roster of a proposal, with nonces of zeros where none are revealed yet; not looked at."""
    return Roster(
        number=call.number,
        predecessor=call.predecessor,
        members=tuple(each.entry for each in joinings),
        coordinator=call.coordinator,
        released=call.released,
        release=call.release,
        nonces=tuple(nonces) or (bytes(32),) * len(joinings),
        revoked=call.revoked,
        handover=call.handover,
    )


def rotations(joinings: Sequence[Joining]) -> tuple[Signed, ...]:
    """Of those who join with other keys than before."""
    return tuple(each.rotation for each in joinings if each.rotation is not None)


def check_follows(proposal: bytes, before: Roster) -> None:
    """What a proposal makes can come into force after the roster before, once all who join have signed it.

    Raises:
        ProtocolError: somebody of the one before is left out who has not left and is not revoked, or as
            :func:`succession.signers`.
    """
    call, joinings = checked(proposal)
    roster = drafted(call, joinings)
    wanted = succession.signers(roster, before, call.leaving, rotations(joinings))
    if lacking := sorted(set(wanted) - set(roster.names)):
        raise ProtocolError(
            f"{', '.join(lacking)} of the roster before: left out, without a leaving and not revoked.",
            _REMEDY,
        )


def check_release(proposal: bytes, before: Roster | None) -> None:
    """More members than may lie hold the release that a proposal names: else a coordinator could name what it made up.

    People approve its hash with the words and cannot tell what it is of; who holds it has seen a quorum's votes. Of those
    who join, the members of the roster before are counted; all, by one who knows of none.

    Raises:
        ProtocolError: too few say so.
    """
    if not Call.decode_once(Proposal.decode_once(proposal).call.body).released:
        return
    call, joinings = checked(proposal)
    known = [each for each in joinings if before is None or each.entry.name in before.names]
    holding = sum((each.released, each.release) == (call.released, call.release) for each in known)
    least = default_colluders(len(joinings) if before is None else len(before.names)) + 1
    if holding < least:
        raise ProtocolError(
            f"{holding} members hold release {call.released} as the proposal names it; {least} must.",
            "Let the members pull it first (`fedrepay member pull`), or restore it from a backup, then start a new proposal. Where "
            "nobody else has it, the coordinator neither, its holder must leave (`fedrepay member leave`) before the others can go on.",
        )


def roster_of(proposal: bytes, revealed: Sequence[Signed]) -> Roster:
    """The roster that a proposal and its revealed nonces make; once for the same bytes.

    Raises:
        ProtocolError: a signature, a nonce that is not the one committed to, a name or a key twice, a member too few.
    """
    asked = (proposal, parts(revealed))
    return _rosters.get(asked, 2 * len(proposal), lambda: _roster_of(proposal, revealed))


_rosters: Remembered[Roster] = Remembered(16 << 20)


def _roster_of(proposal: bytes, revealed: Sequence[Signed]) -> Roster:
    (call, joinings), wanted = checked(proposal), keys.digest(proposal)
    if len(revealed) != len(joinings):
        raise ProtocolError("Not every member of the proposal has revealed its nonce.", _REMEDY)
    empty, pairs = starting(joinings), zip(joinings, revealed, strict=True)
    roster = drafted(call, joinings, [said(each, signed, wanted, empty).nonce for each, signed in pairs])
    roster.check()
    return roster


def starting(joinings: Sequence[Joining]) -> tuple[str, ...]:
    """Of each who joins: its name if its ledger starts empty, else nothing."""
    return tuple(each.entry.name if each.empty else "" for each in joinings)


def said(joining: Joining, signed: Signed, proposal: bytes, empty: Sequence[str]) -> Revealed:
    """What one of those who join reveals to the proposal of that digest; ``empty`` as of :func:`starting`.

    Raises:
        ProtocolError: another signature, proposal or nonce than it committed to, or words as of ``testimony.check``.
    """
    name = joining.entry.name
    found = signed.verified(joining.entry.signing, Revealed)
    if (found.proposal, found.name) != (proposal, name):
        raise ProtocolError(f"{name} revealed its nonce to another proposal.", _REMEDY)
    if commitment(found.nonce, name) != joining.commitment:
        raise ProtocolError(f"{name} revealed another nonce than it had committed to.", _REMEDY)
    testimony.check(name, len(signed.body), found.told, empty)
    return found


def certified(certificate: Certificate, before: Roster | None) -> Roster:
    """The roster of a certificate, once everybody has signed it who must: its members, those before, its coordinator.

    Raises:
        ProtocolError: a signature is missing, doubled, from outside, or of another roster.
    """
    roster = Roster.decode_once(certificate.roster)
    roster.check()
    check_approvals(roster, before, certificate)
    if certificate.coordinator.verified(roster.coordinator, Approval).roster != roster.hash():
        raise ProtocolError("The coordinator signed another roster.", _REMEDY)
    return roster


def check_approvals(roster: Roster, before: Roster | None, certificate: Certificate) -> None:
    """Everybody has signed the roster who must (``succession.signers``); looked at once for the same bytes.

    Raises:
        ProtocolError: one is missing, doubled, from outside, or of another roster.
    """
    signed = tuple(map(parts, (certificate.approvals, certificate.leaving, certificate.rotations)))
    asked = (roster.hash(), None if before is None else before.hash(), signed)
    size = sum(len(part) for each in signed for part in each)
    _approved.get(asked, size, lambda: _check_approvals(roster, before, certificate))


_approved: Remembered[None] = Remembered(16 << 20)


def _check_approvals(roster: Roster, before: Roster | None, certificate: Certificate) -> None:
    waiting = succession.signers(roster, before, certificate.leaving, certificate.rotations)
    for signed in certificate.approvals:
        name = Approval.decode(signed.body).name
        signing = waiting.pop(name, None)
        if signing is None:
            raise ProtocolError(f"An approval by {name!r} is doubled or from outside.", _REMEDY)
        if signed.verified(signing, Approval).roster != roster.hash():
            raise ProtocolError(f"{name} approved another roster.", _REMEDY)
    if waiting:
        raise ProtocolError(f"No approval by {', '.join(sorted(waiting))}.", _REMEDY)

"""From one roster to the next: who joins, leaves, is revoked or changes its keys, and who must sign that.

Everybody of the old and of the new roster signs the new one: so nobody is left out or replaced silently. Three things
stand in for an old member's own approval under its old key, each for this one predecessor and no later one: a leaving
that it signed; a rotation by which its old key names the new one; and its revocation, where so many of the others sign
that the colluders among them are not enough. docs/protocol.md, *Rosters that change*; docs/adr/0026. The coordinator's own
key rotates under its old signature, or is replaced by all members of the roster before, none of them revoked: docs/adr/0030.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.fields import MAX_MEMBERS, Digest, Key, Name
from fedrepay.shared.trust.message import Signed, Wire
from fedrepay.shared.trust.roster import Entry, Roster, default_colluders

SignedParts = Annotated[tuple[Signed, ...], Field(max_length=MAX_MEMBERS)]
"""Leavings or rotations, at most one a member."""
_REMEDY = "Start a new proposal."


class Leaving(Wire):
    """Member: I leave this roster; it counts for any roster that follows it and does not hold me."""

    roster: Digest
    name: Name


class Rotation(Wire):
    """Member, signed with its old key: in what follows this roster, that is my key."""

    roster: Digest
    name: Name
    signing: Key


class KeyHandover(Wire):
    """Coordinator, signed with its old key: in what follows this roster, that is my key."""

    roster: Digest
    coordinator: Key


class KeyChange(StrEnum):
    """What becomes of the coordinator's key from one roster to the next."""

    KEPT = ""
    ROTATED = "rotated"
    REPLACED = "replaced"

    @property
    def words(self) -> str:
        """For people, before they approve; empty where nothing changes."""
        return _KEY_CHANGES[self]


_KEY_CHANGES = {
    KeyChange.KEPT: "",
    KeyChange.ROTATED: "the coordinator's key rotates, signed by the one before; if nobody announced that, ask the operator",
    KeyChange.REPLACED: (
        "THE COORDINATOR'S KEY IS REPLACED, and the one before has not signed for it: nobody vouches for the new one but you. "
        "Call the operator on a number that you know before you approve"
    ),
}


@dataclass(frozen=True)
class Changes:
    """What a roster changes in the one before; names, each list in order.

    Attributes:
        joins: who was not in it.
        leaves: who goes and is not revoked.
        revoked: who is put out, with the reason given.
        rekeyed: who stays with another signing or sealing key.
        coordinator: whether its own key is another, and who signed for that.
    """

    joins: tuple[str, ...]
    leaves: tuple[str, ...]
    revoked: tuple[tuple[str, str], ...]
    rekeyed: tuple[str, ...]
    coordinator: KeyChange = KeyChange.KEPT

    def __str__(self) -> str:
        """On one line, for people; empty where nothing changes."""
        out = tuple(f"{name} ({reason})" if reason else name for name, reason in self.revoked)
        said = {"revoked": out, "leave": self.leaves, "join": self.joins, "with new keys": self.rekeyed}
        lines = [f"{what}: {', '.join(names)}" for what, names in said.items() if names]
        return "; ".join([*lines, *([self.coordinator.words] if self.coordinator else [])])


def changes(before: Roster | None, roster: Roster) -> Changes:
    """What a roster changes, for people to see before they approve its words; ``before`` is None before a first one."""
    old = {} if before is None else {entry.name: entry for entry in before.members}
    new = {entry.name: entry for entry in roster.members}
    revoked = {each.name: each.reason for each in roster.revoked}
    return Changes(
        joins=tuple(name for name in new if name not in old),
        leaves=tuple(name for name in old if name not in new and name not in revoked),
        revoked=tuple(revoked.items()),
        rekeyed=tuple(
            name
            for name, entry in old.items()
            if name in new and (new[name].signing, new[name].sealing) != (entry.signing, entry.sealing)
        ),
        coordinator=KeyChange.KEPT if before is None else _shown(before, roster),
    )


def _shown(before: Roster, roster: Roster) -> KeyChange:
    try:
        return key_change(before, roster)
    except ProtocolError:  # a word that is none vouches for nothing
        return KeyChange.REPLACED


def key_change(before: Roster, roster: Roster) -> KeyChange:
    """What becomes of the coordinator's key; its old key's word counts for the direct successor alone.

    Raises:
        ProtocolError: the word is not by the key before, of another roster, to another key, or nothing needs it.
    """
    same = roster.coordinator == before.coordinator
    if roster.predecessor != before.hash() or roster.handover is None:
        return KeyChange.KEPT if same else KeyChange.REPLACED
    said = roster.handover.verified(before.coordinator, KeyHandover)
    if said.roster != before.hash():
        raise ProtocolError("The coordinator's key was handed over in another roster.", _REMEDY)
    if same or said.coordinator != roster.coordinator:
        raise ProtocolError("The coordinator's key was handed over to another than the roster's.", _REMEDY)
    return KeyChange.ROTATED


def revokers(members: int) -> int:
    """max(⌊K/2⌋, c) + 1: so many of a roster of K, none of them revoked, must sign to put others out."""
    return max(members // 2, default_colluders(members)) + 1


def signers(
    roster: Roster, before: Roster | None, leaving: Sequence[Signed], rotations: Sequence[Signed]
) -> dict[str, bytes]:
    """Who must approve a roster, and under which key: its members, and those of the one before.

    Who has left or is revoked need not; whose key changed signs with the new one, which the old one has named. All this
    is for the direct successor: to whom holds an older roster, everybody of that one must have signed, under its old key.

    Args:
        roster: the new one; its nonces are not looked at.
        before: the one its reader takes part in; None if it is in none.
        leaving: signed :class:`Leaving`.
        rotations: signed :class:`Rotation`.

    Raises:
        ProtocolError: a leaving or rotation of another roster, by another key, or that nothing needs; a key that changed
            without a rotation; somebody revoked who was not there, or is in it under another name; too few to revoke;
            anybody revoked where the coordinator's key is replaced; a word for that key as of :func:`key_change`.
    """
    wanted = {entry.name: entry.signing for entry in roster.members}
    if roster.predecessor == bytes(32) and (leaving or rotations or roster.revoked or roster.handover):
        raise ProtocolError("Nobody leaves, is revoked or changes its key in a first roster.", _REMEDY)
    if before is None:
        return wanted
    old: Mapping[str, bytes] = {entry.name: entry.signing for entry in before.members}
    direct = roster.predecessor == before.hash()
    if key_change(before, roster) == KeyChange.REPLACED and roster.revoked:
        raise ProtocolError(
            "Members are revoked, and the coordinator's key is replaced: that, everybody of the roster before signs.",
            "First a roster of all of them under the new key; then revoke.",
        )
    out = _revoked(roster, before) if direct else set()
    out |= _left(leaving, before, {*wanted, *out}) if direct else set()
    least = revokers(len(old))
    if roster.revoked and len(old) - len(out) < least:
        raise ProtocolError(
            f"{len(old) - len(out)} of {len(old)} members would revoke others; {least} must.", _REMEDY
        )
    renewed = _renewed(rotations, before, wanted) if direct else {}
    for name, signing in old.items():
        if name not in out and wanted.setdefault(name, signing) != renewed.get(name, signing):
            raise ProtocolError(f"The key of {name} changed without its own signature.", _REMEDY)
    return wanted


def check_key(entry: Entry, before: Roster, rotation: Signed | None) -> None:
    """One who joins has the key it had in the roster before, or the old one has named the new; as :func:`signers`.

    Raises:
        ProtocolError: otherwise.
    """
    old = before.entry(entry.name).signing if entry.name in before.names else entry.signing
    renewed = _renewed([] if rotation is None else [rotation], before, {entry.name: entry.signing})
    if renewed.get(entry.name, old) != entry.signing:
        raise ProtocolError(f"The key of {entry.name} changed without its own signature.", _REMEDY)


def _revoked(roster: Roster, before: Roster) -> set[str]:
    out = {each.name for each in roster.revoked}
    keys = {before.entry(name).signing: name for name in out if name in before.names}
    if strangers := sorted(out - set(before.names)):
        raise ProtocolError(f"{', '.join(strangers)}: revoked, and not in the roster before.", _REMEDY)
    for entry in roster.members:
        if entry.signing in keys:
            raise ProtocolError(
                f"{keys[entry.signing]} is revoked, and its key is in the roster as {entry.name}'s.", _REMEDY
            )
    return out


def _left(leaving: Sequence[Signed], before: Roster, others: set[str]) -> set[str]:
    """Who has signed that it leaves; ``others`` are in the new roster, or revoked."""
    left: set[str] = set()
    for signed in leaving:
        name = Leaving.decode(signed.body).name
        if signed.verified(before.entry(name).signing, Leaving).roster != before.hash():
            raise ProtocolError(f"{name} left another roster.", _REMEDY)
        if name in others or name in left:
            raise ProtocolError(
                f"A leaving by {name}, who is in the roster, revoked, or left twice.", _REMEDY
            )
        left.add(name)
    return left


def _renewed(rotations: Sequence[Signed], before: Roster, wanted: Mapping[str, bytes]) -> dict[str, bytes]:
    """Name → new key, of those whose old key has named it."""
    renewed: dict[str, bytes] = {}
    for signed in rotations:
        name = Rotation.decode(signed.body).name
        said = signed.verified(before.entry(name).signing, Rotation)
        if said.roster != before.hash():
            raise ProtocolError(f"{name} changed its key in another roster.", _REMEDY)
        if wanted.get(name) != said.signing or name in renewed or said.signing == before.entry(name).signing:
            raise ProtocolError(f"A rotation by {name} that is not to its key in the roster.", _REMEDY)
        renewed[name] = said.signing
    return renewed

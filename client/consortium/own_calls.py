"""What a member's people do at the coordinator by hand: pull releases now, leave, announce new keys, accept new terms."""

import time
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.consortium import requests, standing
from fedrepay.client.consortium.running import answers, socket_of
from fedrepay.client.crypto.identity import Keyring
from fedrepay.client.node import door, house, setup
from fedrepay.client.protocol import enrolment, pulling
from fedrepay.client.protocol.accepted import AGREED
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.files import read_bytes, write_atomically
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.asking import Handed, Standing
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.succession import Rotation
from fedrepay.shared.trust.wire import Pulled


def lacking(store: MemberStore, found: Standing) -> tuple[int, ...]:
    """Numbers of the releases that this member could take in and does not hold, lowest first."""
    roster, held = enrolment.held(store), store.release()
    if roster is None:
        return ()
    least = max(roster.released, 0 if held is None else held[0] + 1, 1)
    return tuple(sorted(each.number for each in found.releases if each.number >= least))


def pull(folder: Path) -> tuple[int, ...]:
    """Take in what was released and is not held; by the member's own process where it runs, else here.

    Returns:
        numbers of the releases that came in.

    Raises:
        ArgumentError: the folder names no coordinator.
        NetworkError: the coordinator does not answer.
        ProtocolError: a release is not one that this member takes.
    """
    store, socket = MemberStore(folder, time.time), socket_of(folder)
    came: list[int] = []
    with requests.opened(folder) as calls:
        for number in lacking(store, calls.stand()):
            handed = calls.pull(number)
            if answers(socket):
                new = house.asked_at(socket, house.PULLED, handed, b"") == b"\x01"
            else:
                new = _taken(folder, store, Handed.decode(handed))
            came += [number] if new else []
    return tuple(came)


def _taken(folder: Path, store: MemberStore, handed: Handed) -> bool:
    mine = setup.identity(folder)
    with door.held(folder):
        if handed.resealed:
            return pulling.open_resealed(mine, store, Signed.decode(handed.body))
        return pulling.open_pulled(mine, store, Pulled.decode(handed.body))


def leave(folder: Path) -> str:
    """Sign that this member leaves, and hand it in; the same again where that failed.

    Returns:
        the member's name.

    Raises:
        ArgumentError: it is in no roster.
        NetworkError: the coordinator does not answer; the word is kept, and sent by the same command.
    """
    mine = setup.identity(folder)
    with requests.opened(folder) as calls:
        calls.leave(enrolment.leave(mine, MemberStore(folder, time.time)).encode())
    return mine.name


def rotate(folder: Path) -> bytes:
    """Make new keys, or take those that were made and wait; announce them under the old ones.

    They come into force with the next roster, whose words people compare.

    Returns:
        the new signing key, 32 bytes.

    Raises:
        ArgumentError: the member is in no roster: then nobody knows the old keys.
        NetworkError: the coordinator does not answer; the new keys stay, and the same command announces them.
    """
    mine, roster = setup.identity(folder), enrolment.held(MemberStore(folder, time.time))
    if roster is None or mine.entry() not in roster.members:
        raise ArgumentError(
            "This member is in no roster under these keys.", "Join first; keys are rotated later."
        )
    fresh = Keyring(mine.name, folder).rotate().entry()
    said = Rotation(roster=roster.hash(), name=mine.name, signing=fresh.signing)
    with requests.opened(folder) as calls:
        calls.rotate(Signed.make(mine.signing, said).encode())
    return fresh.signing


@dataclass(frozen=True)
class NewTerms:
    """Terms that wait for a yes, and those that were accepted before."""

    data: bytes
    terms: ConsortiumTerms
    before: ConsortiumTerms | None


def new_terms(folder: Path) -> NewTerms | None:
    """The terms that the link laid beside those in force; None where nothing waits.

    Raises:
        ArgumentError: they cannot be read.
    """
    path, old = folder / standing.NEW_TERMS, folder / agreement.FILE
    if not path.exists():
        return None
    data = read_bytes(path, ArgumentError)
    before = agreement.parse(old.read_bytes(), str(old)) if old.exists() else None
    return NewTerms(data, agreement.parse(data, str(path)), before)


def accept(folder: Path, shown: NewTerms) -> None:
    """Remember the very bytes that were shown as accepted.

    Raises:
        StorageError: the folder cannot be written.
    """
    write_atomically(folder / agreement.FILE, shown.data)
    MemberStore(folder, time.time).remember(**{AGREED: agreement.hashed(shown.data)})
    (folder / standing.NEW_TERMS).unlink(missing_ok=True)

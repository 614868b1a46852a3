"""What of a member may be restored, in one archive, and what must never be: a store that remembers less than was sent.

A restored ledger would forget what was spent after the copy was made, restored counters would answer an attempt twice, and
an epoch's secrets must be gone for good once it is over. So the store stays out as a whole. What is in it and ages well,
the releases and the bars, is written out by itself; what the year had cost is written as text for people.
"""

import io
import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedrepay.client.care.home import Home
from fedrepay.client.care.releases import checked
from fedrepay.client.care.spending import Spending, spending
from fedrepay.client.crypto import node_key
from fedrepay.client.crypto.identity import IN_FORCE, Identity
from fedrepay.client.protocol import testimony
from fedrepay.client.scoring import release_file
from fedrepay.client.store import settings
from fedrepay.client.store.database import FILE, JOURNAL
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import StoredRelease
from fedrepay.client.veto.year import lost_mark
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import read_bytes, write_atomically
from fedrepay.shared.private import private_folder
from fedrepay.shared.trust import agreement

ENTRY, LIMITS, SPENT, BARRED = "entry.json", "limits.toml", "spent.txt", "barred.txt"
_FILES = (IN_FORCE, node_key.PRIVATE, node_key.PUBLIC, ENTRY, settings.FILE)
_SECRET = (IN_FORCE, node_key.PRIVATE)
_RELEASE = re.compile(
    rf"releases/(\d{{1,10}})/({re.escape(release_file.RELEASE)}|{re.escape(release_file.VOTES)})"
)
_LARGEST = 256 << 20  # bytes of one file in an archive
LEFT_OUT = {
    FILE: "the privacy ledger, the attempts answered and the epoch's secrets: an older copy would spend twice, answer twice, and "
    "keep what must be gone",
    JOURNAL: "it may hold pages of the store",
    "member.sock": "a socket of the process that serves",
    "CACHEDIR.TAG": "it keeps this folder out of other backups",
    "batches.jsonl": "an older copy would take a batch id for free that was given since",
    "batches.lock": "a lock",
    ".serving": "a lock",
    ".running": "a lock",
    **dict.fromkeys(
        ("tls.key", "tls.next.key", "tls.pem"),
        "`member join` with a new invitation gets another for the same keys",
    ),
    **dict.fromkeys(
        ("ca.pem", agreement.FILE, "schema.toml", "schema.codebook.safetensors"),
        "the coordinator's: `member join` brings it",
    ),
    "join.bin": "a request to join: it holds the secret of an invitation",
    **dict.fromkeys(("standing.bin", "terms.new.toml"), "what the link saw last"),
    "running.bin": "how its processes were",
    "flower": "the node makes it anew",
}
"""What must not, or need not, be restored, and why."""
_AFTER = (
    "A restored member's year counts as spent until the other members have said, with the next roster, which attempts named it "
    "(`member rotate-keys` has one made).\n"
)
_OTHER = "nothing of this member's own: keep it with your data"


@dataclass(frozen=True)
class Kept:
    """What went into an archive and what did not, by name, with the reason."""

    out: Path
    held: tuple[str, ...]
    left_out: dict[str, str]
    advice: str


def advice(spent: Spending, at: float) -> str:
    """What the year had cost, for people: a member that is restored learns it from the others, or waits a year."""
    when = _day(at)
    first = (
        ""
        if spent.oldest_falls_out is None
        else f"The first of it is a year old on {_day(spent.oldest_falls_out)}.\n"
    )
    if spent.epsilon is None:
        why = "a run without noise is in it, or its store was lost"
        return f"On {when} no ε held for this member's year: {why}.\n{first}{_AFTER}"
    if spent.oldest_falls_out is None:
        return f"On {when} this member's year had cost nothing.\n{_AFTER}"
    return (
        f"On {when} this member's year had cost ε = {spent.epsilon:g} at δ = {spent.delta:g}.\n"
        f"{first}{_AFTER}"
    )


def _before(folder: Path) -> str:
    """What a folder that was restored itself was told: its ledger does not know it.

    Raises:
        StorageError: it cannot be read.
    """
    path = folder / SPENT
    said = read_bytes(path, StorageError).decode("utf-8", "replace") if path.exists() else ""
    return f"{said.rstrip()}\nSince it was restored with that, and beside it:\n" if said.strip() else ""


def backup(home: Home, out: Path) -> Kept:
    """Write what may be restored (0600); whoever holds the archive can speak as this member.

    Raises:
        ArgumentError: the archive would lie in the member's own folder.
        StorageError: it stands there already or cannot be written, keys or entry are missing, or a file or the ledger
            cannot be read.
        ReleaseError: a release was changed in the store.
    """
    if home.folder.resolve() in out.resolve().parents:
        raise ArgumentError(
            f"{out} lies in the member's own folder.", "Choose a place that is lost by another accident."
        )
    missing = [name for name in (IN_FORCE, ENTRY) if not (home.folder / name).is_file()]
    if missing:
        raise StorageError(
            f"{home.folder} lacks {', '.join(missing)}, without which nothing could be restored.",
            "`fedrepay member init` makes both; put the lost file back.",
        )
    told = _before(home.folder) + advice(spending(home), home.clock())
    parts = dict(_parts(home, told))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in parts.items():
            header = tarfile.TarInfo(name)
            header.size, header.mode, header.mtime = len(data), 0o600, int(home.clock())
            archive.addfile(header, io.BytesIO(data))
    write_atomically(out, buffer.getvalue(), mode=0o600, over=False)
    names = sorted(each.name for each in home.folder.iterdir())
    left = {name: LEFT_OUT.get(name, _OTHER) for name in names if name not in parts}
    return Kept(out, tuple(parts), left, told)


def _parts(home: Home, told: str) -> Iterator[tuple[str, bytes]]:
    for name in _FILES:
        if (home.folder / name).exists():
            yield name, read_bytes(home.folder / name, StorageError)
    if home.limits_file is not None:
        yield LIMITS, read_bytes(home.limits_file, StorageError)
    for each in home.store.releases():
        checked(each)
        yield f"releases/{each.number}/{release_file.RELEASE}", each.release
        yield f"releases/{each.number}/{release_file.VOTES}", each.votes
    yield BARRED, "".join(f"{mark.hex()}\n" for mark in sorted(home.store.barred())).encode()
    yield SPENT, told.encode()


def restore(archive: Path, folder: Path, now: float) -> str:
    """A new member's folder from an archive: keys, files, releases and bars, and a ledger by which the year counts as spent.

    Args:
        archive: of :func:`backup`.
        folder: empty, or not there.
        now: seconds since 1970, when the releases are stored again.

    Returns:
        what the year had cost when the archive was made, and what follows.

    Raises:
        ArgumentError: it is no such archive, or its keys do not belong to its entry.
        StorageError: the folder holds something, or cannot be written; nothing half-restored is left.
        ReleaseError: a release was changed in the archive.
    """
    parts = _read(archive)
    if folder.exists() and any(folder.iterdir()):
        raise StorageError(f"{folder} is not empty.", "Restore into a new folder: nothing is written over.")
    made = folder.with_name(folder.name + ".partial")
    try:
        private_folder(made)
        try:
            _unpack(parts, made, now)
            made.replace(folder)
        finally:
            shutil.rmtree(made, ignore_errors=True)  # not there any more where all went well
    except OSError as error:
        raise StorageError.unwritten(folder, error, "Choose another.") from error
    return parts[SPENT].decode()


def _unpack(parts: dict[str, bytes], folder: Path, now: float) -> None:
    for name in (*_FILES, LIMITS, SPENT):
        if name in parts:
            mode = 0o600 if name in _SECRET else 0o666
            write_atomically(folder / name, parts[name], mode=mode)
    _check_keys(folder)
    store = MemberStore(folder, lambda: now)
    for number, path in sorted(_releases(parts)):
        release, votes = (parts[f"{path}/{name}"] for name in (release_file.RELEASE, release_file.VOTES))
        checked(StoredRelease(number, now, release, votes))
        store.store_release(number, release, votes, forget=())
    for line in parts[BARRED].decode("ascii").split():
        store.bar(bytes.fromhex(line))
    store.remember(lost_mark(now), **testimony.since(now))


def _read(archive: Path) -> dict[str, bytes]:
    remedy = "Name a file that `fedrepay member backup` wrote."
    data = read_bytes(archive, ArgumentError, remedy)
    parts: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as opened:
            for each in opened:
                known = each.name in (*_FILES, LIMITS, SPENT, BARRED) or _RELEASE.fullmatch(each.name)
                file = opened.extractfile(each) if known and each.isreg() and each.size <= _LARGEST else None
                if file is None or each.name in parts:
                    raise ArgumentError(f"{archive} holds {each.name!r:.80}, which no backup does.", remedy)
                parts[each.name] = file.read()
    except tarfile.TarError as error:
        raise ArgumentError(f"{archive} is no archive: {error}.", remedy) from error
    missing = [name for name in (IN_FORCE, ENTRY, SPENT, BARRED) if name not in parts]
    missing += [
        f"{path}/{name}"
        for _, path in _releases(parts)
        for name in (release_file.RELEASE, release_file.VOTES)
        if f"{path}/{name}" not in parts
    ]
    marks = parts.get(BARRED, b"")
    if missing or not re.fullmatch(rb"([0-9a-f]{64}\n)*", marks):
        raise ArgumentError(f"{archive} is damaged: {', '.join(missing) or BARRED}.", remedy)
    return parts


def _releases(parts: dict[str, bytes]) -> set[tuple[int, str]]:
    return {
        (int(found[1]), name.rpartition("/")[0])
        for name in parts
        if (found := _RELEASE.fullmatch(name)) is not None
    }


def _check_keys(folder: Path) -> None:
    """The keys are those that the others know."""
    try:
        said = json.loads((folder / ENTRY).read_text("utf-8"))
        entry = Identity.load(str(said["name"]), folder).entry()
        same = [said["signing"], said["sealing"]] == [entry.signing.hex(), entry.sealing.hex()]
    except (ValueError, KeyError, TypeError) as error:
        raise ArgumentError(
            f"The {ENTRY} of the archive is damaged.", "Use another copy of the backup."
        ) from error
    if not same:
        raise ArgumentError(
            f"The keys of the archive are not those of its {ENTRY}.", "Use another copy of the backup."
        )


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()

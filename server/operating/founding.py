"""``fedrepay coordinator init``: a coordinator's folder, whole or not at all."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from pydantic import ValidationError

from fedrepay.server import keyring
from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.network import superlink
from fedrepay.server.operating import admitting, rosters
from fedrepay.server.operating import settings as places
from fedrepay.server.operating.settings import CoordinatorSettings
from fedrepay.server.protocol.state import State
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import read_bytes, write_atomically
from fedrepay.shared.private import private_folder
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.joining import Invitation

SCHEMAS = "schemas"
UNIT = "fedrepay-coordinator.service"


@dataclass(frozen=True)
class Founded:
    """What a new folder holds, for its operator to see."""

    terms: ConsortiumTerms
    settings: CoordinatorSettings
    books: tuple[CodeBook, ...]
    authority: bytes  # SHA-256 of the authority's certificate
    files: tuple[str, ...]
    invitations: tuple[Invitation, ...] = ()


def terms_of(facts: Mapping[str, object], books: Sequence[CodeBook]) -> ConsortiumTerms:
    """The consortium's terms from answers.

    Raises:
        ArgumentError: one is out of bounds; naming it.
    """
    try:
        schemas = tuple(dict.fromkeys(book.schema_hash.hex() for book in books))
        return ConsortiumTerms.model_validate({**facts, "schemas": schemas})
    except ValidationError as error:
        said = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])} = {each['input']!r:.60}: {each['msg']}"
            for each in error.errors()
        )
        raise ArgumentError(f"{said}.", "`fedrepay coordinator init --help` shows every option.") from error


def check_new(folder: Path) -> None:
    """Nothing is in the way of a new folder.

    Raises:
        ArgumentError: the folder holds something already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ArgumentError(f"{folder} holds something already.", "Choose another --folder.")


def found(
    folder: Path,
    terms: ConsortiumTerms,
    settings: CoordinatorSettings,
    books: Sequence[CodeBook],
    hosts: Sequence[str],
    *,
    systemd: bool = False,
    invite: Sequence[str] = (),
) -> Founded:
    """Make a coordinator's folder: keys, certificates, terms, settings, schemas, configurations of proxies, invitations.

    It is made beside its place and moved there when it is whole.

    Args:
        folder: new, or empty.
        terms: what the consortium agrees on.
        settings: where the processes listen.
        books: the schemas of the terms.
        hosts: more names and addresses by which members reach the front.
        systemd: whether to write a unit too.
        invite: names of institutions to invite.

    Raises:
        ArgumentError: the folder holds something already, or a name is none.
        StorageError: it cannot be written.
    """
    check_new(folder)
    target = folder.absolute()
    unfinished: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            private_folder(
                target
            )  # who could enter it is told; the folder that takes its place is private from the start
        unfinished = Path(mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        _fill(unfinished, terms, settings, books, hosts)
        if systemd:
            write_atomically(unfinished / UNIT, unit(target).encode())
        invitations = (
            admitting.invite(unfinished, Registry(unfinished), terms.address, invite) if invite else []
        )
        _close(unfinished)
        unfinished.rename(target)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}.", "Check rights and disk.") from error
    finally:
        if unfinished is not None and unfinished.exists():
            shutil.rmtree(unfinished)
    files = tuple(sorted(str(each.relative_to(target)) for each in target.rglob("*") if each.is_file()))
    authority = certificates.authority_digest(target)
    return Founded(terms, settings, tuple(books), authority, files, tuple(invitations))


def _fill(
    folder: Path,
    terms: ConsortiumTerms,
    settings: CoordinatorSettings,
    books: Sequence[CodeBook],
    hosts: Sequence[str],
) -> None:
    keyring.load_key(folder)
    certificates.create(folder, [terms.address.rpartition(":")[0].strip("[]"), *hosts])
    superlink.make_secret(folder)
    write_atomically(folder / agreement.FILE, agreement.write(terms))
    write_atomically(folder / places.FILE, places.write(settings))
    for book in books:
        path = folder / SCHEMAS / f"{book.schema_hash.hex()}.toml"
        write_atomically(path, book.schema_bytes)
        codebook.save(book, path)
    for name, text in proxies(settings).items():
        write_atomically(folder / name, text.encode())


def _close(folder: Path) -> None:
    """Nothing in it is for others but certificates, also where somebody opens the folder later."""
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o700)
        elif path.name not in (certificates.AUTHORITY, certificates.CERTIFICATE):
            path.chmod(0o600)


def proxies(settings: CoordinatorSettings) -> dict[str, str]:
    """Configurations of other fronts for the public port, by file name."""
    from fedrepay.server.front import proxies as others  # noqa: PLC0415 - its texts are long

    return others.texts(settings.port, settings.front, settings.service)


def unit(folder: Path) -> str:
    """A systemd unit that runs ``coordinator serve``; systemd stops it with SIGTERM, and no child stays."""
    return f"""\
[Unit]
Description=fedrepay coordinator
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={_quoted(sys.executable)} -m fedrepay coordinator serve --folder {_quoted(str(folder))}
Restart=on-failure
RestartSec=5
KillMode=mixed
TimeoutStopSec=120
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ReadWritePaths={_quoted(str(folder))}
AmbientCapabilities=CAP_NET_BIND_SERVICE

[Install]
WantedBy=multi-user.target
"""


def _quoted(text: str) -> str:
    """A word of a unit's line: quoted, its specifiers taken literally."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def books_in(folder: Path) -> dict[str, Path]:
    """The schemas of a coordinator's folder: file by hash, in hexadecimal."""
    return {path.stem: path for path in sorted((folder / SCHEMAS).glob("*.toml"))}


def terms_in(folder: Path) -> tuple[ConsortiumTerms, bytes]:
    """The terms in force, and their hash.

    Raises:
        ArgumentError: there are none, or they are wrong.
    """
    path = folder / agreement.FILE
    data = read_bytes(path, ArgumentError, "Name a folder that `fedrepay coordinator init` made.")
    return agreement.parse(data, str(path)), agreement.hashed(data)


def rotate_key(folder: Path, store: CoordinatorStore) -> bytes:
    """Another signing key, beside the one in force, which signs for it: its public half, 32 bytes.

    It takes the other's place when the next roster is complete; one that waits for that is kept.

    Raises:
        StorageError: the key in force is lost, or the other cannot be written.
    """
    roster = rosters.enrolled(store).roster
    if roster is not None:
        keyring.settle(folder, roster.coordinator)
    return keys.public_bytes(keyring.rotate(folder))


def replace_key(folder: Path, store: CoordinatorStore) -> bytes:
    """Another signing key in the place of one that is lost: its public half, 32 bytes.

    Members take nothing of it before a roster holds it that everybody of the one before has signed. No run may be under
    way: its members know the key it began with.

    Raises:
        ArgumentError: a run is not over, or the key is not lost.
        StorageError: the key cannot be written.
    """
    terms = store.terms()
    if terms is not None and not State.replayed(store.events(terms.run)).over:
        raise ArgumentError(
            f"Run {terms.run} is not over, and goes on under the key that is lost alone.",
            "Restore the key, or give the run up: `fedrepay coordinator abandon`.",
        )
    return keys.public_bytes(keyring.replace(folder))

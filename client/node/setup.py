"""A member's folder on disk: its keys, what others must know of it, and the member that answers out of it."""

import json
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedrepay.client.crypto import node_key
from fedrepay.client.crypto.identity import Identity, Keyring
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, Code, DataError, Refusal, StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.trust.roster import Entry

if TYPE_CHECKING:
    from fedrepay.client.data.reading.table import Table
    from fedrepay.client.learning.contribution import Rows
    from fedrepay.client.protocol.member import Member
    from fedrepay.shared.schema.codebook import CodeBook

ENTRY = "entry.json"
CERTIFICATE = "tls.pem"
"""By which the coordinator knows a member that it has admitted (`client/consortium/tls`)."""
RESTART = "Restart `member serve`: it reads its rows again, without that customer."
_LOG = logging.getLogger("fedrepay.member")


def create(name: str, folder: Path) -> Entry:
    """Make a member's keys and ``entry.json``, which the others may see.

    Raises:
        ArgumentError: the name cannot stand in a roster.
        StorageError: the folder holds keys already, or cannot be written.
    """
    identity = Identity.create(name)
    try:
        identity.entry()
    except ValueError as error:
        raise ArgumentError(
            f"{name!r} cannot be a member's name.",
            "Use 1 to 64 letters, digits, dots, dashes or underscores.",
        ) from error
    identity.save(folder)
    node_key.create(folder)
    return _publish(name, folder)


def complete(name: str, folder: Path) -> Entry:
    """As :func:`create`, but keys that are there stay: of a process that was stopped, or put back from where they are kept.

    Raises:
        ArgumentError: the name cannot stand in a roster.
        StorageError: a key is damaged, or the folder cannot be written.
    """
    if not (folder / "identity.key").exists():
        return create(name, folder)
    if not (folder / node_key.PRIVATE).exists():
        node_key.create(folder)
    elif not (folder / node_key.PUBLIC).exists():
        node_key.publish(folder)
    return _publish(name, folder)


def _publish(name: str, folder: Path) -> Entry:
    """Write ``entry.json`` of the folder's keys."""
    entry = Identity.load(name, folder).entry()
    text = {
        "name": entry.name,
        "signing": entry.signing.hex(),
        "sealing": entry.sealing.hex(),
        "node": entry.node.hex(),
    }
    write_atomically(folder / ENTRY, json.dumps(text, indent=1).encode() + b"\n", "Free the disk.")
    return entry


def identity(folder: Path) -> Identity:
    """The keys of a folder that :func:`create` made.

    Raises:
        StorageError: it is not such a folder.
    """
    try:
        name = str(json.loads((folder / ENTRY).read_text())["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{folder / ENTRY} is missing or damaged.", "`fedrepay member init` makes a member's folder."
        ) from error
    return Identity.load(name, folder)


@dataclass(frozen=True)
class Sources:
    """The files a member serves from, and the torch module it trains in local mode."""

    schema: Path
    data: Path | None
    mapping: Path | None
    limits: Path | None
    model: str | None = None


def member(folder: Path, sources: Sources, observe: Callable[[str, float], None]) -> "Member":
    """The member of a folder, its rows read and found good: one frozen snapshot as long as it serves.

    Args:
        folder: made by :func:`create`.
        sources: schema, rows and limits.
        observe: told how long each stage took, in seconds.

    Raises:
        ArgumentError: the torch module cannot be used.
        DataError: a row is refused, or there are more customers than the schema allows a member.
        FedrepayError: a file cannot be used.
    """
    from fedrepay.client.learning.torch_models import registry  # noqa: PLC0415 - heavy
    from fedrepay.client.protocol.member import Member  # noqa: PLC0415
    from fedrepay.client.protocol.snapshot import snapshot  # noqa: PLC0415
    from fedrepay.client.store.member_store import MemberStore  # noqa: PLC0415
    from fedrepay.client.veto.limits import Limits, load  # noqa: PLC0415
    from fedrepay.shared.schema import codebook  # noqa: PLC0415

    mine = identity(folder)
    book = codebook.load(sources.schema)
    limits = Limits() if sources.limits is None else load(sources.limits, book.schema.public)
    store = MemberStore(folder, time.time)
    check_kept(folder, store.fact("agreed"))
    barred = store.barred()
    table, override = rows(book, sources, mine, barred)
    frozen = snapshot(book, table, mine.local, override)

    def unless_barred() -> tuple["Rows", bytes]:
        """The frozen rows, as long as nobody in them was barred since they were read."""
        if store.barred() != barred:
            raise Refusal(Code.SNAPSHOT, "A customer was barred since this member read its rows.", RESTART)
        return frozen

    held = None if sources.model is None else registry.load(sources.model, book.dimension)
    return Member(
        mine,
        store,
        book,
        unless_barred,
        limits,
        time.time,
        observe=observe,
        model=held,
        override=override,
        keyring=Keyring(mine.name, folder),
    )


def forgotten(folder: Path, agreed: bytes | None) -> bool:
    """Whether a folder was admitted and its store is new: ``agreed`` as of :func:`check_kept`."""
    return agreed is None and (folder / CERTIFICATE).exists()


def check_kept(folder: Path, agreed: bytes | None) -> None:
    """A member that was admitted has the store in which it accepted the terms: an empty one has forgotten what the year cost.

    Args:
        folder: the member's.
        agreed: the fact of its store.

    Raises:
        StorageError: its store was lost.
    """
    if forgotten(folder, agreed):
        raise StorageError(
            f"{folder} was admitted, and its store is new: member.sqlite was lost, and its ledger with it.",
            "`fedrepay member join` with an invitation: it goes on with the keys that are there, and the year counts as spent "
            "until the others have said, with the next roster, what it has cost.",
        )


def rows(
    book: "CodeBook", sources: Sources, mine: Identity, barred: Collection[bytes] = ()
) -> tuple["Table", bytes]:
    """The rows that a member contributes, and the digest of its override of its mapping's checks.

    Args:
        book: schema and code book.
        sources: the files.
        mine: whose override counts, and whose key the marks are made with.
        barred: marks of customers that stay out (``member forget``).

    Returns:
        the rows, and 32 bytes for the ledger, the statement and the release; empty where nothing was overridden.

    Raises:
        DataError: the file as a whole is refused; a row that drops itself is logged and counted.
        MappingError: the mapping or its override cannot be used.
    """
    from fedrepay.client.data.checking.barred import without  # noqa: PLC0415
    from fedrepay.client.data.checking.check import too_many  # noqa: PLC0415
    from fedrepay.client.data.checking.contributed import read_contributed  # noqa: PLC0415
    from fedrepay.client.data.mappings import override  # noqa: PLC0415 - heavy
    from fedrepay.client.data.reading.table import load_mapping  # noqa: PLC0415

    mapping = None if sources.mapping is None else load_mapping(sources.mapping)
    signed = None
    if mapping is not None and sources.mapping is not None:
        signed = override.load(keys.public_bytes(mine.signing), sources.mapping, mapping)
    digest = b"" if signed is None else signed.digest
    table, findings = read_contributed(book, sources.data, mapping, override=digest)
    table, left_out = without(table, barred, mine.local)
    file = str(sources.data or sources.mapping)
    groups = (*findings.groups, *too_many(book, table, findings, file))
    refused = [group for group in groups if group.fatal]
    if refused:
        raise DataError(
            f"{file}: {refused[0].column} must be {refused[0].bound}; {len(refused)} kinds of findings are refused.",
            "`fedrepay member check-data` with the same files shows all of them.",
        )
    for group in groups:
        _LOG.warning(
            "%s: %s: %d rows %s; must be %s", group.file, group.column, group.count, group.effect, group.bound
        )
    _LOG.info(
        "%s: %d of %d rows are used; %d dropped by findings of their own, %d not matured.",
        *(file, len(table.codes), findings.rows_read, findings.dropped, findings.not_matured),
    )
    if left_out:
        _LOG.info("%d customers of them are barred and left out.", left_out)
    if signed is not None:
        _LOG.warning("The mapping's checks are overridden (%s): %s", digest.hex(), signed.reason)
    return table, digest

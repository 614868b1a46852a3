"""A member's folder as its own commands see it: store, settings, limits, and the schema that bounds its δ."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedrepay.client.scoring import in_use
from fedrepay.client.store import settings
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.settings import MemberSettings
from fedrepay.client.veto import limits
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.shared.trust.release import ReleaseContent


@dataclass(frozen=True)
class Home:
    """What a folder holds; ``limits_file`` is None where the strict limits count, for nobody wrote others."""

    folder: Path
    store: MemberStore
    settings: MemberSettings
    book: CodeBook
    limits: Limits
    limits_file: Path | None
    clock: Callable[[], float]

    @property
    def delta(self) -> float:
        """δ at which the veto composes this member's year."""
        return self.limits.year_delta(self.book.schema.public)


def of(folder: Path, schema: Path | None = None, limits_file: Path | None = None) -> Home:
    """A member's folder with its schema and its limits.

    Args:
        folder: made by `member init`, with a store in it.
        schema: the consortium's; None takes ``schema`` of ``member.toml``, else that of the newest release held.
        limits_file: as `member serve` is given it; None takes ``limits`` of ``member.toml``, else the strict ones.

    Raises:
        ReleaseError: the folder is no member's.
        ArgumentError: nothing says which schema, or a file of settings or limits is wrong.
        SchemaError, StorageError: a file cannot be used.
    """
    store, own = in_use.opened(folder), settings.load(folder)
    book = _book(store, settings.file_of(folder, schema, own.schema_file))
    path = settings.file_of(folder, limits_file, own.limits)
    allowed = Limits() if path is None else limits.load(path, book.schema.public)
    return Home(folder, store, own, book, allowed, path, time.time)


def _book(store: MemberStore, path: Path | None) -> CodeBook:
    if path is not None:
        return codebook.load(path)
    newest = store.release()
    if newest is None:
        raise ArgumentError(
            "Nothing says which schema this member's limits are for, and it holds no release to take it from.",
            "Give --schema FILE, or a line `schema` in member.toml.",
        )
    made = ReleaseContent.decode(newest[1])
    return codebook.from_bytes(made.schema, made.codebook, f"release {made.number}")

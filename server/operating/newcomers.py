"""What a coordinator says of itself to anybody who asks: its authority, its consortium's terms and their schemas."""

from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from fedrepay.server.admission.certificates import AUTHORITY
from fedrepay.server.operating.founding import books_in
from fedrepay.shared.errors import StorageError
from fedrepay.shared.files import read_bytes
from fedrepay.shared.schema.codebook import codebook_path
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.joining import VERSION, About

_REMEDY = "Restore it from a backup."


def about(folder: Path) -> bytes:
    """An encoded :class:`About`; made anew when one of its files has changed.

    Raises:
        StorageError: one of them cannot be read, or a schema of the terms is not there.
        ArgumentError: the terms are none.
    """
    terms = folder / agreement.FILE
    known = agreement.parse(read_bytes(terms, StorageError, _REMEDY), agreement.FILE)
    schemas = books_in(folder)
    if lacking := [each for each in known.schemas if each not in schemas]:
        raise StorageError(
            f"The schema {lacking[0]} of the terms is not in {folder / 'schemas'}.", "Put it there, or back."
        )
    chosen = [schemas[each] for each in known.schemas]
    files = [folder / AUTHORITY, terms, *chosen, *map(codebook_path, chosen)]
    return _about(folder, tuple(chosen), tuple(map(_state, files)))


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.", _REMEDY) from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)
def _about(folder: Path, schemas: tuple[Path, ...], _files: tuple[tuple[int, int], ...]) -> bytes:
    made = About(
        version=VERSION,
        product=version("fedrepay")[:40],
        authority=read_bytes(folder / AUTHORITY, StorageError, _REMEDY),
        terms=read_bytes(folder / agreement.FILE, StorageError, _REMEDY),
        schemas=tuple(
            (
                bytes.fromhex(path.stem),
                read_bytes(path, StorageError, _REMEDY),
                read_bytes(codebook_path(path), StorageError, _REMEDY),
            )
            for path in schemas
        ),
    )
    return made.encode()

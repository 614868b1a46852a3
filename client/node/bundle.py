"""Which Flower bundles a member accepts: the one without code. Pure.

A bundle's folder comes first on ``sys.path``, so any file in it can replace installed code; files that its own
manifest does not name are installed too (measured, Flower 1.41). What counts is the archive's list of names.
"""

import hashlib
import zipfile
import zlib
from io import BytesIO

from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.files import content_of
from fedrepay.shared.trust.bundle import FILES, MANIFEST, PROJECT, PROJECT_FILE

MAX_BUNDLE = 16 << 10  # bytes; ours has some 650
MAX_FILE = 8 << 10  # bytes of a file in it, unpacked
_UNSOUND = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError)
_REMEDY = "Nothing of it was run. Ask the operator why: an honest coordinator sends one bundle, without code."


def check(content: bytes) -> None:
    """Refuse every bundle but ours; even ours is never unpacked (``node``).

    Args:
        content: the archive as it came.

    Raises:
        ProtocolError: what is wrong, and that nothing was run.
    """
    if len(content) > MAX_BUNDLE:
        raise _refused(f"has {len(content)} bytes, more than {MAX_BUNDLE}")
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            entries = archive.infolist()
            _check_names(entries)
            files = {entry.filename: _read(archive, entry) for entry in entries}
    except _UNSOUND as error:
        raise _refused(f"is not a sound archive ({error})") from error
    project = files[PROJECT_FILE]
    line = f"{PROJECT_FILE},{hashlib.sha256(project).hexdigest()},{8 * len(project)}"
    if files[MANIFEST] != line.encode():
        raise _refused("has a manifest that does not name exactly its project file")
    parsed = content_of(project, "Bundle refused: it has a project file that", ProtocolError, _REMEDY)
    if not _same(parsed, PROJECT):
        raise _refused("has a project file other than this version's: other apps, keys, or dependencies")


def _check_names(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.orig_filename for entry in entries]
    if len(names) != len(FILES) or set(names) != FILES:
        shown = ", ".join(repr(name[:60]) for name in sorted(names)[:5])
        raise _refused(f"holds {len(names)} files ({shown}) where only {', '.join(sorted(FILES))} may be")
    for entry in entries:
        if entry.filename != entry.orig_filename or entry.is_dir() or entry.flag_bits & 1:
            raise _refused(f"holds {entry.orig_filename!r} in an odd form")
        if entry.file_size > MAX_FILE:
            raise _refused(f"holds {entry.filename} of {entry.file_size} bytes, more than {MAX_FILE}")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    with archive.open(entry) as file:
        data = file.read(MAX_FILE + 1)
    if len(data) != entry.file_size:
        raise _refused(f"holds {entry.filename} with another size than it says")
    return data


def _same(one: object, other: object) -> bool:
    """Equal values of equal types (``True == 1`` in Python)."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other


def _refused(what: str) -> ProtocolError:
    return ProtocolError(f"Bundle refused: it {what}.", _REMEDY)

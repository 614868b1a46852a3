"""What people write in files, read strictly; what we write, written whole; and who may write: one process."""

import errno
import logging
import math
import os
import re
import stat
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fedrepay.shared.errors import FedrepayError, StorageError

MOST_DEEP = 32
"""Tables and lists within each other; the deepest of our own files has 6."""
LARGEST = 1 << 63
"""Whole numbers stay below, as TOML promises no more; Python would read any."""
_SHOWN = 60
"""Characters of a wrong value or a name in an error."""
_AGAIN = "Free the disk or check rights, then run the same command again; or choose another path."
_REPLACED = ".old"
_PASSWORD = re.compile(r"(://[^:\s]*:)\S*@")
"""Of a URL; whatever comes before the last @, for not everybody writes %40."""
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP)
"""What file systems say that have nothing to do for a folder."""
Kind = type[FedrepayError]
log = logging.getLogger(__name__)
Place = tuple[int | str, ...]
Model = TypeVar("Model", bound=BaseModel)


class Part(BaseModel):
    """Frozen, strict, and without unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


# --- reading ---


def read_bytes(path: Path, error: Kind, remedy: str = "Check the path.") -> bytes:
    """All of a file.

    Raises:
        error: it is not there, a folder, or not to be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as failed:  # ValueError: a path that no system has, with NUL in it
        raise error(f"{path!s:.200} cannot be read: {_said(failed)}.", remedy) from failed


def content_of(data: bytes, source: str, error: Kind, remedy: str) -> dict[str, Any]:
    """What a TOML file says.

    Args:
        data: TOML in UTF-8.
        source: the file's name, for errors.
        error: what is raised.
        remedy: what it advises.

    Raises:
        error: it is not UTF-8 or not TOML, deeper than ``MOST_DEEP``, or a whole number is not below ``LARGEST``.
    """
    try:
        content = tomllib.loads(data.decode())
    except UnicodeDecodeError as failed:
        raise error(f"{source} is not TOML: byte {failed.start} is not UTF-8.", remedy) from failed
    except tomllib.TOMLDecodeError as failed:
        raise error(f"{source} is not TOML: {failed}.", remedy) from failed
    except RecursionError as failed:
        raise error(f"{source} is nested deeper than {MOST_DEEP} tables and lists.", remedy) from failed
    except ValueError as failed:  # Python's own bound on reading digits
        most = sys.get_int_max_str_digits()
        raise error(f"{source} holds a number of more than {most} digits.", remedy) from failed
    wrong = list(_too_much(content, ()))
    if wrong:
        raise error(f"{source}: {'; '.join(wrong)}.", remedy)
    return content


def fitted(
    content: dict[str, Any],
    source: str,
    model: type[Model],
    error: Kind,
    remedy: str,
    named: Callable[[dict[str, Any]], object] = lambda entry: entry.get("id", entry.get("name")),
) -> Model:
    """A file's content as its model.

    Args:
        content: of :func:`content_of`.
        source: the file's name, for errors.
        model: what it must be.
        error: what is raised.
        remedy: what it advises.
        named: how an error calls an entry of a list, instead of by its number.

    Raises:
        error: naming file, field and bound; all that is wrong at once.
    """
    try:
        return model.model_validate(_tuples(content))
    except ValidationError as failed:
        lines = [
            f"{_words(each['loc'], content, named) or model.__name__.lower()}: "
            f"{each['msg'].removeprefix('Value error, ')}{_shown(each['input'])}"
            for each in failed.errors()
        ]
        raise error(f"{source}: {'; '.join(dict.fromkeys(lines))}.", remedy) from failed


def parse_toml(data: bytes, source: str, model: type[Model], error: Kind, remedy: str) -> Model:
    """A TOML file's bytes as its model; arguments and errors as of :func:`content_of` and :func:`fitted`."""
    return fitted(content_of(data, source, error, remedy), source, model, error, remedy)


def _too_much(value: object, place: Place) -> Iterator[str]:
    if len(place) > MOST_DEEP:
        yield f"{str(place[0])[:_SHOWN]} is nested deeper than {MOST_DEEP} tables and lists"
    elif isinstance(value, dict | list):
        for step, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _too_much(each, (*place, step))
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{'.'.join(map(str, place))}: a number must be finite (it is {value})"
    elif type(value) is int and not -LARGEST <= value < LARGEST:
        yield f"{'.'.join(map(str, place))}: a whole number must be within ±2⁶³"


def _tuples(value: object) -> object:
    """TOML's lists as tuples, as strict models take them."""
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _words(place: Place, content: Any, named: Callable[[dict[str, Any]], object]) -> str:
    """A field's place, entries of lists by their names."""
    parts = []
    for step in place:
        listed = isinstance(content, list)
        try:
            content = content[step]
        except (KeyError, IndexError, TypeError):  # absent, or a step of the model's own
            content = None
        name = named(content) if listed and isinstance(content, dict) else None
        parts.append(str(name or step)[:_SHOWN])
    return ".".join(parts)


def _shown(value: object) -> str:
    if isinstance(value, str):
        value = _PASSWORD.sub(r"\1…@", value)
    return f" (it is {value!r:.{_SHOWN}})" if isinstance(value, str | int | float) else ""


# --- writing ---


def write_atomically(
    path: Path,
    data: bytes,
    remedy: str = _AGAIN,
    *,
    mode: int = 0o666,
    over: bool = True,
    durable: bool = True,
) -> None:
    """Write all of a file or nothing; its folder is made where there is none.

    Args:
        path: the file.
        data: its bytes.
        remedy: what an error advises.
        mode: its rights, from its first byte on; the umask takes some away.
        over: whether it may take an older file's place.
        durable: whether it survives the machine's fall and not the process's only.

    Raises:
        StorageError: disk full, not writable, or there already; nothing half-written is left.
    """
    partial = path
    try:
        partial = path.with_name(path.name + ".partial")
        if path.exists():
            mode &= stat.S_IMODE(path.stat().st_mode)  # never wider than what it replaces
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # of a process that was killed here
        with os.fdopen(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if over:
            partial.replace(path)
        else:
            os.link(partial, path)  # fails where there is one
            partial.unlink()
        if durable:
            sync_folder(path.parent)
    except (OSError, ValueError) as error:
        if partial != path:
            with suppress(OSError, ValueError):  # never made, or a path through a file
                partial.unlink()
        if isinstance(error, FileExistsError) and remedy == _AGAIN:
            remedy = "It is never written over: name a new file."
        raise StorageError.unwritten(path, error, remedy) from error


def replace_secret(new: Path, path: Path) -> None:
    """Put a file of secrets in an older one's place, in one step; then the older one's bytes are overwritten.

    A process may die anywhere: ``path`` is always one of the two, whole, and :func:`wipe_replaced` ends the work.

    Raises:
        StorageError: it cannot be done; the older one stays.
    """
    wipe_replaced(path)  # of an earlier time
    try:
        if path.exists():
            os.link(
                path, path.with_name(path.name + _REPLACED)
            )  # its name, for as long as its bytes are there
        new.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be replaced: {error.strerror}.",
            "Free the disk or check rights; the same step is taken again.",
        ) from error
    wipe_replaced(path)


def wipe_replaced(path: Path) -> None:
    """Overwrite and remove what :func:`replace_secret` put another in the place of, also in a process that died there."""
    old = path.with_name(path.name + _REPLACED)
    try:
        if not old.exists():
            return
        if not (path.exists() and old.samefile(path)):  # else it died before the step
            with old.open("r+b", buffering=0) as file:
                file.write(bytes(os.fstat(file.fileno()).st_size))
                os.fsync(file.fileno())
        old.unlink()
        sync_folder(path.parent)
    except OSError as error:  # the new one is in force
        log.warning("The bytes of %s could not be overwritten: %s", old, error.strerror)


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def sync_folder(folder: Path) -> None:
    """A new name survives the machine's fall when its folder is on the disk too."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(opened)


@contextmanager
def held(
    path: Path,
    taken: FedrepayError,
    remedy: str,
    again: Callable[[], bool] = lambda: False,
    *,
    mode: int = 0o600,
) -> Iterator[None]:
    """Keep other processes away; the lock ends with the process, however that ends.

    Args:
        path: the lock's file, made where there is none; nothing is ever read from it.
        taken: raised where another process has the lock.
        remedy: what to do where the file cannot be made.
        again: asked while another process has it: waits, and says whether to try once more.
        mode: the lock's rights where it is made; the umask takes some away.

    Raises:
        FedrepayError: ``taken``.
        StorageError: the file cannot be made or locked.
    """
    with ExitStack() as kept:
        try:
            flags = (
                os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            )  # a link's own file is left as it is
            file = os.open(path, flags, mode)
            kept.callback(os.close, file)
            while not _locked(file):
                if not again():
                    raise taken
        except (OSError, ValueError) as error:
            raise StorageError.unwritten(path.parent, error, remedy) from error
        yield


def _locked(file: int) -> bool:
    import fcntl  # noqa: PLC0415 - not everywhere, and most of this module is

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True

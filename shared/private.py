"""Folders and files of secrets: for their owner alone, also where they were there before with other rights.

``mkdir`` and ``open`` give rights to what they make and change nothing of what exists, so both are looked at again.
"""

import logging
import os
import stat
from pathlib import Path

from fedrepay.shared.errors import StorageError

_OTHERS = 0o077
log = logging.getLogger(__name__)


def private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter (0700), or take the others' rights away and say so.

    Raises:
        OSError: it cannot be made.
        StorageError: others may enter it, and its rights are not ours to change.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _close(folder, 0o700)


def private_file(path: Path) -> None:
    """Make an empty file that only its owner can read (0600), or leave what is in it and take the others' rights away.

    Raises:
        OSError: it cannot be made.
        StorageError: others may read it, and its rights are not ours to change.
    """
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    _close(path, 0o600)


def _close(path: Path, mode: int) -> None:
    before = stat.S_IMODE(path.stat().st_mode)
    if not before & _OTHERS:
        return
    try:
        path.chmod(mode)
    except OSError as error:
        raise StorageError(
            f"{path} is open to other users ({before:o}), and it cannot be closed: {error.strerror}.",
            f"Secrets would be kept there. As its owner: chmod {mode:o} {path}; or name a folder of your own.",
        ) from error
    log.warning("%s was open to other users (%o): now only you can open it (%o).", path, before, mode)

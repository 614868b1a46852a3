"""The coordinator's signing key (``coordinator.key``), and one that the next roster is to hold (``coordinator.next``).

A new key lies beside the one in force, which signs for it, until a roster holds the new one; then it takes its place in one
step, and the old one's bytes are overwritten. A process may die anywhere: each file is always one whole key.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import held, replace_secret, wipe_replaced, write_atomically
from fedrepay.shared.private import private_file, private_folder

KEY, FOLLOWING = "coordinator.key", "coordinator.next"
_REMEDY = "Restore it, or start a new consortium."


def key_of(folder: Path) -> Ed25519PrivateKey:
    """The key in force; one that is lost is not made anew here: members know the one of before.

    Raises:
        StorageError: it is not there, or cannot be used.
    """
    path = folder / KEY
    if not path.exists():
        raise StorageError(
            f"{path} is not there.",
            "Restore it from a backup: members know this key alone. If there is none: `fedrepay coordinator rotate-key --lost`.",
        )
    return load_key(folder)


def load_key(folder: Path) -> Ed25519PrivateKey:
    """The key in force (0600), made on first use.

    Raises:
        StorageError: it cannot be read or written.
    """
    with _alone(folder):
        if not (folder / KEY).exists():
            made = Ed25519PrivateKey.generate().private_bytes_raw()
            write_atomically(folder / KEY, made, _REMEDY, mode=0o600, over=False)
        return _read(folder / KEY, _REMEDY)


def following(folder: Path) -> Ed25519PrivateKey | None:
    """The key that the next roster is to hold, where it is to be another.

    Raises:
        StorageError: it cannot be used.
    """
    with _alone(folder):
        return _following(folder)


def rotate(folder: Path) -> Ed25519PrivateKey:
    """A new key beside the one in force; one that is there already is kept: a proposal may hold it.

    Raises:
        StorageError: there is no key in force, or the new one cannot be written.
    """
    key_of(folder)
    with _alone(folder):
        kept = _following(folder)
        if kept is not None:
            return kept
        made = Ed25519PrivateKey.generate()
        write_atomically(
            folder / FOLLOWING, made.private_bytes_raw(), "Free the disk.", mode=0o600, over=False
        )
        return made


def replace(folder: Path) -> Ed25519PrivateKey:
    """Another key in the place of one that is lost: the one beside it, if there is one, else a new one.

    Raises:
        ArgumentError: the key is not lost.
        StorageError: it cannot be written.
    """
    with _alone(folder):
        path = folder / KEY
        if _usable(path):
            raise ArgumentError(
                f"{path} is there, and can sign for the next one.", "Say the same without --lost."
            )
        if _usable(folder / FOLLOWING):
            replace_secret(folder / FOLLOWING, path)
        else:
            made = Ed25519PrivateKey.generate().private_bytes_raw()
            write_atomically(path, made, "Free the disk.", mode=0o600)
        return _read(path, _REMEDY)


def settle(folder: Path, coordinator: bytes) -> bool:
    """Put the following key in force, once a roster that everybody has signed holds it; whether it was.

    Args:
        folder: the coordinator's.
        coordinator: the key of the roster in force, 32 bytes.

    Raises:
        StorageError: it cannot be done; both files stay.
    """
    with _alone(folder):
        wipe_replaced(folder / KEY)
        new = _following(folder)
        if new is None or keys.public_bytes(new) != coordinator:
            return False
        replace_secret(folder / FOLLOWING, folder / KEY)
        return True


def _following(folder: Path) -> Ed25519PrivateKey | None:
    path = folder / FOLLOWING
    if not path.exists():
        return None
    return _read(path, "Remove it; `fedrepay coordinator rotate-key` makes another.")


def _usable(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        _read(path, _REMEDY)
    except StorageError:
        return False
    return True


def _read(path: Path, remedy: str) -> Ed25519PrivateKey:
    try:
        private_file(path)
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"The coordinator's key {path} cannot be used: {error}.", remedy) from error


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time makes, changes or reads them."""
    try:
        private_folder(folder)
    except OSError as error:
        raise StorageError.unwritten(folder, error, _REMEDY) from error
    taken = StorageError(
        f"Another process makes a key in {folder}, and does not end.", "Stop it, and try again."
    )
    with held(folder / ".making-key", taken, _REMEDY, _soon(200)):
        yield


def _soon(times: int) -> Callable[[], bool]:
    """Waits a little, so many times."""
    left = iter(range(times))

    def again() -> bool:
        sleep(0.05)
        return next(left, None) is not None

    return again

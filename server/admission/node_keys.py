"""Where the coordinator keeps the keys of the nodes that may pass the front: ``nodes/NAME.pub``, one a name."""

from pathlib import Path

from fedrepay.shared.errors import StorageError

FOLDER, ENDING = "nodes", ".pub"


def remove(folder: Path, name: str) -> None:
    """Shut a node out, from its next request on; nothing where there is none.

    Args:
        folder: the coordinator's.
        name: of the member.

    Raises:
        StorageError: the key cannot be removed.
    """
    path = folder / FOLDER / f"{name}{ENDING}"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be removed: {error.strerror}.", "Remove it: until then the node passes the front."
        ) from error

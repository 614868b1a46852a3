"""The key by which the SuperLink knows a member's Flower node: ECDSA P-384, OpenSSH files, as Flower wants it.

It lets the node take part in the transport, no more: what a member says is signed with its Ed25519 key.
"""

from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
    load_ssh_public_key,
)

from fedrepay.shared.errors import StorageError
from fedrepay.shared.files import write_atomically

PRIVATE, PUBLIC = "node.key", "node.pub"


def create(folder: Path) -> None:
    """Write ``node.key`` (0600) and ``node.pub``; an existing key is never overwritten.

    Raises:
        StorageError: it exists or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    remedy = "Choose an empty folder."
    write_atomically(folder / PRIVATE, private, remedy, mode=0o600, over=False)
    write_atomically(
        folder / PUBLIC, public + b"\n", remedy
    )  # last: it would not fit a key that is there already


def publish(folder: Path) -> None:
    """Write ``node.pub`` of the ``node.key`` that is there.

    Raises:
        StorageError: the key is damaged, or the folder cannot be written.
    """
    try:
        key = load_ssh_private_key((folder / PRIVATE).read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):  # their text may quote the file
        raise StorageError(f"{folder / PRIVATE} is damaged.", "Restore it, or enrol again.") from None
    line = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    write_atomically(folder / PUBLIC, line + b"\n", "Free the disk.")


def public(folder: Path) -> bytes:
    """The node's public key (DER), or nothing where the member has no node.

    Raises:
        StorageError: ``node.pub`` cannot be read as such a key.
    """
    path = folder / PUBLIC
    try:
        if not path.exists():
            return b""
        key = load_ssh_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise StorageError(f"{path} is no public key: {error}.", "Restore it, or enrol again.") from error
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

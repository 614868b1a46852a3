"""A member's long-term keys: made at the member, 0600, never sent."""

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto import node_key
from fedrepay.shared import keys
from fedrepay.shared.errors import StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.private import private_file, private_folder
from fedrepay.shared.trust.roster import Entry

KEY = "identity.key"


@dataclass(frozen=True)
class Identity:
    """Name, signing key (Ed25519), sealing key (X25519), and a secret for keyed hashes of own data.

    ``node`` is the public key of the Flower node that relays to it (DER), empty where there is no network.
    """

    name: str
    signing: Ed25519PrivateKey
    sealing: X25519PrivateKey
    local: bytes
    node: bytes = b""

    @classmethod
    def create(cls, name: str) -> "Identity":
        """Fresh keys from OS entropy."""
        return cls(name, Ed25519PrivateKey.generate(), X25519PrivateKey.generate(), os.urandom(32))

    @classmethod
    def load(cls, name: str, folder: Path) -> "Identity":
        """Read keys that :meth:`save` wrote.

        Raises:
            StorageError: the key file is missing or damaged.
        """
        path = folder / KEY
        try:
            raw = path.read_bytes()
            private_file(path)
            if len(raw) != 96:
                raise ValueError(len(raw))
            return cls(
                name,
                Ed25519PrivateKey.from_private_bytes(raw[:32]),
                X25519PrivateKey.from_private_bytes(raw[32:64]),
                raw[64:],
                node_key.public(folder),
            )
        except (OSError, ValueError) as error:
            raise StorageError(
                f"The key file {path} is missing or damaged.",
                "Restore it from where the keys are kept, or enrol again with new keys.",
            ) from error

    def save(self, folder: Path) -> None:
        """Write ``identity.key`` (0600) once; an existing one is never overwritten.

        Raises:
            StorageError: it exists or cannot be written.
        """
        path, remedy = folder / KEY, "Choose an empty folder."
        try:
            private_folder(folder)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.", remedy) from error
        raw = self.signing.private_bytes_raw() + self.sealing.private_bytes_raw() + self.local
        write_atomically(path, raw, remedy, mode=0o600, over=False)

    def entry(self) -> Entry:
        """What the roster says about this member."""
        return Entry(
            name=self.name,
            signing=keys.public_bytes(self.signing),
            sealing=keys.public_bytes(self.sealing),
            node=self.node,
        )

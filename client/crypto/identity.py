"""A member's long-term keys: made at the member, 0600, never sent."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.crypto import node_key
from fedrepay.shared import keys
from fedrepay.shared.errors import StorageError
from fedrepay.shared.files import replace_secret, wipe_replaced, write_atomically
from fedrepay.shared.private import private_file, private_folder
from fedrepay.shared.trust.roster import Entry

IN_FORCE, FOLLOWING = "identity.key", "identity.next"
"""The keys of the roster a member takes part in, and those it joins the next one with."""


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
    def load(cls, name: str, folder: Path, file: str = IN_FORCE) -> "Identity":
        """Read keys that :meth:`save` wrote.

        Raises:
            StorageError: the key file is missing or damaged.
        """
        path = folder / file
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

    def save(self, folder: Path, file: str = IN_FORCE) -> None:
        """Write the key file (0600) once; an existing one is never overwritten.

        Raises:
            StorageError: it exists or cannot be written.
        """
        path, remedy = folder / file, "Choose an empty folder."
        try:
            private_folder(folder)
        except OSError as error:
            raise StorageError.unwritten(path, error, remedy) from error
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


class Keyring:
    """A member's folder of keys: those in force, and new ones beside them until a roster holds them.

    The private halves never leave it. A process may die anywhere: ``identity.key`` is always one whole set of keys, and
    ``identity.next``, where there is one, another.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name, self._folder = name, folder

    def rotate(self) -> Identity:
        """New keys, made beside the ones in force; those that are there already are kept: a proposal may hold them.

        Raises:
            StorageError: there are no keys in force, or the new ones cannot be written.
        """
        following = self.following()
        if following is not None:
            return following
        kept = Identity.load(self._name, self._folder)
        made = replace(Identity.create(self._name), local=kept.local, node=kept.node)
        made.save(self._folder, FOLLOWING)
        return made

    def following(self) -> Identity | None:
        """The new keys, if there are any.

        Raises:
            StorageError: their file is damaged.
        """
        wipe_replaced(self._folder / IN_FORCE)
        if not (self._folder / FOLLOWING).exists():
            return None
        return Identity.load(self._name, self._folder, FOLLOWING)

    def take(self) -> None:
        """Put the new keys in the old ones' place, in one step; then the old file's bytes are overwritten.

        Raises:
            StorageError: it cannot be done; the keys in force stay.
        """
        replace_secret(self._folder / FOLLOWING, self._folder / IN_FORCE)

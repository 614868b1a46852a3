"""Which nodes may pass the front: a folder of their public keys, and Flower's own proof of holding one.

A SuperNode signs the time of each request (Flower 1.41, ``flwr.superlink.routers.fleet.node_auth``). The
SuperLink checks that once it has the whole body; the front checks the same before it reads any of it, and takes
keys from the coordinator's folder alone: ``nodes/NAME.pub``, one a name. What is put there or taken away counts
from the next request on.
"""

import re
import time
from base64 import b64decode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from fedrepay.server.admission.node_keys import ENDING, FOLDER
from fedrepay.shared.errors import ArgumentError, StorageError

if TYPE_CHECKING:
    from fedrepay.server.network.superlink import Control

PUBLIC_KEY, SIGNATURE, TIMESTAMP = "flwr-public-key", "flwr-signature", "flwr-timestamp"
OLDEST, SKEW = 300, 5  # seconds: how old a signed time may be, and how wrong a clock
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SETTLED = 2.0  # seconds after which a change of the folder shows in its time, on any file system


def register(folder: Path, control: "Control", public_key: bytes, name: str) -> int:
    """Let a node in, at the front and at the SuperLink: its id.

    The front's copy is written first, since the SuperLink takes a key once only; a key that the SuperLink does
    not know is refused there.

    Raises:
        ArgumentError: no such key, no such name, or the name has another key.
        NetworkError: the SuperLink does not answer, or had the key before.
        StorageError: the folder cannot be written.
    """
    add(folder, public_key, name)
    return control.register(public_key, name)


def add(folder: Path, public_key: bytes, name: str) -> None:
    """Let a node pass the front.

    Args:
        folder: the coordinator's.
        public_key: of ``node.pub`` (OpenSSH, a NIST curve).
        name: of the member; its key is kept under it.

    Raises:
        ArgumentError: no such key, no such name, or the name has another key.
        StorageError: the folder cannot be written.
    """
    if _NAME.fullmatch(name) is None:
        raise ArgumentError(f"{name!r} is no name.", "Letters, digits, '_', '.' and '-'; at most 63.")
    try:
        _read(public_key)
    except ValueError:  # its text quotes the file, which may be a private key
        raise ArgumentError(
            f"What was given for {name} is no public key of a node (OpenSSH).",
            "Name node.pub of `fedrepay member init`.",
        ) from None
    path = folder / FOLDER / f"{name}{ENDING}"
    try:
        path.parent.mkdir(exist_ok=True)
        if path.exists() and _read(path.read_bytes())[0] != _read(public_key)[0]:
            raise ArgumentError(
                f"{name} has another key already.", f"Remove {path} first, or choose another name."
            )
        unfinished = path.with_suffix(".new")
        unfinished.write_bytes(public_key)
        unfinished.rename(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror}.", "Check rights and disk."
        ) from error


def _read(public_key: bytes) -> tuple[bytes, ec.EllipticCurvePublicKey]:
    """The key as Flower's headers carry it, and itself.

    Raises:
        ValueError: it is none.
    """
    try:
        key = load_ssh_public_key(public_key)
    except UnsupportedAlgorithm as error:
        raise ValueError("another algorithm") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("not on a curve")  # noqa: TRY004 - it is the value of a file
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), key


class Nodes:
    """The registered nodes, as the folder has them now.

    Args:
        folder: the coordinator's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / FOLDER
        self._keys: dict[bytes, tuple[str, ec.EllipticCurvePublicKey]] = {}
        self._changed: int | None = None

    def caller(self, headers: Mapping[str, str]) -> bytes | None:
        """The key of the node that sends these headers, or None if none of ours does.

        Args:
            headers: of the request, by names in small letters.
        """
        try:
            public_key, signature = (
                b64decode(headers[name], validate=True) for name in (PUBLIC_KEY, SIGNATURE)
            )
            timestamp = headers[TIMESTAMP]
            age = (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()
            _, key = self._now().get(public_key, ("", None))
            if key is None or not -SKEW < age < OLDEST + SKEW:
                return None
            key.verify(signature, timestamp.encode("ascii"), ec.ECDSA(hashes.SHA256()))
        except (
            KeyError,
            ValueError,
            TypeError,
            InvalidSignature,
        ):  # as Flower; a time without a zone is a TypeError
            return None
        return public_key

    def name(self, key: bytes) -> str:
        """Of the member whose key ``caller`` told."""
        return self._keys[key][0]

    def _now(self) -> dict[bytes, tuple[str, ec.EllipticCurvePublicKey]]:
        """The keys, read again when the folder has changed."""
        try:
            changed = self._folder.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if changed != self._changed:
            read = [(path.stem, _readable(path)) for path in self._folder.glob(f"*{ENDING}")]
            self._keys = {each[0]: (name, each[1]) for name, each in read if each is not None}
            # a second change within the folder's tick would not show: such a time is not relied upon
            self._changed = changed if time.time_ns() - changed > _SETTLED * 1e9 else None
        return self._keys


def _readable(path: Path) -> tuple[bytes, ec.EllipticCurvePublicKey] | None:
    """A key's file; one that is gone meanwhile, or is none, lets nobody in."""
    try:
        return _read(path.read_bytes())
    except (OSError, ValueError):
        return None

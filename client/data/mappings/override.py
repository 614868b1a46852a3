"""A member's signed word that its mapping keeps customers apart although the checks refuse it."""

import json
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.client.data.mappings.mapping import Mapping
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, MappingError, ProtocolError
from fedrepay.shared.files import write_atomically

LABEL = "mapping-override"
LONGEST_REASON = 1000
"""Characters of a reason."""


@dataclass(frozen=True)
class Override:
    """``reason`` as signed, and the 32-byte ``digest`` of mapping, reason and signature that others are shown."""

    reason: str
    digest: bytes


def path_of(mapping: Path) -> Path:
    """Where a mapping's override lies: ``mine.toml`` has ``mine.override`` beside it."""
    return mapping.with_suffix(".override")


def sign(key: Ed25519PrivateKey, mapping: Path, digest: bytes, reason: str) -> Override:
    """Write the override of a mapping, in place of an older one.

    Args:
        key: the member's signing key.
        mapping: its file.
        digest: SHA-256 of the file's bytes.
        reason: why its rows are apart all the same, or why that is accepted.

    Raises:
        ArgumentError: the reason is empty or too long.
        StorageError: the file cannot be written.
    """
    said = " ".join(reason.split())
    if not said or len(said) > LONGEST_REASON:
        raise ArgumentError(
            f"--reason has {len(said)} characters; it must have 1 to {LONGEST_REASON}.",
            "Say why, in a sentence.",
        )
    signature = keys.sign(key, LABEL, _body(digest, said))
    text = {"mapping_sha256": digest.hex(), "reason": said, "signature": signature.hex()}
    content = json.dumps(text, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path_of(mapping), content.encode(), "Check the folder.")
    return Override(said, keys.digest(_body(digest, said), signature))


def load(public: bytes, mapping: Path, given: Mapping) -> Override | None:
    """The override beside a mapping, verified; None if there is none.

    Args:
        public: the member's own Ed25519 key; nobody else's word counts.
        mapping: the file.
        given: the mapping as read from it.

    Raises:
        MappingError: the override is damaged, not by this key, or of other bytes than the mapping's.
    """
    source = path_of(mapping)
    remedy = "Read the mapping again, then sign it anew with `fedrepay member override-mapping`, or delete the file."
    try:
        text = json.loads(source.read_text(encoding="utf-8"))
        digest, signature = bytes.fromhex(text["mapping_sha256"]), bytes.fromhex(text["signature"])
        reason = str(text["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MappingError(
            f"{source} is not an override of a mapping: {type(error).__name__}.", remedy
        ) from error
    if digest != given.digest:
        raise MappingError(f"{source} was signed for other bytes than {mapping.name} holds now.", remedy)
    try:
        keys.verify(public, LABEL, _body(digest, reason), signature)
    except ProtocolError as error:
        raise MappingError(f"{source} is not signed by this member's key.", remedy) from error
    return Override(reason, keys.digest(_body(digest, reason), signature))


def _body(digest: bytes, reason: str) -> bytes:
    return keys.digest(digest, reason.encode())

"""Signatures, key derivation, envelopes and seals: thin, labelled uses of ``cryptography``.

Every signature and every derived key carries a label, so that bytes made for one purpose
mean nothing for another. Ed25519: RFC 8032; X25519: RFC 7748; HKDF: RFC 5869; HPKE: RFC 9180.
"""

from functools import lru_cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedrepay.shared.errors import ProtocolError

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
_ZERO_NONCE = bytes(12)  # each AEAD key below seals exactly one message


def digest(*parts: bytes) -> bytes:
    """SHA-256 over length-prefixed parts (32 bytes), so that no two lists of parts collide."""
    state = sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return state.digest()


def derive(secret: bytes, label: str, info: bytes = b"") -> bytes:
    """HKDF-SHA256 of ``secret`` for one labelled purpose; 32 bytes."""
    return HKDF(SHA256(), 32, None, b"fedrepay/" + label.encode() + b"\x00" + info).derive(secret)


def key_hash(signing_key: bytes) -> bytes:
    """The order of members: SHA-256 of the Ed25519 public key (32 bytes)."""
    return sha256(signing_key).digest()


def sign(key: Ed25519PrivateKey, label: str, body: bytes) -> bytes:
    """Ed25519 signature (64 bytes) over the label and the body."""
    return key.sign(digest(label.encode(), body))


def verify(public: bytes, label: str, body: bytes, signature: bytes) -> None:
    """Check a signature made by :func:`sign`.

    Raises:
        ProtocolError: the signature is not ``public``'s over this label and body.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, digest(label.encode(), body))
    except (InvalidSignature, ValueError) as error:
        raise ProtocolError(
            f"A signature on a message of kind {label!r} does not verify.",
            "The message was changed on its way or comes from a key outside the roster; do not use it.",
        ) from error


def public_bytes(key: Ed25519PrivateKey | X25519PrivateKey) -> bytes:
    """The 32 raw bytes of the public half."""
    return key.public_key().public_bytes_raw()


def shared_secret(key: X25519PrivateKey, peer: bytes) -> bytes:
    """X25519 of our private and the peer's public key (32 bytes).

    Raises:
        ProtocolError: the peer's key is of low order or malformed.
    """
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(peer))
    except ValueError as error:
        raise ProtocolError(
            "A member's mask key is not a usable X25519 key.", "Start a new epoch."
        ) from error


_PROBE = X25519PrivateKey.from_private_bytes(bytes([1] * 32))


@lru_cache(maxsize=1 << 13)  # a thousand members of one process ask about the same keys
def _usable(public: bytes) -> bool:
    try:
        _PROBE.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        return False
    return True


def check_exchange(public: bytes, whose: str) -> None:
    """Refuse an X25519 key of low order: whatever is made with it would be known to all (RFC 7748, section 6.1).

    Args:
        public: the key, 32 bytes.
        whose: names it, and so who sent it.

    Raises:
        ProtocolError: the exchange with it gives zeros.
    """
    if not _usable(public):
        raise ProtocolError(
            f"{whose} is of low order.", "Whoever sent it is at fault; leave it out or ask it for another."
        )


def hpke_seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """HPKE base mode to an X25519 key (RFC 9180); the sender must sign the result.

    Raises:
        ProtocolError: the key is of low order or malformed.
    """
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), info)
    except ValueError as error:
        raise ProtocolError(
            "A member's key for envelopes is not a usable X25519 key.", "Start a new epoch."
        ) from error


def hpke_open(key: X25519PrivateKey, sealed: bytes, info: bytes) -> bytes:
    """Open what :func:`hpke_seal` sealed to us.

    Raises:
        ProtocolError: it was not sealed to this key for this purpose.
    """
    try:
        return _SUITE.decrypt(sealed, key, info)
    except (InvalidTag, ValueError) as error:
        raise ProtocolError(
            "A sealed envelope does not open with this member's key.", "Start a new epoch."
        ) from error


def seal_once(key: bytes, plaintext: bytes, info: bytes) -> bytes:
    """ChaCha20-Poly1305 (RFC 8439) under a key that seals this one message and nothing else."""
    return ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, plaintext, info)


def open_once(key: bytes, sealed: bytes, info: bytes) -> bytes:
    """Open what :func:`seal_once` sealed.

    Raises:
        ProtocolError: another key, another purpose, or changed bytes.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, sealed, info)
    except InvalidTag as error:
        raise ProtocolError("Sealed bytes do not open.", "Start a new epoch.") from error

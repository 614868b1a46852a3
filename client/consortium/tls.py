"""A member's TLS key and certificate (ECDSA P-256): made here, certified by the consortium's authority, renewed at half-life.

A refused client certificate looks to the one who is refused like a socket that closes, whatever the cause (measured, grpcio
1.81), so everything that can be wrong with it is looked at here first.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from fedrepay.client.node import setup
from fedrepay.shared.errors import NetworkError, StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.text import printable

KEY, CERTIFICATE, AUTHORITY = "tls.key", setup.CERTIFICATE, "ca.pem"
NEXT_KEY = "tls.next.key"
"""Of a certificate that is asked for: it takes the key's place after the certificate has taken the old one's."""
_RENEW = (
    "`fedrepay member run` renews it while it is valid; once it has ended, join again with a new invitation."
)


@dataclass(frozen=True)
class Certified:
    """What a member's certificate says; times are seconds since 1970."""

    issuer: str
    begins: float
    ends: float
    fingerprint: bytes

    @property
    def half(self) -> float:
        """When it is to be renewed."""
        return (self.begins + self.ends) / 2


def authority_of(pem: bytes) -> tuple[bytes, bytes]:
    """A PEM file's certificate alone, without comments, and its SHA-256 over DER (32 bytes).

    Raises:
        NetworkError: it is no certificate.
    """
    found = _certificate(pem, "The authority's certificate")
    return found.public_bytes(Encoding.PEM), hashlib.sha256(found.public_bytes(Encoding.DER)).digest()


def create(folder: Path, name: str, file: str = KEY) -> bytes:
    """Make a key in the folder, or use the one that is there, and a request for a certificate (PEM, PKCS#10) over it.

    Raises:
        StorageError: it cannot be written or read.
    """
    path = folder / file
    if path.exists():
        key = _key(path)
    else:
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomically(path, private, mode=0o600, over=False)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return made.public_bytes(Encoding.PEM)


def accept(folder: Path, certificate: bytes, now: float, file: str = KEY) -> Certified:
    """Write a certificate that the authority issued to one of the folder's keys; with a next key, that one takes over.

    Raises:
        NetworkError: it is another key's, another authority's, or not valid now.
        StorageError: it cannot be written.
    """
    said = _fits(folder, certificate, file, now)
    only = _certificate(certificate, "The certificate").public_bytes(Encoding.PEM)
    write_atomically(folder / CERTIFICATE, only, mode=0o600)
    settle(folder)
    return said


def settle(folder: Path) -> None:
    """Put the next key in its place if its certificate is there already: a process may end between the two.

    Raises:
        StorageError: a file cannot be read.
    """
    following = folder / NEXT_KEY
    if not following.exists() or not (folder / CERTIFICATE).exists():
        return
    held = _certificate((folder / CERTIFICATE).read_bytes(), CERTIFICATE)
    if _public(held.public_key()) == _public(_key(following).public_key()):
        following.replace(folder / KEY)


def check(folder: Path, now: float) -> Certified:
    """What the folder's certificate says, once it is found good.

    Args:
        folder: the member's.
        now: seconds since 1970.

    Raises:
        NetworkError: it is missing, has ended or not begun, is another authority's, or does not fit the key.
        StorageError: a file cannot be read.
    """
    settle(folder)
    path = folder / CERTIFICATE
    if not path.is_file():
        raise NetworkError(
            f"{folder} holds no certificate yet.",
            "`fedrepay member join` with the operator's invitation gets one.",
        )
    try:
        return _fits(folder, path.read_bytes(), KEY, now)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.", "Check its rights.") from error


def ended(folder: Path, now: float) -> bool:
    """Whether the folder's certificate has ended.

    Raises:
        NetworkError: it is none.
        StorageError: it cannot be read.
    """
    return now > facts(_certificate(_read(folder / CERTIFICATE), CERTIFICATE)).ends


def _fits(folder: Path, pem: bytes, file: str, now: float) -> Certified:
    found = _certificate(pem, "The certificate")
    said = facts(found)
    if _public(found.public_key()) != _public(_key(folder / file).public_key()):
        raise NetworkError(
            f"The certificate belongs to another key than {file}.", "Restore both, or join again."
        )
    authority = _certificate(_read(folder / AUTHORITY), AUTHORITY)
    try:
        found.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise NetworkError(
            f"The certificate was issued by {said.issuer}, not by this consortium's authority.",
            "Is the folder another consortium's? Else join again.",
        ) from error
    if now > said.ends:
        raise NetworkError(f"The certificate ended on {_day(said.ends)}.", _RENEW)
    if now < said.begins:
        raise NetworkError(
            f"The certificate begins on {_day(said.begins)}, which this machine's clock has not reached.",
            "Set the clock (NTP).",
        )
    return said


def facts(certificate: x509.Certificate) -> Certified:
    """What a certificate says of itself."""
    return Certified(
        printable(certificate.issuer.rfc4514_string(), 120),
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        certificate.fingerprint(hashes.SHA256()),
    )


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(" ", "minutes")


def _certificate(pem: bytes, what: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise NetworkError(
            f"{what} is no certificate in PEM.", "Join again, or restore the folder."
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(
            f"{path} cannot be read: {error.strerror}.", "Restore it, or join again."
        ) from error


def _key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(_read(path), None)
    except (ValueError, TypeError):  # their text may quote the file
        raise StorageError(f"{path} is damaged.", "Restore it, or join again.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StorageError(f"{path} is no key on a curve.", "Restore it, or join again.")
    return key


def _public(key: object) -> bytes:
    """A public key as bytes (DER); nothing for one of a kind that has none."""
    return (
        key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if hasattr(key, "public_bytes")
        else b""
    )

"""The consortium's own certificate authority: of its front, SuperLink and service, and of members (ECDSA P-256)."""

import hashlib
import ipaddress
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedrepay.server.database import where
from fedrepay.shared.errors import ArgumentError, ProtocolError, StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.shared.text import printable

AUTHORITY, CERTIFICATE, KEY = where.AUTHORITY, "server.pem", "server.key"
AUTHORITY_KEY = "ca.key"
_AUTHORITY_DAYS, _SERVER_DAYS = 3650, 365
CLIENT_DAYS = 30
"""Of a member's certificate: there is no list of those taken back, so each ends soon by itself."""
IDENTITY = "fedrepay:"
"""Before the member's name in the one URI of its certificate."""
_NAME = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*"
)
_SKEW = timedelta(minutes=5)  # members' clocks may be late


def create(folder: Path, hosts: Sequence[str]) -> None:
    """Write ``ca.pem``, ``ca.key``, ``server.pem`` and ``server.key`` (keys 0600); none is overwritten.

    Args:
        folder: the coordinator's.
        hosts: names and IP addresses by which members reach the front; localhost is always among them.

    Raises:
        StorageError: one exists or cannot be written.
    """
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = _name("fedrepay consortium")
    authority = (
        _base(issuer, issuer, authority_key.public_key(), _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    named = list(dict.fromkeys([*hosts, "localhost", "127.0.0.1"]))
    server = (
        _base(_name(named[0]), issuer, key.public_key(), _SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_host(each) for each in named]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    _write(folder / AUTHORITY_KEY, _private(authority_key), 0o600)
    _write(folder / KEY, _private(key), 0o600)
    _write(folder / AUTHORITY, authority.public_bytes(Encoding.PEM), 0o644)
    _write(folder / CERTIFICATE, server.public_bytes(Encoding.PEM), 0o644)


def refresh(folder: Path, now: float) -> bool:
    """Issue the server's certificate anew, for the same key and names, where half of its life is over.

    Args:
        folder: the coordinator's.
        now: seconds since 1970.

    Returns:
        whether there is a new one. Front and service read it at the next handshake; the SuperLink reads it once, when it
        starts (``operating.children``).

    Raises:
        StorageError: a certificate or key cannot be read or written.
    """
    path = folder / CERTIFICATE
    try:
        old = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be used.", "Restore it from a backup.") from error
    if now < (old.not_valid_before_utc.timestamp() + old.not_valid_after_utc.timestamp()) / 2:
        return False
    key, signer = old.public_key(), _authority_key(folder)
    assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - we made it
    made = _base(old.subject, _authority(folder).subject, key, _SERVER_DAYS)
    for each in old.extensions:
        made = made.add_extension(each.value, each.critical)
    write_atomically(path, made.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM), mode=0o644)
    return True


def authority_digest(folder: Path) -> bytes:
    """SHA-256 of the authority's certificate (DER), which invitations carry; 32 bytes.

    Raises:
        StorageError: it cannot be read.
    """
    return hashlib.sha256(_authority(folder).public_bytes(Encoding.DER)).digest()


def ends(pem: bytes) -> float:
    """When a certificate ends, in seconds since 1970."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()


def fingerprint(pem: bytes) -> bytes:
    """SHA-256 of a certificate (DER), 32 bytes."""
    return hashlib.sha256(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)).digest()


def request_key(request: bytes) -> bytes:
    """The public key of a certificate request, once it has proven to hold the private one (DER).

    Args:
        request: PKCS#10, PEM.

    Raises:
        ProtocolError: no such request, another kind of key than P-256, or a signature that is not the key's.
    """
    try:
        asked = x509.load_pem_x509_csr(request)
        key = asked.public_key()
        good = asked.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm):  # their text may quote what came
        raise ProtocolError(
            "This is no certificate request.", "Make it anew with the same fedrepay."
        ) from None
    if not (isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1)):
        raise ProtocolError("The key of a certificate request must be on P-256.", "Make a new one.")
    if not good:
        raise ProtocolError("A certificate request is not signed by its own key.", "Make a new one.")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issue(folder: Path, request: bytes, name: str, days: int = CLIENT_DAYS) -> bytes:
    """A member's certificate (PEM, the leaf alone): for TLS as a client, under one URI ``fedrepay:NAME``.

    Nothing that the request says is taken over but its key.

    Args:
        folder: the coordinator's, with the authority's key.
        request: PKCS#10, PEM.
        name: of the member.
        days: that it is good for.

    Raises:
        ProtocolError: as of :func:`request_key`.
        StorageError: the authority cannot be read.
    """
    request_key(request)
    asked = x509.load_pem_x509_csr(request).public_key()
    assert isinstance(asked, ec.EllipticCurvePublicKey)  # noqa: S101 - looked at above
    authority, key = _authority(folder), _authority_key(folder)
    return (
        _base(_name(name), authority.subject, asked, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(IDENTITY + name)]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(asked), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def _authority(folder: Path) -> x509.Certificate:
    path = folder / AUTHORITY
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be used.", "Restore it from a backup.") from error


def _authority_key(folder: Path) -> ec.EllipticCurvePrivateKey:
    path = folder / AUTHORITY_KEY
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm):  # their text may quote the key's file
        raise StorageError(f"{path} cannot be used.", "Restore it from a backup.") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise StorageError(f"{path} is no key on a curve.", "Restore it from a backup.")
    return key


def _base(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        if _NAME.fullmatch(text) is None:
            raise ArgumentError(
                f"{printable(text)!r} is no host's name or address.",
                "Letters, digits, '-' and dots; a name in other letters by its form in DNS (xn--…).",
            ) from None
        return x509.DNSName(text)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, data: bytes, mode: int) -> None:
    try:
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            file.write(data)
    except OSError as error:
        raise StorageError.unwritten(path, error, "Choose a folder without certificates.") from error

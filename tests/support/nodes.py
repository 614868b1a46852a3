"""A member as the front and the service see it: a node's key with Flower's headers signed by it, and a TLS certificate."""

from base64 import b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
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

from fedrepay.server.admission import certificates
from fedrepay.server.front import nodes


class Node:
    """A key of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._key = ec.generate_private_key(ec.SECP384R1())

    @property
    def public(self) -> bytes:
        """As ``node.pub`` holds it."""
        return self._key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)

    def join(self, folder: Path) -> None:
        """Be let in."""
        nodes.add(folder, self.public, self.name)

    def headers(self, age: float = 0.0, said: str = "") -> dict[str, str]:
        """Signed ``age`` seconds ago, or over that text in place of a time."""
        timestamp = said or (datetime.now(UTC) - timedelta(seconds=age)).isoformat()
        signature = self._key.sign(timestamp.encode(), ec.ECDSA(hashes.SHA256()))
        public = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return {
            nodes.PUBLIC_KEY: b64encode(public).decode(),
            nodes.SIGNATURE: b64encode(signature).decode(),
            nodes.TIMESTAMP: timestamp,
        }

    def calling(self, url: str, **options: Any) -> httpx.Client:
        """A client that signs each of its requests."""

        def sign(request: httpx.Request) -> None:
            request.headers.update(self.headers())

        return httpx.Client(base_url=url, timeout=30, event_hooks={"request": [sign]}, **options)


def member_certificate(folder: Path, name: str) -> tuple[bytes, bytes]:
    """A client certificate of the authority in ``folder``, and its key (PEM, P-256)."""
    authority = x509.load_pem_x509_certificate((folder / certificates.AUTHORITY).read_bytes())
    signer = load_pem_private_key((folder / certificates.AUTHORITY_KEY).read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), private

"""Institutions that would join a consortium, and the folder of a coordinator that they ask."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.shared import keys
from fedrepay.shared.trust import agreement
from fedrepay.shared.trust.agreement import ConsortiumTerms
from fedrepay.shared.trust.joining import VERSION, Invitation, JoinRequest
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry

ADDRESS = "consortium.example:443"
TERMS = ConsortiumTerms(name="Debt learners", address=ADDRESS, schemas=("ab" * 32,))


class Newcomer:
    """One institution with keys of its own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.signing, self.sealing = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
        self.node, self.tls = ec.generate_private_key(ec.SECP384R1()), ec.generate_private_key(ec.SECP256R1())

    def entry(self, **changed: Any) -> Entry:
        facts = {
            "name": self.name,
            "signing": keys.public_bytes(self.signing),
            "sealing": keys.public_bytes(self.sealing),
            "node": self.node.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        }
        return Entry.model_validate(facts | changed)

    def csr(self, key: Any = None) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "anything at all")])
        built = x509.CertificateSigningRequestBuilder().subject_name(subject)
        return built.sign(self.tls if key is None else key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def request(self, invitation: Invitation, **changed: Any) -> JoinRequest:
        facts: dict[str, Any] = {
            "version": VERSION,
            "product": "0.1.0",
            "secret": invitation.secret,
            "entry": self.entry(),
            "request": self.csr(),
            "agreed": agreement.hashed(agreement.write(TERMS)),
        }
        return JoinRequest.model_validate(facts | changed)

    def asks(self, invitation: Invitation, signer: Ed25519PrivateKey | None = None, **changed: Any) -> Signed:
        return Signed.make(signer or self.signing, self.request(invitation, **changed))


class Desk:
    """A coordinator's folder, its registry, and a clock that a test sets."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        certificates.create(folder, ["consortium.example"])
        (folder / agreement.FILE).write_bytes(agreement.write(TERMS))
        self.folder, self.now, self.url = folder, time.time(), url
        self.authority = certificates.authority_digest(folder)
        self.registry = self.opened()
        self.issue = partial(certificates.issue, folder)

    def opened(self) -> Registry:
        """The registry as another process has it."""
        return Registry(self.folder, lambda: self.now, self.url)

    def invite(self, name: str, days: float = 7.0) -> Invitation:
        return self.registry.invite(name, ADDRESS, self.authority, days)

    def admitted(self, name: str) -> Newcomer:
        who = Newcomer(name)
        assert self.registry.join(who.asks(self.invite(name))).state == "waiting"
        self.registry.admit(name, self.issue)
        return who

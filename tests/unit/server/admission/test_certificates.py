"""The authority's certificates: whose they are, what they are good for, and for how long."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedrepay.server.admission import certificates
from fedrepay.shared.errors import ArgumentError, ProtocolError, StorageError
from support.newcomers import Newcomer


def loaded(folder: Path, name: str = certificates.CERTIFICATE) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / name).read_bytes())


def test_the_front_is_known_by_its_hosts_and_loopback(tmp_path: Path) -> None:
    certificates.create(tmp_path, ["consortium.example", "192.0.2.7", "localhost"])
    names = loaded(tmp_path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["consortium.example", "localhost"]
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7", "127.0.0.1"]
    for name in (certificates.KEY, certificates.AUTHORITY_KEY):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    certificates.create(tmp_path, [])
    before = certificates.authority_digest(tmp_path)
    with pytest.raises(StorageError):
        certificates.create(tmp_path, [])
    assert certificates.authority_digest(tmp_path) == before


def test_the_authoritys_digest_is_of_its_der(tmp_path: Path) -> None:
    certificates.create(tmp_path, [])
    assert certificates.authority_digest(tmp_path) == loaded(tmp_path, "ca.pem").fingerprint(hashes.SHA256())
    with pytest.raises(StorageError):
        certificates.authority_digest(tmp_path / "nowhere")


def test_a_members_certificate_says_its_name_its_key_and_nothing_of_the_request(tmp_path: Path) -> None:
    certificates.create(tmp_path, [])
    who = Newcomer("bank-a")
    pem = certificates.issue(tmp_path, who.csr(), "bank-a")
    assert pem.count(b"BEGIN CERTIFICATE") == 1
    made = x509.load_pem_x509_certificate(pem)
    made.verify_directly_issued_by(loaded(tmp_path, "ca.pem"))
    assert made.public_key() == who.tls.public_key()
    found = made.extensions
    uris = found.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(uris) == [x509.UniformResourceIdentifier("fedrepay:bank-a")]
    uses = list(found.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert uses == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not found.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.subject.rfc4514_string() == "CN=bank-a"
    life = made.not_valid_after_utc - made.not_valid_before_utc
    assert life.days == certificates.CLIENT_DAYS
    assert certificates.ends(pem) == made.not_valid_after_utc.timestamp()
    assert certificates.fingerprint(pem) == made.fingerprint(hashes.SHA256())
    again = x509.load_pem_x509_certificate(certificates.issue(tmp_path, who.csr(), "bank-a", days=1))
    assert again.serial_number != made.serial_number
    assert (again.not_valid_after_utc - again.not_valid_before_utc).days == 1


def test_openssl_takes_the_chain(tmp_path: Path) -> None:
    certificates.create(tmp_path, [])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / certificates.CERTIFICATE, tmp_path / certificates.KEY)
    context.load_verify_locations(tmp_path / certificates.AUTHORITY)
    assert len(context.get_ca_certs()) == 1


def test_a_request_proves_its_key(tmp_path: Path) -> None:
    who = Newcomer("bank-a")
    der = who.tls.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert certificates.request_key(who.csr()) == der, "control"
    changed = x509.load_pem_x509_csr(who.csr()).public_bytes(Encoding.DER)
    body = changed[:-1] + bytes([changed[-1] ^ 1])
    try:
        forged = x509.load_der_x509_csr(body).public_bytes(Encoding.PEM)
    except ValueError:
        forged = b"no request"
    for request in (forged, who.csr(ec.generate_private_key(ec.SECP384R1())), b"", b"garbage"):
        with pytest.raises(ProtocolError):
            certificates.request_key(request)


def test_another_kind_of_key_is_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    with pytest.raises(ProtocolError, match="P-256"):
        certificates.request_key(built.sign(key, None).public_bytes(Encoding.PEM))


def test_the_servers_certificate_is_issued_anew_when_half_its_life_is_over(tmp_path: Path) -> None:
    certificates.create(tmp_path, ["consortium.example"])
    old = loaded(tmp_path)
    ends = old.not_valid_after_utc.timestamp()
    assert not certificates.refresh(tmp_path, ends - 184 * 86400)
    assert loaded(tmp_path) == old
    assert certificates.refresh(tmp_path, ends - 182 * 86400)
    new = loaded(tmp_path)
    assert new.serial_number != old.serial_number
    assert (new.public_key(), new.subject) == (old.public_key(), old.subject)
    assert list(new.extensions) == list(old.extensions)
    new.verify_directly_issued_by(loaded(tmp_path, "ca.pem"))
    (tmp_path / "server.pem").unlink()
    with pytest.raises(StorageError):
        certificates.refresh(tmp_path, ends)


@pytest.mark.parametrize("host", ["ü.example", "exa mple", "a..b", "-a", "a" * 300, "http://a"])
def test_what_is_no_hosts_name_is_told(tmp_path: Path, host: str) -> None:
    with pytest.raises(ArgumentError, match="is no host's name"):
        certificates.create(tmp_path, [host])
    assert not list(tmp_path.iterdir())

"""What the coordinator adds: only what its sender signed for this very attempt, whole and of the right size."""

from typing import Any

import pytest

from fedrepay.server.protocol.verify import check_upload
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.secure_sum.ciphertext import UPLOAD_BYTES, hashes
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Header, Upload
from support.parties import CONFIG, EPOCH, OTHER, PEOPLE, SIGNED, by, changed, header, told

PAYLOAD = b"a" * UPLOAD_BYTES + b"b" * UPLOAD_BYTES
HEADER = header("m0", chunks=hashes(PAYLOAD))


def upload(payload: bytes = PAYLOAD, *, signer: str = "m0", **fields: Any) -> Upload:
    return Upload(header=by(signer, changed(HEADER, **fields)), payload=payload)


def checked(sent: Upload, signed: Signed = SIGNED, chunks: int = 2, name: str = "m0") -> Header:
    return check_upload(sent, signed, CONFIG, EPOCH, name, chunks)


def test_an_upload_as_it_was_asked_for_is_taken() -> None:
    assert checked(upload()) == HEADER


@pytest.mark.parametrize(
    "fields",
    [{"run": 8}, {"epoch": OTHER}, {"round": 1}, {"attempt": 2}, {"config": OTHER}, {"name": "m1"}],
    ids=lambda fields: next(iter(fields)),
)
def test_what_belongs_to_another_attempt_or_member_is_not_added(fields: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError, match="belongs to another attempt"):
        checked(upload(**fields))


def test_two_configurations_of_one_attempt_are_not_added_together() -> None:
    """A member that was told another cohort or noise under the same numbers has signed that one's digest."""
    with pytest.raises(ProtocolError, match="belongs to another attempt"):
        checked(upload(), told(changed(CONFIG, epsilon=2.0)))


def test_nobody_uploads_in_another_s_place() -> None:
    with pytest.raises(ProtocolError, match="does not verify"):
        checked(upload(signer="m1"))
    with pytest.raises(ProtocolError, match="does not verify"):
        checked(upload(), name="m1")
    assert "m9" not in PEOPLE
    with pytest.raises(ProtocolError, match="not in the roster"):
        checked(upload(), name="m9")


@pytest.mark.parametrize(
    ("sent", "chunks"),
    [
        (upload(PAYLOAD[:-1], chunks=hashes(PAYLOAD[:-1])), 2),
        (upload(PAYLOAD + b"c", chunks=hashes(PAYLOAD + b"c")), 2),
        (upload(tags=(1,)), 2),
        (upload(tags=(1, 2, 3)), 2),
        (upload(), 1),
        (upload(), 3),
    ],
    ids=["a byte less", "a byte more", "a tag less", "a tag more", "one asked for", "three asked for"],
)
def test_another_size_is_not_added(sent: Upload, chunks: int) -> None:
    with pytest.raises(ProtocolError, match="bytes and"):
        checked(sent, chunks=chunks)


@pytest.mark.parametrize(
    "payload", [PAYLOAD[UPLOAD_BYTES:] + PAYLOAD[:UPLOAD_BYTES], b"c" + PAYLOAD[1:], PAYLOAD[:-1] + b"c"]
)
def test_other_ciphertexts_than_were_signed_are_not_added(payload: bytes) -> None:
    with pytest.raises(ProtocolError, match="not the ones it signed"):
        checked(upload(payload))

"""What a process checks once: the same answer for the same bytes, no answer for others, nothing kept of a refusal."""

from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.remembered import EXPANSION, OVERHEAD, Remembered
from fedrepay.shared.trust import handshake, message
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import ReleaseVote


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every Ed25519 check that is really made."""
    checked: list[bytes] = []
    verify = keys.verify

    def noted(public: bytes, label: str, body: bytes, signature: bytes) -> None:
        checked.append(body)
        verify(public, label, body, signature)

    monkeypatch.setattr(keys, "verify", noted)
    monkeypatch.setattr(message, "_verified", Remembered(1 << 20))
    return checked


def test_the_same_bytes_under_the_same_key_are_verified_once(counted: list[bytes]) -> None:
    key = Ed25519PrivateKey.generate()
    public, signed = (
        keys.public_bytes(key),
        Signed.make(key, ReleaseVote(run=1, name="m2", release=bytes(32))),
    )
    again = Signed.decode(signed.encode())  # as another member gets it: equal bytes, another object
    assert signed.verified(public, ReleaseVote) is again.verified(public, ReleaseVote)
    assert len(counted) == 1


def test_other_bytes_another_key_or_another_kind_are_verified_anew_and_refused(counted: list[bytes]) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public, signed = (
        keys.public_bytes(key),
        Signed.make(key, ReleaseVote(run=1, name="m2", release=bytes(32))),
    )
    signed.verified(public, ReleaseVote)
    changed = signed.model_copy(update={"body": ReleaseVote(run=1, name="m3", release=bytes(32)).encode()})
    forged = signed.model_copy(update={"signature": bytes(64)})
    for times in (1, 2):  # a refusal is not kept either
        for asked, under, kind in (
            (changed, public, ReleaseVote),
            (forged, public, ReleaseVote),
            (signed, keys.public_bytes(other), ReleaseVote),
            (signed, public, handshake.EpochStart),
        ):
            with pytest.raises(ProtocolError):
                asked.verified(under, kind)
        assert len(counted) == 1 + 4 * times


def test_a_message_is_parsed_once_for_its_kind() -> None:
    data = ReleaseVote(run=7, name="m1", release=bytes(32)).encode()
    assert ReleaseVote.decode_once(data) is ReleaseVote.decode_once(bytes(bytearray(data)))
    with pytest.raises(ProtocolError):
        handshake.Confirmation.decode_once(data)


def test_what_is_kept_is_bounded_in_bytes_and_the_oldest_goes_first() -> None:
    asked: list[int] = []
    kept: Remembered[int] = Remembered(3 * (OVERHEAD + EXPANSION * 10))

    def answer(number: int) -> int:
        asked.append(number)
        return number

    for number in (1, 2, 3, 1, 4, 1, 2):
        assert kept.get(number, 10, partial(answer, number)) == number
    assert asked == [1, 2, 3, 4, 2]
    for _ in range(2):
        kept.get("large", 1 << 20, partial(answer, 9))
    assert asked[-2:] == [9, 9], "what is larger than the bound is never kept"

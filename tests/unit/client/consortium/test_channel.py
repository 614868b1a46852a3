"""The calls over mutual TLS: what is sent, through which way, and what each refusal says."""

import os
import time
from pathlib import Path

import grpc
import pytest

from fedrepay.client.consortium import requests, tls
from fedrepay.client.consortium.channel import Channel
from fedrepay.client.store import settings
from fedrepay.shared.errors import ArgumentError, NetworkError, StorageError
from fedrepay.shared.trust.asking import AskedOf, Standing
from support import coordinator_stub
from support.coordinator_stub import Stub, coordinator, proxied

STANDING = Standing(agreed=bytes(32), terms=b"", members=(), run=0, state="", waiting=(), releases=())


def test_every_call_is_signed_for_itself_and_answered(stub: Stub, member: Path) -> None:
    stub.asks = [AskedOf(ask=3, kind="propose", shared=b"s", own=b"o")]
    stub.standing, stub.parts = STANDING, {5: os.urandom(3 << 20)}
    with requests.opened(member) as calls:
        assert calls.wait() == AskedOf(ask=3, kind="propose", shared=b"s", own=b"o")
        calls.answer(3, b"reply")
        assert calls.stand() == STANDING
        assert calls.pull(5) == stub.parts[5]
        assert calls.heads() == b"header"
        assert b"BEGIN CERTIFICATE" in calls.renew(tls.create(member, "bank-a"))
        calls.leave(b"leaving")
        calls.rotate(b"rotation")
    assert [method for method, _ in stub.asked] == [
        "Wait",
        "Answer",
        "Stand",
        "Pull",
        "Heads",
        "Renew",
        "Leave",
        "Rotate",
    ]
    assert {said.name for _, said in stub.asked} == {"bank-a"}


def test_it_goes_through_the_proxy_that_is_set_and_no_other(
    stub: Stub, member: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub.standing = STANDING
    sign = requests.by_keys(member)
    with proxied() as proxy, proxied() as other:
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{other.port}")
        monkeypatch.setenv("https_proxy", f"http://user:pass@127.0.0.1:{other.port}")
        way = f"http://user:pass@127.0.0.1:{proxy.port}"
        with Channel(stub.address, member, sign, way) as calls:
            assert calls.stand() == STANDING
        assert proxy.passed == [stub.address]
        with Channel(stub.address, member, sign) as calls:
            assert calls.stand() == STANDING
        assert (proxy.passed, other.passed) == ([stub.address], []), "no proxy set: none used"
        with Channel(stub.address, member, sign, way.replace("pass", "word")) as calls:
            with pytest.raises(NetworkError, match="407") as told:
                calls.stand()
            assert "password of `proxy`" in told.value.remedy
            assert "word@" not in str(told.value)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, "revoked"),
        (grpc.StatusCode.PERMISSION_DENIED, "clock"),
        (grpc.StatusCode.FAILED_PRECONDITION, "Upgrade"),
        (grpc.StatusCode.INTERNAL, "operator"),
    ],
)
def test_a_refusal_says_what_to_do(stub: Stub, member: Path, code: grpc.StatusCode, word: str) -> None:
    stub.refuse = code
    with requests.opened(member) as calls:
        with pytest.raises(NetworkError, match="as the test says") as told:
            calls.stand()
        assert word in told.value.remedy


def test_nobody_there_and_another_server_are_told_apart(stub: Stub, member: Path, tmp_path: Path) -> None:
    sign = requests.by_keys(member)
    with (
        Channel("127.0.0.1:9", member, sign) as calls,
        pytest.raises(NetworkError, match="cannot be reached"),
    ):
        calls.stand()
    with coordinator(tmp_path / "other", stub.book) as other, Channel(other.address, member, sign) as calls:
        with pytest.raises(NetworkError, match="CERTIFICATE_VERIFY_FAILED") as told:
            calls.stand()
        assert "inspects TLS" in told.value.remedy


# --- the certificate ---


def replaced(stub: Stub, member: Path, **life: float) -> None:
    made = coordinator_stub.issue(stub.folder, tls.create(member, "bank-a"), "bank-a", **life)
    (member / tls.CERTIFICATE).write_bytes(made)


def test_what_is_wrong_with_a_certificate_is_found_before_anybody_is_called(
    stub: Stub, member: Path, tmp_path: Path
) -> None:
    replaced(stub, member, begins=-100, ends=-10)
    with pytest.raises(NetworkError, match="ended on"):
        requests.opened(member)
    replaced(stub, member, begins=1000, ends=5000)
    with pytest.raises(NetworkError, match="clock has not reached"):
        requests.opened(member)
    with coordinator(tmp_path / "other", stub.book) as other:
        replaced(other, member)
    with pytest.raises(NetworkError, match="not by this consortium's authority"):
        requests.opened(member)
    replaced(stub, member)
    requests.opened(member).close()
    (member / tls.KEY).unlink()
    tls.create(member, "bank-a")
    with pytest.raises(NetworkError, match=r"another key than tls\.key"):
        requests.opened(member)
    (member / tls.KEY).write_bytes(b"")
    with pytest.raises(StorageError, match=r"tls\.key is damaged"):
        requests.opened(member)


def test_a_certificate_that_the_coordinator_alone_finds_wrong_closes_the_socket(
    stub: Stub, member: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with coordinator(tmp_path / "other", stub.book) as other:
        replaced(other, member)
    monkeypatch.setattr(tls, "check", lambda *_: None)  # the control of the test above: without our own look
    with requests.opened(member) as calls:
        with pytest.raises(NetworkError, match=r"[Cc]losed|reset") as told:
            calls.stand()
        assert "revoked, another authority there" in told.value.remedy


def test_a_folder_without_a_consortium_says_how_to_get_one(tmp_path: Path, member: Path) -> None:
    with pytest.raises(ArgumentError, match="names no coordinator"):
        requests.opened(tmp_path / "nothing")
    (member / tls.CERTIFICATE).unlink()
    with pytest.raises(NetworkError, match="no certificate yet"):
        requests.opened(member)
    assert settings.load(member).address is not None


# --- renewed ---


def test_a_next_key_takes_over_only_with_its_certificate(stub: Stub, member: Path) -> None:
    before = (member / tls.KEY).read_bytes()
    request = tls.create(member, "bank-a", tls.NEXT_KEY)
    fresh = coordinator_stub.issue(stub.folder, request, "bank-a")
    tls.settle(member)
    assert (member / tls.KEY).read_bytes() == before
    following = (member / tls.NEXT_KEY).read_bytes()
    (member / tls.CERTIFICATE).write_bytes(fresh)  # the process ended between the two
    assert tls.check(member, time.time()).ends > time.time()
    assert (member / tls.KEY).read_bytes() == following
    assert not (member / tls.NEXT_KEY).exists()

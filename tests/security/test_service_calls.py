"""Who may ask the service: a certificate alone asks nothing, nor does a signature alone; what is no request is refused."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.service import callers
from fedrepay.server.service.contract import METHODS
from fedrepay.shared.errors import StorageError
from fedrepay.shared.proto.v1.consortium_pb2 import SignedRequest
from fedrepay.shared.trust import asking
from fedrepay.shared.trust.asking import LONGEST, Request, Standing
from fedrepay.shared.trust.message import Signed
from support.newcomers import Newcomer
from support.outside import Caller, Service, refused, service

DENIED, UNKNOWN = grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Service]:
    with service(tmp_path) as made:
        yield made


@pytest.mark.parametrize("method", METHODS)
def test_a_stolen_certificate_asks_nothing(up: Service, method: str) -> None:
    caller = up.caller("bank-a")
    code, said = refused(lambda: caller.call(method, signer=Ed25519PrivateKey.generate()))
    assert code == DENIED
    assert "does not verify" in said


def test_control_without_the_signature_it_reads_everything(
    up: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsigned(signed: Signed, *_rest: object) -> Request:
        return Request.decode(signed.body)

    monkeypatch.setattr(asking, "checked", unsigned)
    caller = up.caller("bank-a")
    seen = Standing.decode(caller.call("Stand", signer=Ed25519PrivateKey.generate()))
    assert dict(seen.members) == {"bank-a": "admitted"}


def test_a_stolen_signature_key_alone_asks_nothing(up: Service) -> None:
    caller, other = up.caller("bank-a"), up.caller("bank-b")
    stolen = Caller(up, other.who, up.certificate("bank-b"))
    code, _ = refused(lambda: stolen.call("Stand", signer=caller.who.signing, name="bank-a"))
    assert code == DENIED
    stranger = Caller(up, Newcomer("bank-a"), b"")
    assert (
        refused(lambda: stranger.call("Stand", signer=caller.who.signing))[0] == grpc.StatusCode.UNAVAILABLE
    )


def test_one_member_asks_in_no_others_name(up: Service) -> None:
    caller, _ = up.caller("bank-a"), up.caller("bank-b")
    code, said = refused(lambda: caller.call("Stand", name="bank-b"))
    assert (code, said) == (DENIED, "bank-b calls as bank-a")


def test_a_request_serves_for_its_own_call_and_its_own_time(up: Service) -> None:
    caller = up.caller("bank-a")
    request = caller.signed("Stand")
    assert refused(lambda: caller.stub.Heads(request, timeout=60))[0] == DENIED
    for off in (asking.SKEW + 5, -asking.SKEW - 5):
        code, said = refused(lambda off=off: caller.call("Stand", at=time.time() + off))  # type: ignore[misc]
        assert code == DENIED
        assert "The clock of bank-a is 30" in said
        assert ("ahead of" in said) == (off > 0)
    code, said = refused(lambda: caller.call("Stand", version=2))
    assert code == grpc.StatusCode.FAILED_PRECONDITION
    assert "the coordinator must upgrade" in said


def test_who_is_revoked_is_shut_out_on_an_open_connection(up: Service) -> None:
    caller = up.caller("bank-a")
    assert caller.call("Stand")
    up.desk.registry.revoke("bank-a", "left the market")
    assert refused(lambda: caller.call("Stand"))[0] == UNKNOWN


def test_who_only_waits_to_be_admitted_asks_nothing(up: Service) -> None:
    caller = up.caller("bank-a")
    with up.desk.registry._rows(write=True) as rows:
        rows.change("bank-a", {"state": "waiting"})
    assert refused(lambda: caller.call("Stand"))[0] == UNKNOWN


def test_what_the_contract_has_not_does_not_exist(up: Service) -> None:
    caller = up.caller("bank-a")
    for path in (
        "/fedrepay.consortium.v1.Consortium/Run",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    ):
        unknown = caller.channel.unary_unary(path)
        assert refused(lambda call=unknown: call(b"", timeout=60))[0] == grpc.StatusCode.UNIMPLEMENTED  # type: ignore[misc]


def test_calls_are_counted_and_long_ones_not_read(up: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    caller = up.caller("bank-a")
    assert caller.call("Heads", bytes(LONGEST)) == b""
    code, _ = refused(lambda: caller.call("Heads", bytes(LONGEST), at=0.0))
    assert code == DENIED, "the longest is read"
    large = SignedRequest(body=bytes(LONGEST + (1 << 20)), signature=bytes(64))
    assert refused(lambda: caller.stub.Stand(large, timeout=60))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    monkeypatch.setattr(callers, "A_MINUTE", 0.0)
    for _ in range(int(callers.AT_ONCE) + 1):
        try:
            caller.call("Stand")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
            break
    else:
        raise AssertionError("nobody counts")


@pytest.mark.parametrize("method", METHODS)
def test_no_bytes_break_it(up: Service, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "AT_ONCE", 1e6)
    monkeypatch.setattr("fedrepay.server.service.server.LONG_POLL", 0.0)
    caller, rng = up.caller("bank-a"), random.Random(7)
    good = caller.signed(method)
    typed = {
        DENIED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.FAILED_PRECONDITION,
    }
    for round_ in range(60):
        body = rng.randbytes(rng.randrange(0, 200))
        mutant = bytearray(good.body)
        mutant[rng.randrange(len(mutant))] ^= 1 << rng.randrange(8)
        request = (
            caller.signed(method, body),  # a signed call with any body
            SignedRequest(body=bytes(mutant), signature=good.signature),
            SignedRequest(body=body, signature=rng.randbytes(rng.choice((0, 63, 64, 65)))),
        )[round_ % 3]
        try:
            if method == "Pull":
                list(caller.stub.Pull(request, timeout=60))
            else:
                getattr(caller.stub, method)(request, timeout=60)
        except grpc.RpcError as error:
            assert error.code() in typed, (method, error.code(), error.details())  # noqa: PT017
            assert "Traceback" not in error.details()  # noqa: PT017
    assert caller.call("Stand"), "it still answers"


def test_a_database_that_is_away_is_told_without_its_words(
    up: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = up.caller("bank-a")
    there = up.consortium._told.standing

    def away() -> Standing:
        raise StorageError('The database failed: "10.0.0.5", user "fed": no password.', "Reach it.")

    monkeypatch.setattr(up.consortium._told, "standing", away)
    code, said = refused(lambda: caller.call("Stand"))
    assert code == grpc.StatusCode.UNAVAILABLE, "so the member calls again"
    assert said == "the coordinator cannot use its database now"
    monkeypatch.setattr(up.consortium._told, "standing", there)
    assert caller.call("Stand"), "control"

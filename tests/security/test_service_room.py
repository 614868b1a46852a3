"""Calls that never end: nobody takes all of the service's threads, least of all who only had a certificate once."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import grpc
import pytest

from fedrepay.server.service import callers, server
from fedrepay.server.service.callers import Callers
from fedrepay.shared.proto.v1 import consortium_pb2_grpc
from support.outside import Caller, Service, refused, service

THREADS = 24
STAND = "/fedrepay.consortium.v1.Consortium/Stand"


@pytest.fixture
def up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(server, "_THREADS", THREADS)
    with service(tmp_path) as made:
        yield made


@contextmanager
def endless(caller: Caller, calls: int) -> Iterator[list[Any]]:
    """So many calls whose request never comes; each connection carries eight."""
    stop = threading.Event()

    def nothing() -> Iterator[Any]:
        stop.wait()
        yield from ()

    with ExitStack() as stack:
        stack.callback(stop.set)
        channels = [stack.enter_context(caller.again()) for _ in range(calls // 8)]
        yield [each.stream_unary(STAND).future(nothing()) for each in channels for _ in range(8)]


def ended(futures: list[Any], least: int = THREADS) -> list[grpc.StatusCode]:
    """How those ended that did, as soon as so many have, or nothing comes any more."""
    for _ in range(100):
        if sum(each.done() for each in futures) >= least:
            break
        time.sleep(0.05)
    return [each.code() for each in futures if each.done()]


def answers(caller: Caller) -> bool:
    request = caller.signed("Stand")
    return bool(caller.stub.Stand(request, timeout=10).data)


def test_who_was_revoked_takes_no_thread(up: Service) -> None:
    gone, other = up.caller("bank-a"), up.caller("bank-b")
    with endless(gone, THREADS) as calls:
        up.desk.registry.revoke("bank-a", "its keys were stolen")
        with endless(gone, THREADS) as later:
            assert set(ended(later)) <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
            assert answers(other)
        assert len(ended(calls, THREADS - callers.OPEN)) >= THREADS - callers.OPEN


def test_a_member_takes_a_few(up: Service) -> None:
    one, other = up.caller("bank-a"), up.caller("bank-b")
    with endless(one, THREADS) as calls:
        assert ended(calls, THREADS - callers.OPEN) == [grpc.StatusCode.RESOURCE_EXHAUSTED] * (
            THREADS - callers.OPEN
        )
        assert refused(lambda: one.call("Stand")) == (
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"more than {callers.OPEN} calls at once",
        )
        assert answers(other)
    until(lambda: answers(one))


def test_control_without_room_one_certificate_stops_the_service(
    up: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Callers, "room", lambda *_: nullcontext())
    gone, other = up.caller("bank-a"), up.caller("bank-b")
    up.desk.registry.revoke("bank-a", "its keys were stolen")
    with endless(gone, THREADS) as calls:
        assert ended(calls, 1) == []
        assert refused(lambda: answers(other))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_release_that_is_not_read_holds_a_place_until_it_is_given_up(
    up: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = bytes(64 << 20)  # more than the systems between keep for who does not read
    monkeypatch.setattr(up.consortium._told, "pulled", lambda *_: large)
    one = up.caller("bank-a")
    apart = consortium_pb2_grpc.ConsortiumStub(one.again())
    unread = [apart.Pull(one.signed("Pull")) for _ in range(callers.OPEN)]
    for each in unread:
        next(each)
    assert refused(lambda: one.call("Stand"))[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    for each in unread:
        each.cancel()
    until(lambda: answers(one))


def test_a_call_without_a_request_is_refused(up: Service) -> None:
    one = up.caller("bank-a")
    code, said = refused(lambda: one.channel.stream_unary(STAND)(iter(()), timeout=10))
    assert (code, said) == (grpc.StatusCode.INVALID_ARGUMENT, "a call without a request")


def until(work: Callable[[], object]) -> None:
    """As soon as a place is free."""
    for _ in range(200):
        try:
            work()
        except grpc.RpcError:
            continue
        return
    raise AssertionError("a place was lost")

"""A coordinator's service on loopback, and members that call it outside Flower, over mutual TLS."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol.member import Member
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.veto.limits import Limits
from fedrepay.server.admission import certificates
from fedrepay.server.keyring import load_key
from fedrepay.server.service.callers import Callers
from fedrepay.server.service.keeper import SETTLED, Keeper
from fedrepay.server.service.server import ConsortiumService, serving
from fedrepay.server.service.standing import Teller
from fedrepay.server.service.waiting import Waiting
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.proto.v1 import consortium_pb2_grpc
from fedrepay.shared.proto.v1.consortium_pb2 import SignedRequest
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.asking import Answered, AskedOf, Request
from fedrepay.shared.trust.joining import VERSION
from fedrepay.shared.trust.message import Signed
from support.company import no_rows
from support.newcomers import Desk, Newcomer
from support.world import SCHEMA

FIVE = ("bank-a", "bank-b", "bank-c", "bank-d", "bank-e")


class Caller:
    """A member as its link process is: TLS of its own, signatures by whatever key it is given."""

    def __init__(self, service: "Service", who: Newcomer, certificate: bytes) -> None:
        self.service, self.who = service, who
        key = who.tls.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pair = (key, certificate) if certificate else (None, None)  # gRPC aborts the process at an empty one
        self._credentials = grpc.ssl_channel_credentials(service.authority, *pair)
        self.channel = self.again()
        self.stub = consortium_pb2_grpc.ConsortiumStub(self.channel)

    def again(self) -> grpc.Channel:
        """A connection of its own."""
        named = (("grpc.ssl_target_name_override", "localhost"), ("grpc.enable_http_proxy", 0))
        options = (*named, ("grpc.use_local_subchannel_pool", 1))
        return grpc.secure_channel(f"127.0.0.1:{self.service.port}", self._credentials, options=options)

    def signed(
        self, method: str, body: bytes = b"", signer: Ed25519PrivateKey | None = None, **changed: Any
    ) -> SignedRequest:
        facts = {"method": method, "name": self.who.name, "at": time.time(), "version": VERSION, "body": body}
        made = Signed.make(signer or self.who.signing, Request.model_validate(facts | changed))
        return SignedRequest(body=made.body, signature=made.signature)

    def call(self, method: str, body: bytes = b"", **changed: Any) -> bytes:
        """What the service gives; gRPC's own error where it refuses."""
        request = self.signed(method, body, **changed)
        if method == "Pull":
            return b"".join(part.data for part in self.stub.Pull(request, timeout=60))
        answer = getattr(self.stub, method)(request, timeout=60)
        return bytes(answer.data) if hasattr(answer, "data") else b""


class Service:
    """The service of a coordinator's folder; its clock is the desk's."""

    def __init__(self, folder: Path) -> None:
        self.desk = Desk(folder / "coordinator")
        load_key(self.desk.folder)  # as `init` does
        self.folder, self.book = folder, codebook.build(SCHEMA)
        self.authority = (self.desk.folder / certificates.AUTHORITY).read_bytes()
        self.store = CoordinatorStore.in_folder(self.desk.folder, durable=False)
        self.waiting = Waiting(time.monotonic)
        told = Teller(self.desk.folder, self.store, self.desk.registry, self.clock)
        self.callers = Callers(self.desk.registry, self.clock)
        self.consortium = ConsortiumService(
            self.callers,
            self.desk.registry,
            self.waiting,
            told,
            self.desk.issue,
            lambda name, roster: self.keeper.holds(name, roster),  # noqa: PLW0108 - another process may take its place
        )
        self.server, self.port = serving(self.consortium, self.desk.folder, "127.0.0.1:0")
        self.keeper = Keeper(self.desk.folder, self.store, self.desk.registry, self.waiting, self.clock)

    def clock(self) -> float:
        return self.desk.now

    def settle(self) -> None:
        """Time passes in which nobody else is admitted; everybody is heard of."""
        for each in self.desk.registry.members():
            self.desk.registry.saw(each.name)
        self.desk.now += SETTLED + 1
        for each in self.desk.registry.members():
            self.desk.registry.saw(each.name)

    def caller(self, name: str) -> Caller:
        """One that was admitted just now."""
        who = self.desk.admitted(name)
        return Caller(self, who, self.certificate(name))

    def certificate(self, name: str) -> bytes:
        with self.desk.registry._rows() as rows:
            return bytes(rows.certificates(name)[-1].pem)

    def member(self, who: Newcomer, place: str | None = None) -> Member:
        """Its own process, without rows; its folder has its name, or this one."""
        limits = Limits(minimum_cohort=3, epsilon_per_release=4.0, epsilon_per_year=5.0)
        store = MemberStore(self.folder / (place or who.name), time.time, durable=False)
        identity = Identity(who.name, who.signing, who.sealing, bytes(32), who.entry().node)
        return Member(identity, store, self.book, no_rows, limits, time.time)


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """One that serves."""
    made = Service(folder)
    made.server.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedrepay.server.service.server.LONG_POLL", 0.5)  # so that tests end soon
        yield made
    made.server.stop(None).wait()


@contextmanager
def answering(caller: Caller, member: Member) -> Iterator[None]:
    """The member's link: waits, hands over, answers."""
    stop = threading.Event()

    def loop() -> None:
        with suppress(grpc.RpcError):  # it was revoked
            while not stop.is_set():
                ask = AskedOf.decode(caller.call("Wait"))
                if ask.ask:
                    reply = member.handle(ask.kind, ask.shared, ask.own)
                    caller.call("Answer", Answered(ask=ask.ask, reply=reply).encode())

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def refused(call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
    """How a call is refused; fails where it is not."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError("it was answered")

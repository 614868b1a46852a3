"""Connections that are cut, ended, stalled or slowed in the middle: a typed error, or it goes on; nothing is half there."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from fedrepay.client.consortium import channel, joining, requests, tls, web
from fedrepay.client.consortium.joining import Brought
from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.front import front
from fedrepay.server.operating import admitting, newcomers
from fedrepay.server.service.callers import Callers
from fedrepay.server.service.server import ConsortiumService, serving
from fedrepay.server.service.standing import Teller
from fedrepay.server.service.waiting import Waiting
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import NetworkError
from fedrepay.shared.trust.joining import Invitation
from fedrepay.shared.trust.message import Signed
from support.between import Between, Fault, Way, between
from support.founded import founded
from support.fronts import NODE, machine_in
from support.processes import until

SHARES = (0.0, 0.3, 0.6, 0.9)
"""Of a connection's bytes in one direction, after which it breaks: in TLS's handshake, in what is asked, in the answer."""
WAYS: tuple[Way, Way] = ("up", "down")
BREAKS = [(kind, way, share) for kind in ("cut", "end") for way in WAYS for share in SHARES]


class Office:
    """A coordinator's front and service as they are, a bad line to them, and a member's folder."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.member = folder / "c", folder / "m"
        founded(self.folder)
        self.registry = Registry(self.folder)
        store = CoordinatorStore.in_folder(self.folder, durable=False)
        self.teller = Teller(self.folder, store, self.registry, time.time)
        self.waiting = Waiting(time.monotonic)
        issue = partial(certificates.issue, self.folder)
        callers = Callers(self.registry, time.time)
        consortium = ConsortiumService(
            callers, self.registry, self.waiting, self.teller, issue, lambda _name, _roster: None
        )
        service, port = serving(consortium, self.folder, "127.0.0.1:0")
        service.start()
        stack.callback(lambda: service.stop(None).wait())
        names = (certificates.AUTHORITY, certificates.CERTIFICATE, certificates.KEY)
        authority, certificate, key = (self.folder / name for name in names)
        made, listener = front.server(
            *("https://127.0.0.1:9", self.folder, "127.0.0.1", 0, (authority, certificate, key)),
            service=("127.0.0.1", port),
            about=partial(newcomers.about, self.folder),
            join=lambda body: self.registry.join(Signed.decode(body), issue).encode(),
        )
        stack.enter_context(listener)
        thread = threading.Thread(target=made.run, kwargs={"sockets": [listener]})
        thread.start()
        stack.callback(thread.join, 20)
        stack.callback(vars(made).update, force_exit=True, should_exit=True)
        until(lambda: made.started or not thread.is_alive())
        self.line: Between = stack.enter_context(between(listener.getsockname()[1]))

    def invitation(self) -> Invitation:
        authority = certificates.authority_digest(self.folder)
        return self.registry.invite("bank-a", self.line.address, authority)

    def state(self) -> str:
        seen = self.registry.member("bank-a")
        assert seen is not None
        return seen.state

    def admitted(self) -> Path:
        """The folder of a member that is in."""
        offered = joining.meet(self.invitation(), None)
        signed = joining.prepare(self.member, offered, Brought())
        joining.ask(self.member, offered, signed, None)
        admitting.admit(self.folder, self.registry, "bank-a")
        assert joining.ask(self.member, offered, signed, None).state == "admitted"
        return self.member


@pytest.fixture
def office(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Iterator[Office]:
    with ExitStack() as stack:
        yield Office(tmp_path, stack)
        traced = [
            each for each in caplog.get_records("call") if each.exc_info and each.levelno >= logging.ERROR
        ]
        assert not traced, "a bad line leaves no trace in the coordinator's log"


def broken(office: Office, call: Callable[[], object], held: Callable[[], None] = lambda: None) -> int:
    """Make a call over a line that breaks at each place; how often that was told as a typed error.

    Args:
        call: as it was made once, whole.
        held: looks at what both sides hold.
    """
    call()
    whole, errors = dict(office.line.carried), list[NetworkError]()
    assert min(whole.values()) > 500, "the control: all of it went over this line"
    for kind, way, share in BREAKS:
        office.line.fault = Fault(kind, way, int(share * whole[way]), times=1)
        try:
            call()
        except NetworkError as error:
            errors.append(error)
        held()
        assert office.line.fault is None, "it broke there"
    call()
    held()
    assert not [each for each in errors if ": ." in each.cause or ".." in each.cause or not each.remedy]
    return len(errors)


# --- joining ---


def test_joining_over_a_line_that_breaks_anywhere_is_told_and_goes_on(office: Office) -> None:
    invitation = office.invitation()
    assert broken(office, lambda: joining.meet(invitation, None)) == len(BREAKS)
    assert not office.member.exists(), "nothing was written for an offer that was not read whole"
    offered = joining.meet(invitation, None)
    signed = joining.prepare(office.member, offered, Brought())

    def waits() -> None:
        assert office.state() == "waiting"
        assert joining.stored(office.member, offered) == signed, "the same bytes are sent again"
        assert not (office.member / tls.CERTIFICATE).exists()

    ask = partial(joining.ask, office.member, offered, signed, None)
    assert broken(office, ask, waits) == len(BREAKS)
    admitting.admit(office.folder, office.registry, "bank-a")
    given = set[bytes]()

    def admitted() -> None:
        assert ask().state == "admitted"
        given.add((office.member / tls.CERTIFICATE).read_bytes())

    assert broken(office, admitted) == len(BREAKS)
    assert len(given) == 1, "one certificate was issued, and given again"


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_line_that_stalls_or_drips_has_an_end(
    office: Office, monkeypatch: pytest.MonkeyPatch, way: Way
) -> None:
    invitation = office.invitation()
    offered = joining.meet(invitation, None)
    signed = joining.prepare(office.member, offered, Brought())
    ask = partial(joining.ask, office.member, offered, signed, None)
    ask()
    whole = office.line.carried[way]
    monkeypatch.setattr(web, "SECONDS", 0.5)
    office.line.fault = Fault("stall", way, int(0.9 * whole), times=1)
    with pytest.raises(NetworkError, match=r"does not answer within|broke off"):
        ask()
    office.line.fault = Fault("slow", way, piece=256, pause=0.02)
    assert ask().state == "waiting", "control: a slow line is no fault"
    monkeypatch.setattr(web, "SECONDS", 30.0)
    monkeypatch.setattr(web, "WHOLE", 1.0)
    office.line.fault = Fault("slow", way, int(0.7 * whole), piece=1, pause=0.1)
    with pytest.raises(NetworkError, match="did not say all within 1 s"):
        ask()
    office.line.well()
    assert ask().state == "waiting"


# --- gRPC ---


def stand(folder: Path) -> None:
    with requests.opened(folder) as calls:
        calls.stand()


def test_a_call_over_a_line_that_breaks_anywhere_is_told_or_goes_on(office: Office) -> None:
    member = office.admitted()
    told = broken(office, partial(stand, member))
    assert told > len(BREAKS) // 2, "the others it tried again by itself, or had its answer before"


def test_a_certificate_that_was_renewed_and_did_not_arrive_is_given_again(office: Office) -> None:
    member = office.admitted()

    def renew() -> bytes:
        with requests.opened(member) as calls:
            pem = calls.renew(tls.create(member, "bank-a", tls.NEXT_KEY))
        tls.accept(member, pem, time.time(), tls.NEXT_KEY)
        return pem

    before = renew()
    whole = office.line.carried["down"]
    for kind in ("cut", "end"):
        office.line.fault = Fault(kind, "down", whole - 600, times=1)  # in the certificate
        with pytest.raises(NetworkError):
            renew()
        assert (member / tls.CERTIFICATE).read_bytes() == before
    pem = renew()
    assert (member / tls.CERTIFICATE).read_bytes() == pem != before
    seen = office.registry.member("bank-a")
    assert seen is not None
    assert len(seen.certificates) == 3, (
        "at the admission, and for each of two keys, one of them asked for thrice"
    )
    stand(member)


def test_a_release_comes_whole_or_not_at_all(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    member, release = office.admitted(), os.urandom(3 << 20)
    monkeypatch.setattr(office.teller, "pulled", lambda _number, _name: release)

    def pull() -> bytes:
        with requests.opened(member) as calls:
            return calls.pull(1)

    for kind in ("cut", "end"):
        for after in (1 << 19, 2 << 20, 3 << 20):
            office.line.fault = Fault(kind, "down", after, times=1)
            with pytest.raises(NetworkError) as told:
                pull()
            assert "Nothing is lost" in told.value.remedy
    office.line.fault = Fault("slow", "down", piece=1 << 15, pause=0.002)
    assert pull() == release, "control: a slow line is no fault"
    monkeypatch.setattr(channel, "SECONDS", 0.1)
    for fault in (
        Fault("stall", "down", 1 << 20, times=1),
        Fault("slow", "down", 1 << 20, piece=1, pause=0.05, times=1),
    ):
        office.line.fault = fault
        with pytest.raises(NetworkError, match="does not answer in time"):
            pull()
    monkeypatch.setattr(channel, "SECONDS", 30.0)
    assert pull() == release


# --- Flower's node ---


def test_what_a_node_sends_over_a_line_that_breaks_reaches_the_superlink_whole_or_not_at_all(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And whoever breaks off keeps no room: what all bodies hold at once is counted."""
    body = os.urandom(200_000)
    with machine_in(tmp_path) as machine, between(machine.front) as line:
        trusted = web._trusting((tmp_path / certificates.AUTHORITY).read_bytes())
        url = "/v1/fleet/push-object"

        def push() -> int:
            with NODE.calling(f"https://{line.address}", verify=trusted, trust_env=False) as client:
                return client.post(url, content=body).status_code

        assert push() == 200
        for kind in ("cut", "end"):
            for after in (300, 3000, 100_000, 199_000):
                line.fault = Fault(kind, "up", after, times=1)
                with pytest.raises(httpx.TransportError):
                    push()
        assert machine.at_superlink == [url]
        assert push() == 200
        until(lambda: len(machine.log) >= 8)
        assert {line.split()[2] for line in machine.log} == {"200", "499"}
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR], "no trace for a bad line"

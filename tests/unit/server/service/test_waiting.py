"""Asks wait for members; answers come as they come; nobody waits for one that is gone."""

import threading
import time
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedrepay.server.protocol.state import Ask
from fedrepay.server.service import waiting
from fedrepay.server.service.waiting import Waiting
from fedrepay.shared.errors import ProtocolError
from fedrepay.shared.trust.asking import Answered, AskedOf
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.wire import Kind, ReleaseVote

ASK = Ask(Kind.HELD, {"a": (b"shared", b"a's"), "b": (b"shared", b"b's")})
REPLY = Signed.make(Ed25519PrivateKey.generate(), ReleaseVote(run=1, name="m0", release=bytes(32)))


class Exchange:
    """One that runs in a thread of its own, as the keeper's does."""

    def __init__(self, wire: Waiting, seconds: float = 60.0) -> None:
        self.answers: list[tuple[str, bool, str]] = []
        self.thread = threading.Thread(target=self._run, args=(wire, seconds))
        self.thread.start()

    def _run(self, wire: Waiting, seconds: float) -> None:
        for name, signed, reason in wire.exchange(None, ASK, seconds):  # type: ignore[arg-type]
            self.answers.append((name, signed is not None, reason))

    def end(self) -> list[tuple[str, bool, str]]:
        self.thread.join(60)
        assert not self.thread.is_alive()
        return self.answers


@pytest.fixture
def gone() -> set[str]:
    return set()


@pytest.fixture
def wire(gone: set[str]) -> Iterator[Waiting]:
    made = Waiting(time.monotonic, gone.__contains__)
    yield made
    gone |= set(ASK.parts)


def reply(wire: Waiting, name: str) -> AskedOf:
    ask = wire.wait(name, 60)
    wire.answer(name, Answered(ask=ask.ask, reply=REPLY.encode()))
    return ask


def test_each_gets_its_own_and_answers_once(wire: Waiting) -> None:
    running = Exchange(wire)
    again = wire.wait("b", 60)
    assert (again.kind, again.shared, again.own) == ("held", b"shared", b"b's")
    assert wire.wait("b", 60) == again, "an answer lost on the way is asked for again"
    assert reply(wire, "a").own == b"a's"
    reply(wire, "b")
    assert running.end() == [("a", True, ""), ("b", True, "")]
    assert wire.wait("a", 0.0).ask == 0, "nothing waits any more"


def test_an_answer_to_an_older_ask_counts_as_none(wire: Waiting) -> None:
    running = Exchange(wire)
    old = wire.wait("a", 60)
    wire.answer("a", Answered(ask=old.ask + 7, reply=REPLY.encode()))
    wire.answer("c", Answered(ask=old.ask, reply=REPLY.encode()))
    assert wire.wait("a", 60) == old
    with pytest.raises(ProtocolError):
        wire.answer("a", Answered(ask=old.ask, reply=b"no reply"))
    reply(wire, "b")
    assert running.end()[0][:2] == ("a", False)


def test_nobody_waits_for_who_is_gone(wire: Waiting, gone: set[str]) -> None:
    running = Exchange(wire, 3600.0)
    reply(wire, "a")
    gone.add("b")
    assert running.end() == [("a", True, ""), ("b", False, "it may call no more")]


def test_nor_for_ever(wire: Waiting) -> None:
    running = Exchange(wire, 0.2)
    assert [each[:2] for each in running.end()] == [("a", False), ("b", False)]


def test_so_many_wait_and_others_come_again(wire: Waiting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_WAITING", 0)
    assert wire.wait("a", 3600.0).ask == 0

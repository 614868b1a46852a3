"""The keeper where something goes wrong: keys that change half, members that are away or at fault, processes that end."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Event as Flag
from typing import Any

import grpc
import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import enrolment
from fedrepay.server.admission.registry import Registry
from fedrepay.server.protocol.enrolled import Enrolled
from fedrepay.server.protocol.state import Event
from fedrepay.server.service import keeper as keeping
from fedrepay.server.service.keeper import Keeper
from fedrepay.server.service.standing import AWAY, Teller
from fedrepay.server.store import ROSTERS
from fedrepay.shared.errors import CohortError, FedrepayError, StorageError
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.roster import Entry
from fedrepay.shared.trust.succession import Rotation
from support.outside import FIVE, Caller, Service, service
from support.outside import refused as denied


class Ring:
    """New keys, where a folder would hold them."""

    def __init__(self) -> None:
        self.made: Identity | None = None

    def following(self) -> Identity | None:
        return self.made

    def take(self) -> None:
        self.made = None


class Held:
    """Members whose answers are given at once, where their service would wait for them."""

    def __init__(self, made: Service, stack: ExitStack) -> None:
        self.service = made
        self.newcomers = {name: made.desk.admitted(name) for name in FIVE}
        self.members = {name: made.member(who) for name, who in self.newcomers.items()}
        self.silent: set[str] = set()
        self.asked: list[str] = []
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(made.waiting, "exchange", self.exchange)

    def exchange(self, _machine: Any, ask: Any, _timeout: float) -> Iterator[Any]:
        self.asked.append(ask.kind)
        for name, (shared, own) in ask.parts.items():
            if name in self.silent:
                yield name, None, "no answer"
            else:
                yield name, Signed.decode(self.members[name].handle(ask.kind, shared, own)), ""

    def look(self, *away: str) -> None:
        """Time passes; all but these are heard of."""
        self.service.desk.now += AWAY + 1
        for name in set(FIVE) - set(away):
            self.service.desk.registry.saw(name)
        self.service.keeper.look()

    def rosters(self) -> Enrolled:
        found = Enrolled()
        for event in self.service.store.events(ROSTERS):
            found.apply(event)
        return found

    def number(self) -> int:
        roster = self.rosters().roster
        return 0 if roster is None else roster.number

    def approved(self) -> None:
        """To the next roster: people approve what they are shown."""
        self.look()
        for name in FIVE:
            self.members[name].approve_roster(self.members[name].shown_words())
        self.look()

    def restarted(self) -> None:
        """Another process of the service."""
        made = self.service
        made.keeper = Keeper(made.desk.folder, made.store, made.desk.registry, made.waiting, made.clock)

    def announces(self, name: str) -> Identity:
        """A member's old key names a new one."""
        roster, who = self.rosters().roster, self.newcomers[name]
        assert roster is not None
        fresh = replace(Identity.create(name), node=who.entry().node)
        said = Rotation(roster=roster.hash(), name=name, signing=fresh.entry().signing)
        self.service.desk.registry.rotate(name, Signed.make(who.signing, said))
        return fresh

    def renews(self, name: str) -> Identity:
        """The same, and it joins with them."""
        fresh, ring = self.announces(name), Ring()
        ring.made = fresh
        self.members[name]._enrolment._keyring = ring  # type: ignore[assignment]
        return fresh

    def entry(self, name: str) -> Entry:
        seen = self.service.desk.registry.member(name)
        assert seen is not None
        assert seen.entry is not None
        return seen.entry


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    with service(tmp_path) as made, ExitStack() as stack:
        begun = Held(made, stack)
        made.keeper.look()  # sees them for the first time
        begun.approved()
        assert begun.number() == 1
        yield begun


A = FIVE[0]


def refused(said: str) -> Any:
    return pytest.raises(FedrepayError, match=said)


# --- keys ---


def test_new_keys_take_one_roster(held: Held) -> None:
    fresh = held.renews(A)
    held.approved()
    assert held.number() == 2
    assert held.entry(A) == fresh.entry()
    held.look()
    assert (held.number(), held.rosters().call) == (2, None)


def test_keys_that_were_announced_and_not_joined_with_make_no_roster_after_roster(held: Held) -> None:
    held.announces(A)
    held.approved()
    assert held.number() == 2, "it might have joined with them"
    for _ in range(3):
        held.look()
    assert held.rosters().call is None, "the announcement was for what followed the first roster"


def test_a_process_that_ends_before_it_has_noted_new_keys_makes_no_other_roster(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = held.renews(A)
    with monkeypatch.context() as patch:

        def ended(*_: object) -> None:
            raise StorageError("The disk is full.", "Free it.")

        patch.setattr(Registry, "rekeyed", ended)
        with refused("disk is full"):
            held.approved()
    held.restarted()
    held.look()
    assert (held.number(), held.rosters().call) == (2, None)
    assert held.entry(A) == fresh.entry()


def test_who_was_away_when_its_new_keys_came_into_force_still_calls_and_is_given_them(held: Held) -> None:
    old = Caller(held.service, held.newcomers[A], held.service.certificate(A))
    fresh = held.renews(A)
    held.look()
    for name in FIVE:
        held.members[name].approve_roster(held.members[name].shown_words())
    answer = held.members[A].handle
    held.members[A].handle = lambda kind, *rest: answer(  # type: ignore[method-assign]
        "ping" if kind == "certify" else kind, *rest
    )
    held.look()  # its answer to the certificate does not count: it never got it
    assert held.number() == 2
    assert held.entry(A) == fresh.entry()
    now = held.service.clock
    assert old.call("Stand", at=now()), "it knows of no other keys than the old ones"
    held.members[A].handle = answer  # type: ignore[method-assign]
    held.look()
    assert held.members[A]._enrolment.identity.entry() == fresh.entry()
    assert old.call("Stand", at=now(), signer=fresh.signing)
    assert denied(lambda: old.call("Stand", at=now()))[0] == grpc.StatusCode.PERMISSION_DENIED


# --- what is said ---


def test_for_whom_a_roster_waits_is_said_once_and_again_when_it_changes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with service(tmp_path) as made, ExitStack() as stack, caplog.at_level("INFO"):
        begun = Held(made, stack)
        made.keeper.look()

        def said() -> list[str]:
            return [each.message for each in caplog.records if "waits for" in each.message]

        for _ in range(3):
            begun.look()
        (first,) = said()
        assert (
            f"waits for 5 of 5 members' people to compare its words and approve them: {', '.join(FIVE)}."
            in first
        )
        assert begun.members[A].shown_words() in first
        begun.members[A].approve_roster(begun.members[A].shown_words())
        begun.look()
        begun.silent = {FIVE[1]}  # why it has not approved is another matter
        begun.look()
        assert [each.partition(" waits for ")[2][:6] for each in said()] == ["5 of 5", "4 of 5"]


# --- members away, or at fault ---


def test_another_process_makes_no_roster_without_who_is_away(held: Held) -> None:
    held.restarted()
    held.asked.clear()
    held.look(A)
    assert (held.number(), held.rosters().call, held.asked) == (1, None, ["certify"])
    held.look(A)
    assert held.asked == ["certify"], "all who are here have it"
    held.look()
    assert held.asked == ["certify", "certify"], "and it, when it is back"


def test_who_lost_its_store_gets_the_roster_again_by_its_own_word(held: Held) -> None:
    """Its link says which roster it holds whenever it asks where the consortium stands."""
    roster = held.rosters().roster
    assert roster is not None
    calls = Caller(held.service, held.newcomers[A], held.service.certificate(A))

    def says(holds: bytes) -> None:
        held.asked.clear()
        calls.call("Stand", holds, at=held.service.clock())
        held.look()

    says(roster.hash())
    assert held.asked == [], "it has what it was given"
    held.members[A] = held.service.member(held.newcomers[A], "again")  # a new folder
    says(b"")
    assert held.asked == [], "control: nothing was said"
    says(bytes(32))
    assert "certify" in held.asked
    assert held.members[A]._store.fact("roster") == roster.encode()
    says(bytes(32))
    assert held.asked == [], "who says so all the time is not given it all the time"
    held.service.desk.now += keeping.LONGEST_PAUSE
    says(bytes(32))
    assert "certify" in held.asked
    assert denied(lambda: calls.call("Stand", b"short", at=held.service.clock()))[0] == (
        grpc.StatusCode.INVALID_ARGUMENT
    )


def test_what_is_proposed_now_is_told_and_what_is_void_is_not(held: Held) -> None:
    told = Teller(
        held.service.desk.folder, held.service.store, held.service.desk.registry, held.service.clock
    )
    assert told.standing().proposed == b"", "the roster is complete"
    held.renews(A)
    held.look()
    proposed = held.rosters().proposed().hash()
    assert told.standing().proposed == proposed
    pending = enrolment.waiting(held.members[A]._store)
    assert pending is not None
    assert pending.hash() == proposed
    held.service.store.append(ROSTERS, [Event("void", "", b"")])
    assert told.standing().proposed == b""


def test_who_voids_every_proposal_is_asked_less_and_less(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.service.desk.registry.revoke(FIVE[4], "it left the market")
    del held.members[FIVE[4]]
    bad = held.members[A]
    answer = bad.handle

    def forgetful(kind: str, shared: bytes, own: bytes) -> bytes:
        bad._enrolment._nonces = {} if kind == "reveal" else bad._enrolment._nonces
        return answer(kind, shared, own)

    bad.handle = forgetful  # type: ignore[method-assign]
    joiner = held.service.desk.admitted("bank-f")
    held.members["bank-f"] = held.service.member(joiner)
    monkeypatch.setattr(keeping, "LONGEST_PAUSE", 80.0)
    tried = []
    for second in range(0, 320, 10):
        held.service.desk.now += 10
        for name in (*FIVE, "bank-f"):
            held.service.desk.registry.saw(name)
        held.asked.clear()
        with suppress(CohortError):
            held.service.keeper.look()
        if "reveal" in held.asked:
            tried.append(second)
    assert [after - before for before, after in pairwise(tried)] == [10, 20, 40, 80, 80]


def test_whatever_goes_wrong_it_looks_again(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    stop = Flag()

    def look(_: Keeper) -> None:
        looks.append("look")
        if len(looks) == 2:
            stop.set()
        raise KeyError("a file that has just gone")

    monkeypatch.setattr(keeping, "PAUSE", 0.0)
    monkeypatch.setattr(Keeper, "look", look)
    held.service.keeper.run(stop)
    assert len(looks) == 2

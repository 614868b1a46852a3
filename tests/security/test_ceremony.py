"""Who is in an epoch: those of the roster who are present, each with one hello, to one call, and nobody else.

How the roster itself comes about: ``test_enrolment``. Controls: the same with signatures or checks switched off.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client.protocol import epoch
from fedrepay.client.veto.limits import Limits
from fedrepay.server.protocol import ceremony
from fedrepay.shared import keys
from fedrepay.shared.errors import CohortError, ProtocolError, WordsError
from fedrepay.shared.trust.epoch import Epoch
from fedrepay.shared.trust.handshake import EpochStart, Hello, Introduction
from fedrepay.shared.trust.message import M, Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.wire import Offer
from support.adversary import say, speak
from support.world import World

HONEST = ["m0", "m1", "m2", "m3"]


def answered(world: World, kind: str) -> list[str]:
    """Who gave a positive answer to messages of this kind."""
    return [name for asked, name, reply in world.replies if asked == kind and reply.kind == "ok"]


def next_run(world: World, run: int = 2) -> None:
    world.events.clear()
    world.replies.clear()
    world.coordinator = world.new_coordinator(run)


# --- the roster of a run ---


def test_without_approved_words_nobody_is_in_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "compare", lambda _self: (_ for _ in ()).throw(WordsError("no", "call")))
    with pytest.raises(WordsError):
        World(tmp_path)


def test_the_same_roster_needs_no_words_in_the_next_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.until("round")
    for member in world.members.values():
        member.approve_roster("")
    next_run(world)
    world.until("round")
    assert world.refusals() == []


def test_a_run_of_another_roster_is_refused(tmp_path: Path) -> None:
    world, other = World(tmp_path / "ours"), World(tmp_path / "theirs")
    shared, own = other.until("terms").parts["m0"]
    theirs = Offer.decode(Signed.decode(shared).body)
    assert say(world, "m0", "terms", Signed.make(world.key, theirs).encode(), own).code == "roster"
    mine = theirs.model_copy(update={"roster": world.roster.hash()})
    assert say(world, "m0", "terms", Signed.make(world.key, mine).encode(), own).kind == "ok"


# --- who is present ---


def test_an_epoch_runs_with_those_who_are_present_under_the_same_words(tmp_path: Path) -> None:
    """One absent member of four blocks nothing; the model is of the three, and all four words stay."""
    limits = Limits(minimum_cohort=3, epsilon_per_release=4.0, epsilon_per_year=20.0)
    world = World(tmp_path, limits=limits)
    world.run(lambda _kind, name, shared, own: None if name == "m2" else (shared, own))
    assert world.coordinator.epoch.present == ("m0", "m1", "m3")
    assert world.coordinator.state.done
    release = ReleaseContent.decode((world.store("m0").release() or (0, b"", b""))[1])
    assert (len(release.roster.names), release.card["present"]) == (4, 3)
    next_run(world)
    world.run()
    assert world.coordinator.epoch.present == tuple(HONEST)


def test_fewer_than_the_quorum_begin_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    gone = ("m2", "m3")
    error = world.expect_stop(
        CohortError, lambda _kind, name, shared, own: None if name in gone else (shared, own)
    )
    assert "2 of 4 members are there (terms), 3 must be" in error.cause
    assert answered(world, "hello") == []


def test_an_introduction_of_fewer_than_the_quorum_is_refused_by_members(tmp_path: Path) -> None:
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]
    introduction = Introduction.decode(shared)
    for few in (introduction.hellos[:2], (introduction.hellos[0], *introduction.hellos[2:3])):
        fewer = introduction.model_copy(update={"hellos": few}).encode()
        assert say(world, "m0", "introduce", fewer).code == "message"
    three = introduction.model_copy(update={"hellos": introduction.hellos[:3]}).encode()
    assert say(world, "m0", "introduce", three).kind == "ok"


# --- hellos ---


def unchecked(self: Signed, _public: bytes, kind: type[M]) -> M:
    """``Signed.verified`` with signatures off."""
    return kind.decode(self.body)


Change = Callable[[World, Hello, Signed], Signed]
MINE = X25519PrivateKey.generate()


def swapped(**fields: bytes) -> Change:
    """The coordinator's keys in the place of m1's, under m1's old signature."""
    return lambda _world, hello, signed: signed.model_copy(
        update={"body": hello.model_copy(update=fields).encode()}
    )


def signed_by_coordinator(world: World, hello: Hello, _signed: Signed) -> Signed:
    return Signed.make(world.key, hello.model_copy(update={"mask": keys.public_bytes(MINE)}))


def of_another_call(world: World, hello: Hello, _signed: Signed) -> Signed:
    return Signed.make(world.identities["m1"].signing, hello.model_copy(update={"start": bytes(32)}))


def of_another_member(world: World, hello: Hello, _signed: Signed) -> Signed:
    return Signed.make(world.identities["m1"].signing, hello.model_copy(update={"name": "m2"}))


CHANGES: dict[str, Change] = {
    "mask key": swapped(mask=keys.public_bytes(MINE)),
    "envelope key": swapped(envelope=keys.public_bytes(MINE)),
    "nonce": swapped(nonce=bytes(32)),
    "signed by the coordinator": signed_by_coordinator,
    "of another call": of_another_call,
    "under another's name": of_another_member,
}


def introduced(world: World, shared: bytes, change: Change) -> bytes:
    introduction = Introduction.decode(shared)
    hello = Hello.decode(introduction.hellos[1].body)
    changed = change(world, hello, introduction.hellos[1])
    hellos = (introduction.hellos[0], changed, *introduction.hellos[2:])
    return introduction.model_copy(update={"hellos": hellos}).encode()


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_hello_of_another_member_is_refused(name: str, tmp_path: Path) -> None:
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]
    changed = introduced(world, shared, CHANGES[name])
    assert say(world, "m0", "introduce", changed).code == "message"
    assert say(world, "m0", "introduce", shared).kind == "ok"


@pytest.mark.parametrize("name", ["mask key", "envelope key", "nonce", "signed by the coordinator"])
def test_control_without_signatures_the_coordinators_keys_are_accepted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]
    monkeypatch.setattr(Signed, "verified", unchecked)
    assert say(world, "m0", "introduce", introduced(world, shared, CHANGES[name])).kind == "ok"


def test_hellos_stand_in_order_and_once_each(tmp_path: Path) -> None:
    world = World(tmp_path)
    introduction = Introduction.decode(world.until("introduce").parts["m0"][0])
    first, *rest = introduction.hellos
    for hellos in ((*rest, first), (first, *introduction.hellos), (*introduction.hellos[:-1], first)):
        other = introduction.model_copy(update={"hellos": hellos}).encode()
        assert say(world, "m0", "introduce", other).code == "message"


def test_an_introduction_without_the_member_itself_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    introduction = Introduction.decode(world.until("introduce").parts["m3"][0])
    others = introduction.model_copy(update={"hellos": introduction.hellos[:3]})
    assert say(world, "m3", "introduce", others.encode()).code == "roster"


def test_a_member_whose_own_hello_was_replaced_refuses(tmp_path: Path) -> None:
    """As after a restart of the member with other keys, or two nodes under one name."""
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m1"]
    fresh = swapped_by_itself(world, shared)
    assert say(world, "m1", "introduce", fresh).code == "roster"


def swapped_by_itself(world: World, shared: bytes) -> bytes:
    def change(world: World, hello: Hello, _signed: Signed) -> Signed:
        return Signed.make(world.identities["m1"].signing, hello.model_copy(update={"nonce": bytes(32)}))

    return introduced(world, shared, change)


def call(world: World, **changes: object) -> Signed:
    """The call for run 1's epoch, with other fields."""
    start = EpochStart.decode(ceremony.start(world.terms(), world.roster, world.key).body)
    return Signed.make(world.key, start.model_copy(update=changes))


def test_an_introduction_with_another_call_than_the_one_answered_is_refused(tmp_path: Path) -> None:
    """The coordinator raises the number of colluders after everybody has said hello."""
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]
    other = Introduction.decode(shared).model_copy(update={"start": call(world, colluders=2)})
    assert say(world, "m0", "introduce", other.encode()).code == "message"
    assert say(world, "m0", "introduce", shared).kind == "ok"


def test_one_call_takes_one_introduction_and_who_signed_two_hellos_is_named(tmp_path: Path) -> None:
    """A colluder with two hellos cannot get the same fresh keys of others into two epochs."""
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]
    assert say(world, "m0", "introduce", shared).kind == "ok"
    second = say(world, "m0", "introduce", swapped_by_itself(world, shared))  # m1 colludes
    assert (second.code, second.cause[:30]) == ("monotone", "m1 signed two hellos for one c")
    three = Introduction.decode(shared).model_copy(update={"hellos": Introduction.decode(shared).hellos[:3]})
    assert "The coordinator made two introductions" in say(world, "m0", "introduce", three.encode()).cause
    assert say(world, "m0", "introduce", shared).kind == "ok"


def test_control_where_acceptances_cover_no_hellos_two_lists_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """m0 is shown another hello of m1 than the others: its acceptance is of another epoch, and all stop."""
    world = World(tmp_path / "on")

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        lies = kind == "introduce" and name == "m0"
        return (swapped_by_itself(world, shared) if lies else shared), own

    world.expect_stop(CohortError, tamper)
    assert "accepted another epoch" in " ".join(reply.cause for _, _, reply in world.replies) or any(
        "of another epoch" in cause for cause in world.coordinator.state.away.values()
    )
    assert answered(world, "seed") == []
    world = World(tmp_path / "off")
    monkeypatch.setattr(epoch, "check_acceptances", lambda *_: None)
    monkeypatch.setattr(ceremony, "check_answer", lambda *_: None)
    with suppress(CohortError):
        world.run(tamper)
    assert answered(world, "seed") != []


@pytest.mark.parametrize("field", ["mask", "envelope"])
def test_a_key_of_low_order_is_refused_where_it_appears_and_names_its_sender(
    field: str, tmp_path: Path
) -> None:
    """A colluding m1 sends zeros for a key: whatever is made with it would be known to all. The others go on."""
    world = World(tmp_path)
    ask = world.until("hello")
    for name in ask.parts:
        reply = say(world, name, "hello", *ask.parts[name])
        body = reply.body
        if name == "m1":
            hello = Hello.decode(Signed.decode(body).body).model_copy(update={field: bytes(32)})
            body = Signed.make(world.identities["m1"].signing, hello).encode()
        world.take(world.coordinator.receive(ask, name, speak(world, name, ask, body=body)))
    assert world.coordinator.state.away == {"m1": f"The {field} key of m1 is of low order."}
    world.take(world.coordinator.finish(ask))
    world.run()
    assert world.coordinator.state.done
    assert world.coordinator.epoch.present == ("m0", "m2", "m3")


def test_control_members_too_refuse_an_introduction_with_such_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]

    def zeros(world: World, hello: Hello, _signed: Signed) -> Signed:
        return Signed.make(world.identities["m1"].signing, hello.model_copy(update={"mask": bytes(32)}))

    low = introduced(world, shared, zeros)
    assert "The mask key of m1 is of low order" in say(world, "m0", "introduce", low).cause
    monkeypatch.setattr(keys, "check_exchange", lambda *_: None)
    assert say(world, "m0", "introduce", low).kind == "ok"


# --- calls for an epoch ---


def test_an_old_call_for_an_epoch_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    first, _ = world.until("hello").parts["m0"]
    world.until("round")
    next_run(world)
    world.until("prepare")
    assert say(world, "m0", "hello", first).code == "monotone"
    world.members["m0"] = world.member("m0")
    assert say(world, "m0", "hello", first).code == "monotone"
    shared, own = world.coordinator.ask().parts["m0"]  # type: ignore[union-attr]
    assert say(world, "m0", "prepare", shared, own).kind == "ok"  # and the epoch still stands


def test_a_second_call_for_the_same_run_gets_no_second_keys(tmp_path: Path) -> None:
    world = World(tmp_path)
    shared, _ = world.until("hello").parts["m0"]
    first = say(world, "m0", "hello", shared)
    assert say(world, "m0", "hello", shared) == first
    assert say(world, "m0", "hello", call(world, terms=bytes(32)).encode()).code == "monotone"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"colluders": 2}, "epoch"),
        ({"terms": bytes(32)}, "epoch"),
        ({"run": 2}, "epoch"),
        ({"roster": bytes(32)}, "roster"),
    ],
)
def test_a_call_is_for_the_terms_that_this_member_said_yes_to(
    changes: dict[str, object], code: str, tmp_path: Path
) -> None:
    world = World(tmp_path)
    shared, _ = world.until("hello").parts["m0"]
    assert say(world, "m0", "hello", call(world, **changes).encode()).code == code
    assert say(world, "m0", "hello", shared).kind == "ok"


def test_a_call_by_another_than_the_rosters_coordinator_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    shared, _ = world.until("hello").parts["m0"]
    start = EpochStart.decode(Signed.decode(shared).body)
    stranger = Ed25519PrivateKey.generate()
    for claimed in (start, start.model_copy(update={"coordinator": keys.public_bytes(stranger)})):
        assert say(world, "m0", "hello", Signed.make(stranger, claimed).encode()).code == "message"


@pytest.mark.parametrize("colluders", [0, 3])
def test_a_number_of_colluders_that_leaves_no_privacy_is_no_epoch(colluders: int, tmp_path: Path) -> None:
    world = World(tmp_path)
    introduction = Introduction.decode(world.until("introduce").parts["m0"][0])
    other = introduction.model_copy(update={"start": call(world, colluders=colluders)})
    with pytest.raises(ProtocolError, match="colluders do not fit"):
        Epoch.of(other)

"""The people's roster: who may be in an epoch, and that nobody else gets in.

Controls: the same with the check of the twelve words, or of signatures, switched off.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedrepay.client import epoch
from fedrepay.client.identity import Identity
from fedrepay.shared.errors import CohortError
from fedrepay.shared.privacy.entropy import Entropy
from fedrepay.shared.trust import keys
from fedrepay.shared.trust.handshake import EpochStart, Hello, Introduction
from fedrepay.shared.trust.message import M, Signed
from fedrepay.shared.trust.roster import Roster
from support.adversary import opened, say
from support.world import World

HONEST = ["m0", "m1", "m2", "m3"]


def answered(world: World, kind: str) -> list[str]:
    """Who gave a positive answer to messages of this kind."""
    return [name for asked, name, reply in world.replies if asked == kind and reply.kind == "ok"]


def with_ghost(folder: Path) -> World:
    """The coordinator adds a member of its own, m4; the people approved the words of four."""
    world = World(folder)
    world.names.append("m4")
    world.identities["m4"] = Identity.create("m4")
    world.members["m4"] = world.member("m4")
    entries = [identity.entry() for identity in world.identities.values()]
    world.members["m4"].approve_roster(Roster.of(entries, keys.public_bytes(world.key)).code())
    world.size = 5
    world.coordinator = world.new_coordinator()
    return world


def next_run(world: World, run: int = 2) -> None:
    world.events.clear()
    world.replies.clear()
    world.coordinator = world.new_coordinator(run)


# --- the roster ---


def test_a_ghost_in_the_roster_gets_no_acceptance_and_no_upload(tmp_path: Path) -> None:
    world = with_ghost(tmp_path)
    world.expect_stop(CohortError)
    assert world.refusals() == [(name, "roster") for name in HONEST]
    assert answered(world, "introduce") == ["m4"]
    assert answered(world, "seed") + answered(world, "round") == []


def test_control_without_the_twelve_words_the_ghost_reads_every_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = with_ghost(tmp_path)
    monkeypatch.setattr(Roster, "code", lambda _self: world.code)
    world.members["m4"].approve_roster(world.code)
    world.run()
    assert len(opened(world, "m4")) == 3


def test_a_member_whose_people_heard_other_words_stops_the_epoch(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.members["m2"].approve_roster(" ".join(["abandon"] * 11 + ["about"]))
    world.expect_stop(CohortError)
    assert world.refusals() == [("m2", "roster")]
    assert answered(world, "seed") == []


def test_words_are_compared_without_regard_to_case_and_spaces(tmp_path: Path) -> None:
    world = World(tmp_path)
    for member in world.members.values():
        member.approve_roster("  " + world.code.upper().replace(" ", "   "))
    world.until("round")
    assert world.refusals() == []


def test_the_same_roster_needs_no_words_in_the_next_run(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.until("round")
    for member in world.members.values():
        member.approve_roster("")
    next_run(world)
    world.until("round")
    assert world.refusals() == []


def test_a_changed_roster_needs_its_words_although_the_old_one_is_known(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.until("round")
    next_run(world)
    world.identities["m3"] = Identity.create("m3")  # the same name, other keys
    world.members["m3"] = world.member("m3")
    world.expect_stop(CohortError)
    assert {name for name, code in world.refusals() if code == "roster"} >= {"m0", "m1", "m2"}


def test_nobody_is_left_out_of_the_next_roster_without_a_signature_of_its_own(tmp_path: Path) -> None:
    """m3 was in the epoch before; even if people approve the new words, its acceptance is asked for."""
    world = World(tmp_path)
    world.until("round")
    world.names = HONEST[:3]
    entries = [world.identities[name].entry() for name in world.names]
    for name in world.names:
        world.members[name].approve_roster(Roster.of(entries, keys.public_bytes(world.key)).code())
    next_run(world)
    world.expect_stop(CohortError)
    assert answered(world, "introduce") == HONEST[:3]
    assert {code for _, code in world.refusals()} == {"roster"}
    assert answered(world, "seed") == []


def test_a_members_keys_are_not_changed_without_a_signature_of_the_old_ones(tmp_path: Path) -> None:
    """Even if people approve the new words: m3's old key would have to say so."""
    world = World(tmp_path)
    world.until("round")
    next_run(world)
    world.identities["m3"] = Identity.create("m3")
    entries = [identity.entry() for identity in world.identities.values()]
    code = Roster.of(entries, keys.public_bytes(world.key)).code()
    world.folder = tmp_path / "again"  # m3 comes as a new member; the others keep their stores
    world.members["m3"] = world.member("m3")
    world.folder = tmp_path
    for member in world.members.values():
        member.approve_roster(code)
    world.expect_stop(CohortError)
    assert answered(world, "introduce") == HONEST
    honest_seeders = set(world.coordinator.epoch.seeders) - {"m3"}
    assert {(name, "roster") for name in honest_seeders} <= set(world.refusals())
    assert answered(world, "confirm") == []


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


def with_a_signing_key_of_its_own(world: World, hello: Hello, _signed: Signed) -> Signed:
    mine = keys.public_bytes(world.key)
    return Signed.make(world.key, hello.model_copy(update={"signing": mine}))


def of_another_run(world: World, hello: Hello, _signed: Signed) -> Signed:
    return Signed.make(world.identities["m1"].signing, hello.model_copy(update={"run": 7}))


CHANGES: dict[str, Change] = {
    "mask key": swapped(mask=keys.public_bytes(MINE)),
    "envelope key": swapped(envelope=keys.public_bytes(MINE)),
    "nonce": swapped(nonce=bytes(32)),
    "signed by the coordinator": signed_by_coordinator,
    "another signing key": with_a_signing_key_of_its_own,
    "of another run": of_another_run,
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


def test_a_roster_message_without_a_members_hello_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    introduction = Introduction.decode(world.until("introduce").parts["m0"][0])
    for hellos in (introduction.hellos[:-1], (*introduction.hellos[:-1], introduction.hellos[0])):
        fewer = introduction.model_copy(update={"hellos": hellos}).encode()
        assert say(world, "m0", "introduce", fewer).code == "message"


def test_a_roster_without_the_member_itself_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    introduction = Introduction.decode(world.until("introduce").parts["m3"][0])
    three = Roster.of([world.identities[n].entry() for n in HONEST[:3]], keys.public_bytes(world.key))
    world.members["m3"].approve_roster(three.code())
    others = introduction.model_copy(update={"roster": three.encode(), "hellos": introduction.hellos[:3]})
    assert say(world, "m3", "introduce", others.encode()).code == "message"


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


def test_a_roster_message_with_another_call_than_the_one_answered_is_refused(tmp_path: Path) -> None:
    """The coordinator raises the number of colluders after everybody has said hello."""
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]
    call = EpochStart(run=1, coordinator=keys.public_bytes(world.key), colluders=2)
    other = Introduction.decode(shared).model_copy(update={"start": Signed.make(world.key, call)})
    assert say(world, "m0", "introduce", other.encode()).code == "epoch"
    assert say(world, "m0", "introduce", shared).kind == "ok"


def test_one_call_for_an_epoch_takes_one_roster_message(tmp_path: Path) -> None:
    """A colluder with two hellos cannot get the same fresh keys of others into two epochs."""
    world = World(tmp_path)
    shared, _ = world.until("introduce").parts["m0"]
    assert say(world, "m0", "introduce", shared).kind == "ok"
    second = swapped_by_itself(world, shared)  # m1 colludes
    assert say(world, "m0", "introduce", second).code == "epoch"
    assert say(world, "m0", "introduce", shared).kind == "ok"


@pytest.mark.parametrize("field", ["mask", "envelope"])
def test_a_key_of_low_order_is_refused_and_costs_no_budget(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A colluding m1 sends zeros for a key: whatever is made with it would be known to all."""
    real = epoch.hello

    def zeros(identity: Identity, signed: Signed, entropy: Entropy) -> tuple[epoch.EpochState, Signed]:
        state, answer = real(identity, signed, entropy)
        if identity.name == "m1":
            changed = Hello.decode(answer.body).model_copy(update={field: bytes(32)})
            answer = Signed.make(identity.signing, changed)
        return state, answer

    monkeypatch.setattr(epoch, "hello", zeros)
    world = World(tmp_path)
    world.expect_stop(CohortError)
    assert {code for _, code in world.refusals()} == {"message"}
    assert all(world.store(name).ledger() == () for name in ("m0", "m2", "m3"))


# --- calls for an epoch ---


def test_an_old_call_for_an_epoch_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    first, _ = world.until("hello").parts["m0"]
    world.until("round")
    next_run(world)
    world.until("round")
    assert say(world, "m0", "hello", first).code == "monotone"
    world.members["m0"] = world.member("m0")
    assert say(world, "m0", "hello", first).code == "monotone"
    shared, own = world.coordinator.ask().parts["m0"]  # type: ignore[union-attr]
    assert say(world, "m0", "round", shared, own).kind == "ok"  # and the epoch still stands


def test_a_second_call_for_the_same_run_gets_no_second_keys(tmp_path: Path) -> None:
    world = World(tmp_path)
    shared, _ = world.until("hello").parts["m0"]
    first = say(world, "m0", "hello", shared)
    assert say(world, "m0", "hello", shared) == first
    other = EpochStart(run=1, coordinator=keys.public_bytes(world.key), colluders=2)
    assert say(world, "m0", "hello", Signed.make(world.key, other).encode()).code == "monotone"


@pytest.mark.parametrize("colluders", [0, 3])
def test_a_number_of_colluders_that_leaves_no_privacy_is_refused(colluders: int, tmp_path: Path) -> None:
    world = World(tmp_path)
    call = EpochStart(run=1, coordinator=keys.public_bytes(world.key), colluders=colluders)
    start = Signed.make(world.key, call)
    hellos = [Signed.decode(say(world, name, "hello", start.encode()).body) for name in HONEST]
    roster = Roster.of([world.identities[n].entry() for n in HONEST], keys.public_bytes(world.key))
    introduction = Introduction(roster=roster.encode(), start=start, hellos=tuple(hellos))
    assert say(world, "m0", "introduce", introduction.encode()).code == "message"

"""A release that comes after its run: what a member keeps of whoever hands it over, and what it does not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol import closing, pulling
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.server.protocol import pulls
from fedrepay.shared import keys
from fedrepay.shared.errors import ProtocolError, Refusal
from fedrepay.shared.trust.message import Signed
from fedrepay.shared.trust.release import ReleaseContent
from fedrepay.shared.trust.roster import Roster
from fedrepay.shared.trust.wire import KeptRelease, Pulled, ReleaseVote, Reply, Resealed, SealedRelease, Votes
from support.adversary import fork, roster_of, say
from support.world import World

AWAY, JOINER = "m3", "m4"


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run of four is over; m3 was away when it ended."""
    world = World(tmp_path_factory.mktemp("over"), rounds=2)
    world.run(lambda kind, name, shared, own: None if (kind, name) == ("votes", AWAY) else (shared, own))
    assert world.coordinator.state.done
    return world


@pytest.fixture
def world(over: World, tmp_path: Path) -> World:
    return fork(over, tmp_path / "copy")


def offered(world: World, **fields: Any) -> Pulled:
    made = pulls.pulled(world.coordinator.state, 1)
    assert made is not None
    return made.model_copy(update=fields)


def refused(code: str, cause: str) -> Any:
    return pytest.raises(Refusal, match=cause, check=lambda error: error.code == code)


def release(world: World, name: str = "m0") -> bytes:
    kept = world.store(name).release()
    assert kept is not None
    return kept[1]


# --- pulled ---


def test_who_was_away_at_the_end_pulls_the_release_and_forgets_the_epoch(world: World) -> None:
    store = world.store(AWAY)
    assert store.release() is None
    secret = EpochState.decode(store.fact("epoch") or b"").seed
    assert world.members[AWAY].pull(offered(world).encode())
    number, made, votes = store.release() or (0, b"", b"")
    assert (number, made) == (1, release(world))
    assert Votes.decode(votes) == offered(world).votes
    assert [store.fact(name) for name in closing.EPOCH_FACTS] == [None] * len(closing.EPOCH_FACTS)
    assert secret not in b"".join(path.read_bytes() for path in (world.folder / AWAY).iterdir())
    assert not world.members[AWAY].pull(offered(world).encode()), "it is there already"
    assert say(world, AWAY, "round", b"").code == "message", "and it works on"


def test_nothing_is_pulled_before_a_run_is_over(tmp_path: Path) -> None:
    world = World(tmp_path, size=3, rounds=2)
    assert pulls.pulled(world.coordinator.state, 1) is None
    world.until("votes")
    assert pulls.pulled(world.coordinator.state, 1) is None


def test_the_secrets_of_a_later_epoch_stay(world: World) -> None:
    store = world.store(AWAY)
    later = EpochState.decode(store.fact("epoch") or b"").model_copy(update={"run": 2}).encode()
    store.remember(epoch=later)
    assert world.members[AWAY].pull(offered(world).encode())
    assert store.fact("epoch") == later


def test_an_older_release_and_another_of_the_same_run_are_refused(world: World) -> None:
    store, pulled = world.store(AWAY), offered(world)
    store.store_release(2, b"later", b"", forget=())
    with refused("release", "Release 1 is not above release 2"):
        world.members[AWAY].pull(pulled.encode())
    other = world.store("m1")
    with other.connected():
        other._rows("UPDATE releases SET release = ? WHERE number = 1", b"another")
    with refused("release", "holds, or has signed, another release"):
        world.members["m1"].pull(pulled.encode())


def test_no_release_but_the_one_it_has_signed(world: World) -> None:
    world.store(AWAY).remember(**{"voted:1": bytes(32)})
    with refused("release", "has signed, another release"):
        world.members[AWAY].pull(offered(world).encode())


def few(world: World) -> Pulled:
    votes = offered(world).votes
    return offered(world, votes=votes.model_copy(update={"signed": votes.signed[:2]}))


def forged(world: World) -> Pulled:
    """Sealed by one member: its own model, which nobody else has signed."""
    content = ReleaseContent.decode(release(world))
    return sealed(world, replace(content, weights=content.weights + 1.0))


def sealed(world: World, content: ReleaseContent) -> Pulled:
    epoch = world.coordinator.epoch
    entropy = world.members["m0"]._entropy
    return offered(world, sealed=closing.seal(content.encode(), content.number, epoch, entropy))


def test_what_no_quorum_has_signed_is_refused_and_control(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for pulled in (few(world), forged(world)):
        with refused("release", "members' signatures over this release verify"):
            world.members[AWAY].pull(pulled.encode())
    with refused("release", "another run"):
        votes = offered(world).votes.model_copy(update={"run": 2})
        world.members[AWAY].pull(offered(world, votes=votes).encode())
    assert world.store(AWAY).release() is None
    world.store(AWAY).remember(**{"voted:1": b""})  # it signed the genuine one, which would save it
    monkeypatch.setattr(closing, "check_votes", lambda *_: None)
    assert world.members[AWAY].pull(forged(world).encode())


def test_what_is_changed_on_its_way_is_refused(world: World) -> None:
    member, pulled = world.members[AWAY], offered(world)
    with refused("release", "of two runs"):
        member.pull(offered(world, number=2).encode())
    with refused("release", "cannot be opened"):
        member.pull(offered(world, sealed=pulled.sealed[:-1] + bytes([pulled.sealed[-1] ^ 1])).encode())
    with refused("release", "cannot be opened"):
        member.pull(offered(world, sealed=b"rubbish").encode())
    message = SealedRelease.decode(pulled.sealed)
    others = tuple(each for each in message.wrapped if each[0] != AWAY)
    with refused("release", "not sealed to this member"):
        member.pull(offered(world, sealed=message.model_copy(update={"wrapped": others}).encode()).encode())
    with pytest.raises(ProtocolError):
        member.pull(offered(world, introduction=b"rubbish").encode())
    content = ReleaseContent.decode(release(world))
    with refused("release", "tells of another roster than its epoch"):
        member.pull(sealed(world, replace(content, roster=later(world, 0))).encode())
    with refused("release", "says that it is number 2, and not 1"):
        member.pull(sealed(world, replace(content, number=2)).encode())
    assert member.pull(pulled.encode()), "control"


# --- of a roster that is no more ---


def later(world: World, released: int, digest: bytes = bytes(32), *more: Identity) -> Roster:
    """The roster after the run's, which names that release."""
    entries = [*world.roster.members, *(each.entry() for each in more)]
    made = roster_of(entries, world.roster.coordinator, 2)
    update = {"predecessor": world.roster.hash(), "released": released, "release": digest}
    return made.model_copy(update=update)


def test_a_release_of_a_roster_that_is_no_more_needs_the_words_and_control(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All its signatures hold; but those who left, or whose keys were replaced, need keep them no longer."""
    store, pulled = world.store(AWAY), offered(world).encode()
    store.remember(roster=later(world, 0).encode())
    with refused("roster", "of another roster than this member takes part in"):
        world.members[AWAY].pull(pulled)
    store.remember(roster=later(world, 2).encode())
    with refused("release", "older than release 2"):
        world.members[AWAY].pull(pulled)
    store.remember(roster=later(world, 1, bytes([7]) * 32).encode())
    with refused("release", "not release 1 as people approved it"):
        world.members[AWAY].pull(pulled)
    store.remember(roster=later(world, 1, keys.digest(release(world))).encode())
    assert world.members[AWAY].pull(pulled), "people approved its number and hash"
    world.store("m1").remember(roster=later(world, 0).encode())
    monkeypatch.setattr(pulling, "_check_roster", lambda *_: None)
    assert not world.members["m1"].pull(pulled)


def test_who_is_in_no_roster_keeps_nothing(world: World) -> None:
    world.store(AWAY).remember(roster=b"")
    with refused("roster", "in no roster yet"):
        world.members[AWAY].pull(offered(world).encode())


# --- re-sealed ---


@pytest.fixture
def joined(world: World) -> World:
    """m4 has joined: all take part in a roster that names release 1."""
    world.identities[JOINER] = Identity.create(JOINER)
    roster = later(world, 1, keys.digest(release(world)), world.identities[JOINER])
    world.members[JOINER] = world.member(JOINER)
    for name in (*world.names, JOINER):
        world.store(name).remember(roster=roster.encode(), signed=roster.encode())
    return world


def roster(world: World) -> Roster:
    return Roster.decode(world.store("m0").fact("roster") or b"")


def by(world: World, sender: str, content: bytes, votes: Votes, **fields: Any) -> bytes:
    """As that member would re-seal anything at all."""
    made: dict[str, Any] = {
        "number": 1,
        "roster": roster(world).hash(),
        "sender": sender,
        "recipient": JOINER,
    }
    made |= fields
    info = pulling._info(made["number"], roster(world), sender, JOINER)
    body = KeptRelease(release=content, votes=votes).encode()
    key = keys.public_bytes(world.identities[JOINER].sealing)
    message = Resealed(**made, sealed=keys.hpke_seal(key, body, info))
    return Signed.make(world.identities[sender].signing, message).encode()


def voted(content: ReleaseContent, people: Sequence[Identity]) -> Votes:
    body = content.encode()
    said = (ReleaseVote(run=content.number, name=each.name, release=keys.digest(body)) for each in people)
    signed = (Signed.make(each.signing, vote) for each, vote in zip(people, said, strict=True))
    return Votes(run=content.number, signed=tuple(signed))


def test_a_current_member_reseals_the_last_release_to_who_has_joined(joined: World) -> None:
    ask = pulls.reseal("node", JOINER)
    answer = Signed.decode(joined.members["m0"].handle(ask.kind, *ask.parts["node"]))
    body = pulls.resealed(ask, "node", "m0", roster(joined), answer)
    member = joined.members[JOINER]
    assert member.take(body)
    assert joined.store(JOINER).release() == joined.store("m0").release()
    assert not member.take(body), "it is there already"
    with refused("roster", "to another member"):
        joined.members["m1"].take(body)


def test_the_coordinator_passes_on_what_the_member_signed_and_nothing_else(joined: World) -> None:
    ask = pulls.reseal("node", JOINER)
    answer = Signed.decode(joined.members["m0"].handle(ask.kind, *ask.parts["node"]))
    with pytest.raises(ProtocolError, match="does not verify"):
        pulls.resealed(ask, "node", "m1", roster(joined), answer)
    with pytest.raises(ProtocolError, match="not its member's own"):
        pulls.resealed(pulls.reseal("node", "m1"), "node", "m0", roster(joined), answer)
    refusing = Signed.decode(joined.members[AWAY].handle(ask.kind, *ask.parts["node"]))
    with pytest.raises(ProtocolError, match="m3: release: This member's newest release is not the one"):
        pulls.resealed(ask, "node", AWAY, roster(joined), refusing)
    reply = Reply.decode(answer.body)
    kept = Resealed.decode(Signed.decode(reply.body).body)
    for fields in ({"number": 2}, {"recipient": "m1"}, {"roster": bytes(32)}, {"sender": "m1"}):
        other = Signed.make(joined.identities["m0"].signing, kept.model_copy(update=fields))
        changed = reply.model_copy(update={"body": other.encode()})
        with pytest.raises(ProtocolError, match="something else"):
            pulls.resealed(
                ask, "node", "m0", roster(joined), Signed.make(joined.identities["m0"].signing, changed)
            )


@pytest.mark.parametrize(
    ("recipient", "code"), [(b"m9", "roster"), (b"m0", "roster"), (b"\xff", "roster"), (b"", "roster")]
)
def test_a_release_is_resealed_to_nobody_outside_the_roster(
    joined: World, recipient: bytes, code: str
) -> None:
    assert say(joined, "m0", "reseal", recipient).code == code


def test_only_the_release_that_the_roster_names_is_resealed(joined: World) -> None:
    assert say(joined, AWAY, "reseal", JOINER.encode()).code == "release", "it holds none"
    assert say(joined, "m0", "reseal", JOINER.encode(), b"x").code == "epoch"
    store = joined.store("m0")
    store.store_release(2, b"later", b"", forget=())
    assert say(joined, "m0", "reseal", JOINER.encode()).code == "release"
    waits = roster(joined).model_copy(update={"number": 3})
    joined.store("m1").remember(signed=waits.encode())
    assert say(joined, "m1", "reseal", JOINER.encode()).code == "roster", "it has signed a later roster"


def invented(world: World) -> tuple[bytes, Votes]:
    """A release of people whom m1 made up: they all have signed it."""
    content = ReleaseContent.decode(release(world))
    people = [Identity.create(f"x{i}") for i in range(4)]
    made = replace(
        content,
        roster=roster_of([each.entry() for each in people], content.roster.coordinator),
        weights=content.weights - 1.0,
    )
    return made.encode(), voted(made, people)


def test_a_resealed_release_of_an_invented_roster_is_refused_and_control(
    joined: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its votes verify against the roster inside it; only the hash that people approved tells."""
    member, body = joined.members[JOINER], by(joined, "m1", *invented(joined))
    with refused("release", "not release 1 as people approved it"):
        member.take(body)
    assert joined.store(JOINER).release() is None
    monkeypatch.setattr(pulling, "_check_named", lambda *_: None)
    assert member.take(body)


def test_a_resealed_release_is_of_its_sender_roster_number_and_votes(
    joined: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = joined.members[JOINER]
    made, votes = release(joined), offered(joined).votes
    with refused("roster", "under another roster"):
        member.take(by(joined, "m1", made, votes, roster=bytes(32)))
    with refused("release", "says that it is number 1, and not 2"):
        member.take(by(joined, "m1", made, votes, number=2))
    with refused("release", "another run"):
        member.take(by(joined, "m1", made, votes.model_copy(update={"run": 2})))
    with refused("release", "members' signatures"):
        member.take(by(joined, "m1", made, votes.model_copy(update={"signed": votes.signed[:2]})))
    with refused("release", "not a fedrepay release"):
        member.take(by(joined, "m1", b"rubbish", votes))
    joined.identities["m9"] = Identity.create("m9")
    with pytest.raises(ProtocolError, match="'m9' is not in the roster"):
        member.take(by(joined, "m9", made, votes))
    honest = Signed.decode(by(joined, "m1", made, votes))
    with pytest.raises(ProtocolError, match="does not verify"):
        member.take(Signed.make(joined.identities["m2"].signing, Resealed.decode(honest.body)).encode())
    other = joined.identities["m2"].entry().sealing
    info = pulling._info(1, roster(joined), "m1", JOINER)
    copied = keys.hpke_seal(other, KeptRelease(release=made, votes=votes).encode(), info)
    message = Resealed.decode(honest.body).model_copy(update={"sealed": copied})
    with pytest.raises(ProtocolError, match="does not open"):
        member.take(Signed.make(joined.identities["m1"].signing, message).encode())
    above = replace(ReleaseContent.decode(made), number=2)
    people = [joined.identities[name] for name in joined.names]
    with refused("release", "above the one that the roster names"):
        member.take(by(joined, "m1", above.encode(), voted(above, people), number=2))
    assert member.take(honest.encode()), "control"

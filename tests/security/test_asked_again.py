"""The coordinator asks again who does not answer: no copy of a message costs, changes or ends anything, however late it comes."""

import random
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.protocol import contributing
from fedrepay.client.protocol.contributing import Contributor
from fedrepay.client.protocol.ended import Ended
from support.adversary import due, last_sum, say, trace, with_sum
from support.world import World

VICTIM = "m3"
Message = tuple[str, bytes, bytes]


def charges(world: World) -> dict[str, list[tuple[int, int]]]:
    """(round, attempt) of what each member has committed."""
    return {
        name: [(e.round, e.attempt) for e in world.store(name).ledger() if e.status == "committed"]
        for name in world.names
    }


# --- every message twice, and again among all that come after it ---


def test_every_message_twice_and_late_is_a_run_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice, sent, made = random.Random(1), {}, []  # type: random.Random, dict[str, list[Message]], list[int]

    def noisy(*args: Any) -> Any:
        made.append(1)
        return add_noise(*args)

    monkeypatch.setattr(contributing, "add_noise", noisy)
    world = World(tmp_path, rounds=3)
    kinds, late = set(), 0

    def copies(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes]:
        nonlocal late
        member, before = world.members[name], sent.setdefault(name, [])
        for old in dice.sample(before, min(4, len(before))):
            member.handle(*old)
            late += 1
        assert member.handle(kind, shared, own) == member.handle(kind, shared, own), kind
        before.append((kind, shared, own))
        kinds.add(kind)
        return shared, own

    world.replies.clear()
    world.run(copies)
    assert world.coordinator.state.done
    assert world.refusals() == []
    assert charges(world) == {name: [(0, 0), (1, 1), (2, 2)] for name in world.names}
    assert len(made) == 3 * 4, "noise is drawn once a contribution, though each was asked for twice and late"
    assert late > 50
    assert {"terms", "hello", "introduce", "confirm", "prepare", "round", "close", "votes"} <= kinds


# --- an earlier attempt's copies, between the next one's prepare and its round ---


def second_attempt(world: World, late: tuple[str, ...]) -> list[tuple[str, int]]:
    """An attempt is lost, and copies of these kinds come in the middle of the next one: what became of each attempt."""
    sent: dict[str, Message] = {}
    rounds = 0

    def tamper(kind: str, name: str, shared: bytes, own: bytes) -> tuple[bytes, bytes] | None:
        nonlocal rounds
        if name != VICTIM or kind not in ("prepare", "round"):
            return shared, own
        sent.setdefault(kind, (kind, shared, own))
        rounds += kind == "round"
        if kind == "round" and rounds == 1:
            return None
        if kind == "round" and rounds == 2:
            for old in late:
                world.members[VICTIM].handle(*sent[old])
        return shared, own

    world.run(tamper)
    return [(each.status, len(each.config.cohort)) for each in world.coordinator.state.attempts]


@pytest.mark.parametrize("late", [("prepare",), ("round",), ("prepare", "round"), ("round", "prepare")])
def test_late_copies_of_a_lost_attempt_lose_no_other(tmp_path: Path, late: tuple[str, ...]) -> None:
    world = World(tmp_path, rounds=2)
    assert second_attempt(world, late) == [("void", 4), ("completed", 4), ("completed", 4)]


def test_control_where_any_contribution_at_hand_is_good_enough_the_next_is_lost_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whichever(int):
        __hash__ = int.__hash__

        def __ne__(self, _other: object) -> bool:
            return False

    monkeypatch.setattr(
        Contributor, "prepared", property(lambda self: None if self._prepared is None else Whichever(0))
    )
    world = World(tmp_path, rounds=2)
    assert second_attempt(world, ("prepare",))[:3] == [("void", 4), ("void", 4), ("completed", 3)]


# --- the message that ended an epoch ---


def changed(world: World, at: int = 0) -> Message:
    """A sum of the first round of which one bit is another's."""
    shared, own = due(world, "m0")
    payload = bytearray(last_sum(shared).payload)
    payload[at] ^= 1
    return "prepare", with_sum(shared, {"payload": bytes(payload)}), own


def test_the_message_that_ended_an_epoch_is_refused_again_as_it_was(tmp_path: Path) -> None:
    """Its proof begins the dispute; were the first answer lost and the second another, nobody would be found at fault."""
    world = World(tmp_path, mode="none")
    world.until("prepare", 1)
    message = changed(world)
    first = world.members["m0"].handle(*message)
    after = trace(world, "m0")
    assert world.members["m0"].handle(*message) == first
    world.members["m0"] = world.member("m0")  # started again in between
    assert world.members["m0"].handle(*message) == first
    assert trace(world, "m0") == after
    refused = say(world, "m0", *message)
    assert (refused.code, refused.body) == ("tag", bytes(4))
    other = say(world, "m0", *changed(world, 1))
    assert (other.code, other.body) == ("rollback", b""), "control: no second sum is judged"
    assert say(world, "m0", "prepare", *due(world, "m0")).code == "rollback"


def test_control_without_that_the_second_answer_proves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by = Ended.by
    monkeypatch.setattr(Ended, "by", lambda self, refusal, *rest: (by(self, refusal, *rest), refusal)[1])
    world = World(tmp_path, mode="none")
    world.until("prepare", 1)
    message = changed(world)
    assert [say(world, "m0", *message).code for _ in range(2)] == ["tag", "rollback"]

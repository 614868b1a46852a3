"""The disk is full at the moment a member must remember that an epoch has ended for it."""

from pathlib import Path

import pytest

from fedrepay.client.protocol.rounds import Rounds
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import Refusal, StorageError
from support.adversary import due, last_sum, opened, say, with_sum
from support.faultworld.disk import full
from support.world import World


class FullWorld(World):
    """Nobody can store that an epoch is over while ``full``."""

    full = False

    def store(self, name: str) -> MemberStore:
        return MemberStore(self.folder / name, lambda: 1.8e9, self.writes)

    def writes(self, point: str, moment: str) -> None:
        if self.full and (point, moment) == ("remember blocked", "commit"):
            raise full()


def test_a_failed_tag_ends_the_epoch_also_where_the_disk_is_too_full_to_say_so(tmp_path: Path) -> None:
    """Found in a world: the full disk was raised past the member's door, and the epoch went on."""
    world = FullWorld(tmp_path, size=3, mode="none")
    world.until("prepare", 1)
    honest, own = due(world, "m0")
    payload = bytearray(last_sum(honest).payload)
    payload[100] ^= 1
    changed = with_sum(honest, {"payload": bytes(payload)})
    world.full = True
    assert say(world, "m0", "prepare", changed, own).code == "tag"
    for _ in range(2):  # else every full disk is one more question to a decryption oracle
        assert say(world, "m0", "prepare", honest, own).code == "rollback"
        assert opened(world, "m0") == []
        assert not world.store("m0").fact("blocked")
    world.full = False
    assert say(world, "m0", "prepare", honest, own).code == "rollback"
    assert world.store("m0").fact("blocked") == b"tag"  # stored as soon as there was room, and why
    world.members["m0"] = world.member("m0")
    assert say(world, "m0", "prepare", honest, own).code == "rollback"


class BusyStore(MemberStore):
    """Somebody holds the file from the moment a sum is refused: nothing can be read."""

    busy = False

    def fact(self, key: str) -> bytes | None:
        if self.busy:
            raise StorageError("The member's store is locked.", "Wait for the other process.")
        return super().fact(key)


def test_a_failed_tag_ends_the_epoch_also_where_the_store_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, size=3, mode="none")
    world.until("prepare", 1)
    store = BusyStore(tmp_path / "m0", lambda: 1.8e9)
    monkeypatch.setattr(world.members["m0"], "_store", store)
    monkeypatch.setattr(world.members["m0"]._rounds, "_store", store)
    monkeypatch.setattr(world.members["m0"]._rounds._ended, "_store", store)
    honest, own = due(world, "m0")
    end = Rounds.end_epoch

    def while_busy(rounds: Rounds, refusal: Refusal, message: bytes) -> Refusal:
        store.busy = True
        said = end(rounds, refusal, message)
        store.busy = False
        return said

    monkeypatch.setattr(Rounds, "end_epoch", while_busy)
    payload = last_sum(honest).payload
    changed = with_sum(honest, {"payload": bytes([payload[0] ^ 1]) + payload[1:]})
    assert say(world, "m0", "prepare", changed, own).code == "tag"
    assert say(world, "m0", "prepare", honest, own).code == "rollback"

"""The coordinator's key on disk: one whole key at every moment, and the old one's bytes gone once another is in force."""

import os
from pathlib import Path
from typing import Any

import pytest

from fedrepay.server import keyring
from fedrepay.server.keyring import FOLLOWING, KEY
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, StorageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keyring.load_key(tmp_path / "c")
    return tmp_path / "c"


def public(folder: Path) -> bytes:
    return keys.public_bytes(keyring.key_of(folder))


def bytes_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


def test_a_new_key_lies_beside_the_one_in_force_until_a_roster_holds_it(folder: Path) -> None:
    old, before = (folder / KEY).read_bytes(), public(folder)
    made = keys.public_bytes(keyring.rotate(folder))
    assert keys.public_bytes(keyring.rotate(folder)) == made, "one that waits is kept"
    assert ((folder / KEY).read_bytes(), public(folder)) == (old, before)
    assert (folder / FOLLOWING).stat().st_mode & 0o777 == 0o600
    assert not keyring.settle(folder, before), "the roster holds the old one still"
    assert (folder / KEY).read_bytes() == old
    with (folder / KEY).open("rb") as inode:
        assert keyring.settle(folder, made)
        assert inode.read() == bytes(32), "what lay there is overwritten"
    assert public(folder) == made
    assert sorted(each.name for each in folder.iterdir()) == [".making-key", KEY]
    assert not keyring.settle(folder, made)


STEPS = ("link", "replace", "write", "unlink")


@pytest.mark.parametrize("at", STEPS)
def test_a_process_killed_at_any_step_leaves_a_whole_key_and_the_next_one_ends_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    old, before = (folder / KEY).read_bytes(), public(folder)
    made = keys.public_bytes(keyring.rotate(folder))

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    sync, calls = os.fsync, [0]

    def second(file: int) -> None:
        """The folder is synced once, then the overwritten bytes are."""
        calls[0] += 1
        if calls[0] == 2:
            raise KeyboardInterrupt
        sync(file)

    with monkeypatch.context() as patch:
        if at == "link":
            patch.setattr(os, "link", killed)
        elif at == "write":
            patch.setattr(os, "fsync", second)
        else:
            patch.setattr(Path, at, killed)
        with pytest.raises(KeyboardInterrupt):
            keyring.settle(folder, made)
    assert public(folder) == (before if at in ("link", "replace") else made)
    assert keyring.settle(folder, made) == (at in ("link", "replace"))
    assert public(folder) == made
    assert old not in bytes_in(folder)
    assert sorted(each.name for each in folder.iterdir()) == [".making-key", KEY]


def test_control_the_old_bytes_are_there_before(folder: Path) -> None:
    old = (folder / KEY).read_bytes()
    keyring.rotate(folder)
    assert old in bytes_in(folder)


def test_a_full_disk_leaves_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, made = public(folder), keys.public_bytes(keyring.rotate(folder))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(StorageError, match="cannot be replaced: No space left"):
            keyring.settle(folder, made)
    assert public(folder) == before
    assert keyring.settle(folder, made)


def test_a_lost_key_is_replaced_and_a_key_that_is_there_is_not(folder: Path) -> None:
    before = public(folder)
    with pytest.raises(ArgumentError, match="is there, and can sign"):
        keyring.replace(folder)
    assert public(folder) == before
    (folder / KEY).unlink()
    with pytest.raises(StorageError, match="is not there") as lost:
        keyring.rotate(folder)
    assert "--lost" in lost.value.remedy
    assert not (folder / FOLLOWING).exists()
    made = keys.public_bytes(keyring.replace(folder))
    assert public(folder) == made != before
    (folder / KEY).write_bytes(b"damaged")
    assert keys.public_bytes(keyring.replace(folder)) == public(folder) != made
    assert (folder / KEY).stat().st_mode & 0o777 == 0o600


def test_a_key_that_waited_takes_the_place_of_one_that_is_lost(folder: Path) -> None:
    made = keys.public_bytes(keyring.rotate(folder))
    (folder / KEY).unlink()
    assert keys.public_bytes(keyring.replace(folder)) == public(folder) == made
    assert not (folder / FOLLOWING).exists()


def test_a_damaged_following_key_is_told(folder: Path) -> None:
    (folder / FOLLOWING).write_bytes(b"half")
    with pytest.raises(StorageError, match=rf"{FOLLOWING} cannot be used"):
        keyring.following(folder)
    before = public(folder)
    with pytest.raises(StorageError, match=FOLLOWING):
        keyring.settle(folder, before)
    assert public(folder) == before

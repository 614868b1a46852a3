"""New keys beside the ones in force: private files, one step, and a folder that is usable wherever a process dies."""

import os
from pathlib import Path

import pytest

from fedrepay.client.crypto import node_key
from fedrepay.client.crypto.identity import FOLLOWING, IN_FORCE, Identity, Keyring
from fedrepay.shared import files
from fedrepay.shared.errors import StorageError
from support.disk import fill_disk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Identity.create("m0").save(tmp_path / "m0")
    return tmp_path / "m0"


def in_force(folder: Path) -> bytes:
    return (folder / IN_FORCE).read_bytes()


def test_new_keys_lie_beside_the_old_ones_and_are_made_once(folder: Path) -> None:
    node_key.create(folder)
    keyring, old = Keyring("m0", folder), in_force(folder)
    assert keyring.following() is None
    made = keyring.rotate()
    kept = Identity.load("m0", folder)
    assert in_force(folder) == old
    assert (folder / FOLLOWING).stat().st_mode & 0o777 == 0o600
    assert (made.local, made.node, made.name) == (kept.local, kept.node, "m0")
    assert made.entry().signing != kept.entry().signing
    assert made.entry().sealing != kept.entry().sealing
    assert keyring.rotate().entry() == made.entry()
    following = keyring.following()
    assert following is not None
    assert following.entry() == made.entry()


def test_they_take_the_old_ones_place_whose_bytes_are_gone(folder: Path) -> None:
    keyring, old = Keyring("m0", folder), in_force(folder)
    made = keyring.rotate()
    with (folder / IN_FORCE).open("rb") as before:  # the file itself, which has no name after it
        keyring.take()
        assert before.read() == bytes(96)
    assert Identity.load("m0", folder).entry() == made.entry()
    assert (folder / IN_FORCE).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == [IN_FORCE]
    assert old[:32] not in in_force(folder)
    assert keyring.following() is None
    with pytest.raises(StorageError, match="cannot be replaced"):
        keyring.take()
    assert in_force(folder) != bytes(96), "nothing is overwritten that has its name still"


def test_keys_are_private_saved_once_and_name_their_node(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be written") as stopped:
        Identity.create("m0").save(folder)
    assert stopped.value.remedy == "Choose an empty folder."
    folder.chmod(0o755)
    (folder / IN_FORCE).chmod(0o644)
    node_key.create(folder)
    assert Identity.load("m0", folder).entry().node == node_key.public(folder) != b""
    assert (folder / IN_FORCE).stat().st_mode & 0o777 == 0o600
    Keyring("m0", folder).rotate()
    assert folder.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        Identity.create("m0").save(tmp_path / "file")


def test_a_disk_that_fails_leaves_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring, old = Keyring("m0", folder), in_force(folder)
    made = keyring.rotate()
    with monkeypatch.context() as patch:
        fill_disk(patch, IN_FORCE)
        with pytest.raises(StorageError, match="cannot be replaced: No space left"):
            keyring.take()
    assert in_force(folder) == old
    keyring.take()
    assert Identity.load("m0", folder).entry() == made.entry()


def test_old_bytes_that_cannot_be_overwritten_are_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    keyring = Keyring("m0", folder)
    made = keyring.rotate()
    sync, calls = os.fsync, [0]

    def fails(file: int) -> None:
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(5, "Input/output error")
        sync(file)

    monkeypatch.setattr(os, "fsync", fails)
    keyring.take()
    assert Identity.load("m0", folder).entry() == made.entry()
    assert "could not be overwritten: Input/output error" in caplog.text


def test_old_bytes_of_a_process_that_died_are_overwritten_by_the_next(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring, old = Keyring("m0", folder), (folder / IN_FORCE).read_bytes()
    made = keyring.rotate()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            files, "wipe_replaced", lambda path: None if (folder / FOLLOWING).exists() else killed()
        )
        with pytest.raises(KeyboardInterrupt):
            keyring.take()
    assert old in [path.read_bytes() for path in folder.iterdir()], "control: it died before"
    assert Identity.load("m0", folder).entry() == made.entry()
    assert Keyring("m0", folder).following() is None
    assert old not in [path.read_bytes() for path in folder.iterdir()]


def test_damaged_or_missing_keys_are_said(folder: Path) -> None:
    keyring = Keyring("m0", folder)
    for damaged in (b"half", bytes(97)):
        (folder / FOLLOWING).write_bytes(damaged)
        with pytest.raises(StorageError, match=f"{FOLLOWING} is missing or damaged"):
            keyring.following()
    (folder / FOLLOWING).unlink()
    (folder / IN_FORCE).unlink()
    for step in (keyring.rotate, keyring.take):
        with pytest.raises(StorageError, match=IN_FORCE):
            step()
    assert not (folder / FOLLOWING).exists()

"""Folders of keys and state that were there before, open to everybody, are closed; what is made in them too."""

import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedrepay.client.crypto.identity import Identity
from fedrepay.client.node import setup, supernode
from fedrepay.client.store.member_store import MemberStore
from fedrepay.server.keyring import load_key
from fedrepay.server.operating import founding
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import private
from fedrepay.shared.errors import StorageError
from fedrepay.simulations.run.folder import Folder, make_private
from support.command import fedrepay
from support.founded import schema_file

PUBLIC = {"ca.pem", "server.pem", "entry.json", "node.pub", "CACHEDIR.TAG"}
WORDS = ("abandon",) * 11 + ("about",)


@pytest.fixture(autouse=True)
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A folder somebody made with mkdir."""
    folder = tmp_path / "there"
    folder.mkdir()
    assert mode(folder) == 0o755
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[str]:
    """Of a folder and all in it, what others could read and is no public file."""
    found = [folder, *folder.rglob("*")]
    return sorted(str(each.name) for each in found if mode(each) & 0o077 and each.name not in PUBLIC)


def coordinator_init(folder: Path) -> None:
    terms = ("--name", "x", "--address", "a.example:443", "--schema", schema_file(folder.parent / "schema"))
    done = fedrepay("coordinator", "init", "--folder", folder, *terms, "--yes", "--systemd")
    assert done.code == 0, done.err
    CoordinatorStore.in_folder(folder)


def member_init(folder: Path) -> None:
    done = fedrepay("member", "init", "a", "--folder", folder)
    assert done.code == 0, done.err


def approve_roster(folder: Path) -> None:
    setup.create("a", folder)
    for each in (folder, folder / "identity.key"):
        each.chmod(0o755)
    done = fedrepay("member", "approve-roster", *WORDS, "--folder", folder)
    assert done.code == 0, done.err


def member_store(folder: Path) -> None:
    for name in ("member.sqlite", "member.sqlite-journal"):
        (folder / name).touch()
    MemberStore(folder, lambda: 0.0).remember(run=b"1")
    MemberStore(folder, lambda: 0.0).remember(run=b"2")


def coordinators_old_files(folder: Path) -> None:
    load_key(folder)
    CoordinatorStore.in_folder(folder)
    for name in ("", "coordinator.sqlite", "coordinator.key"):
        (folder / name).chmod(0o755)
    load_key(folder)
    CoordinatorStore.in_folder(folder)


def member_node(folder: Path) -> None:
    setup.create("a", folder)
    (folder / supernode.HOME).mkdir()
    (folder / supernode.SECRET).write_text("of an earlier start")
    for name in ("", supernode.HOME, supernode.SECRET, "node.key"):
        (folder / name).chmod(0o755)
    (folder / "ca.pem").touch()
    with pytest.raises(InterruptedError):
        supernode.MemberNode(folder, "localhost:1", folder / "ca.pem", folder / "member.sock", 1).run()
    assert len((folder / supernode.SECRET).read_text()) == 64


def simulated_members(folder: Path) -> None:
    run = Folder(folder.parent)
    (folder / "m0").mkdir()
    make_private(folder)
    Identity.create("m0").save(folder / "m0")
    MemberStore(folder / "m0", lambda: 0.0)
    assert run.path == folder.parent


COMMANDS = (
    *(coordinator_init, member_init, approve_roster, member_store),
    *(coordinators_old_files, member_node, simulated_members),
)


@pytest.fixture
def _no_children(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise InterruptedError

    monkeypatch.setattr(supernode, "_Replaced", stop)


@pytest.mark.usefixtures("_no_children")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.__name__)
def test_a_folder_open_to_others_is_closed_and_it_is_said(
    command: Callable[[Path], None], there: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        command(there)
    assert open_to_others(there) == []
    assert mode(there) == 0o700
    assert f"{there} was open to other users (755)" in caplog.text


@pytest.mark.usefixtures("_no_children")
@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda each: each.__name__)
def test_control_left_as_it_was_others_can_enter(
    command: Callable[[Path], None], there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of `coordinator init`: its folder is made beside its place, for its owner alone, and moved there."""
    monkeypatch.setattr(private, "_close", lambda *_: None)
    command(there)
    assert "there" in open_to_others(there)


def test_new_folders_and_files_say_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        coordinator_init(tmp_path / "c")
        member_init(tmp_path / "m")
    assert "open to other users" not in caplog.text
    assert open_to_others(tmp_path / "c") == open_to_others(tmp_path / "m") == []


def test_somebody_elses_open_folder_is_refused(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_ours(_path: Path, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", not_ours)
    for command in (
        lambda: load_key(there),
        lambda: Identity.create("a").save(there),
        lambda: MemberStore(there, lambda: 0.0),
        lambda: make_private(there),
    ):
        with pytest.raises(StorageError, match="is open to other users") as caught:
            command()
        assert "chmod 700" in caught.value.remedy
    assert [path.name for path in there.iterdir()] == [], "no key was written before"


def test_a_key_that_its_owner_made_read_only_stays_so(there: Path) -> None:
    setup.create("a", there)
    (there / "identity.key").chmod(0o400)
    assert setup.identity(there).name == "a"
    assert mode(there / "identity.key") == 0o400


def test_control_without_the_last_look_a_coordinators_files_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(founding, "_close", lambda _folder: None)
    coordinator_init(tmp_path / "c")
    assert {"terms.toml", "coordinator.toml"} <= set(open_to_others(tmp_path / "c"))

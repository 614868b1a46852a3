"""`member doctor`: what the page says, and what asks for something to be done."""

import shutil
from pathlib import Path

import pytest

from fedrepay.client.care.doctor import page, worries
from fedrepay.shared.errors import ReleaseError
from support import member_folder
from support.command import fedrepay
from support.member_folder import NOW, store_of
from support.world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return member_folder.played(tmp_path_factory.mktemp("world"))


@pytest.fixture
def folder(world: World, tmp_path: Path) -> Path:
    made = shutil.copytree(world.folder / "m0", tmp_path / "member")
    made.chmod(0o700)
    store_of(made).use(1, 1, "use")
    return made


def test_a_healthy_member_s_page(world: World, folder: Path) -> None:
    found = page(folder, clock=lambda: NOW)
    assert found["roster"]["words"] == world.roster.code()
    assert (found["roster"]["number"], found["roster"]["members"]) == (world.roster.number, 3)
    run = found["run"]
    assert (run["last run"], run["state"], run["attempts charged"], run["sums opened"]) == (
        1,
        "released",
        2,
        2,
    )
    assert (found["releases"]["held"], found["releases"]["in use"]) == ([1], 1)
    assert found["budget"]["attempts that count"] == 2
    assert found["limits"]["epsilon_per_year"] == "4.0 (default)"
    assert found["folder"]["name"] == "member"
    assert found["folder"]["other files"] == 2  # the schema and its code book
    assert found["clock"]["UTC"] == "2027-01-15 08:00:00"
    assert worries(found) == []


def test_each_worry_is_told(world: World, folder: Path) -> None:
    def said() -> str:
        return "; ".join(worries(page(folder, clock=lambda: NOW)))

    (folder / "identity.key").chmod(0o644)
    assert said() == "identity.key is open to other users"
    (folder / "identity.key").chmod(0o600)
    store_of(folder).remember(blocked=b"tag")
    assert said().startswith("the epoch ended here (tag)")
    past = page(folder, clock=lambda: NOW, over=1)
    assert (worries(past), past["run"]["ended before, and over now"]) == ([], "tag"), "its run was given up"
    assert worries(page(folder, clock=lambda: NOW, over=0)) != [], "control: another's end is not this one's"
    store_of(folder).remember(blocked=b"")
    assert "clock is behind" in "; ".join(worries(page(folder, clock=lambda: NOW - 1)))
    (folder / "member.toml").write_text("x = 1\n")
    assert said().startswith("settings: not readable (ArgumentError)")
    (folder / "member.toml").unlink()
    other = shutil.copytree(world.folder / "m0", folder.parent / "other")
    assert worries(page(other, clock=lambda: NOW)) == ["releases are held and none is in use"]
    store = store_of(folder)
    with store.connected():
        store._write("create", lambda c: c.execute("UPDATE ledger SET run = 7 WHERE seq = 1"))
    assert {"clock: not readable (StorageError)", "budget: not readable (StorageError)"} <= {
        *worries(page(folder, clock=lambda: NOW))
    }


def test_a_member_that_never_served_has_a_page_and_a_stranger_s_folder_none(tmp_path: Path) -> None:
    assert fedrepay("member", "init", "a", "--folder", tmp_path / "a").code == 0
    shown = fedrepay("member", "doctor", "--folder", tmp_path / "a")
    assert shown.code == 0, shown.err
    assert "state: none yet" in shown.out
    assert "limits: not readable (ArgumentError)" in shown.out
    assert fedrepay("member", "doctor", "--folder", tmp_path).code == ReleaseError.exit_code

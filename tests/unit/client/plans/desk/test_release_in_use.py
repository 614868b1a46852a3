"""`member recommend` with the member alone: the release in use there, and the same decisions as with its folder."""

from pathlib import Path

from fedrepay.client.scoring.release_file import RELEASE, VOTES
from fedrepay.client.store.member_store import MemberStore
from fedrepay.shared.errors import ArgumentError, ReleaseError
from support.command import Result, fedrepay
from support.desk import Desk


def decided(desk: Desk, out: str, *options: object) -> Result:
    files = ("--accounts", desk.accounts, "--catalogue", desk.folder / "mine.toml", "--today", "2026-01-05")
    return fedrepay("member", "recommend", *files, "--out", desk.folder / out, "--batch-id", "b1", *options)


def holding(desk: Desk, folder: Path) -> Path:
    """A member's folder that holds the desk's release."""
    release = desk.folder / "release"
    data, votes = ((release / name).read_bytes() for name in (RELEASE, VOTES))
    MemberStore(folder, lambda: 1.0).store_release(3, data, votes, forget=())
    return folder


def test_the_release_in_use_decides_as_its_folder_does(desk: Desk, tmp_path: Path) -> None:
    member = holding(desk, tmp_path / "member")
    before = decided(desk, "none.csv", "--member", member)
    assert before.code == ReleaseError.exit_code
    assert "no release in use; it holds 3" in before.err
    assert not (desk.folder / "none.csv").exists()
    assert fedrepay("member", "use", 3, "--folder", member).code == 0
    done = decided(desk, "one.csv", "--member", member)
    assert done.code == 0, done.err
    assert "Release 3 signed by 3 of 3 members" in done.err
    assert desk.recommend("two.csv").code == 0
    assert (desk.folder / "one.csv").read_bytes() == (desk.folder / "two.csv").read_bytes()
    listed = fedrepay("member", "releases", "--folder", member)
    assert listed.code == 0, listed.err


def test_without_a_release_and_without_a_member_nothing_is_decided(desk: Desk) -> None:
    done = decided(desk, "one.csv")
    assert done.code == ArgumentError.exit_code
    assert "Nothing says which release is meant" in done.err

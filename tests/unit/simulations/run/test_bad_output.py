"""Where `fedrepay simulate` writes: a folder of somebody else is kept, and a full disk leaves nothing half-written."""

import json
import os
from pathlib import Path

import pytest

from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.simulations.run.folder import Folder
from support.disk import fill_disk
from support.small_run import SmallRun, check_error


@pytest.fixture
def small(tmp_path: Path) -> SmallRun:
    return SmallRun(tmp_path)


def test_an_out_that_is_a_file_is_kept_as_it_is(small: SmallRun) -> None:
    small.out.write_text("mine")
    check_error(
        small.simulate("--members", 3),
        5,
        "StorageError: .*out cannot be used: Not a directory.*another --out",
    )
    assert small.out.read_text() == "mine"
    small.out = small.out / "below"
    check_error(small.simulate("--members", 3), 5, "StorageError: .*")
    assert small.left() == ["out"]


def test_an_out_of_somebody_else_is_kept_as_it_is(small: SmallRun) -> None:
    small.out.mkdir()
    (small.out / "thesis.txt").write_text("mine")
    check_error(small.simulate("--members", 3), 2, "not empty and not a run of ours.*Choose another --out")
    assert [each.name for each in small.out.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("marker", ["", "{", "[]", "\udcff"])
def test_an_out_with_a_damaged_marker_is_refused(small: SmallRun, marker: str) -> None:
    small.out.mkdir()
    (small.out / "run.json").write_text(marker, errors="surrogateescape")
    check_error(small.simulate("--members", 3), 5, "run.json is damaged.*Choose another --out")
    assert [each.name for each in small.out.iterdir()] == ["run.json"]


def test_a_folder_of_other_arguments_or_other_data_is_refused_and_kept(small: SmallRun) -> None:
    facts = {"members": 3, "sha256": {}}
    small.out.mkdir()
    (small.out / "run.json").write_text(json.dumps(facts))
    check_error(
        small.simulate("--members", 4), 2, r"holds a run with other arguments or files \(.*members.*sha256"
    )
    assert json.loads((small.out / "run.json").read_text()) == facts


def test_one_process_at_a_time_is_at_work_in_a_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with folder.held(), pytest.raises(ArgumentError, match="Another process is at work"), folder.held():
        raise AssertionError
    with folder.held():
        pass


# --- a full disk ---


def test_a_disk_full_at_the_start_leaves_no_folder_and_the_same_command_may_run_again(
    small: SmallRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full:
        fill_disk(full, at="run.json")
        check_error(
            small.simulate("--members", 3),
            5,
            "StorageError: .*run.json cannot be written: No space.*Free the disk",
        )
    assert small.left() == []
    facts = {"any": 1}
    assert not Folder(small.out).holds(facts)
    Folder(small.out).make(facts)
    assert Folder(small.out).holds(facts)
    assert small.out.joinpath("members").stat().st_mode & 0o777 == 0o700


def test_a_file_is_written_whole_or_stays_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "report.html"
    write_atomically(target, b"old")
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda _file: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(StorageError, match="No space left on device") as caught:
            write_atomically(target, b"new")
    assert "Free the disk" in caught.value.remedy
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
    assert target.read_bytes() == b"old"
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"


def test_a_lock_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="cannot be written") as caught,
        Folder(tmp_path / "nowhere").held(),
    ):
        raise AssertionError
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["release.safetensors", "report.html", "metrics.json"])
def test_a_disk_full_at_the_end_loses_nothing_and_the_same_command_finishes(
    small: SmallRun, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    options = ("--members", 3, "--rounds", 2, "--mode", "none")
    with monkeypatch.context() as full:
        fill_disk(full, at=name)
        check_error(small.simulate(*options), 5, f"StorageError: .*{name} cannot be written: No space")
    assert not list(small.out.rglob("*.partial"))
    assert not (small.out / "metrics.json").exists(), "which says that a run is done"
    assert small.simulate(*options).code == 0
    assert (small.out / "report.html").exists()

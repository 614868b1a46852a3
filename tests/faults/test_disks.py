"""A disk that is full, or mounted for reading only: every command that writes says so, and goes on once it may; wide rights."""

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.operating import admitting
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust import agreement
from support.command import fedrepay
from support.founded import book, founded
from support.newcomers import Newcomer

TWELVE = ("abandon",) * 11 + ("about",)
MEMBER = 'name = "bank-a"\naddress = "127.0.0.1:9"\nschema = "schema.toml"\n'


def write_schema(member: Path) -> None:
    """What joining would have brought."""
    made = book()
    (member / "schema.toml").write_bytes(made.schema_bytes)
    codebook.save(made, member / "schema.toml")
    (member / "member.toml").write_text(MEMBER)


class Disk:
    """A small one of its own, with a member's folder, a coordinator's, and what else their people write."""

    def __init__(self, place: Path) -> None:
        self.place = place
        tmpfs = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=700", "tmpfs", str(place)]
        done = subprocess.run(tmpfs, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk of its own can be mounted here: {done.stderr.strip()}")
        self.member, self.coordinator = place / "m", place / "c"
        founded(self.coordinator)
        registry = Registry(self.coordinator)
        for name in ("bank-a", "bank-b"):
            invitation = registry.invite(name, "127.0.0.1:9", certificates.authority_digest(self.coordinator))
            agreed = agreement.hashed((self.coordinator / agreement.FILE).read_bytes())
            assert registry.join(Newcomer(name).asks(invitation, agreed=agreed)).state == "waiting"
        admitting.admit(self.coordinator, registry, "bank-b")
        assert fedrepay("member", "init", "bank-a", "--folder", self.member).code == 0
        write_schema(self.member)
        (place / "rows.csv").write_text("a,paid\n1,1\n")
        self.mine, self.theirs = place.parent / "m.tar", place.parent / "c.tar"
        assert fedrepay("member", "backup", self.mine, "--folder", self.member).code == 0
        assert fedrepay("coordinator", "backup", self.theirs, "--folder", self.coordinator).code == 0

    def commands(self) -> list[tuple[object, ...]]:
        """Each writes, and is well where it may."""
        place, member, coordinator = self.place, self.member, self.coordinator
        schema = member / "schema.toml"
        return [
            ("schema", "build", schema),
            ("schema", "init", place / "rows.csv", "--out", place / "draft.toml"),
            ("member", "init", "bank-x", "--folder", place / "x"),
            ("member", "approve-roster", *TWELVE, "--folder", member),
            ("member", "backup", place / "m.tar", "--folder", member),
            ("member", "restore", self.mine, "--folder", place / "again"),
            ("member", "catalogue", "init", place / "plans.toml"),
            (
                "coordinator",
                "init",
                "--folder",
                place / "c2",
                "--name",
                "X",
                "--address",
                "h:1",
                "--schema",
                schema,
                "--yes",
            ),
            ("coordinator", "invite", "bank-z", "--folder", coordinator),
            ("coordinator", "admit", "bank-a", "--yes", "--folder", coordinator),
            ("coordinator", "revoke", "bank-b", "--reason", "x", "--folder", coordinator),
            ("coordinator", "rotate-key", "--yes", "--folder", coordinator),
            ("coordinator", "backup", place / "c.tar", "--folder", coordinator),
            ("coordinator", "restore", self.theirs, "--folder", place / "c3"),
        ]

    def fill(self) -> None:
        with suppress(OSError):
            file = os.open(self.place / "filler", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                while True:
                    os.write(file, bytes(4096))
            finally:
                os.close(file)

    def free(self) -> None:
        (self.place / "filler").unlink()

    def close(self) -> None:
        subprocess.run(
            ["mount", "--bind", self.place, self.place], check=True
        )  # nobody writes through this one
        subprocess.run(["mount", "-o", "remount,bind,ro", self.place], check=True)

    def open(self) -> None:
        subprocess.run(["mount", "-o", "remount,bind,rw", self.place], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    try:
        yield Disk(place)
    finally:
        while os.path.ismount(place):
            subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_every_command_that_writes_says_what_is_wrong_with_the_disk_and_goes_on_after_it(
    disk: Disk, fault: str
) -> None:
    for words in disk.commands():
        disk.fill() if fault == "full" else disk.close()
        done = fedrepay(*words)
        said = " ".join(map(str, words[:2]))
        assert done.code == 5, (said, done)
        cause, remedy = done.err.strip().splitlines()[-2:]
        assert cause.startswith("StorageError: "), said
        assert "No space left" in cause or "full" in cause or "ead-only" in cause or "readonly" in cause, said
        assert "disk" in remedy, (said, remedy)
        disk.free() if fault == "full" else disk.open()
        done = fedrepay(*words)
        assert done.code == 0, (said, "the same command once it may", done)


# --- rights that are too wide ---

OPENED = [
    ("member", "budget"),
    ("member", "status"),
    ("coordinator", "members"),
    ("coordinator", "invite", "bank-z"),
]


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Of a member and a coordinator, somebody having opened both and all in them to everybody."""
    made = {"member": tmp_path / "m", "coordinator": tmp_path / "c"}
    founded(made["coordinator"])
    assert fedrepay("member", "init", "bank-a", "--folder", made["member"]).code == 0
    write_schema(made["member"])
    for folder in made.values():
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o777 if path.is_dir() else 0o666)
    return made


@pytest.mark.parametrize("words", OPENED, ids=" ".join)
def test_a_folder_that_was_opened_to_others_is_closed_by_whatever_comes_first(
    folders: dict[str, Path], words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    folder = folders[words[0]]
    done = fedrepay(*words, "--folder", folder)
    assert done.code == 0, done
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert f"{folder} was open to other users (777): now only you can open it (700)." in caplog.text

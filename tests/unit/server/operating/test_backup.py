"""A coordinator's copy: of one moment, for its owner alone, restored whole into a new folder; what else an archive holds is refused."""

import io
import sqlite3
import stat
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from fedrepay.server.admission import certificates
from fedrepay.server.admission.registry import Registry
from fedrepay.server.keyring import following, load_key
from fedrepay.server.operating import admitting, backup, founding, report
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared import keys
from fedrepay.shared.errors import ArgumentError, FedrepayError, StorageError
from fedrepay.shared.trust import agreement
from support.command import fedrepay
from support.consortium import Consortium, unencrypted
from support.newcomers import Newcomer
from support.operated import operated, released


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


@pytest.fixture
def home(tmp_path: Path) -> Consortium:
    made = operated(tmp_path)
    released(made)
    registry = Registry(made.operator)
    agreed = agreement.hashed((made.operator / "terms.toml").read_bytes())
    invitation = registry.invite("bank-z", "a.example:443", certificates.authority_digest(made.operator))
    registry.join(Newcomer("bank-z").asks(invitation, agreed=agreed))
    admitting.admit(made.operator, registry, "bank-z")
    return made


def test_what_is_restored_is_what_was_copied(home: Consortium, tmp_path: Path) -> None:
    out, again = tmp_path / "copy.tar", tmp_path / "again"
    coming = founding.rotate_key(home.operator, home.database)
    done = fedrepay("coordinator", "backup", out, "--folder", home.operator)
    assert done.code == 0, done.err
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert not [each for each in home.operator.iterdir() if each.name.startswith("tmp")]
    done = fedrepay("coordinator", "restore", out, "--folder", again)
    assert done.code == 0, done.err
    assert "What members say to an older database" in done.out
    assert stat.S_IMODE(again.stat().st_mode) == 0o700
    assert {stat.S_IMODE(each.stat().st_mode) for each in again.rglob("*") if each.is_file()} == {0o600}
    assert keys.public_bytes(load_key(again)) == keys.public_bytes(load_key(home.operator)) != coming
    assert keys.public_bytes(following(again) or load_key(again)) == coming
    store = CoordinatorStore.in_folder(again)
    assert report.report(store) == report.report(home.database)
    (member,) = Registry(again).members()
    assert member.state == "admitted"
    assert (again / "nodes" / "bank-z.pub").read_bytes() == (
        home.operator / "nodes" / "bank-z.pub"
    ).read_bytes()
    assert (again / "terms.toml").read_bytes() == (home.operator / "terms.toml").read_bytes()
    home.operator.rename(tmp_path / "lost")
    again.rename(home.operator)
    released(home, new_run=True)


def test_a_copy_is_of_one_moment_while_another_writes(home: Consortium, tmp_path: Path) -> None:
    with closing(sqlite3.connect(home.operator / "coordinator.sqlite")) as writer:
        writer.execute("insert into events (run, kind, name, body, at) values (9, 'x', '', x'00', 0)")
        backup.backup(home.operator, tmp_path / "copy.tar")  # nothing is committed yet
        writer.rollback()
    backup.restore(tmp_path / "copy.tar", tmp_path / "again")
    assert CoordinatorStore.in_folder(tmp_path / "again").events(9) == []
    assert CoordinatorStore.in_folder(tmp_path / "again").events(1) == home.database.events(1)


def test_nothing_is_overwritten(home: Consortium, tmp_path: Path) -> None:
    out = tmp_path / "copy.tar"
    backup.backup(home.operator, out)
    before = out.read_bytes()
    for wrong in (out, home.operator / "copy.tar"):
        with pytest.raises(ArgumentError):
            backup.backup(home.operator, wrong)
    assert out.read_bytes() == before
    with pytest.raises(ArgumentError, match="holds something"):
        backup.restore(out, home.operator)
    with pytest.raises(ArgumentError, match="coordinator init"):
        backup.backup(tmp_path, tmp_path / "other.tar")
    (home.operator / "ca.key").unlink()
    with pytest.raises(StorageError, match=r"ca\.key"):
        backup.backup(home.operator, tmp_path / "other.tar")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["c", "copy.tar"]


def archive(path: Path, *infos: tuple[tarfile.TarInfo, bytes], of: Path | None = None) -> Path:
    with tarfile.open(path, "w") as made:
        if of is not None:
            with tarfile.open(of) as good:
                for info in good:
                    made.addfile(info, good.extractfile(info))
        for info, body in infos:
            info.size = len(body)
            made.addfile(info, io.BytesIO(body))
    return path


def link(name: str, to: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, to
    return info


@pytest.mark.parametrize(
    "info",
    [
        tarfile.TarInfo("../evil"),
        tarfile.TarInfo("/tmp/evil"),  # noqa: S108 - nothing is written there
        tarfile.TarInfo("nodes/../../evil"),
        tarfile.TarInfo("nodes/.hidden"),
        tarfile.TarInfo("evil.py"),
        tarfile.TarInfo("terms.toml"),
        link("nodes/x.pub", "/etc/passwd"),
    ],
    ids=lambda info: f"{info.name} {info.linkname}",
)
def test_an_archive_with_anything_else_restores_nothing(
    home: Consortium, tmp_path: Path, info: tarfile.TarInfo
) -> None:
    good = tmp_path / "good.tar"
    backup.backup(home.operator, good)
    bad = archive(tmp_path / "bad.tar", (info, b""), of=good)
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(ArgumentError, match="no backup"):
        backup.restore(bad, tmp_path / "again")
    assert sorted(each.name for each in tmp_path.iterdir()) == before
    backup.restore(archive(tmp_path / "same.tar", of=good), tmp_path / "again")


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no archive" * 100)
    for path in (tmp_path / "x", tmp_path / "absent", archive(tmp_path / "empty.tar")):
        with pytest.raises(FedrepayError):
            backup.restore(path, tmp_path / "again")
    assert not (tmp_path / "again").exists()

"""`member backup` and `restore`: what comes back, what must not, and what a restored member can do."""

import io
import json
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest

from fedrepay import load_release
from fedrepay.client.care import home
from fedrepay.client.care.spending import spending
from fedrepay.client.crypto.identity import Identity
from fedrepay.client.protocol.enrolment import held
from fedrepay.client.protocol.epoch import EpochState
from fedrepay.shared.errors import ArgumentError, FedrepayError, ReleaseError, StorageError
from fedrepay.shared.trust.release import ReleaseContent
from support import member_folder
from support.command import fedrepay
from support.lost import Lost
from support.member_folder import NOW, store_of
from support.world import World

MARK = b"m" * 32


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = member_folder.played(tmp_path / "world", ("distributed", "distributed"))
    store_of(made.folder / "m0").bar(MARK)
    return made


@pytest.fixture
def folder(world: World) -> Path:
    return world.folder / "m0"


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with mock.patch("time.time", return_value=NOW):
        yield


def backed_up(folder: Path, out: Path) -> dict[str, bytes]:
    done = fedrepay("member", "backup", out, "--folder", folder, "--json")
    assert done.code == 0, done.err
    with tarfile.open(out) as archive:
        return {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]


def test_what_may_be_restored_is_in_it_and_the_store_is_not(folder: Path, tmp_path: Path) -> None:
    (folder / "limits.toml").write_text("minimum_cohort = 3\n")
    (folder / "member.toml").write_text('limits = "limits.toml"\n')
    out = tmp_path / "m0.tar"
    parts = backed_up(folder, out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert {each.partition("/")[0] for each in parts} == {
        *("identity.key", "entry.json", "member.toml", "limits.toml", "releases", "barred.txt", "spent.txt")
    }
    assert parts["identity.key"] == (folder / "identity.key").read_bytes()
    assert [each.release for each in store_of(folder).releases()] == [
        parts[f"releases/{number}/release.safetensors"] for number in (1, 2)
    ]
    said = fedrepay("member", "backup", tmp_path / "again.tar", "--folder", folder)
    assert "Left out: member.sqlite: the privacy ledger" in said.out
    assert "Left out: schema.toml" in said.out
    assert fedrepay("member", "backup", out, "--folder", folder).code == StorageError.exit_code
    inside = fedrepay("member", "backup", folder / "b.tar", "--folder", folder)
    assert inside.code == ArgumentError.exit_code
    assert "Lost member store".lower() in " ".join(fedrepay("member", "backup", "--help").out.split()).lower()


def test_what_a_restored_member_was_told_is_told_by_its_own_backups_too(folder: Path, tmp_path: Path) -> None:
    spent = backed_up(folder, tmp_path / "one.tar")["spent.txt"].decode()
    assert "had cost ε =" in spent, "control"
    assert fedrepay("member", "restore", tmp_path / "one.tar", "--folder", tmp_path / "new").code == 0
    again = fedrepay("member", "backup", tmp_path / "two.tar", "--folder", tmp_path / "new")
    assert again.code == 0, again.err
    with tarfile.open(tmp_path / "two.tar") as archive:
        said = archive.extractfile("spent.txt").read().decode()  # type: ignore[union-attr]
    assert said.startswith(spent.rstrip())
    assert "or its store was lost" in said
    assert " ".join(spent.split()) in " ".join(again.out.split())


def test_no_secret_of_an_epoch_and_no_line_of_the_ledger_is_in_it(world: World, tmp_path: Path) -> None:
    folder = world.folder / "m0"
    world.events, world.coordinator = [], world.new_coordinator(3)
    world.until("round")  # in the middle of a third run
    store = store_of(folder)
    state = EpochState.decode(store.fact("epoch") or b"")
    secrets = [getattr(state, name) for name in ("envelope", "mask", "contribution", "seed", "nonce")]
    secrets.append(store.ledger_head())
    assert all(len(each) == 32 for each in secrets)
    backed_up(folder, tmp_path / "m0.tar")
    archive, database = (tmp_path / "m0.tar").read_bytes(), (folder / "member.sqlite").read_bytes()
    for secret in secrets:
        assert secret not in archive
        assert secret in database, "control: the search finds what is there"


def restored(folder: Path, tmp_path: Path) -> Path:
    backed_up(folder, tmp_path / "m0.tar")
    done = fedrepay("member", "restore", tmp_path / "m0.tar", "--folder", tmp_path / "back")
    assert done.code == 0, done.err
    return tmp_path / "back"


def test_a_restored_member_has_its_keys_releases_and_bars_and_no_ledger(
    world: World, folder: Path, tmp_path: Path
) -> None:
    assert fedrepay("member", "use", 2, "--folder", folder).code == 0
    spent = spending(home.of(folder)).epsilon
    back = restored(folder, tmp_path)
    assert stat.S_IMODE(back.stat().st_mode) == 0o700
    assert stat.S_IMODE((back / "identity.key").stat().st_mode) == 0o600
    assert Identity.load("m0", back).entry() == world.identities["m0"].entry()
    store = store_of(back)
    assert [each.number for each in store.releases()] == [1, 2]
    assert store.barred() == {MARK}
    assert (store.fact("roster"), store.fact("last_start")) == (None, None)
    assert [(each.status, each.event) for each in store.ledger()] == [("lost", ())], (
        "its year counts as spent"
    )
    told = " ".join((back / "spent.txt").read_text().split())
    assert f"had cost ε = {spent:g}" in told
    assert "counts as spent until the other members have said" in told
    with pytest.raises(ReleaseError, match="no release in use"):
        load_release(member=back)  # serving needs a yes here too
    assert fedrepay("member", "use", 1, "--folder", back).code == 0
    assert load_release(member=back).number == 1, "its roster is not back yet, and the release is its own"


def test_a_restored_member_takes_part_again_once_the_others_have_said_what_its_year_cost(
    world: World, folder: Path, tmp_path: Path
) -> None:
    spent = spending(home.of(folder)).epsilon
    assert spent is not None
    back = restored(folder, tmp_path)
    folder.rename(world.folder / "lost")
    back.rename(folder)
    lost = Lost(world)

    def third(year: float, run: int) -> list[tuple[str, str]]:
        world.limits, world.replies, world.events = member_folder.roomy(year), [], []
        world.members["m0"] = world.member("m0")
        world.coordinator = world.new_coordinator(run)
        if run < 5:
            world.expect_stop(FedrepayError)
        else:
            world.run()
        return world.refusals()

    lost.until(lost.machine(), "propose")  # the coordinator gives the roster back
    assert lost.marks("m0") == ["lost"]
    assert third(100.0, 3) == [("m0", "budget")], "its year counts as spent"
    lost.complete(lost.machine())
    assert spending(home.of(folder)).epsilon == pytest.approx(spent)
    assert third(spent + 0.1, 4) == [("m0", "budget")], "no room for a third run: what was spent counts"
    assert third(100.0, 5) == [], "control: with room it takes part"
    assert [each.number for each in store_of(folder).releases()] == [1, 2, 5]
    roster = held(store_of(folder))
    assert roster is not None
    assert ReleaseContent.decode(store_of(folder).releases()[-1].release).roster == roster


def rewritten(source: Path, out: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    with tarfile.open(source) as archive:
        parts = {each.name: archive.extractfile(each).read() for each in archive}  # type: ignore[union-attr]
    change(parts)
    with tarfile.open(out, "w") as archive:
        for name, data in parts.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return out


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda parts: parts.update({"../outside": b"x"}), ArgumentError),
        (lambda parts: parts.update({"member.sqlite": b"x"}), ArgumentError),
        (lambda parts: parts.pop("identity.key"), ArgumentError),
        (lambda parts: parts.pop("releases/1/votes.msgpack"), ArgumentError),
        (lambda parts: parts.update({"barred.txt": b"zz\n"}), ArgumentError),
        (lambda parts: parts.update({"identity.key": parts["identity.key"][::-1]}), ArgumentError),
        (lambda parts: parts.update({"entry.json": b"[]"}), ArgumentError),
        (
            lambda parts: parts.update({"releases/1/votes.msgpack": parts["releases/2/votes.msgpack"]}),
            ReleaseError,
        ),
    ],
)
def test_another_archive_restores_nothing(
    folder: Path,
    tmp_path: Path,
    change: Callable[[dict[str, bytes]], None],
    code: type[ArgumentError | ReleaseError],
) -> None:
    backed_up(folder, tmp_path / "m0.tar")
    wrong = rewritten(tmp_path / "m0.tar", tmp_path / "wrong.tar", change)
    done = fedrepay("member", "restore", wrong, "--folder", tmp_path / "back")
    assert done.code == code.exit_code, done.err
    assert not (tmp_path / "back").exists()
    assert not (tmp_path / "outside").exists()
    right = rewritten(tmp_path / "m0.tar", tmp_path / "right.tar", lambda _: None)
    assert fedrepay("member", "restore", right, "--folder", tmp_path / "back").code == 0, "control"


def test_nothing_is_restored_over_a_folder_that_holds_something(folder: Path, tmp_path: Path) -> None:
    backed_up(folder, tmp_path / "m0.tar")
    before = {each.name for each in folder.iterdir()}
    done = fedrepay("member", "restore", tmp_path / "m0.tar", "--folder", folder)
    assert done.code == StorageError.exit_code
    assert {each.name for each in folder.iterdir()} == before
    assert fedrepay("member", "restore", tmp_path / "no.tar", "--folder", tmp_path / "n").code == 2


@pytest.mark.parametrize("name", ["identity.key", "entry.json"])
def test_what_could_not_be_restored_is_not_called_a_backup(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).unlink()
    done = fedrepay("member", "backup", tmp_path / "b.tar", "--folder", folder)
    assert done.code == StorageError.exit_code
    assert name in done.err
    assert not (tmp_path / "b.tar").exists()


def test_a_year_without_a_figure_says_when_it_ends(folder: Path, tmp_path: Path) -> None:
    store_of(folder).charge(9, 0, 0, "unprotected", ())
    said = json.loads(fedrepay("member", "backup", tmp_path / "b.tar", "--folder", folder, "--json").out)
    assert "no ε held" in said["advice"]
    assert "2028-01-15" in said["advice"]


def test_restored_in_the_middle_of_a_run_a_member_takes_no_further_part_in_it(
    world: World, folder: Path, tmp_path: Path
) -> None:
    world.events, world.replies, world.coordinator = [], [], world.new_coordinator(3)
    ask = world.until("prepare", 1)
    sent, certificate = store_of(folder).uploads(3), store_of(folder).fact("certificate")
    assert sent
    assert certificate
    back = restored(folder, tmp_path)
    folder.rename(world.folder / "lost")
    back.rename(folder)
    world.members["m0"] = world.member("m0")
    world.members["m0"].handle("certify", certificate, b"")
    world.deliver(ask)
    assert world.refusals() == [("m0", "epoch")]
    assert store_of(folder).uploads(3) == ()
    assert [each.status for each in store_of(folder).ledger()] == ["lost"]
    lost = store_of(world.folder / "lost")
    assert lost.uploads(3) == sent, "control: the folder itself would have gone on"
    assert lost.fact("epoch")

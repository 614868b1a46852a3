"""`member releases`, `use` and `rollback`: what is held stays, what is in use is what people said."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from fedrepay import load_release
from fedrepay.client.care.releases import checked
from fedrepay.client.scoring import release_file
from fedrepay.client.scoring.in_use import Releases, before
from fedrepay.client.scoring.trust import Trust
from fedrepay.client.store.tables import Use
from fedrepay.shared.errors import ArgumentError, FedrepayError, ReleaseError, StorageError
from fedrepay.shared.schema import codebook
from fedrepay.shared.trust.release import ReleaseContent
from support import member_folder
from support.command import Result, fedrepay
from support.member_folder import store_of

RUNS = ("distributed", "distributed", "none", "distributed")
BARE = 3


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return member_folder.played(tmp_path_factory.mktemp("world"), RUNS).folder / "m0"


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    return shutil.copytree(kept, tmp_path / "member")


@pytest.fixture(autouse=True)
def clock() -> Iterator[None]:
    with mock.patch("time.time", return_value=member_folder.NOW):
        yield


def member(*words: object, folder: Path) -> Result:
    return fedrepay("member", *words, "--folder", folder)


def answered(text: str) -> "mock._patch[io.StringIO]":
    """What a person types; nothing is nobody there."""
    return mock.patch("sys.stdin", io.StringIO(text))


def in_use(folder: Path) -> int | None:
    said = json.loads(member("releases", "--json", folder=folder).out)
    numbers = [each["number"] for each in said["releases"] if each["in_use"]]
    return numbers[0] if numbers else None


# --- held and listed ---


def test_all_releases_are_listed_with_what_they_claim_and_who_signed(folder: Path) -> None:
    said = json.loads(member("releases", "--json", folder=folder).out)
    held = said["releases"]
    assert [each["number"] for each in held] == [1, 2, 3, 4]
    assert [each["mode"] for each in held] == list(RUNS)
    assert [each["epsilon"] for each in held] == [4.0, 4.0, None, 4.0]
    assert all((each["signatures"], each["members"]) == (3, 3) for each in held)
    assert held[0]["stored_at"] == "2027-01-15T08:00:00+00:00"
    assert (said["auto"], said["history"], in_use(folder)) == (False, [], None)
    shown = member("releases", folder=folder)
    assert "None is in use" in shown.out
    assert "NOT PRIVATE: none" in shown.out
    assert shown.out.count("3 of 3") == 4


def test_a_release_is_never_replaced_by_another_of_its_number(folder: Path) -> None:
    store = store_of(folder)
    first = store.releases()[0]
    store.store_release(1, first.release, first.votes, forget=())
    with pytest.raises(StorageError, match="another release 1"):
        store.store_release(1, b"another", first.votes, forget=("roster",))
    assert store.releases()[0] == first
    assert store.fact("roster"), "all of the transaction is undone"


def test_a_release_changed_in_the_store_is_refused(folder: Path) -> None:
    first, second = store_of(folder).releases()[:2]
    assert checked(first)[1] == 3
    for wrong in (
        {"release": second.release},  # of another number
        {"votes": second.votes},
        {"release": first.release[:-1] + bytes([first.release[-1] ^ 1])},
    ):
        with pytest.raises(FedrepayError):
            checked(type(first)(**{**vars(first), **wrong}))


# --- export ---


def test_an_exported_release_is_the_folder_that_simulate_leaves_and_score_takes(
    folder: Path, tmp_path: Path
) -> None:
    done = member("releases", "export", 2, "--out", tmp_path / "out", folder=folder)
    assert done.code == 0, done.err
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        release_file.RELEASE,
        release_file.VOTES,
    ]
    loaded = load_release(tmp_path / "out", member=folder)
    assert (loaded.number, loaded.checked.signatures) == (2, 3)
    with pytest.raises(ReleaseError, match="Nothing says whose release"):
        load_release(tmp_path / "out")
    again = member("releases", "export", 1, "--out", tmp_path / "out", folder=folder)
    assert again.code == StorageError.exit_code
    assert load_release(tmp_path / "out", member=folder).number == 2, "nothing is replaced"
    unknown = member("releases", "export", 9, "--out", tmp_path / "other", folder=folder)
    assert unknown.code == ReleaseError.exit_code
    assert not (tmp_path / "other").exists()


def test_a_release_of_an_earlier_roster_is_believed_where_it_is_held_and_nowhere_else(
    folder: Path, tmp_path: Path
) -> None:
    other = member_folder.played(tmp_path / "other").folder / "m0"
    assert member("releases", "export", 1, "--out", tmp_path / "out", folder=folder).code == 0
    with pytest.raises(ReleaseError, match="roster is not the one"):
        load_release(tmp_path / "out", member=other)
    store_of(folder).remember(roster=store_of(other).fact("roster") or b"")  # the roster has changed since
    assert load_release(tmp_path / "out", member=folder).number == 1
    assert member("releases", "export", 1, "--out", tmp_path / "foreign", folder=other).code == 0
    shutil.copy(tmp_path / "foreign" / release_file.RELEASE, tmp_path / "out")
    shutil.copy(tmp_path / "foreign" / release_file.VOTES, tmp_path / "out")
    assert load_release(tmp_path / "out", member=folder).number == 1, "control: of the roster it is in now"


# --- use, rollback, auto ---


def test_a_release_comes_into_use_by_a_yes_and_without_one_nothing_is_served(folder: Path) -> None:
    with pytest.raises(ReleaseError, match=r"no release in use; it holds 1, 2, 3, 4"):
        load_release(member=folder)
    assert member("use", 2, folder=folder).code == 0
    loaded = load_release(member=folder)
    stored = store_of(folder).releases()[1]
    assert loaded.number == 2
    assert np.array_equal(loaded.checked.release.weights, ReleaseContent.decode(stored.release).weights)
    assert "already" in member("use", 2, folder=folder).out
    assert len(store_of(folder).uses()) == 1
    assert member("use", 9, folder=folder).code == ReleaseError.exit_code
    assert in_use(folder) == 2


def test_an_older_release_is_asked_about_and_a_bare_one_needs_a_word(folder: Path) -> None:
    assert member("use", 4, folder=folder).code == 0
    for typed in ("", "n\n"):
        with answered(typed):
            asked = member("use", 1, folder=folder)
        assert asked.code == ArgumentError.exit_code
        assert "older than the one in use" in asked.err
        assert in_use(folder) == 4
    with answered("y\n"):
        assert member("use", 2, folder=folder).code == 0
    assert member("use", 1, "--yes", folder=folder).code == 0
    bare = member("use", BARE, folder=folder)
    assert bare.code == ReleaseError.exit_code
    assert in_use(folder) == 1
    assert member("use", BARE, "--unprotected", folder=folder).code == 0
    with pytest.raises(ReleaseError, match="not private"):
        load_release(member=folder)


def test_rollback_goes_back_one_use_at_a_time_and_the_history_stays(folder: Path) -> None:
    assert member("rollback", folder=folder).code == ArgumentError.exit_code
    for number in (1, 2, 4):
        assert member("use", number, folder=folder).code == 0
    for expected in (2, 1):
        done = json.loads(member("rollback", "--json", folder=folder).out)
        assert done["in_use"] == in_use(folder) == expected
    assert member("rollback", folder=folder).code == ArgumentError.exit_code
    assert member("use", 4, folder=folder).code == 0
    assert json.loads(member("rollback", "--json", folder=folder).out)["in_use"] == 1
    history = json.loads(member("releases", "--json", folder=folder).out)["history"]
    assert [(each["number"], each["said"]) for each in history] == [
        *((1, "use"), (2, "use"), (4, "use"), (2, "rollback"), (1, "rollback"), (4, "use"), (1, "rollback")),
    ]


def test_what_a_rollback_goes_back_to() -> None:
    def uses(*said: str) -> tuple[Use, ...]:
        return tuple(
            Use(0.0, int(each[:-1]), 9, {"u": "use", "r": "rollback", "a": "auto"}[each[-1]]) for each in said
        )

    assert before(()) is before(uses("1u")) is None
    assert before(uses("1u", "2a")) == 1
    assert before(uses("1u", "2u", "1r")) is None
    assert before(uses("1u", "2u", "3a", "2r")) == 1


def test_auto_takes_the_next_private_release_once_and_a_rollback_holds_against_it(folder: Path) -> None:
    assert member("use", 1, folder=folder).code == 0
    (folder / "member.toml").write_text("auto = true\n")
    assert in_use(folder) == 1, "those held when people chose stay their choice"
    store = store_of(folder)
    with store.connected():
        store._write("use", lambda c: c.execute("UPDATE uses SET newest = 1"))  # 2, 3 and 4 came later
    assert load_release(member=folder).number == 4
    assert [each.said for each in store.uses()] == ["use", "auto"]
    assert member("rollback", folder=folder).code == 0
    assert in_use(folder) == 1
    assert load_release(member=folder).number == 1


def test_auto_brings_nothing_bare_into_use(folder: Path) -> None:
    (folder / "member.toml").write_text("auto = true\n")
    found = Releases.of(folder)
    only_bare = Releases(found.store, auto=True, held={BARE: found.held[BARE]})
    assert only_bare.current() is None
    now = Releases.of(folder).current()
    assert now is not None
    assert now.number == 4


@pytest.mark.parametrize("line", ["auto = 1", "automatic = true", "auto ="])
def test_settings_are_read_strictly(folder: Path, line: str) -> None:
    (folder / "member.toml").write_text(line + "\n")
    done = member("releases", folder=folder)
    assert done.code == ArgumentError.exit_code
    assert "member.toml" in done.err


# --- one place resolves a release ---


def test_neither_a_path_nor_a_member_is_an_error_and_no_folder_is_made(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="which release"):
        load_release()
    with pytest.raises(ReleaseError, match="no folder of a member"):
        release_file.load(None, unprotected=False, trust=Trust(member=tmp_path / "nobody"))
    assert member("releases", folder=tmp_path / "nobody").code == ReleaseError.exit_code
    assert not (tmp_path / "nobody").exists()


def test_score_takes_the_release_in_use_and_the_exported_one_alike(folder: Path, tmp_path: Path) -> None:
    accounts = tmp_path / "accounts.csv"
    book = codebook.from_bytes(
        (folder / "schema.toml").read_bytes(), (folder / "schema.codebook.safetensors").read_bytes()
    )
    columns = [each for each in book.schema.columns if each.role in ("customer", "account")]
    cells = [
        "k1"
        if each.type == "text"
        else each.categories[0]
        if each.categories
        else str(each.bounds[0] if each.bounds else 0)
        for each in columns
    ]
    accounts.write_text(",".join(each.name for each in columns) + "\n" + ",".join(cells) + "\n")
    assert member("use", 2, folder=folder).code == 0
    assert member("releases", "export", 2, "--out", tmp_path / "r2", folder=folder).code == 0
    told = ("--accounts", accounts, "--member", folder)
    for out, words in (("a.csv", ()), ("b.csv", ("--release", tmp_path / "r2"))):
        done = fedrepay("member", "score", *words, *told, "--out", tmp_path / out)
        assert done.code == 0, done.err
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert member("use", 1, "--yes", folder=folder).code == 0
    assert fedrepay("member", "score", *told, "--out", tmp_path / "c.csv").code == 0
    assert (tmp_path / "c.csv").read_bytes() != (tmp_path / "a.csv").read_bytes(), "control: another release"
    # columns with names of the member's own: the mapping of its settings makes them the schema's
    renamed = tmp_path / "own.csv"
    renamed.write_text(accounts.read_text().replace(columns[0].name, "our_name", 1))
    wanted = ", ".join(f"our_name AS {each.name}" if each is columns[0] else each.name for each in columns)
    outcomes = "".join(f", {each.name}" for each in book.schema.outcomes)  # left out of what is scored
    (folder / "own.toml").write_text(f'sql = "SELECT {wanted}{outcomes} FROM data"\n')
    own = ("--accounts", renamed, "--member", folder)
    without = fedrepay("member", "score", *own, "--out", tmp_path / "d.csv")
    assert without.code != 0, "control: no mapping is named"
    settings = (folder / "member.toml").read_text() if (folder / "member.toml").exists() else ""
    (folder / "member.toml").write_text(settings + 'mapping = "own.toml"\n')
    done = fedrepay("member", "score", *own, "--out", tmp_path / "d.csv", "--json")
    assert done.code == 0, done.err
    said = json.loads(done.out)
    assert (said["release"], said["rows"], said["rejected"]) == (1, 1, 0)
    assert (tmp_path / "d.csv").read_bytes() == (tmp_path / "c.csv").read_bytes()
    (tmp_path / "bad.toml").write_text('sql = "SELECT 1 AS nothing FROM data"\n')
    bad = fedrepay("member", "score", *own, "--mapping", tmp_path / "bad.toml", "--out", tmp_path / "e.csv")
    assert bad.code != 0, "an option counts before the settings' line"

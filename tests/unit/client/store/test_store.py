"""The member's store: a ledger that shows every change, private files, and typed errors for bad disks."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.store import member_store as store_module
from fedrepay.client.store.database import CACHEDIR_TAG
from fedrepay.client.store.member_store import MemberStore
from fedrepay.client.store.tables import Opening, StoredUpload
from fedrepay.server.keyring import load_key
from fedrepay.server.store import CoordinatorStore
from fedrepay.shared.errors import StorageError
from fedrepay.simulations.attacks.tools.adversary import answer
from support.world import World

COLUMNS = ("at", "run", "round", "attempt", "status", "event", "window", "hash")
UPLOAD = StoredUpload(0, 0, b"config", b"upload", b"header")


def opened(folder: Path) -> MemberStore:
    return MemberStore(folder, lambda: 1.8e9)


@contextmanager
def raw(folder: Path) -> Iterator[sqlite3.Connection]:
    """The store's file, past the store."""
    with closing(sqlite3.connect(folder / "member.sqlite")) as connection, connection:
        yield connection


@pytest.fixture
def store(tmp_path: Path) -> MemberStore:
    """Three entries in the ledger."""
    made = opened(tmp_path / "m0")
    for attempt in range(3):
        event = ({"variance": 2.5, "size": 3},)
        made.charge(1, 0, attempt, "reserved", event, window=b"all customers", counter=bytes([attempt]))
    return made


# --- the ledger ---


def changed(value: Any) -> Any:
    """The same value with its smallest part changed."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    return value[:-1] + chr(ord(value[-1]) ^ 1) if isinstance(value, str) else value + 1


def change(folder: Path, row: int, column: str) -> None:
    with raw(folder) as connection:
        (before,) = connection.execute(f"SELECT {column} FROM ledger WHERE seq = ?", (row,)).fetchone()
        connection.execute(f"UPDATE ledger SET {column} = ? WHERE seq = ?", (changed(before), row))


@pytest.mark.parametrize("row", [1, 2, 3])
@pytest.mark.parametrize("column", COLUMNS)
def test_a_change_in_any_row_of_the_ledger_is_seen(store: MemberStore, row: int, column: str) -> None:
    assert len(store.ledger()) == 3
    change(store.folder, row, column)
    with pytest.raises(StorageError, match=f"Entry {row} of the privacy ledger") as caught:
        store.ledger()
    assert "Restore" in caught.value.remedy


def test_a_row_taken_out_of_the_ledger_is_seen(store: MemberStore) -> None:
    with raw(store.folder) as connection:
        connection.execute("DELETE FROM ledger WHERE seq = 2")
    with pytest.raises(StorageError, match="Entry 3 of the privacy ledger"):
        store.ledger()


def test_control_without_the_chain_a_changed_ledger_is_believed(
    store: MemberStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(store.folder, 2, "attempt")
    monkeypatch.setattr(store_module, "_link", lambda *_: _Anything())
    assert len(store.ledger()) == 3


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def test_every_column_of_the_ledger_is_in_the_chain(store: MemberStore) -> None:
    with raw(store.folder) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(ledger)")]
    assert columns == ["seq", *COLUMNS]  # seq only orders


def test_a_window_written_for_none_is_seen_and_so_is_one_taken_out(tmp_path: Path) -> None:
    """Empty is a window too: everybody's. Neither can be made of the other."""
    for written, forged in ((b"", b"offers 2024-01-01 to 2024-01-31"), (b"all customers", b"")):
        made = opened(tmp_path / forged.hex()[:8])
        made.charge(1, 0, 0, "reserved", (), window=written)
        assert made.ledger()[0].window == written, "control: as it was written it is read"
        with raw(made.folder) as connection:
            connection.execute("UPDATE ledger SET window = ?", (forged,))
        with pytest.raises(StorageError, match="Entry 1 of the privacy ledger"):
            made.ledger()


def test_a_member_with_a_changed_ledger_contributes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, size=3)
    ask = world.until("prepare", 1)
    change(tmp_path / "m0", 1, "event")
    reply = answer(world.members["m0"].handle("prepare", *ask.parts["m0"]))
    assert (reply.kind, reply.code) == ("refused", "store")
    assert len(world.store("m0").uploads(1)) == 1


def test_the_ledgers_head_moves_with_every_entry(store: MemberStore, tmp_path: Path) -> None:
    empty = opened(tmp_path / "m1")
    assert empty.ledger_head() == bytes(32)
    heads = [empty.ledger_head(), store.ledger_head()]
    store.submit(1, UPLOAD, (), "committed")
    assert len({*heads, store.ledger_head()}) == 3


# --- one transaction a decision ---


def test_a_second_upload_for_an_attempt_is_refused_and_leaves_no_trace(store: MemberStore) -> None:
    store.submit(1, UPLOAD, (), "committed")
    with pytest.raises(StorageError):
        store.submit(1, StoredUpload(0, 0, b"config", b"another", b"header"), (), "committed")
    assert store.upload(1, 0, 0) == b"upload"
    assert len(store.ledger()) == 4


def test_a_second_opening_of_a_round_is_refused(store: MemberStore) -> None:
    store.record_opening(1, Opening(0, 0, b"sum", b"config", None))
    with pytest.raises(StorageError):
        store.record_opening(1, Opening(0, 1, b"other", b"config", None))
    assert [each.sum for each in store.openings(1)] == [b"sum"]


def test_two_processes_on_one_store_send_one_upload_for_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing keeps a second process out; the store lets only one of two uploads be sent."""
    world = World(tmp_path, size=3, mode="none")
    second, replies = world.member("m0"), []
    prepare = world.until("prepare").parts["m0"]
    ask = world.until("round")
    assert answer(second.handle("prepare", *prepare)).kind == "ok"
    charge = MemberStore.charge

    def overtaken(store: MemberStore, *args: Any, **facts: Any) -> None:
        monkeypatch.setattr(MemberStore, "charge", charge)
        replies.append(answer(second.handle("round", *ask.parts["m0"])))  # the whole of it, just now
        charge(store, *args, **facts)

    monkeypatch.setattr(MemberStore, "charge", overtaken)
    replies.append(answer(world.members["m0"].handle("round", *ask.parts["m0"])))
    assert [reply.kind for reply in replies] == ["ok", "refused"]
    repeated = answer(world.members["m0"].handle("round", *ask.parts["m0"]))
    assert repeated.body == replies[0].body
    assert len([e for e in world.store("m0").ledger() if e.status == "unprotected"]) == 2  # spent ≥ released


def test_an_opened_round_forgets_the_bytes_that_were_sent(store: MemberStore) -> None:
    store.submit(1, UPLOAD, (), "committed")
    store.record_opening(1, Opening(0, 0, b"sum", b"config", None))
    store.store_opened(1, 0, b"values")
    assert store.upload(1, 0, 0) == b"upload"  # another member's copy of the sum may have been changed
    store.store_opened(1, 1, b"values")
    assert store.upload(1, 0, 0) == b""
    assert [row[3] for row in store.uploads(1)] == [b"header"]  # what proves a rollback stays


def test_a_release_is_stored_and_secrets_are_gone_from_the_file(store: MemberStore) -> None:
    secret = os.urandom(64)
    store.remember(epoch=secret, roster=b"stays")
    assert secret in (store.folder / "member.sqlite").read_bytes()
    store.store_release(1, b"release", b"votes", forget=("epoch",))
    assert secret not in (store.folder / "member.sqlite").read_bytes()
    assert (store.fact("epoch"), store.fact("roster")) == (None, b"stays")
    assert store.release() == (1, b"release", b"votes")


def test_the_newest_release_is_the_one_given(store: MemberStore) -> None:
    for number in (2, 1):
        store.store_release(number, b"%d" % number, b"votes", forget=())
    assert store.release() == (2, b"2", b"votes")


# --- files ---


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_releases_uses_and_barred_customers_are_kept_in_their_order(store: MemberStore) -> None:
    assert (store.releases(), store.uses(), store.barred()) == ((), (), frozenset())
    for number in (2, 1):
        store.store_release(number, b"%d" % number, b"votes", forget=())
    for number, said in ((2, "auto"), (1, "use")):
        store.use(number, 2, said)
    for mark in (b"b" * 32, b"a" * 32, b"b" * 32):
        store.bar(mark)
    assert [(each.number, each.release, each.votes) for each in store.releases()] == [
        (1, b"1", b"votes"),
        (2, b"2", b"votes"),
    ]
    assert [(each.number, each.newest, each.said) for each in store.uses()] == [(2, 2, "auto"), (1, 2, "use")]
    assert store.barred() == {b"a" * 32, b"b" * 32}


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_folder_and_file_are_private_and_out_of_backups(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = opened(tmp_path / "m0").folder
    finally:
        os.umask(before)
    assert mode(folder) == 0o700
    assert mode(folder / "member.sqlite") == 0o600
    assert (folder / "CACHEDIR.TAG").read_text() == CACHEDIR_TAG


def test_a_folder_that_was_open_to_others_is_closed(store: MemberStore) -> None:
    store.folder.chmod(0o755)
    (store.folder / "member.sqlite").chmod(0o644)
    opened(store.folder)
    assert mode(store.folder) == 0o700
    assert mode(store.folder / "member.sqlite") == 0o600


def test_the_coordinators_key_is_private_and_never_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        load_key(tmp_path)
    monkeypatch.undo()
    key = load_key(tmp_path)
    assert mode(tmp_path / "coordinator.key") == 0o600
    assert load_key(tmp_path).private_bytes_raw() == key.private_bytes_raw()


# --- bad disks and bad files ---


def opening(store: MemberStore, pragma: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection of the store begins with a pragma more."""
    opened = store._opened

    @contextmanager
    def with_it() -> Iterator[sqlite3.Connection]:
        with opened() as connection:
            connection.execute(pragma)
            yield connection

    monkeypatch.setattr(store, "_opened", with_it)


def fill_the_disk(store: MemberStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on SQLite finds no page more than the file has."""
    with raw(store.folder) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    opening(store, f"PRAGMA max_page_count = {pages}", monkeypatch)


def test_a_full_disk_is_a_storage_error_and_what_was_stored_stays(
    store: MemberStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_the_disk(store, monkeypatch)
    with pytest.raises(StorageError, match="disk is full") as caught:
        store.charge(1, 0, 3, "reserved", (), counter=bytes(1 << 20))
    assert "Free the disk" in caught.value.remedy
    assert caught.value.exit_code == 5
    assert len(store.ledger()) == 3
    assert store.fact("counter") == b"\x02"


def test_a_member_whose_disk_is_full_sends_nothing_and_goes_on_when_it_is_freed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, size=3, mode="none")
    ask = world.until("round")
    fill_the_disk(world.members["m0"]._store, monkeypatch)
    reply = answer(world.members["m0"].handle("round", *ask.parts["m0"]))
    assert (reply.kind, reply.code) == ("refused", "store")
    assert "disk is full" in caplog.text
    assert str(tmp_path) not in reply.cause, "what the member's machine looks like stays at home"
    world.members["m0"] = world.member("m0")
    world.run()
    assert world.store("m0").release() is not None


@pytest.mark.parametrize("failing", [0, 1], ids=["to make the folder", "to mark it"])
def test_a_folder_that_cannot_be_written_is_a_storage_error(tmp_path: Path, failing: int) -> None:
    blocked = tmp_path / "m0"
    if failing:
        (blocked / "CACHEDIR.TAG").mkdir(parents=True)
    else:
        blocked.write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be written") as caught:
        opened(blocked)
    assert "permissions" in caught.value.remedy


def test_a_file_that_is_no_database_is_a_storage_error_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "member.sqlite").write_bytes(b"something else" * 500)
    with pytest.raises(StorageError, match="not a database"):
        opened(tmp_path)
    assert (tmp_path / "member.sqlite").read_bytes() == b"something else" * 500


def test_another_programs_database_is_a_storage_error_when_it_is_used(tmp_path: Path) -> None:
    with raw(tmp_path) as connection:
        connection.execute("CREATE TABLE facts (name TEXT)")
    with pytest.raises(StorageError, match="no such"):
        opened(tmp_path).fact("epoch")


def test_a_damaged_page_is_a_storage_error(store: MemberStore) -> None:
    path = store.folder / "member.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + bytes(byte ^ 0xFF for byte in whole[4096:]))
    with pytest.raises(StorageError, match="malformed"):
        store.fact("counter")


def test_a_database_that_another_process_holds_is_a_storage_error(
    store: MemberStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening(store, "PRAGMA busy_timeout = 0", monkeypatch)
    with raw(store.folder) as other:
        other.execute("BEGIN IMMEDIATE")
        assert len(store.ledger()) == 3  # reading goes on
        with pytest.raises(StorageError, match="locked"):
            store.remember(counter=b"9")
    store.remember(counter=b"9")


# --- the coordinator's store ---


def test_run_numbers_only_grow(tmp_path: Path, database_url: str) -> None:
    store = CoordinatorStore(database_url)
    terms = World(tmp_path / "members", size=3).terms(run=2)
    store.begin(terms)
    for run in (2, 1):
        with pytest.raises(StorageError, match="not above the last run"):
            store.begin(terms.model_copy(update={"run": run}))
    assert store.terms() == terms


def test_a_coordinators_database_that_is_none_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "c.sqlite").write_bytes(b"something else" * 500)
    with pytest.raises(StorageError, match="not a database") as caught:
        CoordinatorStore(f"sqlite:///{tmp_path / 'c.sqlite'}")
    assert "resumes" in caught.value.remedy

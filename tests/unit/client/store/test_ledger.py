"""The member's tables and every query on them, with other runs, rounds and attempts beside: only what is meant."""

import json
import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from fedrepay.client.store.member_store import BY_PEOPLE, WRITES, MemberStore
from fedrepay.client.store.tables import LedgerEntry, Opening, SeenAttempt, StoredUpload
from fedrepay.shared.errors import StorageError

COLUMNS = {
    "facts": [("key", "TEXT", 1, 1), ("value", "BLOB", 1, 0)],
    "ledger": [
        ("seq", "INTEGER", 1, 1),
        ("at", "FLOAT", 1, 0),
        ("run", "INTEGER", 1, 0),
        ("round", "INTEGER", 1, 0),
        ("attempt", "INTEGER", 1, 0),
        ("status", "TEXT", 1, 0),
        ("event", "TEXT", 1, 0),
        ("window", "BLOB", 1, 0),
        ("hash", "BLOB", 1, 0),
    ],
    "uploads": [
        ("run", "INTEGER", 1, 1),
        ("round", "INTEGER", 1, 2),
        ("attempt", "INTEGER", 1, 3),
        ("config", "BLOB", 1, 0),
        ("upload", "BLOB", 1, 0),
        ("header", "BLOB", 1, 0),
    ],
    "openings": [
        ("run", "INTEGER", 1, 1),
        ("round", "INTEGER", 1, 2),
        ("attempt", "INTEGER", 1, 0),
        ("sum", "BLOB", 1, 0),
        ("config", "BLOB", 1, 0),
        ("values", "BLOB", 0, 0),
    ],
    "releases": [
        ("number", "INTEGER", 1, 1),
        ("at", "FLOAT", 1, 0),
        ("release", "BLOB", 1, 0),
        ("votes", "BLOB", 1, 0),
    ],
    "uses": [
        ("seq", "INTEGER", 1, 1),
        ("at", "FLOAT", 1, 0),
        ("number", "INTEGER", 1, 0),
        ("newest", "INTEGER", 1, 0),
        ("said", "TEXT", 1, 0),
    ],
    "barred": [("mark", "BLOB", 1, 1), ("at", "FLOAT", 1, 0)],
    "seen": [
        ("run", "INTEGER", 1, 1),
        ("round", "INTEGER", 1, 3),
        ("attempt", "INTEGER", 1, 2),
        ("cohort", "TEXT", 1, 4),
        ("event", "TEXT", 1, 0),
        ("at", "FLOAT", 1, 0),
    ],
}
"""(name, type, not null, place in the primary key)"""


class Heard:
    """Hears of every write; may end one."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.stop: tuple[str, str] | None = None

    def __call__(self, point: str, moment: str) -> None:
        self.said.append((point, moment))
        if (point, moment) == self.stop:
            raise KeyboardInterrupt


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def store(tmp_path: Path, heard: Heard) -> MemberStore:
    """Its clock ticks once a reading, from 1,000.5 s."""
    ticks = count(1000)
    return MemberStore(tmp_path / "m0", lambda: next(ticks) + 0.5, heard)


def raw(store: MemberStore, query: str) -> list[Any]:
    with closing(sqlite3.connect(store.folder / "member.sqlite")) as connection:
        return connection.execute(query).fetchall()


# --- the tables ---


def test_the_tables_are_these(store: MemberStore) -> None:
    names = {name for (name,) in raw(store, "SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert names == set(COLUMNS)
    for name, columns in COLUMNS.items():
        found = [
            (c, kind, null, key) for _, c, kind, null, _, key in raw(store, f"PRAGMA table_info({name})")
        ]
        assert found == columns, name


def test_a_row_cannot_be_written_by_halves(store: MemberStore) -> None:
    """NOT NULL is SQLite's own word: nothing is stored that says less than it should."""
    with closing(sqlite3.connect(store.folder / "member.sqlite")) as connection:
        for name, columns in COLUMNS.items():
            for missing in (c for c, _, null, key in columns if null and not key):
                kept = [c for c, *_ in columns if c != missing]
                marks = ", ".join("?" * len(kept))
                quoted = ", ".join(f'"{c}"' for c in kept)
                with pytest.raises(sqlite3.IntegrityError, match=f"{name}.{missing}"):
                    connection.execute(f"INSERT INTO {name} ({quoted}) VALUES ({marks})", [1] * len(kept))


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 0)])
def test_writes_are_on_the_disk_and_what_is_deleted_is_gone(
    tmp_path: Path, synchronous: int, *, durable: bool
) -> None:
    made = MemberStore(tmp_path / "m1", lambda: 0.0, durable=durable)
    names = ("journal_mode", "synchronous", "secure_delete", "busy_timeout")
    found = {name: made._rows(f"PRAGMA {name}")[0][0] for name in names}
    assert found == {
        "journal_mode": "persist",
        "synchronous": synchronous,
        "secure_delete": 1,
        "busy_timeout": 5000,
    }
    default = MemberStore(tmp_path / "m2", lambda: 0.0)
    assert default._rows("PRAGMA synchronous") == [(2,)]


def test_files_are_private_from_the_moment_they_are_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the umask, and before permissions are set again."""
    before = os.umask(0)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    try:
        folder = MemberStore(tmp_path / "m1", lambda: 0.0).folder
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "member.sqlite").stat().st_mode) == 0o600


def test_what_was_open_to_others_is_closed_and_marked_for_backups(store: MemberStore) -> None:
    store.folder.chmod(0o777)
    (store.folder / "member.sqlite").chmod(0o666)
    (store.folder / "CACHEDIR.TAG").unlink()
    MemberStore(store.folder, lambda: 0.0)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.folder / "member.sqlite").stat().st_mode) == 0o600
    marked = (store.folder / "CACHEDIR.TAG").read_text()
    assert marked.startswith(
        "Signature: 8a477f597d28d172789f06886806bc55\n"
    )  # the words that backup tools look for


def test_a_folder_within_folders_is_made(tmp_path: Path) -> None:
    made = MemberStore(tmp_path / "a" / "b", lambda: 0.0)
    assert made.folder == tmp_path / "a" / "b"
    MemberStore(tmp_path / "a" / "b", lambda: 0.0)  # and opened again


# --- facts ---


def test_facts_are_kept_apart_and_the_newest_counts(store: MemberStore) -> None:
    store.remember(approved_code=b"1", counter=b"2")
    store.remember(counter=b"3", confirmed=b"")
    assert [store.fact(k) for k in ("approved_code", "counter", "confirmed", "other")] == [
        b"1",
        b"3",
        b"",
        None,
    ]
    again = MemberStore(store.folder, lambda: 0.0)
    assert again.fact("counter") == b"3"


# --- the ledger ---


EVENT: tuple[dict[str, Any], ...] = ({"variance": 2.5, "size": 3}, {"size": 1, "variance": 1e300})


def filled(store: MemberStore) -> None:
    """Charges and uploads of two runs, not in the order of their numbers."""
    store.charge(2, 5, 6, "reserved", EVENT, window=b"all customers", counter=b"a")
    store.charge(1, 0, 0, "reserved", (), counter=b"b", confirmed=b"c")
    for run, round_, attempt in ((1, 1, 2), (1, 0, 0), (1, 0, 1), (2, 0, 0)):
        name = f"{run}{round_}{attempt}".encode()
        upload = StoredUpload(round_, attempt, b"c" + name, b"u" + name, b"h" + name)
        store.submit(run, upload, EVENT[:1], "committed", window=b"w" * attempt)


def test_entries_come_back_in_the_order_they_were_written(store: MemberStore) -> None:
    assert store.ledger() == ()
    filled(store)
    assert store.ledger() == (
        LedgerEntry(1000.5, 2, 5, 6, "reserved", EVENT, b"all customers"),
        LedgerEntry(1001.5, 1, 0, 0, "reserved", ()),
        LedgerEntry(1002.5, 1, 1, 2, "committed", EVENT[:1], b"ww"),
        LedgerEntry(1003.5, 1, 0, 0, "committed", EVENT[:1]),
        LedgerEntry(1004.5, 1, 0, 1, "committed", EVENT[:1], b"w"),
        LedgerEntry(1005.5, 2, 0, 0, "committed", EVENT[:1]),
    )
    assert (store.fact("counter"), store.fact("confirmed")) == (b"b", b"c")


def test_each_entrys_hash_is_of_the_one_before_and_of_all_it_says(store: MemberStore) -> None:
    filled(store)
    head, heads = bytes(32), [bytes(32)]
    for seq, at, run, round_, attempt, status, event, window, found in raw(
        store, "SELECT * FROM ledger ORDER BY seq"
    ):
        assert event == json.dumps(json.loads(event), sort_keys=True)
        parts = (head, json.dumps([at, run, round_, attempt, status]).encode(), event.encode(), window)
        state = sha256()
        for part in parts:
            state.update(len(part).to_bytes(8, "big") + part)
        head = state.digest()
        assert found == head, seq
        heads.append(head)
    assert store.ledger_head() == head
    assert store.ledger_heads() == frozenset(heads)
    assert len(heads) == 7


def test_a_whole_second_is_hashed_as_it_is_read(tmp_path: Path) -> None:
    made = MemberStore(tmp_path / "m1", lambda: 1_800_000_000)
    made.charge(1, 0, 0, "reserved", ())
    assert made.ledger()[0].at == 1.8e9


def test_an_empty_ledger_has_one_head(store: MemberStore) -> None:
    assert store.ledger_head() == bytes(32)
    assert store.ledger_heads() == frozenset({bytes(32)})


def test_two_processes_on_one_ledger_write_one_chain(tmp_path: Path) -> None:
    """The head is read under the lock under which the next entry is written: neither forks the chain nor fails."""

    def charges(run: int) -> None:
        own = MemberStore(tmp_path / "m1", lambda: 0.0, durable=False)
        for attempt in range(60):
            own.charge(run, 0, attempt, "reserved", EVENT)

    MemberStore(tmp_path / "m1", lambda: 0.0)
    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(charges, (1, 2))] == [None, None]
    found = MemberStore(tmp_path / "m1", lambda: 0.0).ledger()
    assert [sum(entry.run == run for entry in found) for run in (1, 2)] == [60, 60]


# --- uploads ---


def test_uploads_of_a_run_in_the_order_of_attempts(store: MemberStore) -> None:
    filled(store)
    assert store.uploads(1) == (
        (0, 0, b"c100", b"h100"),
        (0, 1, b"c101", b"h101"),
        (1, 2, b"c112", b"h112"),
    )
    assert store.uploads(2) == ((0, 0, b"c200", b"h200"),)
    assert store.uploads(3) == ()
    for round_, attempt in ((1, 0), (0, 1)):
        store.submit(4, StoredUpload(round_, attempt, b"", b"", b""), (), "committed")
    assert [row[:2] for row in store.uploads(4)] == [(1, 0), (0, 1)]
    assert [store.upload(1, 0, attempt) for attempt in (0, 1, 2)] == [b"u100", b"u101", None]
    assert store.upload(1, 1, 2) == b"u112"
    assert store.upload(2, 0, 0) == b"u200"
    assert store.upload(2, 1, 2) is None


# --- openings ---


def test_openings_of_a_run_in_the_order_of_rounds(store: MemberStore) -> None:
    for run, round_ in ((1, 1), (1, 0), (2, 0)):
        name = f"{run}{round_}".encode()
        store.record_opening(run, Opening(round_, 7 + round_, b"s" + name, b"c" + name, None))
    assert store.openings(1) == (
        Opening(0, 7, b"s10", b"c10", None),
        Opening(1, 8, b"s11", b"c11", None),
    )
    store.store_opened(1, 0, b"values")
    assert [each.values for each in store.openings(1)] == [b"values", None]
    assert [each.values for each in store.openings(2)] == [None]
    assert store.openings(3) == ()
    store.store_opened(1, 1, b"")
    assert [each.values for each in store.openings(1)] == [b"values", b""]


def test_an_opened_round_forgets_what_was_sent_before_it_in_its_run(store: MemberStore) -> None:
    filled(store)
    store.store_opened(1, 0, b"values")
    kept = [b"u100", b"u101", b"u112"]
    assert [
        store.upload(1, 0, 0),
        store.upload(1, 0, 1),
        store.upload(1, 1, 2),
    ] == kept  # may be asked for again
    assert store.upload(2, 0, 0) == b"u200"
    store.store_opened(1, 1, b"values")
    assert [store.upload(1, 0, 0), store.upload(1, 0, 1), store.upload(1, 1, 2)] == [b"", b"", b"u112"]
    store.store_release(1, b"release", b"votes", forget=())
    assert store.upload(1, 1, 2) == b""
    assert len(store.uploads(1)) == 3
    assert store.upload(2, 0, 0) == b"u200"


# --- releases ---


def test_the_newest_release_and_only_the_named_facts_are_forgotten(store: MemberStore) -> None:
    assert store.release() is None
    store.remember(epoch=b"1", seed=b"2", roster=b"3")
    store.store_release(2, b"r2", b"v2", forget=("epoch", "seed"))
    store.store_release(1, b"r1", b"v1", forget=())
    assert store.release() == (2, b"r2", b"v2")
    assert [store.fact(key) for key in ("epoch", "seed", "roster")] == [None, None, b"3"]
    store.store_release(2, b"r2", b"v3", forget=())
    assert store.release() == (2, b"r2", b"v2"), "as it was first stored"
    with pytest.raises(StorageError, match="another release 2"):
        store.store_release(2, b"r3", b"v3", forget=("roster",))
    assert (store.release(), store.fact("roster")) == ((2, b"r2", b"v2"), b"3")
    assert len(raw(store, "SELECT * FROM releases")) == 2


# --- every write is told of, and undone where it is stopped ---


def written(store: MemberStore) -> dict[str, Any]:
    """One write of each kind."""
    upload, opening = StoredUpload(0, 0, b"c", b"u", b"h"), Opening(0, 0, b"s", b"c", None)
    return {
        **{
            f"remember {fact}": (lambda fact=fact: store.remember(**{fact: b"1"}))
            for fact in ("blocked", "confirmed")
        },
        "remember reply:hello": lambda: store.remember(epoch=b"1", **{"reply:hello": b"2"}),
        "charge reserved": lambda: store.charge(1, 0, 0, "reserved", EVENT, counter=b"1"),
        "charge rolled-back": lambda: store.charge(1, 0, 1, "rolled-back", EVENT),
        "submit": lambda: store.submit(9, upload, EVENT, "committed"),
        "record_opening": lambda: store.record_opening(9, opening),
        "store_opened": lambda: store.store_opened(9, 0, b"values"),
        "store_release": lambda: store.store_release(1, b"r", b"v", forget=("blocked",)),
        "use": lambda: store.use(1, 1, "use"),
        "bar": lambda: store.bar(b"m" * 32),
    }


def test_each_write_is_told_of_inside_its_transaction_and_after(store: MemberStore, heard: Heard) -> None:
    assert heard.said == [("create", "commit"), ("create", "committed")]
    for point, write in written(store).items():
        heard.said.clear()
        write()
        assert heard.said == [(point, "commit"), (point, "committed")]
        assert point in (*WRITES, *BY_PEOPLE)


def test_points_of_writing_are_these() -> None:
    assert len(WRITES) == len(set(WRITES)) == 25
    assert {*(name.split()[0] for name in WRITES)} == {
        *("create", "remember", "charge", "note", "submit", "record_opening", "store_opened", "store_release")
    }


def test_a_write_that_is_stopped_leaves_nothing(store: MemberStore, heard: Heard) -> None:
    filled(store)
    store.record_opening(1, Opening(0, 0, b"s", b"c", None))
    store.remember(blocked=b"0")
    tables = {name: raw(store, f"SELECT * FROM {name}") for name in COLUMNS}
    for point, write in written(store).items():
        heard.stop = (point, "commit")
        with pytest.raises(KeyboardInterrupt):
            write()
        assert {name: raw(store, f"SELECT * FROM {name}") for name in COLUMNS} == tables, point
    heard.stop = ("remember blocked", "committed")
    with pytest.raises(KeyboardInterrupt):
        store.remember(blocked=b"1")
    assert store.fact("blocked") == b"1"  # it was over


# --- one connection a message ---


def test_the_version_grows_with_every_write_of_a_message_and_is_none_outside(store: MemberStore) -> None:
    assert store.version is None
    with store.connected():
        first = store.version
        assert first is not None
        assert store.fact("counter") is None
        assert store.version == first
        store.remember(counter=b"1")
        assert store.version == first + 1
        store.charge(1, 0, 0, "reserved", ())
        assert store.version == first + 2
        assert store.fact("counter") == b"1"
        assert raw(store, "SELECT value FROM facts") == [(b"1",)]  # each write is durable by itself
    assert store.version is None
    store.remember(counter=b"2")
    with store.connected():
        assert (store.version or 0) > first + 3  # whatever was written between


def test_a_message_that_fails_gives_its_connection_back(store: MemberStore) -> None:
    with pytest.raises(KeyboardInterrupt), store.connected():
        raise KeyboardInterrupt
    assert store.version is None
    store.remember(counter=b"1")
    with store.connected(), pytest.raises(StorageError, match="failed"):
        store.charge(1, 0, 0, None, ())  # type: ignore[arg-type]
    assert store.ledger() == ()


@pytest.mark.parametrize("column", ["event", "status", "window", "round"])
def test_a_ledger_whose_entry_has_another_type_is_told_of_as_changed(tmp_path: Path, column: str) -> None:
    """SQLite keeps any type in any column: the same bytes as another type are a change too."""
    store = MemberStore(tmp_path / "m0", lambda: 1.8e9)
    store.charge(1, 0, 0, "reserved", ({"variance": 2.5},), window=b"all")
    other = "TEXT" if column == "window" else "BLOB"
    with closing(sqlite3.connect(tmp_path / "m0" / "member.sqlite")) as raw, raw:
        raw.execute(f"UPDATE ledger SET {column} = CAST({column} AS {other})")
    with pytest.raises(StorageError):
        store.ledger()


# --- what was seen of others ---


def test_attempts_are_noted_once_with_who_took_part_and_for_a_year(tmp_path: Path) -> None:
    now = [1000.0]
    store = MemberStore(tmp_path / "m0", lambda: now[0], durable=False)
    first = SeenAttempt(1, 0, 0, ("a", "b"), ({"x": 1},))
    other = replace(first, cohort=("a", "c"))
    store.note([first, other])
    now[0] = 2000.0
    store.charge(1, 0, 1, "reserved", (), seen=[first, replace(first, attempt=1)])
    assert (
        store.noted()
        == store.noted(1)
        == (
            replace(first, at=1000.0),
            replace(other, at=1000.0),
            replace(first, attempt=1, at=2000.0),
        )
    )
    assert store.noted(2) == ()
    now[0] = 1000.0 + 366 * 86400.0
    store.note([replace(first, run=2)])
    assert [(each.run, each.attempt) for each in store.noted()] == [(1, 1), (2, 0)], "what is past goes"


def test_entries_that_come_with_facts_are_written_with_them_or_not(tmp_path: Path) -> None:
    def stopped(_point: str, moment: str) -> None:
        if armed and moment == "commit":
            raise KeyboardInterrupt

    armed = False
    store = MemberStore(tmp_path / "m0", lambda: 5.0, stopped, durable=False)
    entry = LedgerEntry(4.0, 1, 0, 0, "told", ({"x": 1},), b"told by b")
    armed = True
    with pytest.raises(KeyboardInterrupt):
        store.remember(entry, roster=b"r")
    assert (store.ledger(), store.fact("roster")) == ((), None)
    armed = False
    store.remember(entry, roster=b"r")
    assert (store.ledger(), store.fact("roster")) == ((entry,), b"r")

"""Who serves a database and who carries its runs: one process, which is named to the others; without its lock it writes nothing."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from fedrepay.server.database import locks
from fedrepay.server.database.engine import CoordinatorDatabase, engine_of
from fedrepay.server.database.where import VARIABLE, without_password
from fedrepay.server.operating import children
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared.errors import ProtocolError, StorageError
from support.founded import founded, settings
from support.postgres import Postgres, database

HOLD = """
import pathlib, sys
from fedrepay.server.database import locks
from fedrepay.server.database.engine import CoordinatorDatabase, engine_of
import sqlalchemy as sa
database = CoordinatorDatabase(engine_of(sa.make_url(sys.argv[1])), pathlib.Path(sys.argv[2]))
with locks.held(database, sys.argv[3]) as hold:
    hold.note()
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another(url: str, folder: Path, name: str) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-c", HOLD, url, str(folder), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with database(postgres) as made:
        yield made


def machine(url: str, folder: Path) -> CoordinatorDatabase:
    """One machine's side of a database."""
    folder.mkdir(exist_ok=True)
    return CoordinatorDatabase(engine_of(sa.make_url(url)), folder)


@pytest.mark.parametrize("name", [locks.SERVING, locks.CARRYING])
def test_a_second_process_is_refused_and_told_who_and_a_killed_one_lets_go(
    database_url: str, tmp_path: Path, name: str
) -> None:
    """Of SQLite another process in the folder; of PostgreSQL another machine with a folder of its own."""
    kind = sa.make_url(database_url).get_backend_name()
    ours = machine(database_url, tmp_path if kind == "sqlite" else tmp_path / "b")
    ours.prepare()
    (tmp_path / "a").mkdir()
    with another(database_url, tmp_path if kind == "sqlite" else tmp_path / "a", name) as process:
        with pytest.raises(ProtocolError) as caught, locks.held(ours, name):
            pass
        assert re.search(
            rf"Another .*: process {process.pid} on \S+, since 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC",
            caught.value.cause,
        )
        assert "Stop" in caught.value.remedy
        other = locks.CARRYING if name == locks.SERVING else locks.SERVING
        with locks.held(ours, other):
            pass  # each keeps away its own kind alone
        with ours.transaction(write=True) as connection:  # reading and writing are for all
            assert connection.execute(sa.text("SELECT count(*) FROM events")).scalar() == 0
        process.send_signal(signal.SIGKILL)
        process.wait()
    with locks.held(ours, name, locks.waiting(10.0)) as hold:
        hold.note()
        assert f"process {os.getpid()} on" in str(locks._taken(ours, name))
    with locks.held(ours, name):
        pass


def test_a_coordinator_on_another_machine_refuses_before_it_starts_anything(
    postgres: Postgres, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = str(sa.make_url(url).database)
    whole = postgres.url(name, port=postgres.port)
    founded(tmp_path / "b", placed=settings(database=without_password(whole, "x")))
    monkeypatch.setenv(VARIABLE, whole)
    monkeypatch.setattr(children, "LETS_GO", 0.1)
    monkeypatch.setattr(children, "supervise", lambda *_a, **_k: started.append(1))
    started: list[int] = []
    with locks.held(machine(url, tmp_path / "a"), locks.SERVING) as hold:
        hold.note()
        with pytest.raises(ProtocolError, match=f"Another `coordinator serve` .* process {os.getpid()} on "):
            children.serve(tmp_path / "b", print)
        assert not started
    monkeypatch.setattr(children, "LETS_GO", 10.0)
    children.serve(tmp_path / "b", print)
    assert started, "control: with nobody else it serves"


def test_a_lost_connection_to_a_restarted_server_is_told_and_the_lock_taken_again(
    postgres: Postgres, url: str, tmp_path: Path
) -> None:
    ours, said, now = machine(url, tmp_path / "a"), list[str](), [100.0]
    with locks.held(ours, locks.SERVING, say=said.append) as hold:
        hold._clock = lambda: now[0]
        hold.note()
        hold.look()
        assert not said
        postgres.stop()
        for _ in range(3):
            now[0] += locks.LOOK
            hold.look()
        assert [line.split(".")[0] for line in said] == [
            "The connection to the database was lost, and with it the lock that kept others away"
        ]
        postgres.start()
        now[0] += locks.LOOK
        hold.look()
        assert len(said) == 2
        assert "is back" in said[1]
        with (
            pytest.raises(ProtocolError, match="Another"),
            locks.held(machine(url, tmp_path / "b"), locks.SERVING),
        ):
            pass


def test_a_server_that_stays_away_ends_it(postgres: Postgres, url: str, tmp_path: Path) -> None:
    ours, now = machine(url, tmp_path / "a"), [100.0]
    with locks.held(ours, locks.SERVING) as hold:
        hold._clock = lambda: now[0]
        postgres.stop()
        try:
            hold.look()
            now[0] += locks.PATIENCE
            hold.look()
            now[0] += locks.LOOK
            with pytest.raises(StorageError, match="did not come back for 300 s"):
                hold.look()
        finally:
            postgres.start()


def cut(postgres: Postgres, url: str) -> None:
    """Every connection to a database ends, as when the network does."""
    name = sa.make_url(url).database
    ended = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    assert postgres.execute(ended)
    while postgres.execute(f"SELECT 1 FROM pg_stat_activity WHERE datname = '{name}'"):
        pass


def test_who_took_it_meanwhile_keeps_it(postgres: Postgres, url: str, tmp_path: Path) -> None:
    with locks.held(machine(url, tmp_path / "a"), locks.SERVING) as hold:
        cut(postgres, url)
        with locks.held(machine(url, tmp_path / "b"), locks.SERVING) as other:
            other.note()
            hold._next = 0.0
            with pytest.raises(ProtocolError, match=f"Another `coordinator serve` .* process {os.getpid()}"):
                hold.look()


def test_without_its_lock_a_run_s_carrier_writes_nothing_more(
    postgres: Postgres, url: str, tmp_path: Path
) -> None:
    store = CoordinatorStore(machine(url, tmp_path / "a"))
    other = CoordinatorStore(machine(url, tmp_path / "b"))
    with store.alone(0.0):
        store.append(ROSTERS, [Event("call", "", b"1")])
        with pytest.raises(ProtocolError, match="carries the runs"), other.alone(0.0):
            pass
        cut(postgres, url)
        with other.alone(5.0):
            other.append(ROSTERS, [Event("call", "", b"2")])
            for _ in range(3):  # SQLAlchemy by itself would connect anew, without the lock
                with pytest.raises(StorageError):
                    store.append(ROSTERS, [Event("call", "", b"lost")])
            assert [event.body for event in store.events(ROSTERS)] == [b"1", b"2"], "reading goes on"
    with store.alone(5.0):
        store.append(ROSTERS, [Event("call", "", b"3")])
    assert [event.body for event in other.events(ROSTERS)] == [b"1", b"2", b"3"]


def test_control_over_any_connection_it_would_have_written(
    postgres: Postgres, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CoordinatorDatabase, "transaction", unlocked(CoordinatorDatabase.transaction))
    store = CoordinatorStore(machine(url, tmp_path / "a"))
    with store.alone(0.0):
        cut(postgres, url)
        with suppress(StorageError):
            store.append(ROSTERS, [Event("call", "", b"1")])
        store.append(ROSTERS, [Event("call", "", b"lost")])
    assert b"lost" in [event.body for event in store.events(ROSTERS)]


def unlocked(transaction: Any) -> Any:
    return lambda self, write=False, on=None: transaction(self, write=write)

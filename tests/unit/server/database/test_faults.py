"""PostgreSQL is cut off, restarted and killed in the middle of writes: what was acknowledged stays, the rest is told."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
import sqlalchemy as sa

from fedrepay.server.database.engine import CoordinatorDatabase, engine_of
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared.errors import StorageError
from support.postgres import Postgres, database


@pytest.fixture
def url(postgres: Postgres) -> Iterator[str]:
    with database(postgres) as made:
        yield made


def call(number: int) -> list[Event]:
    return [Event("call", "", b"%d" % number)]


def stored(store: CoordinatorStore) -> list[int]:
    return [int(event.body) for event in store.events(ROSTERS)]


WRITER = """
import sys
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ROSTERS, CoordinatorStore
store, number = CoordinatorStore(sys.argv[1]), 0
while True:
    number += 1
    store.append(ROSTERS, [Event("call", "", b"%d" % number), Event("call", "", b"%d" % -number)])
    print(number, flush=True)
"""


def test_a_writer_killed_in_the_middle_loses_nothing_that_it_acknowledged(url: str) -> None:
    command = [sys.executable, "-c", WRITER, url]
    store = CoordinatorStore(url)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(30)]
        process.send_signal(signal.SIGKILL)
        said += process.stdout.readlines()
    last = max(int(line) for line in said if line.endswith("\n"))
    store.append(ROSTERS, call(0))  # waits for what the server was still at
    *found, end = stored(store)
    assert end == 0
    assert len(found) in (2 * last, 2 * last + 2), (
        "the one that was not acknowledged is there whole or not at all"
    )
    assert found == [sign * number for number in range(1, len(found) // 2 + 1) for sign in (1, -1)]


def test_a_server_killed_in_the_middle_loses_nothing_that_it_acknowledged(
    postgres: Postgres, url: str
) -> None:
    store, acknowledged, failed = CoordinatorStore(url), list[int](), list[StorageError]()

    def write() -> None:
        for number in range(1, 100_000):
            try:
                store.append(ROSTERS, call(number))
            except StorageError as error:
                failed.append(error)
                return
            acknowledged.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    while len(acknowledged) < 20:
        thread.join(0.001)
    postgres.stop()
    thread.join()
    with pytest.raises(StorageError):
        store.events(ROSTERS)
    postgres.start()
    assert len(failed) == 1
    found = stored(store)  # the same store goes on by itself
    assert found in (acknowledged, [*acknowledged, len(acknowledged) + 1])
    store.append(ROSTERS, call(0))
    assert stored(store) == [*found, 0]


class Wire:
    """A way to a server's port, which is cut where a word comes by; the word itself does not arrive."""

    def __init__(self, port: int) -> None:
        self.request, self.answer = b"", b""
        self._server = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
                self._open += [client, server]
                for source, target in ((client, server), (server, client)):
                    self._threads.append(threading.Thread(target=self._carry, args=(source, target)))
                    self._threads[-1].start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        asks = source.getpeername()[1] != self._server
        with suppress(OSError):
            while data := source.recv(1 << 16):
                word = self.request if asks else self.answer
                if word and word in data:
                    self.request = self.answer = b""
                    break
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._open):
            each.close()


def test_a_wire_cut_at_any_point_of_a_write_loses_nothing_acknowledged_and_is_told(
    postgres: Postgres, url: str
) -> None:
    with closing(Wire(postgres.port)) as wire:
        through = sa.make_url(postgres.url(str(sa.make_url(url).database), port=wire.port))
        store = CoordinatorStore(CoordinatorDatabase(engine_of(through), None))
        try:
            store.append(ROSTERS, call(1))
            for cut, word, there in (
                ("request", b"pg_advisory_xact_lock", [1]),
                ("request", b"INSERT INTO events", [1]),
                ("request", b"COMMIT", [1]),
                ("answer", b"COMMIT", [1, 2]),  # stored, and nobody was told: the caller looks again
            ):
                setattr(wire, cut, word)
                with pytest.raises(StorageError, match="database failed"):
                    store.append(ROSTERS, call(2))
                assert (wire.request, wire.answer) == (b"", b""), "control: it was cut there"
                assert stored(store) == there
            store.append(ROSTERS, call(3))
            assert stored(store) == [1, 2, 3]
        finally:
            engine_of(through).dispose()


def test_a_file_that_may_only_be_read_is_read(tmp_path: Path) -> None:
    CoordinatorStore.in_folder(tmp_path, durable=False).append(ROSTERS, call(1))
    store = CoordinatorStore(f"sqlite:///file:{tmp_path / 'coordinator.sqlite'}?mode=ro&uri=true")
    with pytest.raises(StorageError, match="readonly database"):
        store.append(ROSTERS, call(2))
    assert stored(store) == [1]


def test_a_database_that_may_only_be_read_is_read(postgres: Postgres, url: str) -> None:
    store = CoordinatorStore(url)
    store.append(ROSTERS, call(1))
    name = sa.make_url(url).database
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    engine_of(sa.make_url(url)).dispose()
    store = CoordinatorStore(url)
    with pytest.raises(StorageError, match="read-only transaction"):
        store.append(ROSTERS, call(2))
    assert stored(store) == [1]


def test_a_full_disk_is_told_and_what_was_stored_stays(tmp_path: Path) -> None:
    store = CoordinatorStore.in_folder(tmp_path, durable=False)
    store.append(ROSTERS, call(1))
    full = f"PRAGMA max_page_count = {(tmp_path / 'coordinator.sqlite').stat().st_size // 4096 + 2}"
    sa.event.listen(store._database.engine, "connect", lambda raw, _: raw.execute(full))
    store._database.engine.dispose()
    with pytest.raises(StorageError, match="disk is full"):
        store.append(ROSTERS, [Event("call", "", bytes(1 << 20))])
    assert stored(store) == [1]

    def fill() -> None:
        for _ in range(1000):
            with store.alone(0.0):
                store.append(ROSTERS, call(2))

    with pytest.raises(StorageError, match="disk is full"):
        fill()
    assert set(stored(store)) == {1, 2}

"""PostgreSQL for tests: one server a session, of Debian's package, on loopback and a socket; a fresh database a test."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa

from fedrepay.server.database.engine import CoordinatorDatabase, engine_of

USER, PASSWORD = "fed", "s3cr3t-p4ssw0rd"
_TEMPLATE = "made"  # with the newest tables


class Postgres:
    """A server: its socket asks for no password, its port on loopback does."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self.folder, self.port, self.programs = folder, port, programs
        self._numbers = count(1)
        self._process: subprocess.Popen[bytes] | None = None

    def _run(self, program: str, *options: str) -> list[str]:
        other = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT")
        return [*(other if os.geteuid() == 0 else ()), str(self.programs / program), *options]

    def make(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        self.folder.chmod(0o755)
        auth = ("--auth-local=trust", "--auth-host=scram-sha-256", f"--username={USER}")
        locale = ("--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        command = self._run("initdb", f"--pgdata={self.folder / 'data'}", *auth, *locale)
        subprocess.run(command, check=True, capture_output=True, cwd="/")
        self.start()
        self.execute(f"ALTER USER {USER} PASSWORD '{PASSWORD}'")
        self.execute(f"CREATE DATABASE {_TEMPLATE}")
        made = CoordinatorDatabase.at(self.url(_TEMPLATE))
        made.prepare()
        made.engine.dispose()

    def start(self) -> None:
        data, log = self.folder / "data", (self.folder / "log").open("ab")
        settings = ("-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}")
        where = ("-D", str(data), "-k", str(self.folder))
        with log:
            self._process = subprocess.Popen(
                self._run("postgres", *where, *settings), stdout=log, stderr=log, cwd="/"
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.execute("SELECT 1")
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """At once, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def execute(self, statement: str, name: str = "postgres") -> list[tuple[object, ...]]:
        link = {"host": str(self.folder), "port": self.port, "user": USER, "dbname": name}
        with psycopg.connect(**link, autocommit=True) as connection:  # type: ignore[arg-type]
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def create(self, *, empty: bool = False) -> str:
        """A new database, with the newest tables or empty: its name."""
        name = f"t{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else _TEMPLATE}")
        return name

    def url(self, name: str, *, port: int | None = None) -> str:
        """By the socket, or by a port with the password."""
        if port is not None:
            return f"postgresql+psycopg://{USER}:{PASSWORD}@127.0.0.1:{port}/{name}"
        return f"postgresql+psycopg://{USER}@/{name}?host={self.folder}&port={self.port}"


def missing() -> str:
    """Why there is no PostgreSQL here; empty where there is."""
    if _programs() is None:
        return "PostgreSQL's programs are not here: apt-get install postgresql"
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or _nobody()):
        return "PostgreSQL does not run as root, and there is no user postgres (or no setpriv) to run it as"
    return ""


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


def _nobody() -> bool:
    import pwd

    return "postgres" not in {each.pw_name for each in pwd.getpwall()}


@contextmanager
def running() -> Iterator[Postgres]:
    programs = _programs()
    assert programs is not None
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # a socket's path is short
    made = Postgres(programs, folder, port)
    try:
        made.make()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@contextmanager
def database(server: Postgres, *, empty: bool = False) -> Iterator[str]:
    """The URL of a database of its own, which is gone afterwards."""
    name = server.create(empty=empty)
    url = server.url(name)
    try:
        yield url
    finally:
        engine_of(sa.make_url(url)).dispose()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's server."""
    if reason := missing():
        pytest.skip(reason)
    with running() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A coordinator's database of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'coordinator.sqlite'}"
        return
    with database(request.getfixturevalue("postgres")) as url:
        yield url

"""Tables are made and brought along by steps; what is another version's or another consortium's is left alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from fedrepay.server import store
from fedrepay.server.admission import certificates, tables
from fedrepay.server.database import versions
from fedrepay.server.database.engine import CoordinatorDatabase
from fedrepay.shared.errors import StorageError
from support.postgres import Postgres, database

SECOND = """
from alembic import op
import sqlalchemy as sa
revision, down_revision = "0002", "0001"
def upgrade():
    with op.batch_alter_table("runs") as batch:
        batch.add_column(sa.Column("note", sa.Text, nullable=False, server_default=""))
    {more}
"""


@pytest.fixture
def made(database_url: str) -> CoordinatorDatabase:
    found = CoordinatorDatabase.at(database_url)
    found.prepare()
    return found


def another(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
    """This fedrepay has a second version."""
    (folder / "versions").mkdir(parents=True)
    for path in (versions.STEPS / "versions").glob("v*.py"):
        (folder / "versions" / path.name).write_bytes(path.read_bytes())
    (folder / "versions" / "v0002_next.py").write_text(SECOND.format(more=more))
    monkeypatch.setattr(versions, "HEAD", "0002")
    monkeypatch.setattr(versions, "_steps", lambda: ScriptDirectory(str(folder)))


def test_the_steps_make_what_the_code_uses(made: CoordinatorDatabase) -> None:
    assert versions._steps().get_heads() == [versions.HEAD]
    own = {versions.TABLE, "consortium", "holders"}
    with made.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"include_name": lambda name, *_: name not in own}
        )
        assert compare_metadata(context, [store.META, tables.META]) == []  # type: ignore[arg-type]
        assert set(sa.inspect(connection).get_table_names()) == own | set(store.META.tables) | set(
            tables.META.tables
        )


def test_an_older_database_waits_for_serve_and_keeps_what_is_in_it(
    made: CoordinatorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with made.transaction(write=True) as connection:
        connection.execute(sa.text("INSERT INTO runs (run, plan) VALUES (7, :plan)"), {"plan": b"kept"})
    another(tmp_path / "steps", monkeypatch)
    with pytest.raises(StorageError, match=r"version 0001; this fedrepay has 0002.*start it"):
        made.prepare()
    made.bring()
    with made.transaction() as connection:
        assert list(connection.execute(sa.text("SELECT run, plan, note FROM runs"))) == [(7, b"kept", "")]
    made.bring()


def test_a_step_that_fails_changes_nothing(
    made: CoordinatorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another(tmp_path / "steps", monkeypatch, "op.execute('DROP TABLE nowhere')")
    with pytest.raises(StorageError, match="nowhere"):
        made.bring()
    with made.transaction() as connection:
        assert versions.current(connection, "x") == "0001"
        assert "note" not in {each["name"] for each in sa.inspect(connection).get_columns("runs")}


def test_a_process_killed_in_a_step_leaves_the_version_before(
    made: CoordinatorDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    another(tmp_path / "steps", monkeypatch, "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    process = os.fork()
    if process == 0:  # pragma: no cover - its end is seen here
        CoordinatorDatabase.at(made.engine.url).engine.dispose(close=False)
        made.engine.dispose(close=False)
        made.bring()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    another(tmp_path / "again", monkeypatch)
    made.bring()
    with made.transaction() as connection:
        assert versions.current(connection, "x") == "0002"


def test_a_later_version_is_left_alone(made: CoordinatorDatabase) -> None:
    with made.transaction(write=True) as connection:
        connection.execute(sa.text(f"UPDATE {versions.TABLE} SET version_num = '9999'"))
    for use in (made.prepare, made.bring):
        with pytest.raises(StorageError, match="knows 0001 at most"):
            use()


def test_another_programs_database_is_left_alone(database_url: str) -> None:
    found = CoordinatorDatabase.at(database_url)
    with found.transaction(write=True) as connection:
        for table in sa.inspect(connection).get_table_names():
            connection.execute(sa.text(f"DROP TABLE {table}"))
        connection.execute(sa.text("CREATE TABLE runs (id integer)"))
    for use in (found.prepare, found.bring):
        with pytest.raises(StorageError, match=r"not of this fedrepay \(runs\)"):
            use()


def test_another_consortiums_database_is_left_alone(database_url: str, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        certificates.create(folder, [])
    engine = CoordinatorDatabase.at(database_url).engine
    CoordinatorDatabase(engine, ours).prepare()
    CoordinatorDatabase(engine, ours).prepare()
    CoordinatorDatabase(engine, None).prepare()
    with pytest.raises(
        StorageError, match=f"another consortium.*{certificates.authority_digest(ours).hex()[:16]}"
    ):
        CoordinatorDatabase(engine, theirs).prepare()


def test_starters_at_once_make_the_tables_once(postgres: Postgres) -> None:
    code = "import sys; from fedrepay.server.database.engine import CoordinatorDatabase; CoordinatorDatabase.at(sys.argv[1]).prepare()"
    with database(postgres, empty=True) as url:
        several = [subprocess.Popen([sys.executable, "-c", code, url]) for _ in range(2)]
        assert [each.wait() for each in several] == [0, 0]
        made = CoordinatorDatabase.at(url)
        with made.transaction() as connection:
            assert versions.current(connection, "x") == versions.HEAD


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_holds_no_unicode_is_refused(postgres: Postgres, encoding: str) -> None:
    name = f"odd_{encoding.lower()}"
    postgres.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'")
    made = CoordinatorDatabase.at(postgres.url(name))
    try:
        with pytest.raises(StorageError, match=f"{encoding}"):
            made.prepare()
    finally:
        made.engine.dispose()
        postgres.execute(f"DROP DATABASE {name} WITH (FORCE)")

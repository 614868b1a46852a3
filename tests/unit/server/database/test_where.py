"""Which database a folder has, and that its password is told nowhere."""

import json
import logging
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from fedrepay.server.admission.registry import Registry
from fedrepay.server.database import where
from fedrepay.server.database.engine import engine_of
from fedrepay.server.operating import backup
from fedrepay.server.operating import settings as places
from fedrepay.shared.errors import ArgumentError, FedrepayError, StorageError
from support.command import fedrepay
from support.founded import founded, settings
from support.postgres import PASSWORD, USER, Postgres

PROJECT = Path(__file__).parents[4] / "pyproject.toml"
SECRET = "hunter2"  # noqa: S105


def stating(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / where.SETTINGS).write_text(f'database = "{text}"\n')
    return folder


def test_a_folder_has_its_own_file_unless_its_settings_say_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert where.chosen(tmp_path) == where.sqlite(tmp_path / where.FILE)
    monkeypatch.setenv(where.VARIABLE, f"postgresql://fed:{SECRET}@db/one")
    assert where.chosen(tmp_path) == where.sqlite(tmp_path / where.FILE), "a simulation's"
    stating(tmp_path, "")
    with pytest.raises(ArgumentError, match="is set, and") as caught:
        where.chosen(tmp_path)
    assert SECRET not in str(caught.value)
    stating(tmp_path, "postgresql://fed@db/one")
    assert where.chosen(tmp_path).password == SECRET, "the whole URL goes before"
    monkeypatch.delenv(where.VARIABLE)
    assert where.chosen(tmp_path).password is None
    assert where.shown(where.chosen(tmp_path)) == "PostgreSQL one at db"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://fed:{SECRET}@db/one",
        f"postgresql://fed:x@{SECRET}@db/one",
        f"postgresql://fed:{SECRET}/x@db/one",
        f"postgresql://fed@db/one?password={SECRET}",
        f"postgresql://fed@db/one?{SECRET}",
        f"postgresql://fed@db/one?options=-c{SECRET}",
        f"postgresql://fed:{SECRET}@db",
        f"postgresql://fed:{SECRET}@db:port/one",
        f"mysql://fed:{SECRET}@db/one",
        f"sqlite:///{SECRET}",
        f"fed:{SECRET}@db/one",
        SECRET,
    ],
)
def test_what_no_settings_may_hold_is_refused_and_not_repeated(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings' own control is the other test's: without a password the URL is taken."""
    stating(tmp_path, url)
    for look in (where.chosen, places.load):
        with pytest.raises(ArgumentError) as caught:
            look(tmp_path)
        assert SECRET not in f"{caught.value}{caught.value.__cause__}{caught.value.__context__ or ''}"
    if url == f"postgresql://fed:{SECRET}@db/one":
        return
    stating(tmp_path, "postgresql://fed@db/one")
    monkeypatch.setenv(where.VARIABLE, url)
    if url == f"postgresql://fed:{SECRET}/x@db/one":  # as a variable it is one
        assert where.chosen(tmp_path).password == f"{SECRET}/x"
        return
    with pytest.raises(ArgumentError) as caught:
        where.chosen(tmp_path)
    assert SECRET not in f"{caught.value}{caught.value.__cause__}"


def test_a_misspelt_setting_is_told_without_the_password_in_it(tmp_path: Path) -> None:
    for url in (f"postgresql://fed:{SECRET}@db/one", f"postgresql://fed:x@{SECRET}@db/one"):
        (tmp_path / where.SETTINGS).write_text(f'databse = "{url}"\n')
        with pytest.raises(ArgumentError, match=r"databse: .*postgresql://fed:…@db/one") as caught:
            places.load(tmp_path)
        assert SECRET not in str(caught.value)


def test_without_its_driver_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ArgumentError, match=r"psycopg, which is not installed") as caught:
        engine_of(where.postgres("postgresql://fed@db/without_driver", "x"))
    assert "fedrepay[postgres]" in caught.value.remedy
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    assert any(each.startswith("psycopg") for each in extras["postgres"])


def test_init_writes_the_url_without_its_password(tmp_path: Path) -> None:
    stated = where.without_password(f"postgres://fed:{SECRET}@db:5433/one?sslmode=require", "--database")
    founded(tmp_path / "c", placed=settings(database=stated))
    assert SECRET not in (tmp_path / "c" / where.SETTINGS).read_text()
    assert places.load(tmp_path / "c").database == "postgresql://fed@db:5433/one?sslmode=require"


def test_the_password_is_in_no_error_log_page_or_backup(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, name = tmp_path / "c", postgres.create()
    whole = postgres.url(name, port=postgres.port)
    founded(folder, placed=settings(database=where.without_password(whole, "x")))
    caplog.set_level(logging.DEBUG)
    said: list[str] = []

    def run(*words: str) -> str:
        done = fedrepay("coordinator", *words, "--folder", folder)
        said.extend((done.out, done.err))
        return done.out

    with pytest.raises(StorageError, match="no password supplied"):
        Registry(folder)
    monkeypatch.setenv(where.VARIABLE, whole)
    assert run("invite", "bank-a", "--json")
    for command in ("status", "doctor", "members", "verify"):
        run(command)
        run(command, "--json")
    assert f"PostgreSQL {name} at 127.0.0.1:{postgres.port}, version" in run("doctor")
    assert "bank-a" in run("members"), "control: it is that database"
    assert "pg_dump" in run("backup", str(tmp_path / "copy.tar"))
    assert "pg_dump" in json.loads(run("backup", str(tmp_path / "again.tar"), "--json"))["lacks"]
    for wrong in (
        whole.replace(PASSWORD, f"{PASSWORD}x"),
        whole.replace(name, "nowhere"),
        whole.replace(f":{postgres.port}/", ":1/"),
        whole.replace("127.0.0.1", "no-such-host.invalid"),
    ):
        monkeypatch.setenv(where.VARIABLE, wrong)
        assert run("status") == ""
        assert "!" in run("doctor")
        with pytest.raises(FedrepayError) as caught:
            Registry(folder)
        said.append(f"{caught.value!r} {caught.value} {caught.value.__cause__}")
    with tarfile.open(tmp_path / "copy.tar") as opened:
        said.extend(opened.extractfile(each).read().decode("latin-1") for each in opened)  # type: ignore[union-attr]
    said.append(caplog.text)
    assert not [text for text in said if PASSWORD in text]
    assert [text for text in said if USER in text], "control: what is not secret of the URL is there"
    assert not (folder / where.FILE).exists()
    backup.restore(tmp_path / "copy.tar", tmp_path / "again")
    assert "pg_restore" in backup.elsewhere(tmp_path / "again")

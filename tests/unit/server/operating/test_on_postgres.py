"""A consortium whose coordinator keeps its state in PostgreSQL: to a release, into copies and back."""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedrepay.server.admission.registry import Registry
from fedrepay.server.database.where import FILE, SETTINGS, without_password
from fedrepay.server.operating import admitting, health, report
from fedrepay.server.protocol.state import Event
from fedrepay.server.store import ROSTERS, CoordinatorStore
from fedrepay.shared.trust import agreement
from support.command import fedrepay
from support.consortium import unencrypted
from support.newcomers import Newcomer
from support.operated import operated, released
from support.postgres import Postgres, database


@pytest.fixture(autouse=True)
def cipher() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        stack.enter_context(unencrypted())
        yield stack


def ran(postgres: Postgres, said: str, program: str, folder: Path, **names: str) -> None:
    """A command as the text names it."""
    (command,) = re.findall(rf"{program} [^;,]*?(?=\.? To restore|, into|;)", said)
    words = [names.get(word, word) for word in shlex.split(command)]
    words[0] = str(postgres.programs / program)
    subprocess.run(words, cwd=folder, check=True, env=os.environ | {"PGCONNECT_TIMEOUT": "10"})


def test_a_run_comes_to_its_release_and_back_from_its_copies(postgres: Postgres, tmp_path: Path) -> None:
    with database(postgres) as url, database(postgres, empty=True) as other:
        home = operated(tmp_path, database=without_password(url, "x"))
        released(home)
        registry = Registry(home.operator)
        agreed = agreement.hashed((home.operator / "terms.toml").read_bytes())
        asked = Newcomer("bank-z").asks(registry.invite("bank-z", "a.example:443", bytes(32)), agreed=agreed)
        registry.join(asked)
        admitting.admit(home.operator, registry, "bank-z")
        assert not (home.operator / FILE).exists(), "nothing is kept in the folder"
        found = {each.what: each for each in health.examine(home.operator)}
        assert re.fullmatch(
            r"PostgreSQL t\d+ at this machine:?\d*, version \S+.*, [\d.]+ MiB", found["database"].said
        )
        assert found["run"].said == "1: done: the release is out"
        assert found["rights"].ok
        for command in ("status", "verify", "releases", "report"):
            done = fedrepay("coordinator", command, "--folder", home.operator)
            assert done.code == 0, done.err
        copied = fedrepay("coordinator", "backup", tmp_path / "copy.tar", "--folder", home.operator)
        assert copied.code == 0, copied.err
        ran(postgres, copied.out, "pg_dump", tmp_path)
        again = tmp_path / "again"
        restored = fedrepay("coordinator", "restore", tmp_path / "copy.tar", "--folder", again)
        assert restored.code == 0, restored.err
        name = other.partition("?")[0].rpartition("/")[2]
        ran(postgres, restored.out, "pg_restore", tmp_path, **{"--dbname=NAME": f"--dbname={name}"})
        text = (again / SETTINGS).read_text()
        (again / SETTINGS).write_text(text.replace(without_password(url, "x"), without_password(other, "x")))
        assert report.report(CoordinatorStore.in_folder(again)) == report.report(home.database)
        assert Registry(again).requests() == registry.requests()
        last = CoordinatorStore.in_folder(again).last()
        assert last == home.database.last()
        CoordinatorStore.in_folder(again).append(ROSTERS, [Event("withdrawn", "m0", b"")])
        assert CoordinatorStore.in_folder(again).last() == last + 1, "it goes on from there"

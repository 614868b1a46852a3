"""Several processes decide a batch: the same files, the same errors, and an end without anything half-written."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io import blocks
from fedrepay.client.plans.batch_io.batch_files import facts_of, parts
from fedrepay.client.plans.batch_io.blocks import Desk, Done, Piece, crew, decided, how_many
from fedrepay.client.plans.batch_io.recommend import Recommended, load, recommend_file
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.shared.errors import ArgumentError, DataError, StorageError
from support.desk import ACCOUNTS, write_csv
from support.desk import Desk as Analyst
from support.market_accounts import random_accounts
from support.market_release import roster_words

CAPS = """
exploration = 0.1
packs = ["uk-fca"]
[caps]
agents = 5
contacts = 40
"""


@pytest.mark.parametrize(("settings", "suffix"), [("", "csv"), (CAPS, "parquet")], ids=["plain", "caps"])
def test_the_files_do_not_hang_on_the_number_of_processes(
    desk: Analyst, small_chunks: None, settings: str, suffix: str
) -> None:
    (desk.folder / "settings.toml").write_text(settings)
    job = desk.job(settings=desk.folder / "settings.toml")
    found: list[tuple[Recommended, bytes, bytes]] = []
    for processes in (1, 3):
        out = desk.folder / f"by{processes}.{suffix}"
        done = recommend_file(job, load(job), out, "b1", processes=processes)
        found.append((done, out.read_bytes(), facts_of(out).read_bytes()))
    assert found[0] == found[1]


def made(desk: Analyst, days: float) -> tuple[Engine, Accounts]:
    engine = load(desk.job()).engine
    columns: dict[str, Any] = random_accounts(ACCOUNTS, 3)
    names = columns.pop("customer").tolist()
    calls = np.zeros(ACCOUNTS)
    calls[17] = days
    return engine, engine.accounts(names, columns, {"moratorium_day": calls})


@pytest.mark.parametrize("processes", [1, 2])
def test_an_error_of_any_process_names_what_is_wrong(desk: Analyst, processes: int) -> None:
    def run(days: float) -> list[Done]:
        engine, accounts = made(desk, days)
        with (
            parts(desk.folder / "out.csv") as files,
            crew(Desk(engine, 20_500, "b1", files), processes) as people,
        ):
            halves = enumerate((slice(0, 10), slice(10, ACCOUNTS)))
            return list(
                people.each(decided, (Piece(number, accounts.take(rows), None) for number, rows in halves))
            )

    assert [each.accounts for each in run(3.0)] == [10, ACCOUNTS - 10], "control: without the wrong fact"
    with pytest.raises(DataError) as wrong:
        run(-7.0)
    assert wrong.value.cause == "Fact moratorium_day, account 7: restricted is not whole, from -1 to 36500."
    assert wrong.value.remedy.startswith("It is day of a breathing space")


def test_a_process_that_the_system_ends_leaves_nothing_half_written(
    desk: Analyst, small_chunks: None
) -> None:
    job, before = desk.job(), desk.left()

    def kill(_: int, __: int) -> None:
        for each in multiprocessing.active_children():
            os.kill(each.pid or 0, signal.SIGKILL)

    with pytest.raises(StorageError, match="ended one of the batch's processes"):
        recommend_file(job, load(job), desk.folder / "out.csv", "b1", kill, processes=2)
    assert desk.left() == before


def test_stopped_in_between_nothing_is_left_half_written(desk: Analyst, small_chunks: None) -> None:
    job, before = desk.job(), desk.left()

    def interrupt(done: int, _: int) -> None:
        if done > 50:
            assert any((desk.folder / "out.csv.parts").iterdir()), "chunks are there already"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_file(job, load(job), desk.folder / "out.csv", "b1", interrupt, processes=2)
    assert desk.left() == before
    assert not multiprocessing.active_children()


SMALL_CHUNKS = """
import sys
import time
from fedrepay.client.plans.deciding import engine

engine.MOST_PAIRS = 300
judge = engine.Engine.judge

def slowly(self, *given):
    time.sleep(0.2)  # so that the batch is never over before somebody has pressed a key
    return judge(self, *given)

engine.Engine.judge = slowly

if __name__ == "__main__":
    from fedrepay.cli import main
    sys.exit(main())
"""


def running(group: int) -> list[str]:
    """Processes of a group that have not ended."""
    stats = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            stats.append(path.read_text().rpartition(")")[2].split())
    return [each[0] for each in stats if each[2] == str(group) and each[0] != "Z"]


def in_two_processes(desk: Analyst) -> list[str]:
    """The command of a batch that takes two processes and many small chunks, each a while."""
    (desk.folder / "main.py").write_text(SMALL_CHUNKS)
    given = {
        "release": desk.folder / "release",
        "accounts": desk.accounts,
        "catalogue": desk.folder / "mine.toml",
        "batch-id": "b1",
        "out": desk.folder / "out.csv",
        "today": "2026-01-05",
        "roster-code": roster_words(desk.folder / "release"),
        "processes": 2,
    }
    words = [str(each) for name, value in given.items() for each in (f"--{name}", value)]
    return [sys.executable, str(desk.folder / "main.py"), "member", "recommend", *words]


def test_ctrl_c_ends_all_processes_and_their_chunks(desk: Analyst) -> None:
    command = in_two_processes(desk)
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as run:
        chunks, until = desk.folder / "out.csv.parts", time.monotonic() + 120
        while not (chunks.exists() and any(chunks.iterdir())):
            assert time.monotonic() < until
            assert run.poll() is None
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does
        _, said = run.communicate(timeout=60)
    assert run.returncode not in (0, None)
    assert "Traceback" not in said
    assert not chunks.exists()
    assert not (desk.folder / "out.csv").exists()
    until = time.monotonic() + 30
    while running(run.pid):
        assert time.monotonic() < until, "a process goes on"
        time.sleep(0.05)


def test_how_many_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "cores", lambda: 4)
    assert [how_many(None, n) for n in (0, 39_999, 40_000, 10**6)] == [1, 1, 2, 4]
    monkeypatch.setattr(blocks, "cores", lambda: 64)
    assert how_many(None, 10**6) == blocks.MOST
    assert how_many(3, 10) == 3
    with pytest.raises(ArgumentError):
        how_many(0, 10)


def test_a_second_ctrl_c_ends_the_batch_too(desk: Analyst) -> None:
    """The first waits for the blocks in work; an impatient second must not leave it waiting for ever."""
    command = in_two_processes(desk)
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL) as run:
        chunks, until = desk.folder / "out.csv.parts", time.monotonic() + 120
        while not (chunks.exists() and any(chunks.iterdir())):
            assert time.monotonic() < until
            assert run.poll() is None
            time.sleep(0.01)
        os.killpg(run.pid, signal.SIGINT)
        time.sleep(0.05)
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGINT)
        try:
            run.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            pytest.fail("It waits for ever.")
    assert not chunks.exists()


def test_no_more_processes_begin_than_there_are_blocks(desk: Analyst) -> None:
    write_csv(desk.accounts, {name: each[:1] for name, each in random_accounts(ACCOUNTS, seed=3).items()})
    job, seen = desk.job(), []
    recommend_file(
        job,
        load(job),
        desk.folder / "out.csv",
        "b1",
        lambda _, __: seen.append(len(multiprocessing.active_children())),
        processes=4,
    )
    assert seen
    assert max(seen) <= 1, "one account is one block"

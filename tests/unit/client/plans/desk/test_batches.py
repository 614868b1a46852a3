"""A batch is decided once, whole or not at all, and the same every time."""

import os
import signal
import stat
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io import batch_files
from fedrepay.client.plans.batch_io.batch_files import Parts, facts_of, record_of
from fedrepay.client.plans.batch_io.recommend import decide_one, load, recommend_file
from fedrepay.client.plans.batch_io.register import Register
from fedrepay.client.plans.deciding import engine as engine_module
from fedrepay.shared.errors import ArgumentError
from fedrepay.shared.rules.facts import Column, FactTable
from support.desk import ACCOUNTS, CATALOGUE, Desk, write_csv
from support.market_accounts import random_accounts

DAY = date(2026, 1, 5)
WHOLE = ["batches.jsonl", "out.csv", "out.csv.batch.json", "out.csv.facts.parquet"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_same_input_is_the_same_bytes_whatever_the_chunks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text("exploration = 0.1\n")
    assert desk.recommend(f"one.{suffix}", settings=settings).code == 0
    monkeypatch.setattr(engine_module, "MOST_PAIRS", 700)
    assert desk.recommend(f"two.{suffix}", settings=settings).code == 0
    assert desk.rows(f"one.{suffix}") == desk.rows(f"two.{suffix}")
    assert desk.rows(facts_of(Path(f"one.{suffix}")).name) == desk.rows(facts_of(Path(f"two.{suffix}")).name)
    assert desk.recommend(f"three.{suffix}", settings=settings).code == 0
    for out in (Path(f"two.{suffix}"), facts_of(Path(f"two.{suffix}"))):
        again = desk.folder / out.name.replace("two", "three")
        assert (desk.folder / out).read_bytes() == again.read_bytes()


def test_a_batch_is_decided_once(desk: Desk) -> None:
    out = desk.folder / "out.csv"
    assert desk.recommend().code == 0
    first, when = out.read_bytes(), out.stat().st_mtime_ns
    again = desk.recommend()
    assert again.code == 0
    assert "stands in" in again.err
    assert out.stat().st_mtime_ns == when
    later = desk.recommend(today=None)
    assert later.code == 0, "on a later day it is still the batch of its own day"
    assert "stands in" in later.err
    out.unlink()
    assert desk.recommend().code == 0
    assert out.read_bytes() == first


@pytest.mark.parametrize("changed", ["accounts", "catalogue", "settings", "today"])
def test_a_batch_id_with_other_inputs_is_refused(desk: Desk, changed: str) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text("")
    assert desk.recommend(settings=settings).code == 0
    before = (desk.folder / "out.csv").read_bytes()
    if changed == "accounts":
        write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    elif changed == "catalogue":
        (desk.folder / "mine.toml").write_text(CATALOGUE.replace("[0.2]", "[0.3]"))
    elif changed == "settings":
        settings.write_text("exploration = 0.05\n")
    result = desk.recommend(settings=settings, today="2026-01-06" if changed == "today" else "2026-01-05")
    assert result.code == 2
    assert "Batch b1 was written" in result.err
    assert changed in result.err
    assert (desk.folder / "out.csv").read_bytes() == before
    assert desk.recommend("new.csv", settings=settings, batch="b2").code == 0, "a new id is a new batch"


@pytest.mark.parametrize("elsewhere", ["other.csv", "there/out.csv"])
def test_a_batch_id_is_refused_for_other_inputs_wherever_it_was_written(desk: Desk, elsewhere: str) -> None:
    """Elsewhere in the folder; and in another, where the member's own folder remembers."""
    job, member = desk.job(today=DAY), desk.folder / "member"
    member.mkdir()
    (desk.folder / "there").mkdir()
    job = replace(job, trust=replace(job.trust, member=member))
    loaded = load(desk.job(today=DAY))
    out = desk.folder / elsewhere
    first = recommend_file(job, loaded, desk.folder / "out.csv", "b1")
    assert not first.done_before
    same = recommend_file(job, loaded, out, "b1")
    assert not same.done_before, "the same inputs at another path are the same batch again"
    assert out.read_bytes() == (desk.folder / "out.csv").read_bytes()
    write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    left = out.read_bytes()
    for path in (out, desk.folder / "there" / "new.csv"):
        for over in (False, True):
            with pytest.raises(ArgumentError, match=r"Batch b1 was written to .* accounts differ"):
                recommend_file(job, loaded, path, "b1", replace=over)
    assert out.read_bytes() == left
    (desk.folder / "far").mkdir()
    alone = recommend_file(desk.job(today=DAY), loaded, desk.folder / "far" / "out.csv", "b1")
    assert not alone.done_before, "control: without the member's folder another folder knows nothing"


@pytest.mark.parametrize(
    "stands", ["out.csv", "out.csv.facts.parquet", "out.csv.batch.json", "out.csv.rejects"]
)
def test_what_is_not_this_batch_is_only_written_over_when_asked(desk: Desk, stands: str) -> None:
    other = desk.folder / stands
    other.write_text("a letter to my mother")
    refused = desk.recommend()
    assert refused.code in (2, 5)
    assert "--replace" in refused.err
    assert stands in refused.err
    assert other.read_text() == "a letter to my mother"
    assert desk.left() == [stands]
    assert desk.recommend("out.csv", "--replace").code == 0
    assert desk.left() == WHOLE
    assert other.name not in WHOLE or other.read_bytes() != b"a letter to my mother"
    later = desk.recommend(batch="b2")
    assert later.code == 2
    assert "is not of batch b2" in later.err


def test_rows_that_a_person_has_changed_are_not_written_over(desk: Desk) -> None:
    out = desk.folder / "out.csv"
    assert desk.recommend().code == 0
    out.write_text(out.read_text() + "a note\n")
    again = desk.recommend()
    assert again.code == 2
    assert "out.csv stands there" in again.err
    assert out.read_text().endswith("a note\n")


def test_two_at_a_time_never_mix(desk: Desk) -> None:
    job, seen = desk.job(today=DAY), list[str]()
    loaded = load(job)

    def second(done: int, _: int) -> None:
        for name in ("out.csv", "other.csv"):
            with pytest.raises(ArgumentError, match="Another `recommend` is writing"):
                recommend_file(job, loaded, desk.folder / name, "b2")
            seen.append(name)

    recommend_file(job, loaded, desk.folder / "out.csv", "b1", second)
    assert seen[:2] == ["out.csv", "other.csv"]
    assert desk.left() == WHOLE
    assert not recommend_file(job, loaded, desk.folder / "other.csv", "b2").done_before, (
        "control: then it may"
    )


def test_a_killed_run_frees_its_id_and_leaves_nothing(desk: Desk, small_chunks: None) -> None:
    """Killed outright, between two chunks: no handler runs."""
    job = desk.job(today=DAY)
    loaded = load(job)
    child = os.fork()
    if child == 0:
        recommend_file(
            job, loaded, desk.folder / "out.csv", "b1", lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        )
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert desk.left() == ["out.csv.parts"], "control: it was at work"
    write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    assert desk.recommend().code == 0, "its id is free for other inputs, and so is its lock"
    assert desk.left() == WHOLE


def test_a_damaged_register_is_named(desk: Desk) -> None:
    assert desk.recommend().code == 0
    register = desk.folder / "batches.jsonl"
    register.write_text(register.read_text() + '{"batch_id": 7}\n')
    result = desk.recommend("other.csv", batch="b2")
    assert result.code == 5
    assert "batches.jsonl, line 2, is damaged" in result.err
    assert not (desk.folder / "other.csv").exists()


@pytest.mark.parametrize("batch_id", ["", " ", "a\nb", "a\x00b", "\ud800", "x" * 201, 7, None, b"b1"])
def test_what_is_no_batch_id_is_refused(desk: Desk, batch_id: Any) -> None:
    job = desk.job()
    with pytest.raises(ArgumentError, match="batch id"):
        recommend_file(job, load(job), desk.folder / "out.csv", batch_id)
    assert desk.left() == []


def test_an_interrupted_run_leaves_nothing_half_written(desk: Desk, small_chunks: None) -> None:
    job = desk.job()
    before = desk.left()

    def interrupt(done: int, _: int) -> None:
        if done > 50:
            assert any((desk.folder / "out.csv.parts").iterdir()), "chunks are there already"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recommend_file(job, load(job), desk.folder / "out.csv", "b1", interrupt)
    assert desk.left() == before
    assert desk.recommend().code == 0


def test_what_a_killed_run_left_is_cleared_away(desk: Desk) -> None:
    parts = desk.folder / "out.csv.parts"
    parts.mkdir()
    (parts / "000099.rows.parquet").write_text("half")
    (desk.folder / "out.csv.partial").write_text("half")
    (desk.folder / "batches.jsonl.partial").write_text("half")
    assert desk.recommend().code == 0
    assert desk.left() == WHOLE


def test_a_damaged_record_is_named(desk: Desk) -> None:
    assert desk.recommend().code == 0
    record_of(desk.folder / "out.csv").write_text("{")
    result = desk.recommend()
    assert result.code == 5
    assert "is damaged" in result.err


def test_a_batch_without_its_facts_is_decided_again(desk: Desk) -> None:
    facts = facts_of(desk.folder / "out.csv")
    assert desk.recommend().code == 0
    before = facts.read_bytes()
    facts.unlink()
    assert "stands in" not in desk.recommend().err
    assert facts.read_bytes() == before


def test_a_crash_between_the_files_is_mended_by_running_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, out = desk.job(today=date(2026, 1, 5)), desk.folder / "out.csv"
    recommend_file(job, load(job), desk.folder / "whole.csv", "b2")
    moved = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if Path(target) == facts_of(out):
            raise KeyboardInterrupt
        return moved(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            recommend_file(job, load(job), out, "b2")
    assert (out.exists(), facts_of(out).exists(), record_of(out).exists()) == (False, False, True)
    assert not recommend_file(job, load(job), out, "b2").done_before
    assert out.read_bytes() == (desk.folder / "whole.csv").read_bytes()
    assert facts_of(out).read_bytes() == facts_of(desk.folder / "whole.csv").read_bytes()
    assert recommend_file(job, load(job), out, "b2").done_before


def test_facts_are_checked_once_a_chunk(
    desk: Desk, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables: list[int] = []
    made = FactTable.__init__

    def counted(self: FactTable, facts: Mapping[str, Column], accounts: int) -> None:
        tables.append(accounts)
        made(self, facts, accounts)

    monkeypatch.setattr(FactTable, "__init__", counted)
    job = desk.job()
    recommend_file(job, load(job), desk.folder / "out.csv", "b1")
    assert len(tables) > 2
    assert ACCOUNTS <= sum(tables) < 2 * ACCOUNTS, (
        "once, and once more for those of whom something may be asked"
    )


def dies(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("at", ["facts", "rows", "after"])
def test_a_run_killed_while_its_files_get_their_names_holds_its_id(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    job, out = desk.job(today=DAY), desk.folder / "out.csv"
    loaded, moved, finish = load(job), Path.replace, Parts.finish
    killed = {"facts": facts_of(out), "rows": out}

    def move(self: Path, target: Path) -> Path:
        if Path(target) == killed.get(at):
            dies()
        return moved(self, target)

    def finished(self: Parts, *given: Any) -> None:
        finish(self, *given)
        dies()

    def run(*, early: bool) -> None:
        child = os.fork()
        if child == 0:
            Path.replace = move  # type: ignore[method-assign, assignment]
            Parts.finish = finished if at == "after" else finish  # type: ignore[method-assign, assignment]
            if not early:
                Register.add = lambda *_: None  # type: ignore[method-assign]
            recommend_file(job, loaded, out, "b1")
            os._exit(0)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL

    run(early=True)
    before = desk.accounts.read_bytes()
    write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    result = desk.recommend("other.csv")
    assert (result.code, (desk.folder / "other.csv").exists()) == (2, False)
    assert "Batch b1 was written" in result.err
    desk.accounts.write_bytes(before)
    assert desk.recommend().code == 0, "the same batch goes on"
    assert desk.left() == WHOLE
    for path in desk.folder.iterdir():
        if path.name.startswith(("out.", "batches.jsonl")):
            path.unlink()
    run(early=False)
    write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    assert desk.recommend("other.csv").code == 0, "control: without the line first its id is used twice"


def test_no_folder_of_two_says_less_than_the_other(desk: Desk) -> None:
    """Killed between its two registers: what the second folder learned since is not forgotten."""
    job, member = desk.job(today=DAY), desk.folder / "member"
    member.mkdir()
    job = replace(job, trust=replace(job.trust, member=member))
    loaded = load(desk.job(today=DAY))
    recommend_file(job, loaded, desk.folder / "out.csv", "b1")
    line = (member / "batches.jsonl").read_text().replace('"accounts": "', '"accounts": "00')
    (member / "batches.jsonl").write_text(line)
    with pytest.raises(ArgumentError, match="accounts differ"):
        recommend_file(job, loaded, desk.folder / "new.csv", "b1")


def test_ids_are_compared_without_blanks_around_them(desk: Desk) -> None:
    assert desk.recommend().code == 0
    write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    for batch in ("b1 ", " b1"):
        assert desk.recommend("other.csv", batch=batch).code == 2
    assert desk.recommend("other.csv", batch="b 1").code == 0, "control"


def test_an_emptied_register_is_damaged(desk: Desk) -> None:
    assert desk.recommend().code == 0
    (desk.folder / "batches.jsonl").write_text("")
    result = desk.recommend("other.csv", batch="b2")
    assert result.code == 5
    assert "batches.jsonl, line 1, is damaged" in result.err


def test_what_replace_writes_over_is_named_and_never_a_batchs_private_file(desk: Desk) -> None:
    assert "Written over" not in desk.recommend().err, "control"
    assert "Written over: batch b1" in desk.recommend("out.csv", "--replace", batch="b2").err
    private = facts_of(desk.folder / "out.csv")
    before = private.read_bytes()
    result = desk.recommend(private.name, "--replace", batch="b3")
    assert result.code == 2
    assert "only its owner may read" in result.err
    assert private.read_bytes() == before
    assert desk.recommend("new.csv.facts.parquet", batch="b3").code == 0, "control: beside no batch"
    assert "Written over: batch b3" in desk.recommend("new.csv", "--replace", batch="b4").err


def test_records_that_hold_a_hash_of_the_accounts_are_their_owners_alone(desk: Desk) -> None:
    assert desk.recommend().code == 0
    for name in ("out.csv.batch.json", "batches.jsonl"):
        path = desk.folder / name
        assert batch_files.file_hash(desk.accounts) in path.read_text(), "control: it holds the hash"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_explanation_of_a_batch_is_of_its_own_day(desk: Desk) -> None:
    assert desk.recommend(today="2026-01-05").code == 0

    def day(batch: str = "b1", **given: Any) -> str:
        job = desk.job(**given)
        return str(np.datetime64(decide_one(job, load(job), "c00003", batch)[1], "D"))

    assert day() == "2026-01-05"
    assert day(" b1") == "2026-01-05"
    assert day("b2") > "2026-01-05", "control: a batch that nobody knows is of today"
    assert day(today=date(2026, 2, 2)) == "2026-02-02"
    write_csv(desk.accounts, random_accounts(ACCOUNTS, seed=4))
    other = desk.recommend(None, "--explain", "c00003", today=None)
    assert other.code == 2
    assert "accounts differ" in other.err

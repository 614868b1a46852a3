"""A batch is decided once, whole or not at all, and the same every time."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from fedrepay.client.plans.batch_io.batch_files import facts_of, record_of
from fedrepay.client.plans.batch_io.recommend import load, recommend_file
from fedrepay.client.plans.deciding import engine as engine_module
from fedrepay.shared.rules.facts import Column, FactTable
from support.desk import ACCOUNTS, CATALOGUE, Desk, write_csv
from support.market_accounts import random_accounts


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
    assert desk.recommend(settings=settings, batch="b2").code == 0, "a new id is a new batch"


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
    assert desk.recommend().code == 0
    assert desk.left() == ["out.csv", "out.csv.batch.json", "out.csv.facts.parquet"]


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
    replace = Path.replace

    def crash(self: Path, target: Path) -> Path:
        if Path(target) == facts_of(out):
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", crash)
        with pytest.raises(KeyboardInterrupt):
            recommend_file(job, load(job), out, "b2")
    assert (out.exists(), facts_of(out).exists(), record_of(out).exists()) == (True, False, False)
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
    assert sum(tables) == ACCOUNTS

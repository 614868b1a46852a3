"""A batch's limits and exploration."""

import json
from datetime import date

import numpy as np
import pytest

from fedrepay.client.plans.batch import caps
from fedrepay.client.plans.batch_io.batch_files import record_of
from fedrepay.client.plans.batch_io.recommend import decide_one, load
from fedrepay.client.plans.deciding.decide import Decision
from support.desk import ACCOUNTS, CATALOGUE, Desk, write_csv
from support.market_accounts import random_accounts


def test_limits_of_the_batch_hold_and_their_prices_are_shown(desk: Desk) -> None:
    catalogue = desk.folder / "letters.toml"
    catalogue.write_text(
        CATALOGUE.replace("first_due = [7, 21]", 'first_due = [7, 21]\nchannel = ["letter"]')
    )
    settings = desk.folder / "settings.toml"
    settings.write_text('[caps]\ncontacts = 10\ngroup_column = "branch"\ngroup_floor = 0.2\n')
    own = random_accounts(ACCOUNTS, seed=3)
    own["branch"] = np.array(["north", "south"], dtype=object)[np.arange(ACCOUNTS) % 2]
    write_csv(desk.accounts, own)
    assert desk.recommend("control.csv", batch="b0", catalogue=catalogue).code == 0
    result = desk.recommend("out.csv", "--json", catalogue=catalogue, settings=settings)
    assert result.code == 0, result.err
    summary = json.loads(result.out)

    def letters(out: str) -> int:
        return sum(
            row["decision"] == "OFFER" and row["channel"] == "letter"
            for row in desk.rows(out)
            if row["rank"] == 1
        )

    assert letters("control.csv") > 10
    assert letters("out.csv") <= 10
    assert summary["caps_used"]["contacts"] == letters("out.csv")
    assert summary["caps_prices"]["contacts"] > 0
    record = json.loads(record_of(desk.folder / "out.csv").read_text())
    assert record["caps_prices"] == summary["caps_prices"]
    settings.write_text("[caps]\ndiscounts = 0\ncontacts = 0\nagents = 0\n")
    none = desk.recommend("none.csv", batch="b2", catalogue=catalogue, settings=settings)
    assert none.code == 0, none.err
    assert letters("none.csv") == 0
    settings.write_text('[caps]\ngroup_column = "region"\ngroup_floor = 0.2\n')
    lost = desk.recommend("lost.csv", batch="b3", catalogue=catalogue, settings=settings)
    assert lost.code == 3
    assert "region" in lost.err


def test_explain_shows_the_batch_s_decision_also_under_limits(desk: Desk) -> None:
    catalogue = desk.folder / "letters.toml"
    catalogue.write_text(
        CATALOGUE.replace("first_due = [7, 21]", 'first_due = [7, 21]\nchannel = ["letter"]')
    )
    settings = desk.folder / "settings.toml"
    settings.write_text("[caps]\ncontacts = 1\ndiscounts = 0\n")
    own = random_accounts(40, seed=3)
    own["human_requested"] = (np.arange(40) % 10 == 0).astype(int)
    write_csv(desk.accounts, own)
    assert desk.recommend(catalogue=catalogue, settings=settings).code == 0
    first = {row["account"]: row for row in desk.rows() if row["rank"] == 1}
    job = desk.job(catalogue=catalogue, settings=settings, today=date(2026, 1, 5))
    loaded = load(job)
    limited = 0
    for name, row in first.items():
        batch, _ = decide_one(job, loaded, name, "b1")
        arm = int(batch.decisions.top[0, 0])
        assert Decision(batch.decisions.code[0]).name == row["decision"]
        assert (None if arm < 0 else loaded.engine.arms.names[arm]) == row["plan"]
        limited += "CAP" in (row["why_not"] or "")
    assert limited
    asked = [row for row in first.values() if row["handoff_code"] == "REQUESTED"]
    assert any(row["plan"] for row in asked), "a case worker keeps the proposals"
    assert not any("CAP" in row["why_not"] for row in asked)


def test_exploration_asks_for_the_batch_that_it_draws_by(desk: Desk) -> None:
    settings = desk.folder / "settings.toml"
    settings.write_text("exploration = 0.1\n")
    result = desk.recommend(None, "--explain", "c00001", batch="", settings=settings)
    assert result.code == 2
    assert "--batch-id" in result.err
    assert desk.recommend(None, "--explain", "c00001", settings=settings).code == 0


def test_exploration_stays_within_the_limits_of_the_batch(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = desk.folder / "letters.toml"
    catalogue.write_text(
        CATALOGUE.replace("first_due = [7, 21]", 'first_due = [7, 21]\nchannel = ["letter", "portal"]')
    )
    settings = desk.folder / "settings.toml"
    settings.write_text("exploration = 0.1\n[caps]\ncontacts = 0\n")
    write_csv(desk.accounts, random_accounts(600, seed=3))

    def letters(out: str) -> int:
        assert desk.recommend(out, catalogue=catalogue, settings=settings).code == 0
        return sum(row["channel"] == "letter" for row in desk.rows(out) if row["decision"] == "OFFER")

    assert letters("out.csv") == 0
    drawn = [row["propensity"] for row in desk.rows() if row["rank"] == 1]
    assert min(drawn) < 0.1, "it explores"
    monkeypatch.setattr(caps, "_more", lambda used, choice: np.zeros((len(choice), 1), np.bool_))
    assert letters("control.csv") > 0

"""Values outside the model's bounds: what cannot be is refused, money is worked out from none, the rest is shown."""

import json
from typing import Any

import duckdb
import numpy as np
import pytest

from fedrepay.client.plans.batch_io.batch_files import facts_of
from fedrepay.client.plans.batch_io.recommend import load
from fedrepay.client.plans.deciding import chunk
from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.scoring.score_file import rejects_of
from fedrepay.shared.errors import DataError
from support.desk import ACCOUNTS, Desk, Row, write_csv
from support.market_accounts import Columns, random_accounts

BEYOND = {
    "apr": 12.0,
    "income": 2e8,
    "surplus": -2e8,
    "other_plans": 3e8,
    "priority_arrears": 2e8,
    "balance": 2e10,
    "fees": 3e10,
}
"""Of each column of money, a value that can be and lies outside the schema's bounds."""
NEVER = {
    "apr": (-0.1, 25.0),
    "income": (-9900.0,),
    "other_plans": (-1.0,),
    "priority_arrears": (-1.0,),
    "balance": (-1.0, 2e13),
    "fees": (-5.0,),
    "dpd": (-1.0, 40_000.0),
}
READ = {"dpd": 2000.0, "days_to_payday": 45.0, "portal_logins_30d": 99.0, "known_creditors": 0.0}


def first(desk: Desk, out: str = "out.csv") -> dict[str, Row]:
    return {row["account"]: row for row in desk.rows(out) if row["rank"] == 1}


def offered(desk: Desk) -> list[int]:
    """Rows of accounts that get an offer as they are."""
    assert desk.recommend("plain.csv", batch="plain").code == 0
    return [int(name[1:]) for name, row in first(desk, "plain.csv").items() if row["decision"] == "OFFER"]


def changed(cells: dict[int, tuple[str, float]]) -> Columns:
    own = random_accounts(ACCOUNTS, seed=3)
    for row, (name, value) in cells.items():
        own[name][row] = value
    return own


def test_an_amount_outside_the_bounds_goes_to_a_person_and_nothing_is_offered(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = offered(desk)
    cells = dict(zip(rows, BEYOND.items(), strict=False))
    assert len(cells) == len(BEYOND)
    write_csv(desk.accounts, changed(cells))
    done = desk.recommend("out.csv", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["outside"] == dict.fromkeys(sorted(BEYOND), 1)
    found, plain = first(desk), first(desk, "plain.csv")
    for row, (name, _) in cells.items():
        mine = found[f"c{row:05d}"]
        assert (mine["decision"], mine["handoff_code"]) == ("HUMAN", "OUT_OF_BOUNDS")
        assert mine["handoff_reason"].endswith(f": {name}")
        assert mine["outside"] == name
        empty = ("kind", "instalment", "total", "interest", "bound", "value", "score", "p_kept", "reason_1")
        assert [mine[each] for each in empty] == [None] * len(empty)
        assert mine["why_not"].startswith("OUT_OF_BOUNDS ")
    said = desk.recommend(None, "--explain", f"c{rows[0]:05d}").out
    assert "apr: 12" in said, "as it was given, not at the bound"
    assert "Outside what the model knows, so that it reads the nearest bound: apr" in said
    assert "not worked out" in said
    rest = set(found) - {f"c{row:05d}" for row in cells}
    assert all(found[name]["decision"] == plain[name]["decision"] for name in rest)
    with duckdb.connect() as connection:
        facts = f"SELECT apr FROM '{facts_of(desk.folder / 'out.csv')}' WHERE account = 'c{rows[0]:05d}'"
        assert connection.execute(facts).fetchall() == [(12.0,)], "rules read what is so"
    monkeypatch.setattr(chunk, "MONEY", ())
    assert desk.recommend("control.csv").code == 0
    control = first(desk, "control.csv")
    silent = [control[f"c{row:05d}"] for row in cells]
    assert any(row["decision"] == "OFFER" and row["handoff_code"] is None for row in silent), "control"


def test_what_cannot_be_is_refused_with_its_row(desk: Desk) -> None:
    every = [(name, value) for name, values in NEVER.items() for value in values]
    write_csv(desk.accounts, changed(dict(enumerate(every))))
    assert desk.recommend().code == 0
    with duckdb.connect() as connection:
        table = f"read_csv('{rejects_of(desk.folder / 'out.csv')}', all_varchar = true)"
        found = connection.execute(f'SELECT "row", "column", "value", bound FROM {table}').fetchall()
    assert {(int(row) - 1, column, float(value)) for row, column, value, _ in found} == {
        (row, *each) for row, each in enumerate(every)
    }
    assert {bound for *_, bound in found} == {"at least 0", "0 to 20", "0 to 1e+13", "0 to 36500"}
    assert not {f"c{row:05d}" for row in range(len(every))} & set(first(desk))
    assert len(first(desk)) == ACCOUNTS - len(every), "control: the others are decided"


def test_what_only_the_model_reads_is_read_at_its_bound_and_shown(desk: Desk) -> None:
    cells = dict(enumerate(READ.items()))
    write_csv(desk.accounts, changed(cells))
    done = desk.recommend()
    assert done.code == 0
    assert "Outside what the model knows, accounts: days_to_payday 1, dpd 1, known_creditors 1" in done.err
    bounds = {"dpd": 1080.0, "days_to_payday": 31.0, "portal_logins_30d": 30.0, "known_creditors": 1.0}
    write_csv(desk.accounts, changed({row: (name, bounds[name]) for row, (name, _) in cells.items()}))
    assert desk.recommend("at.csv", batch="at").code == 0
    found, at = first(desk), first(desk, "at.csv")
    for row, (name, _) in cells.items():
        mine, other = found[f"c{row:05d}"], at[f"c{row:05d}"]
        assert (mine["outside"], other["outside"]) == (name, None)
        same = ("decision", "plan", "bound", "p_kept", "score")
        assert [mine[each] for each in same] == [other[each] for each in same]
        assert mine["input_hash"] != other["input_hash"], "what was known of it is another value"
    paid_after = [row[f"reason_{place}"] or "" for place in range(1, 5) for row in (found["c00001"],)]
    assert not any("R03" in each for each in paid_after), "no payday is 45 days away"


def test_in_memory_it_is_the_same_as_from_a_file(desk: Desk) -> None:
    rows = offered(desk)
    cells = dict(zip(rows, BEYOND.items(), strict=False))
    own = changed(cells)
    write_csv(desk.accounts, own)
    assert desk.recommend().code == 0
    of = load(desk.job()).engine
    given: dict[str, Any] = {each.name: own[each.name] for each in of.encoder.account_columns}
    batch = of.decide(of.accounts(list(own["customer"]), given), today=20_458)
    found = first(desk)
    for row in range(ACCOUNTS):
        assert Decision(int(batch.decisions.code[row])).name == found[f"c{row:05d}"]["decision"]
        assert HANDOFFS[int(batch.decisions.handoff[row])] == (found[f"c{row:05d}"]["handoff_code"] or "")
    for name, values in NEVER.items():
        for value in values:
            with pytest.raises(DataError, match=rf"{name}, account c00003.* must be (at least 0|0 to )"):
                of.accounts(
                    list(own["customer"]),
                    {**given, name: np.where(np.arange(ACCOUNTS) == 3, value, own[name])},
                )
    of.close()

"""A reason is only ever given for something that the plan or the account has: every claim asked of an oracle in plain Python."""

from calendar import monthrange
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding import reasons as reasons_module
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.grounds import Grounds
from fedrepay.client.plans.deciding.reasons import NAMES, reference_of
from fedrepay.client.plans.deciding.reasons import NONE as NO_REASON
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.explaining import annotate
from fedrepay.shared.plans.catalogue import parse_catalogue
from support.market_accounts import market_book, random_accounts
from support.market_release import market_weights

CATALOGUE = b"""
name = "all sorts"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [6, 12, 36]
interest_waiver = [0.0, 0.5]
fee_waiver = [0.0, 1.0]
first_due = [3, 14, 40]
[[plans]]
kind = "INSTALMENT"
share = [0.5, 1.0]
frequency = ["weekly", "biweekly"]
interest_waiver = [1.0]
[[plans]]
kind = "FULL"
[[plans]]
kind = "SETTLEMENT"
n = [1, 6]
discount = [0.1, 0.3]
[[plans]]
kind = "TOKEN"
n = [6]
"""
ACCOUNTS, SEEDS = 300, 6
TODAY = date(2026, 2, 16)
Facts = dict[str, Any]
BOOK = market_book()


def decided(seed: int) -> tuple[Engine, Batch]:
    made = Engine(BOOK, 3 * market_weights(BOOK, seed), parse_catalogue(CATALOGUE, "c.toml"), Settings())
    own = random_accounts(ACCOUNTS, seed)
    rng = np.random.default_rng(seed)
    own["apr"][rng.random(ACCOUNTS) < 0.2] = 0
    own["other_plans"][rng.random(ACCOUNTS) < 0.5] = 0
    own["priority_arrears"][rng.random(ACCOUNTS) < 0.8] = 0
    own["known_creditors"][rng.random(ACCOUNTS) < 0.5] = 1
    own["surplus"] = own["surplus"] * rng.choice([1, 4], ACCOUNTS)
    own["broken_plans_24m"][rng.random(ACCOUNTS) < 0.7] = 0
    own["kept_ratio_12m"][(rng.random(ACCOUNTS) < 0.3) & (own["promises_12m"] > 0)] = 1
    own["portal_logins_30d"][rng.random(ACCOUNTS) < 0.5] = 0
    given = {each.name: own[each.name] for each in made.encoder.account_columns}
    accounts = made.accounts(list(own["customer"]), given)
    paid = [(TODAY + timedelta(days=int(each))).day for each in own["days_to_payday"]]
    wished = (np.array(paid) + rng.integers(2, 6, ACCOUNTS) - 1) % 31 + 1  # on either side of just after it
    accounts.beside["wished_day"] = np.where(rng.random(ACCOUNTS) < 0.7, wished, np.nan)
    return made, made.decide(accounts, today=(TODAY - date(1970, 1, 1)).days)


def given_reasons(made: Engine, batch: Batch, seed: int) -> Iterator[tuple[str, float, Facts, Facts, Facts]]:
    """Every reason of a random plan for each account: code, part, account, plan, reference plan."""
    plans, rng = batch.judged.plans, np.random.default_rng(seed)
    exists = plans.valid & plans.arms.pays
    rows = np.flatnonzero(exists.any(axis=1))
    arms = np.array([rng.choice(np.flatnonzero(exists[row])) for row in rows])
    places, parts = annotate.reasons_of(made, batch, rows, arms)
    references = reference_of(plans)
    for at, (row, arm) in enumerate(zip(rows, arms, strict=True)):
        account = {name: each[row] for name, each in batch.accounts.values.items()}
        mine, other = (plan_of(batch, int(row), int(each)) for each in (arm, references[row]))
        for place, part in zip(places[at], parts[at], strict=True):
            if place != NO_REASON:
                yield NAMES[place], float(part), account, mine, other


def plan_of(batch: Batch, row: int, arm: int) -> Facts:
    plans, of = batch.judged.plans, batch.judged.plans.arms
    each = {0: 12 / 52, 1: 12 / 26, 2: 1.0}[int(of.frequency[arm])]
    due = int(plans.first_due[row, arm])
    count, principal = int(plans.count[row, arm]), int(plans.principal[row, arm])
    years = min(due, int(of.first_due[arm])) / 365 + each / 12 * (count - 1) / 2
    interest, fees = int(plans.interest[row, arm]), float(plans.debts.fees[row])
    full = principal * float(plans.debts.apr[row]) * years
    return {
        "kind": int(of.kind[arm]),
        "monthly": int(plans.instalment[row, arm]) / each,
        "months": count * each,
        "interest": interest,
        "waived": full - interest >= 1 or (of.fee_waiver[arm] > 0 and fees > 0),
        "discount": float(of.discount[arm]),
        "first_due": due,
    }


def days_after_payday(first_due: int, days_to_payday: int) -> int:
    """Walked back day by day to one on which wages are paid: a month's last day that is a Sunday pays on the Saturday."""
    payday = TODAY + timedelta(days=days_to_payday)
    for back in range(62):
        day = TODAY + timedelta(days=first_due - back)
        last = monthrange(day.year, day.month)[1]
        nominal = min(payday.day, last)
        if nominal == last and date(day.year, day.month, last).weekday() == 6:
            nominal -= 1
        if day.day == nominal:
            return back
    raise AssertionError


def is_true(code: str, part: float, account: Facts, plan: Facts, other: Facts) -> bool:
    """Whether what messages.toml says of a code is so."""
    has_form = account["income_verified"] != "none" and account["income"] > 0
    income = float(account["income"]) if has_form else float("nan")
    promised = account["other_plans"] + account["priority_arrears"]
    kept, promises, broken = (
        account[name] for name in ("kept_ratio_12m", "promises_12m", "broken_plans_24m")
    )
    left = account["surplus"] - promised - plan["monthly"]
    after_payday = days_after_payday(plan["first_due"], int(account["days_to_payday"]))
    active = account["days_since_payment"] <= 30 or account["portal_logins_30d"] > 0
    answered = account["response_rate"]
    said: dict[str, tuple[bool, bool]] = {
        "R01": (left >= 0.05 * income - 1, left <= 0.05 * income + 1),
        "R02": (
            account["known_creditors"] <= 2 and (promised == 0 or promised <= 0.03 * income),
            promised > 0 or account["known_creditors"] >= 2,
        ),
        "R03": (after_payday < 4, after_payday >= 4),
        "R04": (promises > 0 and kept >= 0.6, (promises > 0 and kept < 1) or broken > 0),
        "R05": (plan["months"] != other["months"],) * 2,
        "R06": (plan["monthly"] < other["monthly"], plan["monthly"] > other["monthly"]),
        "R07": (bool(plan["waived"]), plan["interest"] > 0),
        "R08": (
            plan["discount"] > 0 and plan["discount"] > other["discount"],
            plan["discount"] < other["discount"],
        ),
        "R09": (account["income_verified"] == "verified", account["income_verified"] != "verified"),
        "R10": (account["balance"] <= income, account["balance"] > income),
        "R11": (active or answered >= 0.5, not active or answered < 0.25),
        "R12": (True, True),
        "R13": (plan["kind"] != other["kind"],) * 2,
        "R14": (has_form, has_form),
        "R15": (account["employment"] != "unknown",) * 2,
        "R16": (plan["first_due"] != other["first_due"],) * 2,
        "R99": (True, True),
    }
    return said[code][0 if part > 0 else 1]


def false_claims(seeds: range = range(SEEDS)) -> tuple[Counter[str], Counter[str]]:
    """(false, all) reasons by code and direction."""
    false, every = Counter[str](), Counter[str]()
    for seed in seeds:
        made, batch = decided(seed)
        for code, part, *facts in given_reasons(made, batch, seed):
            said = f"{code}_{'up' if part > 0 else 'down'}"
            every[said] += 1
            false[said] += not is_true(code, part, *facts)
        made.close()
    return +false, every


def test_every_reason_that_is_given_is_true() -> None:
    false, every = false_claims()
    assert not false
    never = {"R08_down"}  # the reference plan is one in instalments and forgives nothing
    expected = {f"{name}_{way}" for name in NAMES for way in ("up", "down")} - never
    assert expected <= set(every), "control: each claim was asked of the oracle"


def test_control_without_grounds_the_oracle_finds_false_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def believed(names: tuple[str, ...], *given: Any) -> Grounds:
        always = np.ones((len(given[3]), len(names)), np.bool_)
        return Grounds(always, always)

    monkeypatch.setattr(annotate, "grounds", believed)
    false, _ = false_claims(range(3))
    assert {"R01_up", "R01_down", "R02_up", "R03_down", "R04_up", "R04_down", "R07_up"} <= set(false)
    assert {"R09_up", "R10_up", "R11_up"} <= set(false)
    assert sum(false.values()) > 500


def test_control_a_cross_that_speaks_half_for_each_column_names_discounts_that_are_none() -> None:
    """As it was: the whole difference of headroom × discount shared out, whichever of the two differs."""
    made, batch = decided(1)
    plans = batch.judged.plans
    plain = np.flatnonzero(plans.arms.is_kind("INSTALMENT"))
    rows = np.flatnonzero(plans.valid[:, plain].all(axis=1))
    assert len(rows) > 20
    of, place = made.reasons, NAMES.index("R08")
    found = {False: 0.0, True: 0.0}
    for first, second in pairwise(plain.tolist()):
        mine, other = (batch.codes.of(rows, np.full(len(rows), arm)) for arm in (first, second))
        found[False] += float(np.abs(of.parts(mine, other)[:, place]).sum())
        for at, codes in enumerate(of.codes):
            if of.knows_plan[at] and place in codes and len(codes) == 2:
                whole = of.effects[at][mine[:, at]] - of.effects[at][other[:, at]]
                found[True] += float(np.abs(whole / 2).sum())
    assert found[False] == pytest.approx(0, abs=1e-9)
    assert found[True] > 5
    assert reasons_module.CODE_OF["discount"] == "R08"

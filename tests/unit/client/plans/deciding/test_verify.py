"""Asking for a form or a proof: what it is said to bring each account, and that it takes no plan away."""

from functools import cache
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding import engine as engine_module
from fedrepay.client.plans.deciding import verify as verify_module
from fedrepay.client.plans.deciding.affordability import believed, sustainable
from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.settings import CLASSES, Settings
from fedrepay.client.plans.deciding.verify import ASKS, Verify, verify
from fedrepay.shared.plans.catalogue import load_catalogue
from fedrepay.shared.rules.pack import load_builtin
from support.market_accounts import CATALOGUE, market_book, random_accounts
from support.market_release import market_weights

N, TODAY = 600, 20_800


@cache
def engine(*packs: str) -> Engine:
    book = market_book()
    return Engine(
        book,
        market_weights(book),
        load_catalogue(CATALOGUE)[0],
        Settings(),
        load_builtin(list(packs)),
        borders=Borders(discounts_known=True),
    )


def accounts(facts: dict[str, Any] | None = None, **changed: Any) -> Accounts:
    columns = random_accounts(N, 5) | {name: np.full(N, each) for name, each in changed.items()}
    names = columns.pop("customer").tolist()
    return engine().accounts(names, columns, facts)


@cache
def usual() -> tuple[Accounts, Verify]:
    given = accounts()
    return given, verify(engine(), given, TODAY)


def test_what_is_asked_hangs_on_what_is_known() -> None:
    given, found = usual()
    known = given.values["income_verified"]
    expected = {"none": "FORM", "stated": "PROOF", "estimated": "PROOF", "verified": ""}
    assert [ASKS[each] for each in found.ask] == [expected[each] for each in known]
    assert (found.gain[known == "verified"] == 0).all()


def test_it_never_takes_a_plan_that_can_be_had_now() -> None:
    given, found = usual()
    batch = engine().decide(given, today=TODAY)
    offered = batch.decisions.code == Decision.OFFER
    assert np.array_equal(found.plan_now, offered)
    first = batch.judged.value[np.arange(N), batch.decisions.top[:, 0]]
    assert np.array_equal(found.value_now, np.where(offered, first, batch.judged.no_plan))
    both = offered & (found.gain > 0)
    assert both.any(), "it stands beside plans"


def test_who_has_no_room_for_want_of_a_proof_gains_most() -> None:
    given, found = usual()
    stated = given.values["income_verified"] == "stated"
    surplus = given.values["surplus"] / given.values["income"]
    near = stated & (surplus > 0.04) & (surplus < 0.10) & ~found.plan_now
    rich = stated & (surplus > 0.25) & found.plan_now
    assert near.sum() > 10 < rich.sum()
    assert found.share[near].mean() > 5 * abs(found.share[rich].mean())
    assert found.gain[near].min() > 0


def test_verifying_may_find_less_and_then_it_says_so() -> None:
    _, found = usual()
    assert found.gain.min() < 0


@pytest.mark.parametrize("name", ["none", "stated", "estimated"])
def test_it_is_about_the_mean_over_whole_decisions(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plain way: judge the accounts anew for each of fifteen bounds; said is rather less, as amounts are those of two bounds."""
    given, _ = usual()
    rows = np.flatnonzero(given.values["income_verified"] == name)
    part = given.take(rows)
    monkeypatch.setattr(verify_module, "POINTS", 15)
    found = verify(engine(), part, TODAY)
    settings = Settings().affordability
    income = part.values["median_income" if name == "none" else "income"].astype(float)
    middle, spread = believed(settings, name, income, part.values["surplus"].astype(float))
    then = "stated" if name == "none" else "verified"
    spread = np.hypot(spread, getattr(settings, then).error * income)
    promised = part.values["other_plans"].astype(float) + part.values["priority_arrears"].astype(float)
    classes, values = np.full(len(rows), then, dtype=object), []
    made = engine()
    now = made.judge(part, TODAY)
    quantiles = np.quantile(np.random.default_rng(0).normal(size=200_000), (np.arange(15) + 0.5) / 15)
    for point in quantiles:
        room = sustainable(settings, income, middle + point * spread, classes, promised)
        judged = made.within(now, np.arange(len(rows)), room, TODAY)
        best = np.where(judged.offers, judged.score, -np.inf).argmax(axis=1)
        value = judged.value[np.arange(len(rows)), best]
        values.append(np.where(judged.offers.any(axis=1), value, judged.no_plan))
    plain = np.mean(values, axis=0) - found.value_now
    assert plain.sum() > 0
    assert 0.65 * plain.sum() < found.gain.sum() < 1.02 * plain.sum()
    assert (
        np.corrcoef(plain, found.gain)[0, 1] > 0.85
    )  # the part of the interest that is waived is that of the high bound


@pytest.mark.parametrize("packs", [(), ("uk-fca", "uk-breathing-space")], ids=["no law", "laws"])
def test_within_other_bounds_is_judged_anew_to_the_last_bit(
    monkeypatch: pytest.MonkeyPatch, packs: tuple[str, ...]
) -> None:
    facts = {"jurisdiction": np.full(N, "UK", object), "debt_type": np.full(N, "card", object)}
    made, given = engine(*packs), accounts(facts)
    room = np.random.default_rng(1).integers(0, 60_000, N)
    now, rows = made.judge(given, TODAY), np.arange(0, N, 3)
    found = made.within(now, rows, room[rows], TODAY)
    monkeypatch.setattr(engine_module, "sustainable", lambda *_: room)
    whole = made.judge(given, TODAY).judged
    for name in ("why", "score", "value", "first", "kept", "waived", "bare", "affordable"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)[rows]), name
    for name in ("valid", "instalment", "count", "interest", "total", "monthly"):
        assert np.array_equal(getattr(found.plans, name), getattr(whole.plans, name)[rows]), name
    assert not np.array_equal(now.judged.why[rows], found.why), "control: the bounds matter"


def test_judged_already_or_not_it_says_the_same() -> None:
    given, found = usual()
    again = verify(engine(), given, TODAY, engine().judge(given, TODAY))
    half = verify(engine(), given.take(slice(0, N // 2)), TODAY)
    assert np.array_equal(found.gain, again.gain)
    assert np.array_equal(found.gain[: N // 2], half.gain)


@pytest.mark.parametrize(
    ("fact", "value"), [("dispute", 1.0), ("health_data", 1.0), ("dormant", 1.0), ("moratorium_day", 3.0)]
)
def test_nothing_is_asked_of_who_is_spared_or_a_persons(fact: str, value: float) -> None:
    column = np.zeros(N) if fact != "moratorium_day" else np.full(N, -1.0)
    column[::2] = value
    found = verify(engine(), accounts({fact: column}), TODAY)
    assert not found.ask[::2].any()
    assert (found.gain[::2] == 0).all()
    assert found.ask[1::2].any()


def test_nothing_is_asked_where_a_rule_wants_a_person() -> None:
    facts = {"jurisdiction": np.full(N, "UK", object), "debt_type": np.full(N, "card", object)}
    assert not verify(engine("uk-fca"), accounts(facts), TODAY).ask.any(), (
        "facts that the pack needs are unknown"
    )


def test_a_proven_income_of_zero_asks_for_nothing_and_is_no_contradiction() -> None:
    given = accounts(income=0.0, surplus=-20_000.0)
    given.values["income_verified"][:] = "verified"
    batch = engine().decide(given, today=TODAY)
    assert batch.judged.cases.income_known.all()
    assert not batch.judged.plans.debts.bound.any()
    decided = {Decision(each) for each in batch.decisions.code}
    assert decided <= {Decision.REFER, Decision.TOKEN, Decision.HUMAN}
    assert not verify(engine(), given, TODAY).ask.any()


def test_every_class_but_the_verified_is_asked_for_something() -> None:
    assert set(verify_module._BECOMES) == set(CLASSES) - {"verified"}

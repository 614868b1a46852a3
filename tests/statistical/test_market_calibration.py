"""The market against what is published about debtors and plans, and its records against what each preset promises.

Anchors and misses stand in docs/market.md. Seeded, so that nothing flickers.
"""

from dataclasses import replace
from functools import cache

import duckdb
import numpy as np
import pytest

from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans.candidates import candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue
from fedrepay.shared.schema import encode
from fedrepay.simulations.market import lenders, paths, people, records, truth
from fedrepay.simulations.market.lenders import PRESETS, Lender, Preset
from fedrepay.simulations.market.paths import Paths
from fedrepay.simulations.market.records import Records
from fedrepay.simulations.run.arguments import HERE

LOANS = HERE.resolve().parent.parent / "shared" / "data" / "lc2015_settlement_labels.parquet"
SEEDS, SIZES = (0, 1, 2), (400,) * 20
Past = tuple[tuple[Lender, Records], ...]


@cache
def market(preset: Preset, seed: int, sizes: tuple[int, ...] = SIZES) -> Past:
    return tuple((each, records.record(each, seed)) for each in lenders.lenders(preset, seed, sizes))


@cache
def lived() -> tuple[tuple[Records, Paths], ...]:
    """What happened to the offers that the lenders of three markets made by their own policies, drawn four times."""
    return tuple(
        (made, paths.draw(lender.effects, made.accounts.debtors, made.plans, made.arm, rng))
        for seed in SEEDS
        for place, (lender, made) in enumerate(market("mixed", seed))
        for rng in np.random.default_rng([4, seed, place]).spawn(4)
    )


def broken(made: Records, drawn: Paths, months: int) -> tuple[Bool, I64]:
    """Whether a plan broke in so many months, and how many instalments it has, (n,)."""
    count = made.plans.count[np.arange(len(made.arm)), made.arm]
    missed = (drawn.paid == 0) & (np.arange(paths.LONGEST) < count[:, None])
    twice = (missed[:, 1:months] & missed[:, : months - 1]).any(axis=1)
    return np.where(count == 1, missed[:, 0], twice), count


def share_of_agreed(months: int, at_least: int = 1) -> float:
    some, whole = 0, 0
    for made, drawn in lived():
        ended, count = broken(made, drawn, months)
        inside = drawn.agreed & (count >= at_least)
        some, whole = some + int(ended[inside].sum()), whole + int(inside.sum())
    assert whole > 5_000
    return some / whole


# --- what happens to plans ---


def test_first_payment_given_agreement() -> None:
    """61 … 71 % (vendors)."""
    agreed = sum(int(drawn.agreed.sum()) for _, drawn in lived())
    first = sum(int(drawn.first.sum()) for _, drawn in lived())
    assert 0.61 <= first / agreed <= 0.71


def test_plans_broken_at_90_days() -> None:
    """About 19 %."""
    assert 0.15 <= share_of_agreed(3) <= 0.23


@pytest.mark.parametrize("at_least", [1, 12])
def test_plans_broken_within_a_year(at_least: int) -> None:
    """About 42 %, of all plans and of those that run a year or longer."""
    assert 0.35 <= share_of_agreed(12, at_least) <= 0.49


def test_a_wrong_market_misses_its_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: a little less willing to pay, and the targets are missed."""
    poor = replace(truth.Effects(), pay=0.6)
    agreed, first, ended = 0, 0, 0
    for place, (_, made) in enumerate(market("mixed", 0)):
        rng = np.random.default_rng([4, place])
        drawn = paths.draw(poor, made.accounts.debtors, made.plans, made.arm, rng)
        agreed, first = agreed + int(drawn.agreed.sum()), first + int(drawn.first.sum())
        ended += int((broken(made, drawn, 3)[0] & drawn.agreed).sum())
    assert first / agreed < 0.61
    assert ended / agreed > 0.23


def test_settlements_are_as_deep_and_as_long_as_real_ones() -> None:
    """The middle one pays 48 % of the balance over a year; the anchor is 45 % over 10 months (medians)."""
    if not LOANS.is_file():
        pytest.skip(f"{LOANS} is not here: that data set is not shipped")
    with duckdb.connect() as connection:
        found = connection.execute(
            "SELECT median(settlement_percentage) / 100, median(settlement_term) "
            f"FROM '{LOANS}' WHERE debt_settlement_flag = 'Y'"
        ).fetchone()
    assert found is not None
    paid, months = [], []
    for made, drawn in lived():
        chosen = np.flatnonzero(drawn.agreed & made.plans.arms.is_kind("SETTLEMENT")[made.arm])
        arm = made.arm[chosen]
        paid.append(made.plans.total[chosen, arm] / made.plans.debts.balance[chosen])
        months.append(made.plans.months[chosen, arm])
    assert float(np.median(np.concatenate(paid))) == pytest.approx(float(found[0]), abs=0.06)
    assert float(np.median(np.concatenate(months))) == pytest.approx(float(found[1]), abs=3)


THREE = """
name = "half a payment, twice over"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [12, 24]
interest_waiver = [1.0]
[[plans]]
kind = "SETTLEMENT"
n = [12]
discount = [0.5]
interest_waiver = [1.0]
"""


def test_write_downs_help_more_than_lower_payments() -> None:
    """Dobbie & Song (2020): of two plans with the same smaller instalment, the one that forgives is kept more often."""
    book = lenders.lenders("mixed", 0)[0].book
    drawn = people.draw(book, 6_000, np.random.default_rng(3))
    drawn.columns["fees"] = np.zeros(len(drawn))
    catalogue = parse_catalogue(THREE.encode(), "three plans")
    plans = candidates(catalogue, arms(catalogue), drawn.debts(records.stated_bound(drawn)))
    rows = np.flatnonzero(plans.valid.all(axis=1))
    assert len(rows) > 3_000
    plans, debtors = plans.take(rows), drawn.debtors.take(rows)
    base, longer, less = plans.monthly.mean(axis=0)
    assert longer == pytest.approx(base / 2, rel=0.01)
    assert less == pytest.approx(longer, rel=0.01)

    def kept(effects: truth.Effects) -> tuple[F64, F64]:
        """Kept per offer, and given agreement, (3,) each."""
        found = truth.outcome(effects, debtors, plans)
        return found.kept.mean(axis=0), (found.kept / found.agreed).mean(axis=0)

    for each in kept(truth.Effects()):
        assert each[1] > each[0] + 0.01  # lower payments help
        assert each[2] > each[1] + 0.01  # a write-down helps more
    no_liking = replace(truth.Effects(), accept_discount=0, pay_discount=0, accept_month=0, pay_month=0)
    for each in kept(no_liking):  # control: then only the instalment counts
        assert each[2] == pytest.approx(each[1], abs=0.002)


# --- debtors ---


def test_debtors_are_like_published_ones() -> None:
    drawn = [
        people.draw(lender.book, 2_000, np.random.default_rng([seed, place]))
        for seed in SEEDS
        for place, lender in enumerate(lenders.lenders("mixed", seed))
    ]
    income = np.concatenate([each.debtors.income for each in drawn]) / 100
    surplus = np.concatenate([each.debtors.surplus for each in drawn]) / 100
    state = np.concatenate([each.debtors.state for each in drawn])
    known = np.concatenate([each.columns["known_creditors"].astype(float) for each in drawn])
    assert income.mean() == pytest.approx(1_558, rel=0.05)
    assert np.median(income) == pytest.approx(1_560, rel=0.08)
    assert surplus.mean() == pytest.approx(155, rel=0.05)
    assert np.mean(surplus < 0) == pytest.approx(0.20, abs=0.02)
    assert np.mean(state == truth.EMPLOYED) == pytest.approx(0.60, abs=0.03)
    assert sum(people.DEBTS[1:]) == pytest.approx(0.72)
    assert np.mean(known >= 2) == pytest.approx(
        0.72 - 0.3 * people.DEBTS[1], abs=0.02
    )  # one in three hides one


def test_a_model_cannot_tell_the_sick_from_those_without_work() -> None:
    """``employment`` is drawn alike for both; that it does tell who works is the control."""
    drawn = [
        people.draw(lender.book, 4_000, np.random.default_rng([seed, place, 7]))
        for seed in SEEDS
        for place, lender in enumerate(lenders.lenders("mixed", seed))
    ]
    state = np.concatenate([each.debtors.state for each in drawn])
    known = np.concatenate([each.columns["employment"] for each in drawn])
    employed, unemployed, sick = (
        np.array([np.mean(known[state == here] == name) for name in people.EMPLOYMENT])
        for here in (truth.EMPLOYED, truth.UNEMPLOYED, truth.SICK)
    )
    few = min(np.sum(state == truth.SICK), np.sum(state == truth.UNEMPLOYED))
    assert np.abs(sick - unemployed).max() < 4 * np.sqrt(0.5 / few)
    assert np.abs(employed - unemployed).max() > 0.5


# --- records ---


@pytest.mark.parametrize("preset", PRESETS)
def test_records_stay_within_the_schema(preset: Preset) -> None:
    for _, made in market(preset, 0, (400, 1500)):
        known = made.columns()
        for column in records.book().schema.columns:
            if not column.is_input or column.derived is not None:
                continue
            raw = known[column.name]
            settled, found = encode.settle(column, raw, np.zeros(len(raw), bool))
            assert not found, column.name
            assert np.array_equal(settled, raw, equal_nan=raw.dtype.kind == "f")
        labels = records.training_table(made).outcomes
        assert labels is not None
        assert set(np.unique(labels)) >= {0, 1}


def test_a_value_outside_the_schema_is_found() -> None:
    """Control of the check above."""
    (_, made), *_ = market("mixed", 0, (400, 1500))
    columns = {each.name: each for each in records.book().schema.columns}
    raw = made.columns()["dpd"].astype(float)
    raw[0] = 1081
    assert encode.settle(columns["dpd"], raw, np.zeros(len(raw), bool))[1]


def test_mixed_lenders_explore_a_little() -> None:
    for lender, made in market("mixed", 0):
        assert 0.02 <= lender.policy.exploration <= 0.05
        never = replace(lender.policy, exploration=0.0)
        arm = [
            lenders.choose(policy, made.accounts, made.plans, np.random.default_rng(9))
            for policy in (lender.policy, never)
        ]
        share = float(np.mean(arm[0] != arm[1]))
        assert share == pytest.approx(lender.policy.exploration, abs=4 * np.sqrt(0.05 / len(made.arm)))
        assert share > 0


def test_complement_lenders_only_ever_offer_their_part() -> None:
    the_arms = records.catalogue()[1]
    token = the_arms.is_kind("TOKEN")
    seen = [np.isin(np.arange(len(token)), made.arm) & ~token for _, made in market("complement", 0)]
    parts = [lenders.offered_part(lender.policy, the_arms) for lender, _ in market("complement", 0)]
    assert {lender.policy.part for lender, _ in market("complement", 0)} == {
        "short",
        "long_waiver",
        "settlement",
        "long",
    }
    assert not any((offered & ~part).any() for offered, part in zip(seen, parts, strict=True))
    assert not any((seen[one] & seen[other]).any() for one in range(4) for other in range(one))
    assert np.any(seen[:4], axis=0).sum() > 40  # together they know most of the catalogue
    mixed = [np.isin(np.arange(len(token)), made.arm) & ~token for _, made in market("mixed", 0)]
    assert all((offered & ~parts[place]).any() for offered in mixed for place in range(4))  # control


def heard(preset: Preset) -> tuple[F64, int]:
    """Correlation of willingness with the chosen discount and waiver, given all that records say of the account."""
    found = []
    book = records.book()
    accounts = [each.name for each in book.schema.columns if each.role == "account"]
    places = [place for place, block in enumerate(book.blocks) if block.name in accounts]
    for _, made in market(preset, 0)[:8]:
        table = records.training_table(made)
        codes = [np.eye(len(book.blocks[place].labels))[table.codes[:, place]] for place in places]
        money = [table.values[name].astype(float) / 1e5 for name in ("income", "surplus", "other_plans")]
        seen = np.concatenate([np.ones((len(table.codes), 1)), *codes, np.nan_to_num(money).T], axis=1)
        w = made.accounts.debtors.willingness[table.source_rows - 1]
        both = np.stack([w, table.values["discount"], table.values["interest_waiver"]], axis=1).astype(float)
        fitted = np.linalg.solve(seen.T @ seen + 1e-3 * np.eye(seen.shape[1]), seen.T @ both)
        found.append(both - seen @ fitted)
    rest = np.concatenate(found)
    return np.corrcoef(rest.T)[0, 1:], len(rest)


def test_confounded_agents_act_on_what_records_do_not_say() -> None:
    confounded, rows = heard("confounded")
    assert (confounded < -8 / np.sqrt(rows)).all()
    plain, rows = heard("mixed")
    assert (np.abs(plain) < 3 / np.sqrt(rows)).all()

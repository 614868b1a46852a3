"""A member's own part of the model: calibration, and a correction only where its own records say something."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.optimize import minimize

from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import monotone
from fedrepay.client.plans.deciding import personal
from fedrepay.client.plans.deciding.pairs import PairCodes, PairEncoder
from fedrepay.client.plans.deciding.personal import Personal
from fedrepay.client.scoring.score import block_effects
from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans.candidates import candidates
from fedrepay.shared.schema.codebook import CodeBook
from fedrepay.simulations.market import lenders, people, records

LEAST = 700
"""Stands for ``LEAST_OFFERS``, so that fits are quick."""


def chance(score: F64) -> F64:
    return np.asarray(1 / (1 + np.exp(-score)))


@cache
def past() -> Table:
    """Offers of a lender that has only ever offered short plans, without discount or waiver."""
    lender = lenders.lenders("complement", 2, sizes=(900,))[0]
    assert lender.policy.part == "short"
    return records.training_table(records.record(lender, 2))


@cache
def shared() -> F64:
    """A shared model, (2, d), monotone as releases are."""
    book = records.book()
    weights = np.random.default_rng(1).normal(0, 0.4, (2, book.dimension))
    return monotone.project(book, weights)


@cache
def pairs() -> PairCodes:
    """New accounts × the whole catalogue."""
    lender = lenders.lenders("complement", 2, sizes=(900,))[0]
    accounts = people.draw(lender.book, 60, np.random.default_rng(5))
    catalogue, arms = records.catalogue()
    plans = candidates(catalogue, arms, accounts.debts(records.stated_bound(accounts)))
    encoder = PairEncoder(records.book(), arms)
    try:
        names = [column.name for column in encoder.account_columns]
        values, _ = encoder.derive_accounts({name: accounts.columns[name] for name in names}, len(accounts))
        return encoder.encode(values, plans)[0]
    finally:
        encoder.close()


def labelled(weights: F64, rows: int | None = None, seed: int = 3) -> Table:
    """The lender's offers with outcomes drawn from a model, (2, d); both heads known everywhere."""
    table = past().take(np.arange(rows or len(past().codes)))
    scores = records.book().rows(table.codes) / records.book().scale @ weights.T
    drawn = np.random.default_rng(seed).random(scores.shape) < chance(scores)
    return replace(table, outcomes=drawn.astype(np.int8))


def own_truth(block_name: str, slope: float) -> F64:
    """The shared model with one block tilted for this member."""
    book, weights = records.book(), shared().copy()
    place = [block.name for block in book.blocks].index(block_name)
    block, columns = book.blocks[place], book.slices[place]
    rising = np.linspace(-slope, slope, len(block.labels))
    weights[:, columns] += np.linalg.lstsq(block.matrix / book.scale, rising)[0]
    return weights


def make_quick(patch: pytest.MonkeyPatch) -> None:
    for name, value in (("LEAST_OFFERS", LEAST), ("PENALTIES", (30.0,)), ("_FOLDS", 3)):
        patch.setattr(personal, name, value)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_quick(monkeypatch)


def logits(head: int) -> F64:
    return pairs().logits(block_effects(records.book(), shared()[head]))


# --- calibration ---


def test_calibration_recovers_a_shifted_intercept() -> None:
    rng = np.random.default_rng(0)
    offset = rng.normal(-1, 1, 20_000)
    labels = (rng.random(len(offset)) < chance(0.7 + offset)).astype(float)
    assert personal.calibrate(offset, labels) == pytest.approx(0.7, abs=0.06)
    assert personal.calibrate(offset - 0.7, labels) == pytest.approx(1.4, abs=0.06)


def test_a_quick_hardly_move_it() -> None:
    assert 0 < personal.calibrate(np.zeros(2), np.ones(2)) < 0.3
    assert personal.calibrate(np.zeros(0), np.zeros(0)) == 0


def test_a_member_gets_its_own_intercept_for_each_head() -> None:
    weights, last = shared().copy(), records.book().slices[-1]
    unit = float(records.book().blocks[-1].matrix[0, 0]) / records.book().scale
    weights[0, last] += 0.8 / unit
    weights[1, last] -= 0.8 / unit
    fitted = personal.fit(records.book(), labelled(weights), shared(), correct=False)
    assert fitted.heads[0].intercept == pytest.approx(0.8, abs=0.25)
    assert fitted.heads[1].intercept == pytest.approx(-0.8, abs=0.25)
    assert all(each.weights is None for each in fitted.heads)
    for head, each in enumerate(fitted.heads):
        adjusted = fitted.adjust(head, logits(head), pairs())
        assert np.array_equal(adjusted, each.intercept + logits(head))


# --- when there is a correction ---


@pytest.mark.usefixtures("quick")
def test_a_correction_needs_enough_offers() -> None:
    weights = own_truth("instalment_share", 3.0)
    one_short = personal.fit(records.book(), labelled(weights, LEAST - 1), shared())
    enough = personal.fit(records.book(), labelled(weights, LEAST), shared())
    assert all(each.weights is None for each in one_short.heads)
    assert all(each.weights is not None for each in enough.heads)
    asked_not = personal.fit(records.book(), labelled(weights, LEAST), shared(), correct=False)
    assert all(each.weights is None for each in asked_not.heads)


@pytest.mark.usefixtures("quick")
def test_unmatured_offers_do_not_count() -> None:
    table = labelled(own_truth("instalment_share", 3.0), LEAST)
    assert table.outcomes is not None
    outcomes = table.outcomes.copy()
    outcomes[0, 1] = -1
    fitted = personal.fit(records.book(), replace(table, outcomes=outcomes), shared())
    assert fitted.heads[0].weights is not None
    assert fitted.heads[1].weights is None


@pytest.mark.usefixtures("quick")
def test_a_member_like_the_others_keeps_the_shared_model() -> None:
    fitted = personal.fit(records.book(), labelled(shared()), shared())
    assert all(each.weights is None for each in fitted.heads)


def gains_by_hand(rows: F64, base: F64, labels: F64, fold: I64) -> F64:
    """Each row's gain under the best penalty, (n,), by another optimiser."""

    def loss(score: F64, of: F64) -> F64:
        return np.asarray(np.log1p(np.exp(-np.where(of > 0, score, -score))))

    def fit(penalty: float, train: Bool) -> F64:
        def cost(own: F64) -> float:
            score = base[train] + rows[train] @ own
            return float(loss(score, labels[train]).sum() + penalty / 2 * own @ own)

        return np.asarray(minimize(cost, np.zeros(rows.shape[1]), tol=1e-9).x)

    best = np.full(len(labels), -np.inf)
    for penalty in personal.PENALTIES:
        gains = np.zeros(len(labels))
        for each in range(5):
            own = fit(penalty, fold != each)
            test = fold == each
            gains[test] = loss(base, labels)[test] - loss(base + rows @ own, labels)[test]
        best = gains if gains.mean() > best.mean() else best
    return best


def test_a_correction_is_taken_when_it_gains_more_than_a_standard_error() -> None:
    taken, in_between = [], 0
    for seed, effect in enumerate(np.repeat([0.0, 0.1, 0.2, 0.5], 4)):
        rng = np.random.default_rng(seed)
        rows, base = rng.normal(0, 1, (400, 2)), rng.normal(-1, 1, 400)
        labels = (rng.random(400) < chance(base + effect * rows[:, 0])).astype(float)
        fold = rng.integers(0, 5, 400)
        gains = gains_by_hand(rows, base, labels, fold)
        error = gains.std() / np.sqrt(len(gains))
        found = personal._correction(rows, base, labels, fold, personal.PENALTIES)
        assert (found is not None) == (gains.mean() > error)
        in_between += int(0 < gains.mean() <= error)
        taken.append(found is not None)
    assert any(taken)
    assert not all(taken)
    assert in_between  # better, but not by a standard error: not taken


# --- where it counts ---


@cache
def corrected() -> Personal:
    patch = pytest.MonkeyPatch()
    make_quick(patch)
    try:
        fitted = personal.fit(records.book(), labelled(own_truth("days_since_payment", 1.5)), shared())
    finally:
        patch.undo()
    assert all(each.weights is not None for each in fitted.heads)
    return fitted


def changed(fitted: Personal, head: int) -> Bool:
    """Which pairs get more than the intercept, (n, P)."""
    of = fitted.heads[head]
    return np.not_equal(fitted.adjust(head, logits(head), pairs()), of.intercept + logits(head))


def offered_before() -> Bool:
    """Pairs whose kind and bins of months, discount and waiver stand in 20 offers, (n, P), the plain way."""
    names = [block.name for block in records.book().blocks]
    places = [names.index(name) for name in ("kind", "months", "discount", "interest_waiver")]
    offers = [tuple(row) for row in past().codes[:, places].tolist()]
    often = {each for each in set(offers) if offers.count(each) >= 20}
    shape = pairs().shape
    keys = np.stack([np.broadcast_to(pairs().blocks[place], shape) for place in places], axis=-1)
    return np.array([[tuple(each) in often for each in row] for row in keys.tolist()])


@pytest.mark.parametrize("head", [0, 1])
def test_it_counts_only_for_plans_the_member_has_offered(head: int) -> None:
    inside = offered_before()
    found = changed(corrected(), head)
    arms = records.catalogue()[1]
    settled = arms.is_kind("SETTLEMENT") | (arms.interest_waiver > 0)
    assert inside.any()
    assert not inside[:, settled & ~arms.is_kind("TOKEN")].any()
    assert not found[~inside].any()
    assert found[inside].mean() > 0.99


@pytest.mark.parametrize("head", [0, 1])
def test_without_the_overlap_plans_never_offered_are_changed(head: int) -> None:
    """Control: with every plan taken for one's own, the test above fails."""
    everything = np.unique(personal._keys(records.book(), pairs().blocks))
    unmasked = replace(corrected(), alike=everything)
    assert changed(unmasked, head)[~offered_before()].mean() > 0.99


@pytest.mark.parametrize(("times", "known"), [(19, False), (20, True)])
def test_a_plan_offered_often_enough_is_ones_own(times: int, *, known: bool) -> None:
    book, table = records.book(), labelled(shared(), 100)
    names = [block.name for block in book.blocks]
    table.codes[:, names.index("kind")] = 1
    table.codes[:times, names.index("kind")] = 2
    for name in ("months", "discount", "interest_waiver"):
        table.codes[:, names.index(name)] = 0
    fitted = personal.fit(book, table, shared(), correct=False)
    assert len(fitted.alike) == (2 if known else 1)


# --- monotone ---


def falls(weights: F64, name: str) -> bool:
    """Whether the main effects of a column that must rise fall somewhere, its missing bin left out."""
    place = [block.name for block in records.book().blocks].index(name)
    effects = block_effects(records.book(), weights)[place]
    return bool((np.diff(effects[:-1]) < -1e-9).any())


@pytest.mark.usefixtures("quick")
def test_monotone_blocks_stay_monotone(monkeypatch: pytest.MonkeyPatch) -> None:
    table = labelled(own_truth("kept_ratio_12m", -2.5))  # here those who kept promises keep plans less
    project = monotone.project
    before: list[F64] = []

    def watched(book: CodeBook, weights: F64) -> F64:
        before.append(weights)
        return project(book, weights)

    monkeypatch.setattr(monotone, "project", watched)
    fitted = personal.fit(records.book(), table, shared())
    for head, each in enumerate(fitted.heads):
        assert each.weights is not None
        assert falls(before[-1][head], "kept_ratio_12m")  # control: as fitted, it falls
        assert not falls(each.weights, "kept_ratio_12m")
        assert not falls(shared()[head] + each.weights, "kept_ratio_12m")

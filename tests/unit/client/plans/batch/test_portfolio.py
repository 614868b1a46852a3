"""Limits of a batch: never passed, priced so that one account alone gets the batch's answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from fedrepay.client.plans.batch.portfolio import Candidacies, Duals, Portfolio, Uses, choose, options, uses
from fedrepay.client.plans.batch.programme import Programme, solve
from fedrepay.client.plans.deciding.settings import BatchCaps
from fedrepay.shared.errors import CatalogueError
from fedrepay.shared.plans.candidates import Debts, candidates
from fedrepay.shared.plans.catalogue import arms, parse_catalogue

P = 12


class Batch:
    """n accounts × 12 made-up plans with scores of every sign, a third of them not allowed."""

    def __init__(self, seed: int, n: int, *, coarse: bool = False) -> None:
        random = np.random.default_rng(seed)
        self.balance = np.rint(random.lognormal(11.5, 0.9, n)).astype(np.int64)
        self.score = random.normal(0.2, 0.15, (n, P))
        if coarse:
            self.score = np.round(self.score, 1)
            self.balance = np.full(n, 100_000)
        self.allowed = random.random((n, P)) < 0.67
        self.no_plan = np.asarray(0.05 * self.balance, np.float64)
        level = np.array([0, 0, 0, 0, 1, 1, 2, 2, 0, 0, 1, 2])
        self.used = Uses(
            agents=np.arange(P) % 3 == 0,
            contacts=np.arange(P) % 2 == 0,
            plan=np.arange(P) < 10,
            level=level,
            levels=np.stack([0 * self.balance, self.balance // 5, self.balance * 2 // 5], axis=1),
        )
        self.group = np.array([f"g{each}" for each in random.integers(0, 3, n)], np.object_)

    def choose(self, caps: BatchCaps, *, groups: bool = False) -> Portfolio:
        given = options(caps, self.score, self.allowed, self.balance, self.no_plan, self.used)
        return choose(caps, given, self.group if groups else None)

    def argmax(self, score: np.ndarray) -> np.ndarray:
        """The best allowed plan of each account by itself, or −1 where no plan is better."""
        worth = np.where(self.allowed, score, -np.inf)
        best = worth.argmax(axis=1)
        better = worth.max(axis=1) > self.no_plan / self.balance
        return np.where(better, best, -1)

    def total(self, choice: np.ndarray) -> dict[str, float]:
        rows = np.flatnonzero(choice >= 0)
        at = rows, choice[rows]
        return {
            "agents": self.used.agents[choice[rows]].sum(),
            "contacts": self.used.contacts[choice[rows]].sum(),
            "discounts": self.used.discounts[at].sum(),
        }


def limits(batch: Batch, part: float) -> BatchCaps:
    """Part of what would be used with no limits."""
    free = batch.total(batch.argmax(batch.score))
    return BatchCaps.model_validate({name: int(each * part) for name, each in free.items()})


@given(seed=st.integers(0, 10_000), part=st.floats(0, 1.2), n=st.integers(1, 60), coarse=st.booleans())
@settings(max_examples=60)
def test_no_budget_is_ever_passed(*, seed: int, part: float, n: int, coarse: bool) -> None:
    batch = Batch(seed, n, coarse=coarse)
    caps = limits(batch, part)
    found = batch.choose(caps)
    rows = np.flatnonzero(found.choice >= 0)
    assert batch.allowed[rows, found.choice[rows]].all()
    for name, used in batch.total(found.choice).items():
        assert used <= getattr(caps, name)
        assert used == pytest.approx(found.used[name])
    assert found.value <= found.bound * (1 + 1e-9) + 1e-3


@given(seed=st.integers(0, 10_000), n=st.integers(1, 60))
@settings(max_examples=30)
def test_without_caps_every_account_gets_its_own_best(seed: int, n: int) -> None:
    batch = Batch(seed, n)
    found = batch.choose(BatchCaps())
    assert (found.choice == batch.argmax(batch.score)).all()
    assert found.duals == Duals()
    assert found.ties == 0


@pytest.mark.parametrize("part", [0.2, 0.6, 0.9])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_account_priced_by_itself_gets_the_batch_s_answer(seed: int, part: float) -> None:
    batch = Batch(seed, 2_000)
    found = batch.choose(limits(batch, part))
    duals = Duals.from_json(found.duals.to_json())
    alone = batch.argmax(duals.priced(batch.score, batch.balance, batch.used))
    differ = int((alone != found.choice).sum())
    assert differ <= found.ties + 3  # three limits: three accounts are at a tie in general position
    assert found.ties <= 6
    assert (batch.argmax(batch.score) != found.choice).sum() > 50  # the limits do bind
    assert found.bound - found.value < 2e-3 * found.value


def test_the_answer_is_that_of_the_whole_programme() -> None:
    """All 12 columns of every account in one programme, solved by another interface: the same optimum."""
    batch = Batch(7, 150)
    caps = limits(batch, 0.5)
    found = batch.choose(caps)
    worth = np.where(batch.allowed, batch.score * batch.balance[:, None] - batch.no_plan[:, None], 0)
    flat = np.arange(150 * P)
    own = np.zeros((150, 150 * P))
    own[flat // P, flat] = 1
    use = np.stack(
        [
            np.tile(batch.used.agents, 150),
            np.tile(batch.used.contacts, 150),
            batch.used.discounts.ravel() / 1e5,
        ]
    )
    bound = np.array([caps.agents, caps.contacts, (caps.discounts or 0) / 1e5], float)
    every = linprog(
        -(worth * batch.allowed).ravel() / 1e5,
        A_ub=np.vstack([own, use]),
        b_ub=np.concatenate([np.ones(150), bound]),
        bounds=[(0, float(each)) for each in batch.allowed.ravel()],
    )
    assert found.bound == pytest.approx(-every.fun * 1e5, rel=1e-6)
    assert found.value > 0.97 * found.bound


def test_prices_are_zero_where_nothing_is_scarce() -> None:
    batch = Batch(3, 500)
    found = batch.choose(limits(batch, 1.0))
    assert found.duals == Duals()
    assert (found.choice == batch.argmax(batch.score)).all()


def test_a_limit_of_nothing_is_kept() -> None:
    batch = Batch(5, 500)
    found = batch.choose(BatchCaps(agents=0, discounts=0))
    assert batch.total(found.choice)["agents"] == 0
    assert batch.total(found.choice)["discounts"] == 0
    alone = batch.argmax(found.duals.priced(batch.score, batch.balance, batch.used))
    assert (alone == found.choice).all()


def test_among_what_the_limits_leave_the_choice_is_first() -> None:
    batch = Batch(8, 800, coarse=True)
    found = batch.choose(limits(batch, 0.4))
    priced = found.duals.priced(batch.score, batch.balance, batch.used)
    left = batch.allowed & ~found.beyond(priced, batch.allowed, batch.balance, batch.no_plan)
    best = np.where(left, priced, -np.inf).argmax(axis=1)
    assert (np.where(left.any(axis=1), best, -1) == found.choice).all()
    assert (found.choice == -1).any()


@given(seed=st.integers(0, 10_000), part=st.floats(0.3, 1.0), floor=st.floats(0.05, 0.5))
@settings(max_examples=30)
def test_group_floors_are_reached_or_named(seed: int, part: float, floor: float) -> None:
    batch = Batch(seed, 90)
    caps = limits(batch, part).model_copy(update={"group_floor": floor})
    found = batch.choose(caps, groups=True)  # plans that use nothing exist, so it can be met
    can = np.any(batch.allowed & batch.used.plan, axis=1)
    for name in np.unique(batch.group):
        here = np.asarray(batch.group == name, np.bool_)
        got = (found.choice[here] >= 0) & batch.used.plan[found.choice[here]]
        assert got.sum() >= floor * can[here].sum()
    for name, used in batch.total(found.choice).items():
        assert used <= getattr(caps, name)


def test_a_floor_lifts_a_group_that_would_be_left_out_and_prices_it() -> None:
    batch = Batch(11, 600)
    batch.score[batch.group == "g1"] -= 0.5
    before = batch.choose(BatchCaps())
    after = batch.choose(BatchCaps(group_floor=0.6), groups=True)
    here = np.asarray(batch.group == "g1", np.bool_)
    assert (before.choice[here] >= 0).mean() < 0.2
    assert after.used["group g1"] >= 0.6 * np.any(batch.allowed & batch.used.plan, axis=1)[here].sum()
    assert after.duals.groups["g1"] > 0
    assert after.duals.groups["g0"] == 0
    alone = batch.argmax(after.duals.priced(batch.score, batch.balance, batch.used, batch.group))
    assert (alone != after.choice).sum() <= after.ties + 2


def test_a_floor_that_cannot_be_met_names_group_and_floor() -> None:
    batch = Batch(4, 90)
    batch.used = Uses(
        np.ones(P, bool), batch.used.contacts, batch.used.plan, batch.used.level, batch.used.levels
    )
    with pytest.raises(
        CatalogueError, match=r"group_floor 0\.5: group 'g\d' needs \d+ plans.*Lower the floor"
    ):
        batch.choose(BatchCaps(agents=2, group_floor=0.5), groups=True)
    with pytest.raises(CatalogueError, match="there are no groups"):
        batch.choose(BatchCaps(group_floor=0.5))


def test_lots_of_accounts_join_to_the_same_answer() -> None:
    batch = Batch(9, 300)
    caps = limits(batch, 0.5)
    parts = []
    for rows in (slice(0, 100), slice(100, 300)):
        used = Uses(
            batch.used.agents, batch.used.contacts, batch.used.plan, batch.used.level, batch.used.levels[rows]
        )
        parts.append(
            options(
                caps,
                batch.score[rows],
                batch.allowed[rows],
                batch.balance[rows],
                batch.no_plan[rows],
                used,
            )
        )
    joined, whole = choose(caps, Candidacies.joined(parts)), batch.choose(caps)
    assert (joined.choice == whole.choice).all()
    assert joined.duals == whole.duals


def test_no_accounts_and_no_allowed_plan() -> None:
    empty = Batch(1, 0)
    assert len(empty.choose(BatchCaps(agents=3)).choice) == 0
    batch = Batch(1, 5)
    batch.allowed[:] = False
    assert (batch.choose(BatchCaps(agents=3)).choice == -1).all()


def test_identical_accounts_share_what_there_is() -> None:
    """All at a tie: the limit is used up, and no more."""
    programme = Programme(np.arange(1000), np.full(1000, 0.3), np.ones((1000, 1)), np.array([10.0]), 1000)
    found = solve(programme)
    assert programme.used(found.choice)[0] == 10
    assert found.prices[0] == pytest.approx(0.3)


def test_what_candidates_use() -> None:
    catalogue = parse_catalogue(
        b"""
name = "test"
version = 1
currency = "GBP"
[[plans]]
kind = "INSTALMENT"
n = [6]
channel = ["portal", "call"]
human = true
[[plans]]
kind = "SETTLEMENT"
n = [3]
discount = [0.2, 0.4]
fee_waiver = [1]
channel = ["letter"]
[[plans]]
kind = "DORMANT"
dormant_months = [12]
channel = ["letter"]
""",
        "test.toml",
    )
    debts = Debts(np.array([90_000]), np.array([5_000]), np.array([0.0]), np.array([9_000]))
    made = uses(candidates(catalogue, arms(catalogue), debts))
    assert made.agents.tolist() == [True, True, False, False, False]
    assert made.contacts.tolist() == [False, True, True, True, False]
    assert made.plan.tolist() == [True, True, True, True, False]
    assert made.discounts.tolist() == [[0, 0, 17_000, 34_000, 0]]

"""Models of plans that the market compares: shared and private, a member's own without privacy, trees, the truth.

Each gives P(first payment) and P(kept at 90 days) for n accounts × P plans; the optimiser after it is the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from fedrepay.client.crypto.seal import add_noise
from fedrepay.client.data.reading.table import Table
from fedrepay.client.learning import contribution, make_learner, monotone
from fedrepay.client.plans.deciding.pairs import PairCodes, PairEncoder
from fedrepay.client.scoring.score import block_effects
from fedrepay.shared.arrays import F64, I8, Bool
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.privacy.accounting import Mechanism, most_draws, plan_attempt, target_mu
from fedrepay.shared.privacy.delta import usual_delta
from fedrepay.shared.privacy.entropy import SeededEntropy
from fedrepay.shared.schema.bins import Values
from fedrepay.simulations.market.people import NewAccounts
from fedrepay.simulations.market.records import book, catalogue
from fedrepay.simulations.market.truth import Outcome
from fedrepay.simulations.rows import baselines

Heads = tuple[F64, F64]
ROUNDS, ATTEMPTS = 5, 3


@dataclass(frozen=True, eq=False)
class Scored:
    """New accounts with their candidates, coded once for all models."""

    accounts: NewAccounts
    plans: Candidates
    values: dict[str, Values]
    codes: PairCodes

    @cached_property
    def columns(self) -> dict[str, Values]:
        """Account columns as (n, 1), plan columns as (1, P) or (n, P)."""
        arms = self.plans.arms
        known: dict[str, Values] = {name: each[:, None] for name, each in self.values.items()}
        return known | {
            "months": self.plans.months,
            "monthly": self.plans.monthly.astype(float),
            "discount": arms.discount[None, :],
            "interest_waiver": arms.interest_waiver[None, :],
            "first_due": arms.first_due[None, :].astype(float),
        }

    @cached_property
    def experts(self) -> F64:
        """The expert terms of all pairs, (n, P, terms)."""
        return expert_terms(self.columns, self.plans.valid.shape)

    @cached_property
    def raw(self) -> F64:
        """Raw columns of all pairs for trees, (n·P, columns)."""
        return raw_columns(self.columns, self.plans.valid.shape)


def scored(encoder: PairEncoder, accounts: NewAccounts, plans: Candidates) -> Scored:
    """Code new accounts with their candidates."""
    given = {column.name: accounts.columns[column.name] for column in encoder.account_columns}
    values, _ = encoder.derive_accounts(given, len(accounts))
    codes, _ = encoder.encode(values, plans)
    return Scored(accounts, plans, values, codes)


class HeadsModel(Protocol):
    """Predicts both heads."""

    def predict(self, given: Scored) -> Heads:
        """P(first payment) and P(kept at 90 days), (n, P) each."""
        ...


@dataclass(frozen=True, eq=False)
class FittedAdditive:
    """A model on the code book's rows: one weight vector a head, (2, d).

    ``loss`` in cross-validation, both heads; ``penalties`` λ of each head, of an own model.
    """

    weights: F64
    loss: float = float("nan")
    penalties: tuple[float, ...] = ()

    def logits(self, given: Scored) -> Heads:
        """Log-odds of both heads, (n, P) each."""
        first, kept = (given.codes.logits(block_effects(book(), w)) for w in self.weights)
        return first, kept

    def predict(self, given: Scored) -> Heads:
        """P(first payment) and P(kept at 90 days)."""
        first, kept = self.logits(given)
        return sigmoid(first), sigmoid(kept)


@dataclass(frozen=True, eq=False)
class Expert:
    """Ridge logistic regression on a handful of terms an expert would write down; ``loss`` as of ``FittedAdditive``."""

    models: tuple[baselines.AdditiveModel, ...]
    centre: F64
    spread: F64
    loss: float

    @property
    def penalties(self) -> tuple[float, ...]:
        """λ of each head."""
        return tuple(model.penalty for model in self.models)

    def predict(self, given: Scored) -> Heads:
        """P(first payment) and P(kept at 90 days)."""
        terms = (given.experts - self.centre) / self.spread
        first, kept = (model.predict(terms) for model in self.models)
        return first, kept


@dataclass(frozen=True, eq=False)
class Trees:
    """LightGBM on raw columns, one booster a head."""

    models: tuple[baselines.TreeModel, ...]

    def predict(self, given: Scored) -> Heads:
        """P(first payment) and P(kept at 90 days)."""
        first, kept = (model.predict(given.raw).reshape(given.plans.valid.shape) for model in self.models)
        return first, kept


@dataclass(frozen=True, eq=False)
class Perfect:
    """The true heads, the derived money of the optimiser."""

    truth: Outcome

    def predict(self, given: Scored) -> Heads:
        """P(first payment) and P(kept at 90 days)."""
        del given
        return self.truth.first, self.truth.kept


def sigmoid(score: F64) -> F64:
    """The logistic function."""
    return np.asarray(0.5 * (1 + np.tanh(score / 2)))


def delta() -> float:
    """δ of a run that nobody asked another of."""
    return usual_delta(book().schema.public)


def shared(
    tables: Sequence[Table],
    epsilon: float | None,
    colluders: int,
    seed: int,
    draw: int = 0,
    *,
    noise: bool = True,
    learner_name: str = "dp-newton",
) -> FittedAdditive:
    """What the protocol opens, from integer sums in the clear with every member's share of seeded noise.

    Args:
        tables: each member's training rows.
        epsilon: of one customer; None adds no noise.
        colluders: c.
        seed: of the market.
        draw: which draw of its noise.
        noise: False adds none and keeps the ridge that goes with it: what the noise itself costs.
        learner_name: who makes the model.
    """
    the_book = book()
    rows = [contribution.from_table(the_book, table) for table in tables]
    learner = make_learner(learner_name, the_book, ROUNDS)
    sums = learner.segments()
    state = learner.start()
    for index in range(ROUNDS):
        opened = np.sum([learner.contribution(index, state, each) for each in rows], axis=0)
        mechanisms: tuple[Mechanism, ...] = ()
        if epsilon is not None:
            mu = target_mu(epsilon, delta(), most_draws(sums, len(rows), ATTEMPTS))
            mechanisms = plan_attempt(mu, sums, range(index), index, len(rows), colluders)
        for member in range(len(rows) if noise else 0):
            stream = SeededEntropy(f"{seed} {draw} {member} {index} {epsilon}".encode())
            opened = add_noise(opened, mechanisms, stream)
        state = learner.step(index, state, opened, mechanisms)
    return FittedAdditive(monotone.project(the_book, state.weights))


def own_additive(table: Table, seed: int, penalties: Sequence[float] | None = None) -> FittedAdditive | None:
    """A member's own model of the same form, without privacy; None where a head has one class only.

    Args:
        table: its rows.
        seed: of the folds.
        penalties: λ of each head; None for cross-validation.
    """
    the_book = book()
    weights, found, loss = [], [], 0.0
    for head in range(the_book.heads):
        inside, labels = population(table, head)
        rows = the_book.rows(table.codes[inside]) / the_book.scale
        model, _ = baselines.ridge_logistic(
            rows, labels, seed, None if penalties is None else penalties[head]
        )
        if model is None:
            return None
        found.append(model.penalty)
        w = model.weights.copy()
        w[-1] += model.intercept * the_book.scale / float(the_book.blocks[-1].matrix[0, 0])
        weights.append(w)
        loss += model.loss
    return FittedAdditive(monotone.project(the_book, np.array(weights)), loss, tuple(found))


def own_expert(table: Table, seed: int, penalties: Sequence[float] | None = None) -> Expert | None:
    """A member's own small expert ridge, without privacy; λ of each head by cross-validation, or as given."""
    terms = expert_terms(table.values, (len(table.codes),))
    centre, spread = terms.mean(axis=0), terms.std(axis=0) + 1e-9
    terms = (terms - centre) / spread
    found = []
    for head in range(book().heads):
        inside, labels = population(table, head)
        given = None if penalties is None else penalties[head]
        model, _ = baselines.ridge_logistic(terms[inside], labels, seed, given)
        if model is None:
            return None
        found.append(model)
    return Expert(tuple(found), centre, spread, sum(model.loss for model in found))


def own_trees(table: Table, seed: int) -> Trees | None:
    """LightGBM on a member's own rows."""
    raw = raw_columns(table.values, (len(table.codes),))
    found = []
    for head in range(book().heads):
        inside, labels = population(table, head)
        model, _ = baselines.lightgbm_baseline(raw[inside], labels, seed)
        if model is None:
            return None
        found.append(model)
    return Trees(tuple(found))


def population(table: Table, head: int) -> tuple[Bool, I8]:
    """Rows of a head's population, and their labels."""
    assert table.outcomes is not None  # noqa: S101 - training rows have them
    inside = table.outcomes[:, head] >= 0
    return inside, table.outcomes[inside, head]


def expert_terms(columns: Mapping[str, Values], shape: tuple[int, ...]) -> F64:
    """Sixteen terms of the known columns, shape (*shape, 16)."""
    c = {name: np.asarray(each, np.float64) for name, each in columns.items() if each.dtype != object}
    unit = np.maximum(0.04 * c["median_income"], 0.12 * c["income"])
    z = (c["surplus"] - c["other_plans"] - c["priority_arrears"] - c["monthly"]) / unit
    absent = np.isnan(z)
    z = np.clip(np.nan_to_num(z), -8, 8)
    income = np.nan_to_num(c["income"], nan=float(np.nanmedian(c["median_income"])))
    gap = (c["first_due"] - c["days_to_payday"] + 62) % 31 < 4
    terms = (
        np.minimum(z, 0),
        np.maximum(z, 0),
        absent,
        c["discount"],
        c["interest_waiver"],
        c["months"],
        np.log(np.maximum(c["monthly"], 1) / income),
        c["first_due"],
        gap,
        np.nan_to_num(c["kept_ratio_12m"], nan=0.5),
        np.nan_to_num(c["response_rate"], nan=0.45),
        np.log1p(c["portal_logins_30d"]),
        np.log1p(c["days_since_payment"]),
        c["broken_plans_24m"],
        np.minimum(z, 0) * c["discount"],
        np.log(np.maximum(c["balance"], 1) / income),
    )
    return np.stack([np.broadcast_to(term, shape).astype(np.float64) for term in terms], axis=-1)


def raw_columns(columns: Mapping[str, Values], shape: tuple[int, ...]) -> F64:
    """Account and plan columns as numbers for trees, (rows, columns); categories by their place in the schema."""
    found = []
    for column in book().schema.columns:
        derived_plan = column.derived is not None and column.role == "plan"
        if not column.is_input or derived_plan or column.name == "kind":
            continue
        values = columns[column.name]
        if column.type == "category":
            places = {name: float(place) for place, name in enumerate(column.categories)}
            numbers = np.array([places[str(each)] for each in values.reshape(-1)]).reshape(values.shape)
        else:
            numbers = np.asarray(values, np.float64)
        found.append(np.broadcast_to(numbers, shape).reshape(-1))
    return np.stack(found, axis=1)


def encoder() -> PairEncoder:
    """An encoder of the market's pairs."""
    return PairEncoder(book(), catalogue()[1])

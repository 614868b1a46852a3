"""Simulated debtors, and what a lender sees of them: observed with error, willingness never.

Distributions and their anchors stand in docs/market.md. Columns carry the names of ``debt_market.toml``.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import F64, I64, Bool
from fedrepay.shared.plans.candidates import Debts
from fedrepay.shared.schema.bins import Values
from fedrepay.simulations.market.truth import EMPLOYED, INCOME, Debtors

Columns = dict[str, Values]

MEDIAN_INCOME = 156_000
"""Pence a month (StepChange 2022, mean of £1,558)."""

DEBTS = (0.28, 0.22, 0.19, 0.14, 0.07, 0.05, 0.03, 0.02)
"""Share of people with 1 … 8 debts; 72 % have two or more (CFPB 2017)."""

START = (0.62, 0.22, 0.16)
"""Employed, unemployed, sick at the start; 60 % of clients employed (StepChange 2024)."""

ERRORS = {"none": np.nan, "stated": 0.065, "estimated": 0.045, "verified": 0.015}
"""Standard deviation of the known surplus around the true one, of income."""

SURPLUS, SPREAD = 0.0963, 0.1144
"""Mean and standard deviation of surplus ÷ income: mean about £155, 20 % negative."""

EMPLOYMENT = ("working", "not_working", "unknown")
"""What a lender may know of work: who is sick is not working, and why stands in restricted facts only."""

STAGES = ("early", "late", "pre_charge_off", "charged_off", "purchased")
_DPD = {
    "early": (5, 45),
    "late": (30, 120),
    "pre_charge_off": (90, 200),
    "charged_off": (180, 720),
    "purchased": (240, 1080),
}
PRODUCTS = ("card", "loan", "overdraft", "retail", "energy", "telecom", "other")


@dataclass(frozen=True)
class Book:
    """What a lender's customers are like.

    Attributes:
        willingness: mean of the hidden willingness among them.
        balance: median balance, minor units.
        stages: share of accounts in each of ``STAGES``.
        products: weights of ``PRODUCTS``.
        income_known: share of income classes none, stated, estimated, verified.
        apr: the rate that runs in the early stages.
    """

    willingness: float
    balance: float
    stages: tuple[float, ...]
    products: tuple[float, ...]
    income_known: tuple[float, ...]
    apr: float


@dataclass(frozen=True)
class NewAccounts:
    """n accounts: ``debtors`` as they truly are, ``columns`` as the lender knows them (canonical names)."""

    debtors: Debtors
    columns: Columns

    def __len__(self) -> int:
        return len(self.debtors)

    def take(self, index: npt.NDArray[np.integer] | Bool) -> "NewAccounts":
        """The chosen accounts."""
        return NewAccounts(
            self.debtors.take(index), {name: each[index] for name, each in self.columns.items()}
        )

    def debts(self, bound: I64) -> Debts:
        """The debts, with an affordability bound, for candidates."""
        known = self.columns
        return Debts(
            known["balance"].astype(np.int64),
            known["fees"].astype(np.int64),
            known["apr"].astype(float),
            bound,
        )


def draw(book: Book, n: int, rng: np.random.Generator, *, heavy_shocks: bool = False) -> NewAccounts:
    """Draw n accounts of a lender."""
    w = rng.normal(book.willingness, 1.0, n)
    employed_income = MEDIAN_INCOME * np.exp(rng.normal(0.15, 0.38, n))
    state = rng.choice(3, n, p=START)
    income = employed_income * INCOME[state]
    surplus = rng.normal(SURPLUS, SPREAD, n) * income
    debts = 1 + rng.choice(8, n, p=DEBTS)
    other: F64 = np.minimum(
        rng.binomial(debts - 1, 0.25) * income * rng.uniform(0.01, 0.035, n),
        np.maximum(0.6 * surplus, 0.01 * income),
    )
    other = np.asarray(np.round(np.where(debts > 1, other, 0.0)), np.float64)
    arrears = np.where(rng.random(n) < 0.10, income * rng.uniform(0.01, 0.03, n), 0.0)
    priority = np.asarray(np.round(arrears), np.float64)
    payday = rng.integers(0, 31, n)
    debtors = Debtors(
        w,
        employed_income,
        state,
        surplus,
        other + priority,
        payday,
        heavy_shocks,
    )
    owed = np.clip(book.balance * np.exp(rng.normal(0, 0.95, n)), 5_000, 3_000_000)
    balance = np.asarray(np.round(owed), np.float64)
    stage = rng.choice(len(STAGES), n, p=book.stages)
    columns: Columns = {
        "other_plans": other,
        "priority_arrears": priority,
        "balance": balance,
        "fees": np.round(balance * rng.uniform(0, 0.06, n)),
        "median_income": np.full(n, float(MEDIAN_INCOME)),
        "days_to_payday": payday.astype(float),
        "apr": np.where(stage < 2, book.apr, 0.0),
        "known_creditors": np.minimum(np.maximum(debts - rng.binomial(1, 0.3, n), 1), 12).astype(float),
        "stage": np.array(STAGES, object)[stage],
        "product": np.array(PRODUCTS, object)[rng.choice(len(PRODUCTS), n, p=book.products)],
    }
    columns |= _finances(book, debtors, rng)
    columns |= _behaviour(w, stage, rng)
    return NewAccounts(debtors, columns)


def _finances(book: Book, debtors: Debtors, rng: np.random.Generator) -> Columns:
    n = len(debtors)
    classes = np.array(list(ERRORS), object)
    known = classes[rng.choice(4, n, p=book.income_known)]
    error = np.array([ERRORS[name] for name in known])
    income = np.round(debtors.income * np.where(known == "verified", 1.0, np.exp(rng.normal(0, 0.03, n))))
    surplus = np.round(debtors.surplus + error * debtors.income * rng.normal(0, 1, n))
    absent = known == "none"
    seen = np.where(rng.random(n) < 0.1, rng.choice(3, n, p=START), debtors.state)
    names = np.where(seen == EMPLOYED, EMPLOYMENT[0], EMPLOYMENT[1])  # sickness is no business of a model
    return {
        "income": np.where(absent, np.nan, income),
        "surplus": np.where(absent, np.nan, surplus),
        "income_verified": known,
        "employment": np.where(rng.random(n) < 0.2, EMPLOYMENT[2], names).astype(object),
    }


def _behaviour(w: F64, stage: I64, rng: np.random.Generator) -> Columns:
    n = len(w)
    promises = rng.poisson(2.0, n)
    kept = rng.binomial(promises, _sigmoid(0.2 + 0.9 * w))
    low, high = (np.array([_DPD[name][side] for name in STAGES])[stage] for side in (0, 1))
    dpd = np.round(rng.uniform(low, high))
    response = rng.beta(*(4 * part for part in (_sigmoid(-0.2 + 0.6 * w), _sigmoid(0.2 - 0.6 * w))))
    return {
        "dpd": dpd,
        "promises_12m": np.minimum(promises, 24).astype(float),
        "kept_ratio_12m": np.where(promises > 0, kept / np.maximum(promises, 1), np.nan),
        "broken_plans_24m": np.minimum(rng.poisson(np.exp(-0.6 - 0.5 * w)), 6).astype(float),
        "days_since_payment": np.round(
            np.minimum(np.exp(rng.normal(4.4 - 0.5 * w, 0.9)), np.minimum(dpd + 60, 720))
        ),
        "portal_logins_30d": np.minimum(rng.poisson(np.exp(0.1 + 0.4 * w)), 30).astype(float),
        "response_rate": np.where(rng.random(n) < 0.1, np.nan, np.round(response, 3)),
    }


def _sigmoid(x: F64) -> F64:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))

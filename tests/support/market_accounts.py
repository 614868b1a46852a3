"""Random accounts of the debt market, and a release over its schema, without running a market."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedrepay.shared.schema import codebook
from fedrepay.shared.schema.codebook import CodeBook

SCHEMA = Path(__file__).parents[2] / "simulations" / "market" / "debt_market.toml"
CATALOGUE = SCHEMA.with_name("catalogue.toml")
Columns = dict[str, NDArray[Any]]


def market_book() -> CodeBook:
    return codebook.build(SCHEMA.read_bytes(), str(SCHEMA))


def random_accounts(n: int, seed: int = 0) -> Columns:
    """n accounts by canonical column; every fifth has no income form, money is whole, nothing contradicts itself."""
    rng = np.random.default_rng(seed)
    income = np.round(156_000 * np.exp(0.38 * rng.normal(size=n)))
    known = rng.choice(["none", "stated", "estimated", "verified"], n, p=[0.2, 0.3, 0.2, 0.3])
    income[known == "none"] = np.nan
    balance = np.round(150_000 * np.exp(0.95 * rng.normal(size=n)))
    kept = np.round(rng.random(n), 2)
    promises = rng.integers(0, 8, n).astype(float)
    kept[promises == 0] = np.nan
    work = rng.choice(["working", "not_working", "not_working", "unknown"], n).astype(object)
    work[income > 1.5 * 156_000] = "working"
    response = np.round(rng.random(n), 2)
    response[rng.random(n) < 0.2] = np.nan
    return {
        "customer": np.array([f"c{i:05d}" for i in range(n)], dtype=object),
        "income": income,
        "surplus": np.round(income * rng.normal(0.09, 0.12, n)),
        "other_plans": np.round(rng.random(n) * 4_000) * (rng.random(n) < 0.5),
        "priority_arrears": np.round(rng.random(n) * 3_000) * (rng.random(n) < 0.2),
        "balance": balance,
        "fees": np.round(balance * 0.05 * (rng.random(n) < 0.4)),
        "median_income": np.full(n, 156_000.0),
        "days_to_payday": rng.integers(0, 32, n).astype(float),
        "income_verified": known.astype(object),
        "apr": np.round(rng.random(n) * 0.4, 3),
        "known_creditors": rng.integers(1, 13, n).astype(float),
        "employment": work,
        "dpd": rng.integers(1, 900, n).astype(float),
        "promises_12m": promises,
        "kept_ratio_12m": kept,
        "broken_plans_24m": rng.integers(0, 7, n).astype(float),
        "days_since_payment": rng.integers(0, 721, n).astype(float),
        "portal_logins_30d": rng.integers(0, 8, n).astype(float),
        "response_rate": response,
        "stage": rng.choice(["early", "late", "pre_charge_off", "charged_off", "purchased"], n).astype(
            object
        ),
        "product": rng.choice(["card", "loan", "overdraft", "retail"], n).astype(object),
    }


def means() -> Columns:
    """What one account's customer can pay: £300 left of £1,800 a month, verified, nothing promised and no fees."""
    return {
        "income": np.array([180_000.0]),
        "surplus": np.array([30_000.0]),
        "income_verified": np.array(["verified"], object),
        "other_plans": np.array([0.0]),
        "priority_arrears": np.array([0.0]),
        "fees": np.array([0.0]),
        "employment": np.array(["unknown"], object),
    }

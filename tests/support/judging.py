"""Accounts judged without a release: probabilities are the test's own."""

from pathlib import Path
from typing import Any

import numpy as np

from fedrepay.client.plans.batch_io import recommend
from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.judged import NONE, Cases, Judged, judge
from fedrepay.client.plans.deciding.settings import Relief, Value
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.plans.candidates import Debts, candidates
from fedrepay.shared.plans.catalogue import Catalogue, arms, load_catalogue
from fedrepay.shared.rules.masks import RulesVerdict
from fedrepay.shared.rules.parameters import MATTERS

EXAMPLE, _ = load_catalogue(Path(recommend.__file__).with_name("example_catalogue.toml"))
"""The catalogue that `fedrepay member catalogue init` writes."""
ARMS = arms(EXAMPLE)


def no_rules(n: int, arms_: int) -> RulesVerdict:
    """What evaluating no pack says."""
    nobody = np.full(n, NONE, np.int32)
    return RulesVerdict(
        rules=(),
        blocked=np.full((n, arms_), NONE, np.int32),
        human=nobody,
        stop=nobody,
        notices=np.zeros((n, 0), np.bool_),
        retention_days=nobody,
        unknown=np.zeros(n, np.bool_),
        covered=np.ones((n, len(MATTERS)), np.bool_),
    )


def judged_by(
    catalogue: Catalogue,
    *,
    balance: I64,
    bound: I64,
    apr: F64,
    first: F64,
    kept: F64,
    relief: Relief | None = None,
    **flags: Any,
) -> Judged:
    """n accounts against a catalogue; ``first`` and ``kept`` (P,) or (n, P)."""
    of, n = arms(catalogue), len(balance)
    plans = candidates(catalogue, of, Debts(balance, np.zeros(n, np.int64), apr, bound))
    cases = Cases(
        np.array([f"a{row}" for row in range(n)], object),
        np.ones(n, np.bool_),
        np.zeros(n, np.bool_),
        **flags,
    )
    p, k = (np.broadcast_to(each, plans.valid.shape).astype(np.float64) for each in (first, kept))
    learned = of.is_offer
    rules = no_rules(n, len(of.kind))
    return judge(
        Value(), plans, cases, p, k, rules, learned, relief=relief, borders=Borders(discounts_known=True)
    )

"""The model on plans that no catalogue lists: one account's plan with another amount, number of payments or date."""

from dataclasses import fields, replace

import numpy as np

from fedrepay.client.plans.decide import Floats
from fedrepay.client.plans.engine import KEPT, Batch, Engine
from fedrepay.client.plans.pairs import PairEncoder
from fedrepay.client.plans.reasons import Longs, Predict
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.catalogue import Arms


def predictor(engine: Engine, batch: Batch, row: int, arm: int) -> Predict:
    """P(kept at 90 days) of one account's plan as it changes; for one explanation, not for a batch.

    Args:
        engine: that decided.
        batch: what it decided.
        row: the account's place in it.
        arm: the plan's.
    """
    accounts = batch.accounts.part(slice(row, row + 1))
    one = batch.judged.plans.take(np.array([row]))

    def predict(instalment: Longs, count: Longs, first_due: Longs) -> Floats:
        changed = _arms(one.arms, arm, first_due)
        shape = (1, len(first_due))
        plans = Candidates(
            changed,
            one.debts,
            np.ones(shape, np.bool_),
            instalment.reshape(shape),
            count.reshape(shape),
            np.full(shape, one.principal[0, arm]),
            _interest(one, arm, count, first_due).reshape(shape),
        )
        encoder = PairEncoder(engine.book, changed)
        try:
            codes, _ = encoder.encode(accounts.values, plans)
        finally:
            encoder.close()
        return np.asarray(engine.likely(KEPT, codes)[0])

    return predict


def _arms(arms: Arms, arm: int, first_due: Longs) -> Arms:
    """One arm, many times over, with other first dates."""
    many = {
        each.name: np.repeat(getattr(arms, each.name)[arm], len(first_due))
        for each in fields(arms)
        if each.name not in ("names", "first_due")
    }
    return replace(arms, names=(arms.names[arm],) * len(first_due), first_due=first_due, **many)


def _interest(one: Candidates, arm: int, count: Longs, first_due: Longs) -> Longs:
    """Interest of the changed plans, as candidates bear it."""
    rate = one.debts.apr[0] * (1 - one.arms.interest_waiver[arm])
    years = first_due / 365 + one.arms.months_each[arm] / 12 * (count - 1) / 2
    return np.asarray(np.floor(one.principal[0, arm] * rate * years + 1e-9), np.int64)

"""The model on plans that are in no catalogue: one account's chosen plan with other amounts or first dates."""

from dataclasses import replace

import numpy as np

from fedrepay.client.plans.deciding.engine import KEPT, Batch, Engine
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.objective import affordable
from fedrepay.client.plans.deciding.pairs import PairEncoder
from fedrepay.client.plans.explaining.counterfactual import Predict
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.plans.candidates import Candidates
from fedrepay.shared.plans.catalogue import Arms
from fedrepay.shared.plans.first_dates import FirstDates
from fedrepay.shared.plans.interest import repaid
from fedrepay.shared.plans.schedule import Plan


def predictor(
    engine: Engine, batch: Batch, row: int, arm: int, plan: Plan, today: int | None = None
) -> Predict:
    """P(kept at 90 days) of changed plans for one account, as the engine works it out for its candidates.

    Args:
        engine: whose model.
        batch: the decided accounts.
        row: which account.
        arm: the chosen arm.
        plan: the same in plain numbers.
        today: a day since 1970-01-01: changed plans that are above the bound, or that a rule in force on it forbids, get 0.
    """
    values = {name: each[row : row + 1] for name, each in batch.accounts.values.items()}
    one = batch.judged.plans.debts.take(slice(row, row + 1))
    facts = engine.facts(batch.accounts.take(slice(row, row + 1)))

    def predict(instalment: I64, count: I64, first_due: I64) -> F64:
        arms = _copies(engine.arms, arm, first_due)
        owed, wait = (
            np.full(len(count), float(plan.principal)),
            np.array([plan.interest_per_day * plan.charged_until(int(day)) for day in first_due]),
        )
        _, interest, _ = repaid(owed, plan.rate * arms.months_each / 12, wait, instalment.astype(np.float64))
        plans = Candidates(
            arms,
            one,
            np.ones((1, len(count)), np.bool_),
            np.ones((1, len(count)), np.bool_),
            np.where(count == 1, plan.principal + interest, instalment)[None, :],
            count[None, :],
            np.full((1, len(count)), plan.principal),
            interest[None, :],
            FirstDates.plain(first_due),
        )
        encoder = PairEncoder(engine.book, arms)
        try:
            codes, usable = encoder.encode(values, plans)
        finally:
            encoder.close()
        if today is not None:
            usable = usable & affordable(plans) & (engine.rules(facts, plans, today).blocked == NONE)
        logit = codes.logits(engine.effects[KEPT])
        if engine.personal is not None:
            logit = engine.personal.adjust(engine.heads[KEPT], logit, codes)
        kept = 0.5 * (1.0 + np.tanh(0.5 * engine.towards[KEPT] * logit))
        return np.asarray(np.where(usable, kept, 0.0)[0])

    return predict


def _copies(arms: Arms, arm: int, first_due: I64) -> Arms:
    """One arm as often as there are first dates."""
    return replace(arms.take(np.full(len(first_due), arm)), first_due=first_due.astype(np.int64))

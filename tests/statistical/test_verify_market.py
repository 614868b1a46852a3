"""What asking for a form or a proof is said to bring, against what it truly brings in the market."""

from functools import cache

import numpy as np
import pytest

from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.deciding.verify import verify
from fedrepay.shared.arrays import Bool
from fedrepay.simulations.market import evaluate, models, records
from fedrepay.simulations.market.evaluate import Ground
from fedrepay.simulations.market.lenders import lenders
from fedrepay.simulations.market.models import FittedAdditive
from fedrepay.simulations.market.people import ERRORS, NewAccounts
from fedrepay.simulations.market.value import Worth

SEED, SIZE = 7, 2_500
BECOMES = {"none": "stated", "stated": "verified", "estimated": "verified"}


@cache
def market() -> tuple[FittedAdditive, Engine, Ground]:
    whole = lenders("mixed", SEED, (1_500,) * 8)
    shared = models.shared(
        [records.training_table(records.record(each, SEED)) for each in whole], None, 2, SEED
    )
    engine = Engine(
        records.book(),
        shared.weights,
        records.catalogue()[0],
        Settings(),
        borders=Borders(discounts_known=True),
    )
    return shared, engine, evaluate.ground(models.encoder(), whole[0], SEED, SIZE, Settings())


def asked(ground: Ground, name: str) -> tuple[Ground, Ground]:
    """Accounts of one class as they are known, and as they would be known once asked."""
    here = np.flatnonzero(ground.accounts.columns["income_verified"] == name)
    accounts = ground.accounts.take(here)
    true, then = accounts.debtors, BECOMES[name]
    noise = np.random.default_rng([SEED, 5]).normal(0, 1, len(here))
    columns = accounts.columns | {
        "income": np.round(true.income),
        "surplus": np.round(true.surplus + ERRORS[then] * true.income * noise),
        "income_verified": np.full(len(here), then, object),
    }
    now, proved = (
        evaluate.ground(models.encoder(), ground.lender, SEED, 0, Settings(), each)
        for each in (accounts, NewAccounts(true, columns))
    )
    return now, proved


def clears(ground: Ground, came: Worth) -> Bool:
    """Whose plan clears the debt: what is affordable until a review is none that asking could add."""
    return np.asarray(came.offered & ground.plans.arms.is_offer[came.arm])


@pytest.mark.parametrize("name", BECOMES)
def test_what_asking_is_said_to_bring_is_about_what_it_brings(name: str) -> None:
    shared, engine, ground = market()
    now, then = asked(ground, name)
    given = {each.name: now.accounts.columns[each.name] for each in engine.encoder.account_columns}
    accounts = engine.accounts([f"a{place}" for place in range(len(now.accounts))], given)
    found = verify(engine, accounts, 20_500)
    before, after = (each.worth(shared.predict(each.scored)) for each in (now, then))
    said, true = float(found.share.mean()), after.value - before.value
    assert float(before.value.mean()) > 0
    assert found.plan_now.mean() == pytest.approx(clears(now, before).mean(), abs=0.02)
    assert 0.5 * true.mean() < said < 1.1 * true.mean()  # rather too little than too much
    assert float(np.corrcoef(found.share, true)[0, 1]) > 0.25  # and of the right people
    assert abs(found.plan_then.mean() - clears(then, after).mean()) < 0.1

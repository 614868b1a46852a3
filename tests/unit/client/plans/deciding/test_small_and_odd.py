"""Small and odd accounts: nothing owed, next to nothing, nothing earned, no work; what a machine may not decide."""

from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.batch_io.output import counts
from fedrepay.client.plans.deciding.borders import Borders
from fedrepay.client.plans.deciding.decide import HANDOFFS, TIERS, Decision
from fedrepay.client.plans.deciding.engine import Batch, Engine
from fedrepay.client.plans.deciding.judged import NONE
from fedrepay.client.plans.deciding.settings import Settings
from support.judging import EXAMPLE
from support.market_accounts import market_book, means, random_accounts
from support.market_release import market_weights

TODAY, N = 20_800, 300


def decided(settings: Settings | None = None, n: int = 1, **changed: Any) -> Batch:
    columns = random_accounts(n, 1)
    if n == 1:
        columns |= means()
    columns |= {
        name: np.full(n, each, object if isinstance(each, str) else float) for name, each in changed.items()
    }
    names = columns.pop("customer")
    book = market_book()
    made = Engine(
        book, market_weights(book), EXAMPLE, settings or Settings(), borders=Borders(discounts_known=True)
    )
    try:
        return made.decide(made.accounts(names.tolist(), columns), today=TODAY)
    finally:
        made.close()


def outcome(batch: Batch) -> tuple[str, str, str]:
    at = batch.decisions
    return Decision(at.code[0]).name, HANDOFFS[at.handoff[0]], TIERS[at.tier[0]]


def test_nothing_owed_is_nothing_asked() -> None:
    assert outcome(decided(balance=0.0)) == ("NONE", "", "T1")


@pytest.mark.parametrize(
    ("balance", "expected"),
    [(999.0, ("HUMAN", "WRITE_OFF", "T5")), (1_000.0, ("HUMAN", "WRITE_OFF", "T5")), (1_001.0, "OFFER")],
)
def test_a_debt_under_the_members_own_line_is_proposed_for_writing_off(
    balance: float, expected: object
) -> None:
    mine = Settings.model_validate({"relief": {"write_off_below": 1_000}})
    found = outcome(decided(mine, balance=balance))
    assert found == expected or found[0] == expected
    assert outcome(decided(balance=balance))[0] == "OFFER", "without a line, nothing is written off"
    if balance <= 1_000:
        assert (decided(mine, balance=balance).decisions.top == NONE).all(), "no plan stands beside it"


def test_a_proven_income_of_nothing_is_no_contradiction_and_gets_advice() -> None:
    assert outcome(decided(income=0.0, surplus=-50_000.0)) == ("REFER", "", "T4")
    stated = outcome(decided(income=0.0, surplus=-50_000.0, income_verified="stated"))
    assert stated[:2] == ("HUMAN", "CONTRADICTION"), "the control: nobody has seen it"
    assert outcome(decided(income=0.0, surplus=100.0))[1] == "CONTRADICTION", "something is left of nothing"


def test_a_pause_is_a_persons_to_decide() -> None:
    """No decision of a machine is a pause, whoever the accounts are; it is proposed, with when and what if not."""
    batch = decided(n=N)
    dormant = batch.judged.plans.arms.is_kind("DORMANT")
    top = batch.decisions.top[:, 0]
    paused = (top != NONE) & dormant[top]
    assert paused.sum() > 10
    assert (batch.decisions.code[paused] == Decision.HUMAN).all()
    assert (batch.decisions.handoff[paused] > 0).all()
    assert (batch.handed.due[paused] > 0).all()
    assert "DORMANT" not in {each.name for each in Decision}


def test_what_is_given_away_is_counted() -> None:
    batch = decided(n=N)
    plans, code = batch.judged.plans, batch.decisions.code
    rows = np.flatnonzero(code == Decision.OFFER)
    arm = batch.decisions.top[rows, 0]
    given = counts(batch)["given"]
    assert given["plans"] == len(rows) > 0
    assert given["interest"] == plans.interest_saved[rows, arm].sum() > 0
    assert given["discounted"] == (plans.arms.discount[arm] > 0).sum()
    none = counts(decided(Settings.model_validate({"value": {"lambda_given": 10}}), n=N))["given"]
    assert none["discounts"] == 0, "what is forgiven has its price"
    free = counts(decided(Settings.model_validate({"value": {"lambda_given": 0}}), n=N))["given"]
    assert free["discounts"] > 0
    assert free["gained"] > 0


def test_a_token_only_where_no_instalment_is_affordable() -> None:
    batch = decided(n=N)
    token = batch.decisions.code == Decision.TOKEN
    assert token.any()
    assert (batch.judged.plans.debts.bound[token] < EXAMPLE.smallest_instalment).all()
    nothing = (batch.judged.plans.debts.bound == 0) & batch.judged.cases.income_known
    assert not (token & nothing & (batch.decisions.handoff == 0)).any(), (
        "who has nothing left is asked for nothing"
    )

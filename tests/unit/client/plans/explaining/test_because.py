"""One sentence for each decision: true to it, in both languages, and nothing restricted in it."""

import re

import numpy as np

from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.plans.explaining.because import because
from fedrepay.client.plans.explaining.messages import LANGUAGES, messages
from fedrepay.shared.rules.facts import RESTRICTED
from unit.client.plans.deciding.test_small_and_odd import N, decided

MEANS = {
    Decision.OFFER: "The plan clears the debt",
    Decision.REVIEW: "No plan of the catalogue clears the debt",
    Decision.TOKEN: "less than the smallest instalment",
    Decision.HUMAN: "A person decides",
}


def test_each_decision_has_its_sentence() -> None:
    batch = decided(n=N)
    seen = set()
    for row in range(N):
        said = because(batch, row, "GBP")
        code = Decision(int(batch.decisions.code[row]))
        if code in MEANS:
            assert MEANS[code] in said
        if code == Decision.REFER:
            assert ("income form" in said) == (not batch.judged.cases.income_known[row])
        waived = re.search(r"(\d+) % of the interest", said)
        if waived:
            arm = batch.decisions.top[row, 0]
            assert float(waived[1]) == 100 * batch.judged.plans.arms.interest_waiver[arm]
            assert batch.judged.plans.debts.apr[row] > 0, "nothing is waived where no interest runs"
        assert ("forgiven" in said) == (
            code == Decision.OFFER and bool(batch.judged.plans.arms.discount[batch.decisions.top[row, 0]] > 0)
        )
        seen.add(code)
    assert {Decision.OFFER, Decision.REVIEW, Decision.REFER, Decision.HUMAN} <= seen
    assert np.isin(batch.decisions.code, list(Decision)).all()


def test_no_sentence_tells_a_restricted_fact() -> None:
    for each in messages()["because"].values():
        assert set(each) == set(LANGUAGES)
        for text in each.values():
            assert not [name for name in RESTRICTED if name in text]

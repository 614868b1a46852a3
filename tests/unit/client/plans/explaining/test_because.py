"""One sentence for each decision: true to it, in both languages, and nothing restricted in it."""

import re
from typing import Any

import numpy as np

from fedrepay.client.plans.batch.caps import Caps, proposed
from fedrepay.client.plans.deciding.decide import Decision
from fedrepay.client.plans.deciding.engine import Engine
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.client.plans.explaining.because import because
from fedrepay.client.plans.explaining.messages import LANGUAGES, messages
from fedrepay.shared.rules.facts import RESTRICTED
from fedrepay.shared.rules.pack import Pack
from support.judging import EXAMPLE
from support.market_accounts import market_book, means, random_accounts
from support.market_release import market_weights
from unit.client.plans.deciding.test_own_packs import pack
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


def one(
    kinds: tuple[str, ...], packs: tuple[Pack, ...] = (), caps: dict[str, int] | None = None, **changed: Any
) -> tuple[str, str]:
    """What one account gets from a catalogue of some kinds, and the sentence; "" where a person decides."""
    columns: dict[str, Any] = {name: each[:1] for name, each in random_accounts(1, 1).items()}
    columns |= means() | {
        "balance": np.array([150_000.0]),
        "apr": np.array([0.0]),
        "stage": np.array(["late"], object),
        "dpd": np.array([60.0]),
    }
    columns |= {
        name: np.array([each], object if isinstance(each, str) else float) for name, each in changed.items()
    }
    names = columns.pop("customer").tolist()
    plans = tuple(
        each.model_copy(update={"channel": ("letter",)}) for each in EXAMPLE.plans if each.kind in kinds
    )
    settings = Settings.model_validate({"caps": caps or {}})
    book = market_book()
    made = Engine(book, market_weights(book), EXAMPLE.model_copy(update={"plans": plans}), settings, packs)
    try:
        accounts = made.accounts(names, columns, {"jurisdiction": np.array(["UK"], object)})
        held = Caps.of(made, accounts, [proposed(made, accounts, 20_800)])
        batch = made.decide(accounts, today=20_800, caps=None if held is None else held.hold)
    finally:
        made.close()
    return Decision(int(batch.decisions.code[0])).name, because(batch, 0, "GBP")


def test_a_cap_is_not_called_a_lack_of_gain() -> None:
    said = one(("INSTALMENT",), caps={"contacts": 0})
    assert (said[0], "caps left no plan" in said[1]) == ("NONE", True)
    assert one(("INSTALMENT",))[0] == "OFFER", "the control"


def test_plans_that_a_rule_bars_are_not_called_beyond_what_is_affordable() -> None:
    short = pack('parameters = {kind = "term_cap", most_months = 12}')
    code, said = one(("INSTALMENT", "REVIEW"), (short,), balance=600_000.0)
    assert (code, "barred, by a rule" in said) == ("REVIEW", True)
    assert one(("INSTALMENT", "REVIEW"), balance=600_000.0)[0] == "OFFER", "the control"
    code, said = one(("INSTALMENT", "REVIEW"), balance=9_000_000.0)
    assert (code, "No plan of the catalogue clears" in said) == ("REVIEW", True)


def test_what_is_not_known_is_not_called_little() -> None:
    code, said = one(("INSTALMENT", "TOKEN"), income=np.nan, surplus=np.nan, income_verified="none")
    assert (code, "no income form" in said, "£0.00" in said) == ("TOKEN", True, False)
    code, said = one(("INSTALMENT", "REFER"), surplus=4_900.0)
    assert (code, "less than the smallest instalment" in said, "nothing is left" in said) == (
        "REFER",
        True,
        False,
    )

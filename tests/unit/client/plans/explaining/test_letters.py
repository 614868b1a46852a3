"""Letters: both languages whole, every decision, nothing about the customer, no threats, rights and advice."""

import re
from string import Formatter

import numpy as np
import pytest

from fedrepay.client.plans.deciding.decide import HANDOFFS, Decision
from fedrepay.client.plans.deciding.judged import Why
from fedrepay.client.plans.deciding.reasons import CODES
from fedrepay.client.plans.explaining.letter import Sender, letter
from fedrepay.client.plans.explaining.messages import LANGUAGES, date, messages, money, say
from fedrepay.shared.rules.facts import FACTS, RESTRICTED
from support.one_plan import one_plan

TODAY = int(np.datetime64("2027-01-17", "D").astype(int))
WRITTEN = [each.name for each in Decision if each is not Decision.NONE]
PLANS = {
    "OFFER": [
        one_plan(interest=4_500, interest_per_day=24.7, interest_saved=12_300, fees_saved=2_500),
        one_plan(instalment=15_000, count=6),
        one_plan(kind="SETTLEMENT", instalment=60_000, count=1, principal=60_000, forgiven=30_000),
    ],
    "TOKEN": [one_plan(kind="TOKEN", instalment=100, count=12, principal=1_200)],
    "REVIEW": [one_plan(kind="REVIEW", count=12, principal=96_000)],
    "DORMANT": [one_plan(kind="DORMANT", instalment=0, count=0, principal=0, dormant_months=24)],
    "REFER": [one_plan(kind="REFER", instalment=0, count=0, principal=0)],
    "HUMAN": [one_plan()],
}
SENSITIVE = {
    "en": r"health|vulnerab|\bill|sick|disab|mental|unemploy|job|benefit|bereave|died|crisis|hardship",
    "zh": r"健康|疾病|生病|弱势|脆弱|残疾|精神|失业|救济|去世|危机|困难",
}
THREATS = {
    "en": r"court|legal action|bailiff|enforce|credit (record|file|score)|\bmust\b|immediately|final|warn|fail|otherwise|serious|consequence|overdue",
    "zh": r"法院|起诉|诉讼|强制|征信|必须|立即|最后|警告|否则|严重|后果|逾期",
}


def write(decision: str, language: str, **more: object) -> str:
    text = letter(decision, PLANS[decision], today=TODAY, language=language, reference="A-17", **more)  # type: ignore[arg-type]
    assert text is not None
    return text


def fields(text: str) -> list[str]:
    return sorted({name for _, name, _, _ in Formatter().parse(text) if name is not None})


def test_both_languages_have_all_keys_and_the_same_placeholders() -> None:
    for table, texts in messages().items():
        for key, each in texts.items():
            assert set(each) == set(LANGUAGES), f"{table}.{key}"
            assert all(each.values()), f"{table}.{key}"
            assert fields(each["en"]) == fields(each["zh"]), f"{table}.{key}"


def test_every_code_has_words() -> None:
    assert {f"{code}_{side}" for code in CODES for side in ("up", "down")} == set(messages()["reason"])
    assert set(messages()["handover"]) == set(HANDOFFS[1:])
    assert {each.name for each in Why} == set(messages()["why"])
    assert {each.name for each in Decision} | {"INCOME"} == set(messages()["decision"])


def test_a_whole_offer_in_english() -> None:
    text = write("OFFER", "en", sender=Sender("Ada Loans", "020 0000 0000", "UK"))
    assert "Your account A-17" in text
    assert "Plan 1: 12 payments of £80.00, monthly" in text
    assert "First payment on 30 January 2027, last payment on 31 December 2027 (£65.00)." in text
    assert "In all you pay £945.00, of which £45.00 is interest." in text
    assert "Starting a day later costs £0.25 more" in text
    assert "You save £123.00 of interest." in text
    assert "You save £25.00 of fees." in text
    assert "Plan 2: 6 payments of £150.00, monthly" in text
    assert "Plan 3: one payment of £600.00" in text
    assert "£300.00 of the debt is written off" in text
    assert "StepChange, 0800 138 1111" in text
    assert "Ada Loans, telephone 020 0000 0000" in text


def test_a_menu_says_which_plan_is_recommended_and_how_the_others_differ() -> None:
    text = write("OFFER", "en")
    assert text.count("This is the plan that we recommend.") == 1
    assert text.index("we recommend") < text.index("Plan 2")
    twelve = one_plan(interest=4_500)
    longer = one_plan(instalment=5_000, count=20, interest=6_000)
    shown = str(letter("OFFER", [twelve, longer], today=TODAY))
    assert "Beside plan 1 it ends 8 months later, and costs £15.00 more in all." in shown
    alone = str(letter("OFFER", [twelve], today=TODAY))
    assert "we recommend" not in alone
    assert "You choose whether." in alone
    same = str(letter("OFFER", [twelve, one_plan(instalment=31_500, count=3, interest=4_500)], today=TODAY))
    assert "9 months sooner, and costs the same in all." in same
    near = str(letter("OFFER", [twelve, one_plan(instalment=7_300, count=13, interest=4_500)], today=TODAY))
    assert "it ends a month later" in near
    weekly = one_plan(frequency="biweekly", instalment=3_950, count=24, interest=4_500)
    assert "It ends when plan 1 does, and costs the same" in str(
        letter("OFFER", [twelve, weekly], today=TODAY)
    )
    assert "a computer program" not in write("DORMANT", "en"), "a person has agreed to it"


def test_a_whole_offer_in_chinese() -> None:
    text = write("OFFER", "zh", currency="CNY", sender=Sender(place="CN"))
    assert "方案 1：共 12 期，每月支付 80.00 元" in text
    assert "2027年1月30日" in text
    assert "12348" in text
    assert not re.search(r"\{|\}", text)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("decision", WRITTEN)
def test_every_letter_states_rights_and_advice_and_threatens_nobody(decision: str, language: str) -> None:
    text = write(decision, language, sender=Sender(place="UK"))
    wanted = {
        "en": ("contest", "person", "free", "0808 808 4000"),
        "zh": ("异议", "人", "免费", "0808 808 4000"),
    }
    for word in wanted[language]:
        assert word in text.lower()
    assert not re.search(THREATS[language], text.lower())
    assert not re.search(SENSITIVE[language], text.lower())


def test_the_search_for_threats_and_facts_finds_them() -> None:
    """Positive control."""
    assert re.search(THREATS["en"], "you must pay immediately, or we go to court")
    assert re.search(THREATS["zh"], "您必须立即付款，否则将起诉")
    assert re.search(SENSITIVE["en"], "because of your illness")
    assert re.search(SENSITIVE["zh"], "由于您的健康状况")


def test_no_restricted_fact_can_get_into_a_letter() -> None:
    """The texts have placeholders of plans and dates only, and the function takes no fact."""
    names = {
        name
        for table in ("letter", "form")
        for each in messages()[table].values()
        for name in fields(each["en"])
    }
    assert not names & set(FACTS)
    assert not names & RESTRICTED


def test_a_person_s_letter_says_when_and_nothing_of_the_reason() -> None:
    due = (TODAY + 2) * 1440 + 600
    text = write("HUMAN", "en", due=due)
    assert "by 19 January 2027" in text
    assert "Plan 1" not in text


def test_a_token_plan_does_not_read_as_the_whole_debt() -> None:
    assert "the rest stays owed" in write("TOKEN", "en")
    assert "the rest stays owed" in write("REVIEW", "en")
    assert "其余部分仍需偿还" in write("TOKEN", "zh")
    assert "the rest stays owed" not in write("OFFER", "en")


def test_where_collection_is_stopped_nobody_is_written_to() -> None:
    for decision in WRITTEN:
        assert letter(decision, [], today=TODAY, stopped=True) is None


def test_without_an_income_form_it_is_asked_for() -> None:
    assert "your income" in write("REFER", "en", income_known=False)
    assert "your income" not in write("REFER", "en", income_known=True)
    assert letter("NONE", [], today=TODAY) is None


def test_a_pause_says_what_becomes_of_interest_credit_file_and_limitation_and_ends_in_a_review() -> None:
    text = write("DORMANT", "en")
    for words in (
        "24 months",
        "No interest and no fees",
        "credit file",
        "can no longer be claimed",
        "not a demand",
    ):
        assert words in text
    assert not any(words in write("TOKEN", "en") for words in ("credit file", "not a demand"))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("CATCH_UP", "usual instalment and a part"),
        ("EXTEND", "runs longer"),
        ("REDUCED", "interest does not run"),
    ],
)
def test_a_plan_for_a_running_contract_says_what_it_is(kind: str, words: str) -> None:
    assert words in str(letter("OFFER", [one_plan(kind=kind)], today=TODAY))
    assert words not in write("OFFER", "en")


def test_nothing_is_written_where_nothing_is_decided() -> None:
    assert letter("NONE", [], today=TODAY) is None


@pytest.mark.parametrize(
    ("language", "currency", "minor", "text"),
    [
        ("en", "GBP", 123_456, "£1,234.56"),
        ("en", "CHF", 100, "CHF 1.00"),
        ("en", "JPY", 1_500, "JPY 1,500"),
        ("en", "XAF", 1_500, "XAF 1,500"),
        ("en", "KWD", 1_500, "KWD 1.500"),
        ("en", "EUR", -50, "−€0.50"),
        ("zh", "CNY", 123_456, "1,234.56 元"),
        ("zh", "GBP", 8_000, "80.00 英镑"),
    ],
)
def test_money(language: str, currency: str, minor: int, text: str) -> None:
    assert money(language, currency, minor) == text


def test_dates() -> None:
    assert date("en", TODAY) == "17 January 2027"
    assert date("zh", TODAY) == "2027年1月17日"
    assert say("en", "counterfactual", "instalment", amount="£12", percent=60) == "£12 lower keeps to 60 %"

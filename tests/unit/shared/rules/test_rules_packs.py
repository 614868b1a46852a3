"""A pack that is wrong is refused with file, field and bound; facts likewise; what no built-in uses works too."""

import re
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from fedrepay.shared.errors import ArgumentError, DataError, RuleError
from fedrepay.shared.plans.kinds import COLLECTING, KINDS
from fedrepay.shared.rules.cases import plan_columns, run_cases
from fedrepay.shared.rules.columns import PlanColumns
from fedrepay.shared.rules.facts import FACTS, RESTRICTED, FactTable
from fedrepay.shared.rules.masks import RulesVerdict
from fedrepay.shared.rules.pack import CasePlan, Pack, builtin_path, load_builtin, load_pack, parse_pack
from fedrepay.shared.rules.parameters import Parameters
from fedrepay.shared.rules.words import _DEMANDS, applies, demands, needs
from support.rules_world import evaluated

HEAD = """
id = "mine"
jurisdiction = "DE"
version = 1
title = "Mine"
citation = "A law"
template = true
disclaimer = "A template, not legal advice."
"""
RULE = """
[[rules]]
id = "one"
version = 1
article = "Art 1"
text = "A rule."
checked = false
parameters = { kind = "term_cap", most_months = 60 }
"""


def parse(text: str) -> Pack:
    return parse_pack(text.encode(), "mine.toml")


def judge(pack: Pack, facts: dict[str, Any], plans: PlanColumns | None = None) -> RulesVerdict:
    columns = {"jurisdiction": np.array(["DE"])} | {name: np.array([value]) for name, value in facts.items()}
    return evaluated([pack], columns, plans or plan_columns(CasePlan(channel="sms")), 0)


def test_the_hash_is_of_the_files_bytes() -> None:
    path = builtin_path("nl")
    assert load_pack(path).sha256 == sha256(path.read_bytes()).hexdigest()
    assert parse(HEAD + RULE).sha256 != parse(HEAD + RULE + "# read by nobody\n").sha256


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "id: Field required.*rules: Field required"),
        ("id = ", "mine.toml is not TOML"),
        ("\x00", "mine.toml is not TOML"),
        (HEAD, "mine.toml: rules: Field required"),
        (HEAD + "rules = []", "rules: a pack has at least one"),
        (HEAD.replace("template = true", "") + RULE, "template: Field required"),
        (HEAD.replace("template = true", "template = false") + RULE, "template: Input should be True"),
        (HEAD.replace("not legal advice", "legal advice") + RULE, "disclaimer: Input should be 'A template"),
        (HEAD.replace('"DE"', '"XX"') + RULE, "jurisdiction XX is not one of EU, US, UK, CN"),
        (HEAD + "sha256 = 'a'" + RULE, "sha256 is computed from the file"),
        (HEAD + "sneaky = 1" + RULE, "sneaky: Extra inputs are not permitted"),
        (HEAD + "effective_from = 2026-02-30" + RULE, "is not TOML"),
        (HEAD + 'effective_from = "2026-02-30"' + RULE, "effective_from: .*2026-02-30"),
        (HEAD + 'effective_from = "2026"' + RULE, "effective_from: a date is YYYY-MM-DD"),
        (
            HEAD + "effective_from = 2026-02-02\neffective_to = 2026-02-01" + RULE,
            "effective_to is before effective_from",
        ),
        (HEAD + RULE + RULE, "rules: twice: one"),
        (
            HEAD + RULE.replace("= 60", "= 601"),
            r"rules\.one\.parameters\.term_cap\.most_months: .*less than or equal to 600",
        ),
        (HEAD + RULE.replace("= 60", '= "60"'), r"rules\.one\.parameters\.term_cap\.most_months: .*integer"),
        (
            HEAD + RULE.replace("term_cap", "curfew"),
            r"parameters: Input tag 'curfew' found using 'kind' does not match any of the expected tags: 'contact_cap'.*'stop_collection'\.$",
        ),
        (HEAD + RULE.replace("most_months", "most"), "most: Extra inputs are not permitted"),
        (HEAD + RULE.replace("checked = false", ""), r"rules\.one\.checked: Field required"),
        (
            HEAD + RULE.replace("checked", 'applies_to = [{ fact = "mood", is = true }]\nchecked'),
            r"rules\.one\.applies_to\.0: fact mood is not one of",
        ),
        (
            HEAD + RULE.replace("checked", 'applies_to = [{ fact = "dpd", is = true }]\nchecked'),
            "dpd is a int: bool takes is, category one_of, numbers a range",
        ),
        (
            HEAD + RULE.replace("checked", 'applies_to = [{ fact = "dpd", at_least = -2 }]\nchecked'),
            "dpd: -2 is outside 0 … 36500",
        ),
        (
            HEAD + RULE.replace("checked", 'applies_to = [{ fact = "debt_type", one_of = ["x"] }]\nchecked'),
            "debt_type: x not in consumer, card",
        ),
        (
            HEAD + RULE.replace("checked", 'applies_to = [{ fact = "dpd" }]\nchecked'),
            "give exactly one of is",
        ),
    ],
)
def test_a_wrong_pack_is_refused_with_file_field_and_bound(text: str, says: str) -> None:
    with pytest.raises(RuleError) as refused:
        parse(text)
    assert refused.value.cause.startswith("mine.toml")
    assert re.search(says, refused.value.cause), refused.value.cause


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ('kind = "contact_cap", channels = ["call"]', "give counts and most, or since and pause_days"),
        ('kind = "contact_cap", channels = ["call"], counts = "calls_7d"', "give counts and most"),
        ('kind = "contact_cap", channels = ["fax"], counts = "calls_7d", most = 7', r"channels\.0"),
        ('kind = "contact_cap", channels = [], counts = "calls_7d", most = 7', "at least 1 item"),
        ('kind = "quiet_hours", channels = ["sms"], opens = "8", closes = "21:00"', "a time is HH:MM"),
        ('kind = "quiet_hours", channels = ["sms"], opens = "08:60", closes = "21:00"', "00 … 59"),
        ('kind = "quiet_hours", channels = ["sms"], opens = "25:00", closes = "26:00"', "1440"),
        (
            'kind = "quiet_hours", channels = ["sms"], opens = "21:00", closes = "08:00"',
            "opens must be before",
        ),
        ('kind = "cost_cap"', "give most_share, most_rate or both"),
        ('kind = "cost_cap", most_share = -1', "most_share"),
        ('kind = "cost_cap", most_rate = 200001', "most_rate.*200000"),
        ('kind = "cost_cap", most_share = 0.5', "most_share"),
        ('kind = "fee_cap", method = "scale", bands = [[1, 1]]', "bands, above, lowest and highest go with"),
        ('kind = "fee_cap", method = "cost", above = 1', "only with it"),
        (
            'kind = "fee_cap", method = "scale", bands = [[5, 1], [5, 1]], above = 1, lowest = 1, highest = 2',
            "bands must rise",
        ),
        (
            'kind = "fee_cap", method = "scale", bands = [[5, 1]], above = 1, lowest = 3, highest = 2',
            "lowest is above highest",
        ),
    ],
)
def test_wrong_parameters_are_refused(parameters: str, says: str) -> None:
    text = HEAD + RULE.replace('kind = "term_cap", most_months = 60', parameters)
    with pytest.raises(RuleError, match=says):
        parse(text)


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ('facts = { mood = 1 }\nexpect = { blocked = "one" }', "cases.c: no such fact: mood"),
        ('expect = { blocked = "two" }', "expect names a rule the pack does not have"),
        ("expect = {}", "says nothing"),
        ('plan = { kind = "GIFT" }\nexpect = { blocked = "" }', r"cases.c.plan.kind: Input should be 'FULL'"),
        (
            'plan = { fees = -1 }\nexpect = { blocked = "" }',
            r"cases.c.plan.fees: .*greater than or equal to 0",
        ),
    ],
)
def test_a_wrong_case_is_refused(case: str, says: str) -> None:
    with pytest.raises(RuleError, match=says):
        parse(f'{HEAD}{RULE}\n[[cases]]\nname = "c"\n{case}\n')


def test_a_case_that_fails_says_what_came_out() -> None:
    pack = parse(
        HEAD + RULE + '\n[base.facts]\njurisdiction = "DE"\n[[cases]]\nname = "c"\nplan = { months = 60 }\n'
        'expect = { blocked = "one", unknown = false }\n'
    )
    assert run_cases(pack)[0].wrong == ("blocked: '', expected 'one'",)


def test_files_that_cannot_be_read_and_packs_given_twice_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="cannot be read"):
        load_pack(tmp_path / "none.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(RuleError, match="1000001 bytes; the bound is 1000000"):
        load_pack(tmp_path / "big.toml")
    with pytest.raises(ArgumentError, match="No built-in rule pack is called moon"):
        load_builtin(["moon"])
    pack = parse(HEAD + RULE)
    with pytest.raises(ArgumentError, match="given twice: mine version 1"):
        evaluated([pack, pack], {}, plan_columns(CasePlan()), 0)
    both = [pack, pack.model_copy(update={"version": 2})]
    assert len(evaluated(both, {}, plan_columns(CasePlan()), 0).rules) == 2, (
        "two versions may stand side by side"
    )


def test_retention_is_the_shortest_and_counts_where_in_doubt() -> None:
    keep = RULE.replace('kind = "term_cap", most_months = 60', 'kind = "retention", days = 900')
    maybe = keep.replace('"one"', '"two"').replace("900", "30")
    maybe = maybe.replace("checked", 'applies_to = [{ fact = "dispute", is = true }]\nchecked')
    pack = parse(HEAD + keep + maybe)
    assert judge(pack, {"dispute": False}).retention_days[0] == 900
    assert judge(pack, {"dispute": True}).retention_days[0] == 30
    assert judge(pack, {}).retention_days[0] == 30
    assert judge(pack, {"jurisdiction": "UK"}).retention_days[0] == -1


@pytest.mark.parametrize("channel", ["portal", "letter"])
def test_every_channel_can_need_consent(channel: str) -> None:
    consent = f'kind = "channel_consent", channels = ["{channel}"]'
    pack = parse(HEAD + RULE.replace('kind = "term_cap", most_months = 60', consent))
    plans = plan_columns(CasePlan.model_validate({"channel": channel}))
    for agreed in (True, False):
        assert judge(pack, {f"consent_{channel}": agreed}, plans).blocked[0, 0] == (-1 if agreed else 0)
    assert judge(pack, {}, plans).unknown[0]


def capped(**caps: int) -> Pack:
    says = "".join(f", {name} = {value}" for name, value in caps.items())
    return parse(HEAD + RULE.replace('kind = "term_cap", most_months = 60', f'kind = "cost_cap"{says}'))


@pytest.mark.parametrize(
    ("plan", "most"),
    [
        # £1,200 at 12 % a year; by hand: 120000 × 0.12 × years, rounded down
        ({"kind": "FULL", "instalment": 120_000, "total": 120_000, "first_due_days": 365}, 14_400),
        ({"kind": "FULL", "instalment": 120_000, "total": 120_000, "first_due_days": 30}, 1_183),
        ({"instalment": 10_000, "total": 120_000, "months": 12.0}, 6_600),  # 5.5 months on average
        ({"instalment": 10_000, "total": 120_000, "months": 12.0, "first_due_days": 30}, 7_783),
        ({"instalment": 10_000, "total": 111_000, "months": 12.0}, 6_600),  # a smaller last one
        ({"instalment": 2_400, "total": 120_000, "months": 50 * 3 / 13}, 6_784),  # 50 weeks
        ({"instalment": 0, "total": 120_000, "months": 12.0}, 0),  # an instalment not known: at once
    ],
)
def test_a_rate_is_of_what_is_owed_for_as_long_as_it_is_owed(plan: dict[str, Any], most: int) -> None:
    pack, facts = capped(most_rate=1_200), {"balance": 120_000}
    for interest, blocked in ((most, -1), (most + 1, 0)):
        plans = plan_columns(CasePlan.model_validate({**plan, "interest": interest}))
        assert judge(pack, facts, plans).blocked[0, 0] == blocked
    if most:
        fees = plan_columns(CasePlan.model_validate({**plan, "interest": most - 1, "fees": 2}))
        assert judge(pack, facts, fees).blocked[0, 0] == 0, "fees count"


@pytest.mark.parametrize("owed", [0, 1, 99, 100, 10**13])
def test_a_share_is_rounded_down_and_exact_for_the_largest_amounts(owed: int) -> None:
    for share in (0, 1, 3_333, 100_000):
        most = owed * share // 10_000
        for cost, blocked in ((most, -1), (most + 1, 0)):
            plans = plan_columns(CasePlan.model_construct(**{**CasePlan().model_dump(), "interest": cost}))
            assert judge(capped(most_share=share), {"balance": owed}, plans).blocked[0, 0] == blocked
    rate = plan_columns(CasePlan(instalment=1, total=60, months=60.0, interest=10**13))
    assert judge(capped(most_rate=200_000), {"balance": 10**13}, rate).blocked[0, 0] == -1, "no overflow"


def test_the_stricter_of_two_caps_holds_and_an_unknown_principal_allows_no_cost() -> None:
    both = capped(most_share=500, most_rate=1_200)
    for months, most in ((12.0, 6_000), (3.0, 1_200)):
        plan = {"instalment": int(120_000 / months), "total": 120_000, "months": months}
        for interest, blocked in ((most, -1), (most + 1, 0)):
            plans = plan_columns(CasePlan.model_validate({**plan, "interest": interest}))
            assert judge(both, {"balance": 120_000}, plans).blocked[0, 0] == blocked
    for interest in (0, 1):
        verdict = judge(both, {}, plan_columns(CasePlan(interest=interest)))
        assert (verdict.blocked[0, 0], bool(verdict.unknown[0])) == ((-1, False), (0, True))[interest]


@pytest.mark.parametrize("kind", KINDS)
def test_caps_and_affordability_hold_every_kind_that_asks_for_money_and_no_other(kind: str) -> None:
    plans = plan_columns(CasePlan.model_validate({"kind": kind, "interest": 2, "monthly": 2, "bound": 1}))
    afford = parse(HEAD + RULE.replace('kind = "term_cap", most_months = 60', 'kind = "affordability"'))
    for pack in (capped(most_share=1), capped(most_rate=1), afford):
        assert (judge(pack, {"balance": 1}, plans).blocked[0, 0] == 0) == (kind in COLLECTING)


# --- facts ---


@pytest.mark.parametrize(
    ("name", "column", "says"),
    [
        ("mood", np.array([1]), "No such fact: mood"),
        ("calls_7d", np.array([1, 2]), r"calls_7d has shape \(2,\), not \(1,\)"),
        ("calls_7d", np.array([-1]), "calls_7d, account 0: -1 is not whole, from 0 to 10000"),
        ("calls_7d", np.array([1.5]), "calls_7d, account 0: 1.5 is not whole"),
        ("calls_7d", np.array([np.inf]), "calls_7d, account 0: inf"),
        ("calls_7d", np.array([True]), "calls_7d is bool, not int"),
        ("calls_7d", np.array(["many"]), "calls_7d holds could not convert"),
        ("contact_minute", np.array([1440]), "contact_minute, account 0: 1440 is not whole, from 0 to 1439"),
        ("dispute", np.array([2]), "dispute, account 0: restricted is not whole, from 0 to 1"),
        ("vulnerability_driver", np.array(["ill"]), "vulnerability_driver, account 0: restricted is none of"),
        ("dispute", np.array(["ill"]), "dispute holds restricted"),
        ("debt_type", np.array(["gift"]), "debt_type, account 0: .*gift.* is none of consumer"),
        ("debt_type", np.array([1]), "debt_type is int64, not text"),
        ("apr", np.array([20.5]), "apr, account 0: 20.5 is not from 0 to 20"),
    ],
)
def test_a_wrong_fact_is_refused_with_name_row_and_bound(name: str, column: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        FactTable({name: column}, 1).read(name)


@pytest.mark.parametrize("lost", [np.array([np.nan]), np.array([None])])
def test_nan_none_and_an_absent_column_are_not_known(lost: Any) -> None:
    assert not FactTable({"calls_7d": lost}, 1).read("calls_7d")[1][0]
    assert not FactTable({}, 1).read("calls_7d")[1][0]
    for empty in (np.array([None]), np.array([""]), np.array([np.nan], object)):
        assert not FactTable({"debt_type": empty}, 1).read("debt_type")[1][0]
    values, known = FactTable({"dispute": np.array([True, None, False], object)}, 3).read("dispute")
    assert values.tolist() == [True, False, False]
    assert known.tolist() == [True, False, True]


def test_what_domain_keeps_from_models_is_restricted() -> None:
    assert {
        *("vulnerability_driver", "health_data", "moratorium_day", "mental_health_crisis_day", "dispute"),
        *("adviser_engaged", "time_barred", "deceased", "insolvent", "night_consent"),
        *(name for name in FACTS if name.startswith("consent_")),
    } <= RESTRICTED
    assert not RESTRICTED & {"balance", "dpd", "apr", "calls_7d", "debt_type", "jurisdiction"}


def test_plan_columns_of_another_shape_type_or_code_are_refused() -> None:
    plans = plan_columns(CasePlan())
    wrong: list[tuple[str, Any, str]] = [
        ("monthly", np.zeros((1, 2), np.int64), r"monthly is int64 \(1, 2\); it must be int64 \(1, 1\)"),
        ("monthly", np.zeros((1, 1)), "monthly is float64"),
        (
            "kind",
            np.array([len(KINDS)], np.uint8),
            f"kind holds {len(KINDS)}; the codes are 0 … {len(KINDS) - 1}",
        ),
        ("channel", np.array([5], np.uint8), "channel holds 5"),
    ]
    for name, column, says in wrong:
        with pytest.raises(ArgumentError, match=says):
            replace(plans, **{name: column})


# --- words ---


def test_every_builtin_rule_says_what_it_does_and_what_it_needs() -> None:
    said = set()
    for pack in load_builtin():
        for rule in pack.rules:
            assert demands(rule).endswith("."), rule.id
            assert set(needs(pack, rule)) <= set(FACTS), rule.id
            said.add((demands(rule), applies(rule.applies_to)))
    assert "Blocks a plan offered by call once calls_7d has reached 7." in {each for each, _ in said}


def test_every_kind_of_rule_has_words() -> None:
    kinds = get_args(get_args(Parameters)[0])
    assert set(_DEMANDS) == set(kinds)


def test_what_a_rule_says_it_needs_is_what_it_reads() -> None:
    """Take each fact named away: the rule is undecided for some plan. Take any other away: nothing changes."""
    rows = 0
    for pack in load_builtin():
        for rule in pack.rules:
            alone = pack.model_copy(update={"rules": (rule,), "covers": ()})
            read: set[str] = set()

            class Watched(dict[str, Any]):
                def get(self, name: str, default: Any = None) -> Any:
                    read.add(name)  # noqa: B023 - used before the next rule
                    return super().get(name, default)

            evaluated([alone], Watched(), plan_columns(CasePlan(channel="sms")), pack.effective_from or 0)
            assert read == set(needs(pack, rule)), (pack.id, rule.id)
            rows += 1
    assert rows > 30

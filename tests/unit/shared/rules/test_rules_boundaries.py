"""Each built-in rule at its boundary, in plain numbers that stand here and not in the packs."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding.local_time import local_minutes
from fedrepay.shared.errors import DataError
from fedrepay.shared.rules import parameters
from fedrepay.shared.rules.cases import plan_columns, run_cases
from fedrepay.shared.rules.pack import CasePlan, Pack, builtin_names, load_builtin
from support.rules_world import evaluated

DAY = int(np.datetime64("2026-12-01", "D").astype(np.int64))


def blocking(pack: str, facts: dict[str, Any], day: int = DAY, **plan: Any) -> str:
    """The rule of a built-in pack that blocks one plan; an empty text for none."""
    packs = load_builtin([pack])
    columns = {name: np.array([value]) for name, value in facts.items()}
    verdict = evaluated(packs, columns, plan_columns(CasePlan(**plan)), day)
    assert not verdict.unknown[0], "every fact needed is given"
    index = verdict.blocked[0, 0]
    return "" if index < 0 else verdict.rules[index].rule


US = {
    "jurisdiction": "US",
    "debt_type": "card",
    "calls_7d": 0,
    "days_since_conversation": -1,
    "contact_minute": 600,
    "fees_authorised": True,
    "adviser_engaged": False,
    "contact_refused": False,
    "dispute": False,
}
CRISIS = {"jurisdiction": "UK", "moratorium_day": -1, "mental_health_crisis_day": -1}
FCA = {
    "jurisdiction": "UK",
    "debt_type": "card",
    "dpd": 40,
    "adviser_engaged": False,
    "dispute": False,
    "contact_minute": 720,
    "collection_costs_charged": 0,
    "collection_cost_actual": 100,
    "vulnerability_driver": "none",
}
NL = {
    "jurisdiction": "NL",
    "debt_type": "consumer",
    "balance": 0,
    "collection_costs_charged": 0,
    "notice_age_d": 15,
}
PT = {
    "jurisdiction": "PT",
    "debt_type": "card",
    "dpd": 20,
    "persi_day": -1,
    "persi_proposal_made": False,
    "balance": 100_000,
    "apr": 0.0,
}
CN = {
    "jurisdiction": "CN",
    "debt_type": "card",
    "agreement_months": 0,
    "agreement_kept": False,
    "contact_minute": 720,
    "night_consent": False,
    "unanswered_attempts_today": 0,
}


@pytest.mark.parametrize(
    ("pack", "base", "changes", "plan", "rule"),
    [
        ("us-fed", US, {"calls_7d": 6}, {"channel": "call"}, ""),
        ("us-fed", US, {"calls_7d": 7}, {"channel": "call"}, "calls-7-in-7-days"),
        ("us-fed", US, {"days_since_conversation": 6}, {"channel": "call"}, "pause-after-conversation"),
        ("us-fed", US, {"days_since_conversation": 7}, {"channel": "call"}, ""),
        ("us-fed", US, {"contact_minute": 7 * 60 + 59}, {"channel": "email"}, "hours"),
        ("us-fed", US, {"contact_minute": 8 * 60}, {"channel": "email"}, ""),
        ("us-fed", US, {"contact_minute": 20 * 60 + 59}, {"channel": "email"}, ""),
        ("us-fed", US, {"contact_minute": 21 * 60}, {"channel": "email"}, "hours"),
        ("us-fed", US, {"fees_authorised": False}, {"fees": 1}, "fees-authorised"),
        ("us-fed", US, {"fees_authorised": False}, {"fees": 0}, ""),
        ("us-fed", US, {"adviser_engaged": True}, {"kind": "REFER"}, "attorney"),
        ("us-fed", US, {"contact_refused": True}, {"kind": "REFER"}, "ceased-contact"),
        ("us-fed", US, {"dispute": True}, {}, "disputed-debts"),
        ("us-fed", US, {"dispute": True}, {"kind": "REFER"}, ""),
        ("uk-fca", FCA, {"contact_minute": 479}, {"channel": "sms", "bound": 0}, "reasonable-hours"),
        ("uk-fca", FCA, {"contact_minute": 480}, {"channel": "sms", "bound": 0}, ""),
        ("uk-fca", FCA, {"contact_minute": 1259}, {"channel": "sms", "bound": 0}, ""),
        ("uk-fca", FCA, {"contact_minute": 1260}, {"channel": "sms", "bound": 0}, "reasonable-hours"),
        ("uk-breathing-space", CRISIS, {"moratorium_day": 60}, {}, "standard-60-days"),
        ("uk-breathing-space", CRISIS, {"moratorium_day": 61}, {}, ""),
        ("uk-breathing-space", CRISIS, {"mental_health_crisis_day": 30}, {}, "crisis-treatment"),
        ("uk-breathing-space", CRISIS, {"mental_health_crisis_day": 31}, {}, ""),
        ("uk-fca", FCA, {}, {"monthly": 100, "bound": 100}, ""),
        ("uk-fca", FCA, {}, {"monthly": 101, "bound": 100}, "no-unreasonable-payments"),
        ("uk-fca", FCA, {"adviser_engaged": True}, {"bound": 0}, "adviser-engaged"),
        ("uk-fca", FCA, {"dispute": True}, {"bound": 0}, "disputed-debts"),
        ("uk-fca", FCA, {}, {"fees": 100, "bound": 0}, ""),
        ("uk-fca", FCA, {}, {"fees": 101, "bound": 0}, "cost-based-charges"),
        ("nl", NL, {"balance": 100_000, "notice_age_d": 14}, {"fees": 1}, "letter-14-days"),
        ("nl", NL, {"balance": 100_000, "notice_age_d": 15}, {"fees": 1}, ""),
        ("pt", PT, {"dpd": 60}, {}, ""),
        ("pt", PT, {"dpd": 61}, {}, "no-collection-without-persi"),
        ("pt", PT, {"apr": 0.0}, {"interest": 2}, "no-rate-increase"),
        ("cn", CN, {}, {"months": 60.0}, ""),
        ("cn", CN, {}, {"months": 61.0}, "five-years"),
        ("cn", CN, {"agreement_kept": True}, {}, "stop-while-kept"),
        ("cn", CN, {"contact_minute": 21 * 60 + 59}, {"channel": "sms"}, ""),
        ("cn", CN, {"contact_minute": 22 * 60}, {"channel": "sms"}, "night"),
        ("cn", CN, {"contact_minute": 7 * 60 + 59}, {"channel": "sms"}, "night"),
        ("cn", CN, {"contact_minute": 8 * 60}, {"channel": "sms"}, ""),
        ("cn", CN, {"contact_minute": 22 * 60, "night_consent": True}, {"channel": "sms"}, ""),
        ("cn", CN, {"unanswered_attempts_today": 5}, {"channel": "call"}, ""),
        ("cn", CN, {"unanswered_attempts_today": 6}, {"channel": "call"}, "attempts-6-a-day"),
    ],
)
def test_a_rule_at_its_boundary(
    pack: str, base: dict[str, Any], changes: dict[str, Any], plan: dict[str, Any], rule: str
) -> None:
    assert blocking(pack, base | changes, **plan) == rule


@pytest.mark.parametrize(
    ("euros", "cap"),
    [
        (0, 40.00),
        (1, 40.00),
        (266.66, 40.00),
        (266.73, 40.00),
        (266.74, 40.01),
        (2_500, 375.00),
        (2_500.10, 375.01),
        (5_000, 625.00),
        (5_000.20, 625.01),
        (10_000, 875.00),
        (10_001, 875.01),
        (200_000, 2_775.00),
        (200_002, 2_775.01),
        (999_998, 6_774.99),
        (1_000_000, 6_775.00),
        (50_000_000, 6_775.00),
    ],
)
def test_the_dutch_scale_at_the_edge_of_each_band(euros: float, cap: float) -> None:
    facts = NL | {"balance": round(euros * 100)}
    assert blocking("nl", facts, fees=round(cap * 100)) == ""
    assert blocking("nl", facts, fees=round(cap * 100) + 1) == "cost-scale"


@pytest.mark.parametrize(("dpd", "told"), [(30, False), (31, True), (60, True)])
def test_persi_is_entered_from_day_31(dpd: int, told: bool) -> None:  # noqa: FBT001
    packs = load_builtin(["pt"])
    facts = {name: np.array([value]) for name, value in (PT | {"dpd": dpd}).items()}
    verdict = evaluated(packs, facts, plan_columns(CasePlan()), DAY)
    assert [verdict.rules[each].rule for each in np.flatnonzero(verdict.notices[0])] == ["enter-persi"] * told
    assert verdict.stop[0] == -1


def test_a_pack_is_in_force_from_its_first_to_its_last_day() -> None:
    (pack,) = load_builtin(["eu-ccd2"])
    first = int(np.datetime64("2026-11-20", "D").astype(np.int64))
    assert pack.effective_from == first
    dated = pack.model_copy(update={"effective_to": first + 9})
    assert [dated.in_force(first + each) for each in (-1, 0, 9, 10)] == [False, True, True, False]
    facts = {"jurisdiction": np.array(["NL"]), "debt_type": np.array(["card"])}
    plan = plan_columns(CasePlan())
    given = [evaluated([dated], facts, plan, first + each) for each in (-1, 0, 9, 10)]
    assert [bool(each.notices.any()) for each in given] == [False, True, True, False]
    covers = parameters.Covers(matters=("conduct",))
    covered = [
        evaluated([dated.model_copy(update={"covers": (covers,)})], facts, plan, first + each).covered[0, 0]
        for each in (-1, 0, 9, 10)
    ]
    assert covered == [False, True, True, False]


@pytest.mark.parametrize("name", builtin_names())
def test_a_builtin_pack_passes_its_own_cases(name: str) -> None:
    (pack,) = load_builtin([name])
    assert not [(result.case.name, result.wrong) for result in run_cases(pack) if result.wrong]


@pytest.mark.parametrize("name", builtin_names())
def test_every_rule_has_a_case_that_it_decides_and_the_control_fails_without_it(name: str) -> None:
    (pack,) = load_builtin([name])
    for rule in pack.rules:
        if not getattr(rule.parameters, "required", True):
            continue  # us-ecoa: a notice that is not due
        cited = [
            case
            for case in pack.cases
            if rule.id
            in (case.expect.blocked, case.expect.human, case.expect.stop, *(case.expect.notices or ()))
        ]
        assert cited, f"{name}: {rule.id} decides no case"
        rest = tuple(each for each in pack.rules if each is not rule)
        without = Pack.model_construct(**{**dict(pack), "rules": rest})
        assert [each for each in run_cases(without) if each.wrong], f"{name}: {rule.id} is not missed"


def instant(utc: str) -> int:
    return int(np.datetime64(utc, "s").astype(np.int64))


@pytest.mark.parametrize(
    ("utc", "zone", "clock"),
    [
        ("2026-01-15T12:59:59", "America/New_York", "07:59"),
        ("2026-01-15T13:00:00", "America/New_York", "08:00"),
        ("2026-01-15T15:59:59", "America/Los_Angeles", "07:59"),
        ("2026-07-15T00:59:59", "America/New_York", "20:59"),
        ("2026-07-15T01:00:00", "America/New_York", "21:00"),
        # the clocks of New York go forward on 8 March 2026 at 07:00 UTC, back on 1 November at 06:00 UTC
        ("2026-03-08T06:59:59", "America/New_York", "01:59"),
        ("2026-03-08T07:00:00", "America/New_York", "03:00"),
        ("2026-03-08T11:59:59", "America/New_York", "07:59"),
        ("2026-03-08T12:00:00", "America/New_York", "08:00"),
        ("2026-11-01T05:59:59", "America/New_York", "01:59"),
        ("2026-11-01T06:00:00", "America/New_York", "01:00"),
        ("2026-11-01T13:00:00", "America/New_York", "08:00"),
        ("2026-03-29T00:59:59", "Europe/Lisbon", "00:59"),
        ("2026-03-29T01:00:00", "Europe/Lisbon", "02:00"),
        ("2026-06-01T14:00:00", "Asia/Shanghai", "22:00"),
        ("2026-06-01T02:15:00", "Asia/Kathmandu", "08:00"),
        ("1969-12-31T23:00:00", "UTC", "23:00"),
    ],
)
def test_the_debtors_clock(utc: str, zone: str, clock: str) -> None:
    (minute,) = local_minutes(np.array([instant(utc)]), np.array([zone]))
    assert f"{int(minute) // 60:02d}:{int(minute) % 60:02d}" == clock


def test_a_zone_that_is_not_known_gives_no_minute_and_one_that_is_none_is_refused() -> None:
    at = np.array([instant("2026-06-01T12:00:00")] * 3)
    minutes = local_minutes(at, np.array(["Europe/Lisbon", None, ""], object))
    assert minutes[0] == 13 * 60
    assert np.isnan(minutes[1:]).all()
    with pytest.raises(DataError, match="Row 2: 'Mars/Olympus' is not a time zone"):
        local_minutes(at, np.array(["UTC", "", "Mars/Olympus"]))


def test_hours_are_the_debtors_not_the_creditors() -> None:
    """13:00 UTC is 08:00 in New York and 05:00 in Los Angeles: one may be called, the other not."""
    at = np.array([instant("2026-01-15T13:00:00")] * 2)
    facts = {name: np.array([value] * 2) for name, value in US.items()}
    facts["contact_minute"] = local_minutes(at, np.array(["America/New_York", "America/Los_Angeles"]))
    plans = plan_columns(CasePlan(channel="call"))
    both = {
        each.name: np.repeat(getattr(plans, each.name), 2, axis=0)
        for each in fields(plans)
        if getattr(plans, each.name).ndim == 2 or each.name == "bound"
    }
    verdict = evaluated(load_builtin(["us-fed"]), facts, replace(plans, **both), DAY)
    assert (verdict.blocked[:, 0] >= 0).tolist() == [False, True]

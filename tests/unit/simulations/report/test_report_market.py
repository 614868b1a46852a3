"""The report of the debt market: its figures are the run's, losers are marked, the words follow the figures."""

import re
from collections.abc import Callable
from typing import Any
from xml.etree.ElementTree import XML

import pytest
from jinja2 import UndefinedError

from fedrepay.client.plans.deciding.settings import CLASSES, Settings
from fedrepay.simulations.report import render, tables_market, words_market
from fedrepay.simulations.report.words import percent
from fedrepay.simulations.report.words_market import change, change_span, pounds
from support import report_market_fixture as fixture
from support.pages import body, check, rows, section, words

Change = Callable[[dict[str, Any]], None]
HOSTILE = '"><script>alert(1)</script><b onload=x>'


def page(**changes: Any) -> str:
    return render.render(fixture.metrics(**changes), fixture.details())


def changed(change_it: Change) -> str:
    metrics = fixture.metrics()
    change_it(metrics["market"])
    return render.render(metrics, fixture.details())


def plain(shown: str) -> str:
    return " ".join(shown.split())


def table(html: str, name: str) -> dict[str, list[str]]:
    """Rows of a section's tables by their first cell; the first such row counts."""
    found: dict[str, list[str]] = {}
    for row in rows(section(html, name)):
        found.setdefault(row[0], row[1:])
    return found


@pytest.mark.parametrize("changes", [{}, {"mode": "none"}, {"trees": True}, {"preset": "opposed"}])
def test_the_page_is_well_formed_and_loads_nothing(changes: dict[str, Any]) -> None:
    html = page(**changes)
    found = check(html)
    assert found.faults == []
    assert found.open == []
    assert found.loads == []
    assert {t.split("=#")[1] for t in found.targets} <= set(found.ids)
    assert not re.search(r"https?:|@import|url\(|<script|<link|<iframe", html)
    assert not re.search(r"\b(None|nan|undefined|Undefined)\b", words(html.split("</style>")[1]))
    for picture in re.findall(r"<svg.*?</svg>", html, re.DOTALL):
        assert XML(picture).findtext("title") == XML(picture).get("aria-label") != ""


def test_sections_stand_in_order() -> None:
    titles = [
        words(each).replace(" outside the guarantee", "") for each in re.findall(r"<h2>.*?</h2>", page())
    ]
    assert titles[4:] == [
        "What learning together brought each member",
        "From own policy to the oracle",
        "Affordable",
        "Who gains",
        "Where it loses",
        "Who saw what",
        "What the other members could learn about you",
        "Where time and bytes went",
        "What the model learned",
        "Privacy statement",
        "Run facts",
    ]


def test_the_top_says_the_gain_in_per_cent_and_pounds_and_that_all_is_simulated() -> None:
    metrics, html = fixture.metrics(), words(page().split("</header>")[0])
    market = metrics["market"]
    gain = market["gain"]
    balance = sum(each["balance"] for each in market["members"].values()) / 4 / 100
    each_gains = [
        (each["ways"]["shared"]["value"] - each["ways"]["alone"]["value"]) * each["balance"] * 10
        for each in market["members"].values()
    ]
    for told in (
        change(gain["value"]),
        change_span(gain["value_interval"]),
        change(gain["uplift"]),
        change_span(gain["uplift_interval"]),
        f"£{sum(each_gains) / 4:,.0f} per 1,000 accounts",
        f"owe £{balance:,.0f} each",
        percent(market["affordable_share"]),
        percent(market["affordable_share_own"]),
        "ε = 1",
        "0.66 MB",
        "Everything here is simulated.",
        "no evidence about real debtors",
    ):
        assert plain(told) in plain(html), told


def test_every_member_stands_there_with_its_figures() -> None:
    found = table(page(), "gain")
    for name, each in fixture.metrics()["market"]["members"].items():
        alone, shared = each["ways"]["alone"]["value"], each["ways"]["shared"]["value"]
        money = (shared - alone) * each["balance"] / 100 * 1000
        expected = [
            f"{each['offers']:,}",
            f"£{each['balance'] / 100:,.0f}",
            percent(alone, 2),
            percent(shared, 2),
            f"{change(each['gain'])} {change_span(each['gain_interval'])}",
            pounds(money),
        ]
        assert found[name] == [plain(cell) for cell in expected]


def test_all_ways_of_every_member_stand_there() -> None:
    html = section(page(trees=True), "gain")
    head = next(row for row in rows(html) if "Optimiser, own LightGBM" in row)
    ways = list(tables_market.member_ways(fixture.market(trees=True)))
    assert ways == ["own", "own_affordable", *words_market.OWN_MODELS, *list(words_market.WAYS)[2:]]
    assert len(head) == len(ways) + 2
    found = {row[0]: row[1:] for row in rows(html) if len(row) == len(head)}
    for name, each in fixture.market(trees=True)["members"].items():
        assert found[name][:-1] == [f"{100 * each['ways'][way]['value']:.2f}" for way in ways]
    assert found["m04"][-1] == "Kept at 90 days"
    assert found["m01"][-1] == "–"


def test_ways_are_means_over_members() -> None:
    metrics = fixture.metrics(trees=True)
    found = table(render.render(metrics, fixture.details()), "ways")
    market = metrics["market"]
    for way, (label, told) in words_market.WAYS.items():
        shares = [each["ways"][way]["affordable"] for each in market["members"].values()]
        expected = [percent(market[name][way], 2) for name in ("value", "uplift")]
        expected += [percent(market[name][way]) for name in ("first_paid", "kept_90", "plans")]
        expected.append(percent(sum(shares) / len(shares)))
        assert found[f"{label} {told}"] == [plain(cell) for cell in expected]
    plain_run = words(section(page(), "ways"))
    assert "LightGBM" not in plain_run
    assert "forgo 7.3 % of the uplift" in plain_run
    assert "in 83.1 % of cases" in plain_run


def test_all_weights_of_the_settings_are_shown() -> None:
    metrics = fixture.metrics()
    metrics["settings"]["value"] |= {
        "lambda_first": 0.0713,
        "lambda_complaint": 0.1931,
        "lambda_sustained": 0.0217,
        "discount_rate": 0.1113,
    }
    metrics["settings"]["value"]["contact_cost"]["letter"] = 91
    shown = words(section(render.render(metrics, fixture.details()), "ways"))
    for told in (
        "λf, on a first payment 0.0713",
        "λc, on a complaint 0.1931",
        "λs, on a plan kept at 90 days 0.0217",
        "discount rate 0.1113",
        "letter 91",
        "λf = 0.0713",
    ):
        assert told in shown


def test_classes_of_income_stand_against_the_target() -> None:
    html = page()
    found = table(html, "affordable")
    market = fixture.market()
    assert found["no income form"][:3] == ["48", "0 0.0 %", "–"]
    assert found["stated by the debtor"] == [
        "325",
        "141 43.4 %",
        "95.7 %",
        "3.6 %",
        "95 %",
        "15.82 %",
        f"{100 * Settings().affordability.stated.level:.1f} %",
        plain(change(market["caution"]["stated"])),
    ]
    assert found["estimated by a bureau"][2] == "94.1 % below, may be chance"
    assert found["verified by documents"][2] == "91.3 % below target"
    assert found["verifying a stated income"] == ["325", "15.82 %", "19.91 %", "+25.9 %"]
    assert found["bringing an income form, with documents"] == ["48", "7.28 %", "18.86 %", "+159.1 %"]
    assert plain(change(market["caution"]["all"])) in words(section(html, "affordable"))


def test_bands_of_known_surplus_stand_against_the_target() -> None:
    html = section(page(), "affordable")
    found = {(row[0], row[1]): row[2:] for row in rows(html) if len(row) == 8 and row[1][-1] in "%e"}
    assert found["stated by the debtor", "below 2 %"] == ["140", "0", "–", "–", "8.11 %", "−5.9 %"]
    assert found["stated by the debtor", "15 to 20 %"][2] == "94.1 % below, may be chance"
    assert found["verified by documents", "2 to 6 %"][2:4] == ["90.5 % below target", "88.4 % … 92.2 %"]
    assert found["verified by documents", "20 % and more"][2] == "98.9 %"
    assert not any(name == "estimated by a bureau" for name, _ in found)
    assert "The optimiser is told the law of the errors" in words(html)


def test_groups_show_who_is_served_less_well() -> None:
    html = section(page(), "groups")
    found = {row[1]: row[2:] for row in rows(html)[1:]}
    assert found["charged off"] == ["192", "44.3 %", "7.24 %", "7.51 %", "+0.27 points"]
    assert found["early"][-1] == "−0.36 points"
    assert list(found)[:4] == [words_market.CLASSES[name] for name in CLASSES]
    assert re.findall(r'less">([^<]*)<', html) == [f"−0.36{chr(0xA0)}points"]
    assert "An uplift below zero" in html


def test_losers_are_marked() -> None:
    html = page()
    market = fixture.market()
    assert [name for name, each in market["members"].items() if each["gain"] < 0] == ["m04"]
    assert re.findall(r'<tr class="loses"><th scope="row">(\w+)<', section(html, "gain")) == ["m04"]
    assert html.count('class="dot loss"') == 1
    assert html.count('class="dot accent"') >= 3
    lost = table(html, "loses")
    assert set(lost) == {"Member", "m04"}
    assert lost["m04"][1] == plain(
        f"{change(market['members']['m04']['gain'])} {change_span(market['members']['m04']['gain_interval'])}"
    )
    assert "1 of 4 members get less" in words(section(html, "loses"))


def test_a_gain_without_redrawn_records_has_no_interval() -> None:
    def without(market: dict[str, Any]) -> None:
        for each in market["members"].values():
            each["gain_interval"] = None

    assert page().count('class="interval') == 4
    html = changed(without)
    assert 'class="interval' not in html
    assert table(html, "gain")["m04"][4] == plain(change(fixture.market()["members"]["m04"]["gain"]))
    assert "--redraws" in section(html, "gain")
    assert "in this run" in words(section(html, "loses"))


def test_a_loss_of_all_is_red_at_the_top() -> None:
    def lost(market: dict[str, Any]) -> None:
        market["gain"] |= {"value": -0.0213, "value_interval": [-0.04, -0.01]}

    assert f'class="big less">−2.1{chr(0xA0)}%' in changed(lost)


def test_without_losers_nothing_is_marked() -> None:
    def all_gain(market: dict[str, Any]) -> None:
        market["members"]["m04"] = market["members"]["m03"]

    html = changed(all_gain)
    assert 'class="loses"' not in html
    assert 'class="dot loss"' not in html
    assert "No member" in words(section(html, "loses"))
    assert table(html, "loses") == {}


def test_red_banners() -> None:
    assert 'class="banner"' not in page()
    assert 'class="big less"' not in page()
    html = page(mode="none")
    assert html.count('class="banner"') == 1
    assert "Not private: no noise was added" in html
    assert "No customer is protected by noise" in html
    metrics = fixture.metrics() | {"smallest_cohort": 4}
    assert "Small cohort: only 4 members" in render.render(metrics, fixture.details())


def hostile() -> tuple[dict[str, Any], dict[str, Any]]:
    metrics, details = fixture.metrics(), fixture.details()
    metrics["market"]["members"][HOSTILE] = fixture.member(3)
    metrics["market"]["groups"][-1]["group"] = HOSTILE
    metrics["seconds"][HOSTILE] = 1.0
    metrics["versions"][HOSTILE] = metrics["arguments"]["settings"] = metrics["roster_code"] = HOSTILE
    metrics["settings"]["value"]["contact_cost"][HOSTILE] = 7
    metrics["settings"]["value"]["complaint_rate"][HOSTILE] = 0.7
    details["title"] = details["attack"]["text"] = HOSTILE
    details["heads"][HOSTILE] = details["heads"]["kept_90"]
    for curve in details["heads"]["first_paid"]:
        curve["name"] = HOSTILE
    return metrics, details


def test_hostile_names_are_escaped() -> None:
    found = check(render.render(*hostile()))
    assert "script" not in found.tags
    assert found.faults == []


def test_without_escaping_the_hostile_name_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = render.environment().overlay(autoescape=False)
    monkeypatch.setattr(render, "environment", lambda: careless)
    assert "script" in check(render.render(*hostile())).tags


@pytest.mark.parametrize("name", ["roster_code", "seed"])
def test_a_figure_that_is_not_there_stops_the_report(name: str) -> None:
    metrics = fixture.metrics()
    del metrics[name]
    with pytest.raises(UndefinedError):
        render.render(metrics, fixture.details())


def test_a_member_without_a_model_of_its_own() -> None:
    def nothing_learned(market: dict[str, Any]) -> None:
        ways = market["members"]["m01"]["ways"]
        del ways["additive"], ways["expert"], ways["alone_value"]
        ways["alone"] = ways["own_affordable"]

    html = changed(nothing_learned)
    told = "m01 has too few records of either kind for a model of its own"
    assert told in words(section(html, "gain"))
    assert told not in words(page())
    found = next(row for row in rows(section(html, "gain")) if row[0] == "m01" and len(row) > 8)
    assert found[3:5] == ["–", "–"]


def test_no_account_without_an_income_form() -> None:
    def all_known(market: dict[str, Any]) -> None:
        nobody = {"accounts": 0, "plans": 0, "affordable": None, "value": None}
        market["affordable_by_class"]["none"] = nobody
        del market["if_verified"]["none"]
        market["groups"] = [each for each in market["groups"] if each["group"] != "none"]

    html = changed(all_known)
    assert table(html, "affordable")["no income form"] == ["0", "0", "–", "–", "–", "–", "–", "–"]
    assert "bringing an income form" not in html
    assert "An uplift below zero" not in html


def test_nobody_gets_a_plan() -> None:
    def refused(market: dict[str, Any]) -> None:
        market["affordable_share"] = market["affordable_share_own"] = None
        market["if_verified"] = {}
        market["caution"] = {"all": -0.1}
        for each in market["affordable_by_class"].values():
            each |= {"plans": 0, "affordable": None}
        for each in market["affordable_by_band"]:
            each |= {"plans": 0, "affordable": None, "interval": None}
        for each in market["members"].values():
            for way in each["ways"].values():
                way["affordable"] = None

    html = changed(refused)
    assert "What knowing the income would bring" not in html
    assert check(html).faults == []


def test_without_attack_and_noise_the_page_holds() -> None:
    details = fixture.details()
    details["attack"] = None
    for curves in details["heads"].values():
        for each in curves:
            if each["kind"] == "feature":
                each["sd"] = None
    html = render.render(fixture.metrics(mode="none"), details)
    assert "this attack does not apply" in html
    assert "The band is two standard deviations" not in html


def test_both_heads_are_read_whole() -> None:
    found = section(page(), "model")
    assert re.findall(r"<summary>(.*?)</summary>", found) == ["First payment", "Kept at 90 days"]
    assert found.count("<svg") == 7 + 2 + 7
    assert found.count("<details") == 2
    assert found.count(" open>") == 1


def test_the_market_and_the_rows_share_their_sections() -> None:
    from support import report_fixture

    table_of_rows = render.render(report_fixture.metrics(members=4), report_fixture.details())
    market = render.render(fixture.metrics() | {"smallest_cohort": 4, "minimum_cohort": 3}, fixture.details())
    for name in ("sight", "attack", "cost"):
        assert section(table_of_rows, name) == section(market, name)
    assert "auc" not in body(market).lower()

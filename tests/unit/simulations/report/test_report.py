"""The report: whole, offline, escaped, and red where it must be."""

import json
import re
from typing import Any
from xml.etree.ElementTree import XML

import pytest

from fedrepay.simulations.report import charts, render, svg, words
from support import report_fixture
from support.pages import body, check, leaves


def page(**changes: Any) -> str:
    return render.render(report_fixture.metrics(**changes), report_fixture.details())


@pytest.mark.parametrize("changes", [{}, {"mode": "none"}, {"members": 3}, {"members": 90}])
def test_the_page_is_well_formed_and_loads_nothing(changes: dict[str, Any]) -> None:
    html = page(**changes)
    found = check(html)
    assert found.faults == []
    assert found.open == []
    assert found.loads == []
    assert {t.split("=#")[1] for t in found.targets} <= set(found.ids)
    assert not re.search(r"https?:|@import|url\(|<script|<link|<iframe", html)


def test_the_offline_check_sees_a_load() -> None:
    html = page().replace("<nav", '<img src="https://example.org/x.png"><nav')
    assert check(html).loads
    assert check("<p><b></p>").faults


def test_every_picture_is_xml_with_a_title_and_a_label() -> None:
    pictures = re.findall(r"<svg.*?</svg>", page(), re.DOTALL)
    assert len(pictures) == 4 + 7 + 2
    for picture in pictures:
        root = XML(picture)
        assert root.get("role") == "img"
        assert root.findtext("title") == root.get("aria-label") != ""


def shown(value: float, text: str) -> bool:
    """Whether a number stands there, by itself, in one of the report's formats."""
    forms = {words.figure(value), words.signed(value, 2), words.signed(value, 3), words.general(value)}
    forms |= {words.percent(value), words.seconds(value), str(value)}
    if isinstance(value, int) or value > 100:
        forms |= {words.count(value), words.size(value)}
    elif value > 5:
        forms.add(words.figure(value, 1))
    return any(re.search(rf"(?<![\d.]){re.escape(form)}(?![\d])", text) for form in forms)


def test_all_numbers_of_the_run_stand_in_the_page() -> None:
    metrics, details = report_fixture.metrics(), report_fixture.details()
    text = body(render.render(metrics, details))
    for row in details["attack"]["rows"]:
        del row["cells"], row["hidden_among"]  # said in words by ``sees``
    for curve in details["curves"]:
        if curve["kind"] == "feature":
            curve["sd"] = [f"{2 * sd:.3f}" for sd in curve["sd"]]
    numbers = [
        v for v in leaves([metrics, details]) if isinstance(v, float | int) and not isinstance(v, bool)
    ]
    assert len(numbers) > 300
    assert [v for v in numbers if not shown(v, text)] == []
    for word in (metrics["roster_code"], "Members open the sum.", "m07@2", "One void attempt", "2.4.1"):
        assert word in text


def test_a_missing_number_would_be_noticed() -> None:
    text = body(page())
    assert not any(shown(value, text) for value in (0.4444, 17.77, 777777, 1.234))


def test_red_banners() -> None:
    assert 'class="banner"' not in page()
    assert "Not private: no noise was added" in page(mode="none")
    assert page(mode="none").count('class="banner"') == 1
    assert "Small cohort: only 4 members" in page(members=4)
    assert 'class="banner"' not in page(members=5)
    assert page(members=3, mode="none").count('class="banner"') == 2
    for reason in ("seeded", "other"):
        metrics = report_fixture.metrics()
        metrics["privacy"] |= {"epsilon": None, "not_private": reason}
        html = render.render(metrics, report_fixture.details())
        assert html.count('class="banner"') == 1
        assert "Not private" in html
        assert ("from the operating system" in html) == (reason != "seeded")


def test_a_batched_run_tells_of_no_messages_and_denies_no_noise() -> None:
    metrics = report_fixture.metrics()
    for name in ("No customer is protected", "there is no noise", "here without noise"):
        assert name not in page(), name
    assert "Three layers stand" in page()
    assert "Members compare these twelve words" in page()
    metrics |= {"engine": "batched", "roster_code": ""}
    metrics["privacy"] |= {"epsilon": None, "not_private": "no protocol ran (--engine batched)"}
    html = render.render(metrics, report_fixture.details())
    assert "No protocol ran" in html
    assert "No guarantee comes with this run" in html
    assert "the noise of ε = 1," in html
    for untrue in (
        "noise in this run",
        "there is no noise",
        "without noise there",
        "Three layers",
        "twelve words",
    ):
        assert untrue not in html, untrue


def test_local_mode_names_its_comparison_and_one_claim_for_any_number_of_colluders() -> None:
    metrics = report_fixture.metrics()
    metrics["privacy"] |= {"mode": "local", "epsilon": 1.0, "epsilon_spent": 0.875}
    metrics["arguments"]["model"] = "mlp"
    html = render.render(metrics, report_fixture.details())
    assert "Pooled, logistic regression" in html
    assert "Pooled, the same model" not in html
    assert re.search(r"any number: spent on the attempts charged</th><td class=\"n\">0.875<", html)
    assert "any number: the claim" in html
    assert "up to 1: the claim" not in html
    assert "Pooled, the same model" in page()
    assert "any number" not in page()


HOSTILE = '"><script>alert(1)</script><b onload=x>'


def hostile() -> tuple[dict[str, Any], dict[str, Any]]:
    """Names and texts as an attacker would choose them, wherever data reaches the page."""
    metrics, details = report_fixture.metrics(), report_fixture.details()
    metrics["one_by_one"]["members"][HOSTILE] = report_fixture.member(3)
    metrics["one_by_one"]["members"]["m02"]["reason"] = HOSTILE
    metrics["seconds"][HOSTILE] = 1.0
    metrics["versions"][HOSTILE] = metrics["arguments"]["split"] = metrics["roster_code"] = HOSTILE
    details["title"] = details["good_outcome"] = details["attack"]["text"] = HOSTILE
    details["fairness"][0] |= {"column": HOSTILE, "group": HOSTILE}
    details["attack"]["rows"][0]["coalition"] = HOSTILE
    for curve in details["curves"]:
        curve["name"] = HOSTILE
        key = "labels" if curve["kind"] == "feature" else "rows"
        curve[key] = [HOSTILE for _ in curve[key]]
    return metrics, details


def test_hostile_names_are_escaped() -> None:
    found = check(render.render(*hostile()))
    assert "script" not in found.tags
    assert found.faults == []


def test_without_escaping_the_hostile_name_would_run(monkeypatch: pytest.MonkeyPatch) -> None:
    careless = render.environment().overlay(autoescape=False)
    monkeypatch.setattr(render, "environment", lambda: careless)
    assert "script" in check(render.render(*hostile())).tags


def test_pictures_escape_by_themselves() -> None:
    picture = charts.bars(HOSTILE, [(HOSTILE, 1.0, HOSTILE)])
    assert "<script" not in picture
    assert HOSTILE in leaves([XML(picture).get("aria-label")])


def test_figures_on_test_data_are_tagged() -> None:
    html = page()
    for name in (
        "Gain per member",
        "Calibration",
        "Fairness",
        "What the other members could learn about you",
    ):
        assert re.search(rf"<h2>{name} <span class=\"tag\"[^>]*>outside the guarantee</span></h2>", html)
    assert "Privacy statement</h2>" in html


def test_nulls_and_absent_parts_do_not_break_the_page() -> None:
    metrics, details = report_fixture.metrics(), report_fixture.details()
    metrics["auc"] |= {"alone_mean": None, "pooled_no_privacy": None, "pooled_lightgbm": None}
    metrics["log_loss"] |= {"alone_mean": None, "pooled_no_privacy": None}
    for name in metrics["one_by_one"]["members"]:
        metrics["one_by_one"]["members"][name] = report_fixture.not_judged("no test rows")
    none: dict[str, Any] = {
        "judged": 0,
        "gain": 0,
        "lose": 0,
        "unclear": 0,
        "mean_gain": None,
        "mean_gain_interval": None,
    }
    none["mean"] = dict.fromkeys(metrics["one_by_one"]["mean"])
    metrics["one_by_one"] |= none
    metrics["one_by_one"]["own_part"]["enough_rows"] = 0
    details |= {
        "attack": None,
        "fairness": [],
        "curves": [report_fixture.curve("only", 1, 0.0) | {"sd": None}],
    }
    html = render.render(metrics, details)
    assert "no member has enough customers to be judged" in html
    assert check(html).faults == []
    assert "this attack does not apply" in html
    assert 'id="fairness"' not in html


def test_many_members_are_all_in_the_table_and_some_in_the_picture() -> None:
    html = page(members=90)
    assert "40 of 90 members are drawn" in html
    assert html.count('<th scope="row">m') == 2 * 90  # AUC, and log-loss


def test_the_words_follow_the_figures() -> None:
    metrics = report_fixture.metrics()
    sight = {who: [verdict for verdict, _ in cells] for who, _, cells in words.who_saw_what(metrics)}
    assert sight["The coordinator"] == ["no", "no", "no", "no"]
    assert sight["The coordinator and 2 members"] == ["no", "no", "yes", "yes"]
    assert sight["The coordinator and all 19 other members"] == ["no", "yes", "yes", "yes"]
    metrics["privacy"].pop("retries_cost")
    metrics["privacy"]["retry_noise_factor"] = 1.118
    assert "1.118 times" in words.retries(metrics)
    assert "nothing" in words.retries(metrics | {"attempts_void": 0})


@pytest.mark.parametrize(
    ("low", "high", "most"), [(0.0, 1.0, 6), (0.7031, 0.8319, 8), (-3.0, 17.0, 5), (2e-6, 3e-6, 4)]
)
def test_ticks_are_round_and_inside(low: float, high: float, most: int) -> None:
    found = svg.ticks(low, high, most)
    assert 2 <= len(found) <= most
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in found)
    assert svg.ticks(3.0, 3.0) == [3.0]


def test_formats() -> None:
    assert words.size(658134) == "0.66 MB"
    assert words.size(48211) == "48.21 kB"
    assert words.size(12) == "12 B"
    assert words.general(1e-5) == "1e−5"
    assert words.figure(None) == words.NONE
    assert words.seconds(127.4) == "127 s"
    assert json.dumps(words.interval((0.1, -0.2)), ensure_ascii=False) == '"[0.1000, −0.2000]"'

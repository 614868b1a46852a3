"""Wherever ε is a headline, ε of a person at two and at three members stands beside it."""

import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from fedrepay.simulations.report import render, words
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.screen import summary
from fedrepay.simulations.sweep.table import figures_of
from support import report_fixture, report_market_fixture
from support.pages import body

ROOT = Path(__file__).parents[4]
TWO, THREE = 2.153, 3.412  # of the fixture


def html_of(fixture: Any, **privacy: object) -> str:
    metrics = fixture.metrics()
    metrics["privacy"] |= privacy
    return render.render(metrics, fixture.details())


@pytest.mark.parametrize("fixture", [report_fixture, report_market_fixture], ids=["rows", "market"])
def test_the_reports_card_and_first_lines(fixture: Any) -> None:
    html = html_of(fixture)
    card = html.partition("<h2>Privacy of one")[2].partition("</div></dl>")[0]
    assert "ε = 1<" in card
    for number, value in ((2, TWO), (3, THREE)):
        assert re.search(rf"a person at {number} members</dt><dd>ε = {value}<", card)
    first = html.partition('<p class="lead">')[2].partition("</p>")[0]
    assert f"protected at ε = 1 (a person at two members at {TWO}, at three members at {THREE})" in first
    bare = html_of(fixture, epsilon=None, not_private="seeded")
    assert "a person at 2 members" not in bare
    assert "a person at two" not in bare


def test_a_figure_that_is_not_finite_is_a_dash_and_local_mode_says_the_same() -> None:
    metrics = report_fixture.metrics()
    metrics["privacy"] |= {"mode": "local", "epsilon_by_memberships": {"1": 1.0, "2": 2.5, "3": None}}
    assert (
        "(a person at two members at 2.5, at three members at –) by its own institution's"
        in words.protection(metrics)
    )


def test_the_reports_year_says_what_it_counts_and_that_ledgers_are_exact() -> None:
    text = body(html_of(report_fixture))
    for said in ("7 runs, 37 attempts before this one", "2.718 at δ = 3.3e−8", "3.719 at δ = 1.0033e−5"):
        assert said in text
    assert "A person at several members has more." in text
    assert "The year" not in body(html_of(report_fixture, year=None))
    older = report_fixture.metrics()
    del older["privacy"]["year"]  # a run of before
    assert "The year" not in body(render.render(older, report_fixture.details()))


def test_the_end_of_a_run(tmp_path: Path) -> None:
    console = Console(record=True, width=160)
    summary(console, report_fixture.metrics(), Folder(tmp_path))
    shown = console.export_text()
    assert (
        "ε = 1 of a customer at one member, 2.16 of a person at 2, 3.42 of a person at 3; δ = 1e-05" in shown
    )
    summary(console, report_fixture.metrics(mode="none"), Folder(tmp_path))
    assert re.search(r"Privacy +none", console.export_text())


def test_a_sweeps_table() -> None:
    found = figures_of(report_fixture.metrics())
    assert [found[f"epsilon_{at}"] for at in ("claimed", "at_2_members", "at_3_members")] == [1.0, TWO, THREE]


def test_the_readme_gives_no_epsilon_of_its_figures_alone() -> None:
    """Every paragraph on how good it is names two and three members once it names ε."""
    part = (ROOT / "README.md").read_text("utf-8").partition("## How good is it")[2].partition("\n## ")[0]
    paragraphs = [" ".join(each.split()) for each in part.split("\n\n") if "ε = " in each]
    assert len(paragraphs) >= 2
    for each in paragraphs:
        assert re.search(r"at two members?.* at three", each), each


def test_every_figure_that_depends_on_rows_is_said_to() -> None:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    for key in ("`seconds.STAGE`", "`peak_rss_mb`"):
        row = next(line for line in text.splitlines() if line.startswith(f"| {key}"))
        assert "depends on rows" in row

"""A year of the market: every world meets the same people and chances, nobody is learned from twice, nothing before it matured."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from typer.testing import CliRunner

from fedrepay.cli import app
from fedrepay.client.plans.deciding.settings import Settings
from fedrepay.shared.errors import ArgumentError, FedrepayError, StorageError
from fedrepay.simulations.market import models
from fedrepay.simulations.market.market import Market
from fedrepay.simulations.market.value import NO_PLAN, Worth
from fedrepay.simulations.market.year import months, play, worlds
from fedrepay.simulations.market.year.figures import year
from fedrepay.simulations.market.year.plan import YearPlan
from fedrepay.simulations.market.year.presets import YEARS, YearPreset, in_month, newcomers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fedrepay.client.data.reading.table import Table
    from fedrepay.simulations.market.year.months import Month

SMALL = Market("mixed", 3, 0.1, 5)
ENCODER = models.encoder()


def month(number: int = 1, preset: YearPreset = "mixed") -> Month:
    return months.draw(preset, SMALL.lenders, number, 5, Settings(), ENCODER)


def rows(table: Table) -> list[tuple[object, ...]]:
    assert table.outcomes is not None
    return [
        (*each, *outcome) for each, outcome in zip(table.codes.tolist(), table.outcomes.tolist(), strict=True)
    ]


def by_customer(tables: Mapping[str, Table]) -> dict[tuple[str, str], object]:
    found: dict[tuple[str, str], object] = {}
    for name, table in tables.items():
        for customer, row in zip(table.customers, rows(table), strict=True):
            found[name, str(customer)] = row
    return found


def test_what_comes_of_a_plan_hangs_on_no_other_choice() -> None:
    """Half of the accounts are offered something else; what came of the others stays the same to the last label."""
    here = month()
    first = here.perfect
    second = {}
    for name, worth in first.items():
        arm = worth.arm.copy()
        arm[::2] = NO_PLAN
        second[name] = Worth(**{**vars(worth), "arm": arm})
    whole, half = by_customer(here.offered(first)), by_customer(here.offered(second))
    assert 0 < len(half) < len(whole)
    assert all(int(customer.split("-")[1]) % 2 == 1 for _, customer in half)
    same = [key for key in half if half[key] == whole[key]]
    assert same == list(half)


def test_every_customer_is_in_one_window() -> None:
    seen: set[tuple[str, str]] = set()
    past = months.past("mixed", SMALL.lenders, 5)
    windows = [past, *(each.offered(each.perfect) for each in (month(1), month(2), month(3)))]
    for window in windows:
        here = {(name, str(customer)) for name, table in window.items() for customer in table.customers}
        assert here
        assert not seen & here
        seen |= here
    assert not np.array_equal(
        month(1).grounds["m03"].accounts.columns["balance"],
        month(2).grounds["m03"].accounts.columns["balance"],
    )


class Noting(worlds.OwnPolicy):
    """Notes when it learned what."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def learn(self, closed: Mapping[str, Table]) -> None:
        window = {str(customer).split("-")[0] for each in closed.values() for customer in each.customers}
        self.said.append(
            "past" if len(window) > 1 or "-" not in str(closed["m03"].customers[0]) else window.pop()
        )

    def choose(self, month: Month) -> dict[str, Worth]:
        self.said.append(f"chooses {month.number}")
        return super().choose(month)


def test_a_window_is_learned_from_four_months_after_its_offers(monkeypatch: pytest.MonkeyPatch) -> None:
    noting = Noting()
    monkeypatch.setattr(play, "worlds", lambda *_: {"noting": noting})
    play.play(YearPlan(members=3, scale=0.1, months=7))
    assert noting.said == [
        *("past", "chooses 1", "chooses 2", "chooses 3", "chooses 4"),
        *("1", "chooses 5", "2", "chooses 6", "3", "chooses 7"),
    ]


def test_worlds_that_change_do_so_from_their_month_on_and_newcomers_have_no_past() -> None:
    lender = SMALL.lenders[0]
    for preset in YEARS:
        effects = [in_month(preset, lender, number).effects for number in range(13)]
        changes = [number for number in range(1, 13) if effects[number] != effects[number - 1]]
        assert changes == {"recession": [7], "revive": [4]}.get(preset, [])
    market = Market("mixed", 20, 0.05, 5)
    past = months.past("newcomer", market.lenders, 5)
    assert [place for place, each in enumerate(past.values()) if not len(each.codes)] == [3, 11, 17]
    assert not any(len(each.codes) for each in months.past("cold", market.lenders, 5).values())


def test_without_a_past_lenders_go_on_as_before_until_the_first_window_closes() -> None:
    plan = YearPlan(preset="cold", members=3, scale=0.1, months=5, only=("own", "alone", "monthly"))
    told = year(play.play(plan))["worlds"]
    assert told["monthly"]["months"][:4] == told["own"]["months"][:4] == told["alone"]["months"][:4]
    assert told["monthly"]["months"][4]["value"] != told["own"]["months"][4]["value"]


def test_figures_hold_perfect_to_one_and_add_up_the_money() -> None:
    found = play.play(
        YearPlan(preset="newcomer", members=12, scale=0.05, months=2, only=("own", "alone", "monthly"))
    )
    told = year(found)
    assert [row["of_perfect"] for row in told["worlds"]["perfect"]["months"]] == [1.0, 1.0]
    own = told["worlds"]["own"]
    assert own["months"][-1]["money"] == pytest.approx(own["earned"]["money"])
    assert own["earned"]["money"] == pytest.approx(sum(each["money"] for each in own["by_offers"]))
    assert sum(each["members"] for each in own["by_offers"]) == 12
    assert told["windows"] == 1
    assert len(own["newcomers"]) == 2
    assert told["worlds"]["oracle"]["earned"]["regret"] == 0
    assert min(each["earned"]["regret"] for each in told["worlds"].values()) >= 0
    gain = told["gain"]["monthly"][0]
    apart = told["worlds"]["monthly"]["months"][0]["value"] - told["worlds"]["alone"]["months"][0]["value"]
    assert gain["value"] == pytest.approx(apart)
    assert gain["interval"][0] < gain["value"] < gain["interval"][1]


def test_equal_seeds_play_equal_years_and_another_draw_another_noise() -> None:
    def monthly(draw: int) -> object:
        plan = YearPlan(members=3, scale=0.1, months=1, draw=draw, only=("monthly",))
        return year(play.play(plan))["worlds"]["monthly"]["months"]

    assert monthly(0) == monthly(0)
    assert monthly(0) != monthly(1)


def test_the_command_plays_a_short_year_writes_its_page_and_reads_it_again(tmp_path: Path) -> None:
    asked = [
        "simulate",
        "--year",
        "--members",
        "3",
        "--scale",
        "0.1",
        "--months",
        "5",
        "--out",
        str(tmp_path / "a"),
    ]
    done = CliRunner().invoke(app, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "a/metrics.json").read_text())
    assert told["privacy"]["epsilon"] is None
    assert told["year"]["windows"] == 2
    page = (tmp_path / "a/report.html").read_text()
    assert "Everything here is simulated" in page
    assert "<script" not in page
    assert "http" not in page.replace("http://www.w3.org", "")
    before = (tmp_path / "a/report.html").stat().st_mtime_ns
    again = CliRunner().invoke(app, [*asked, "--json"])
    assert json.loads(again.stdout) == told
    assert (tmp_path / "a/report.html").stat().st_mtime_ns == before
    other = CliRunner().invoke(app, [*asked, "--seed", "2"])
    assert other.exit_code != 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--data", "uci"], "--data does not go with --year"),
        (["--market", "nowhere"], "newcomer, cold, recession, revive"),
        (["--months", "25"], "1 … 24"),
        (["--members", "2"], "2"),
        (["--market", "newcomer", "--members", "5"], "three newcomers"),
    ],
)
def test_what_a_year_does_not_have_is_refused(given: list[str], said: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", "--year", *given, "--out", str(tmp_path / "a")])
    assert isinstance(done.exception, ArgumentError)
    assert said in str(done.exception)
    assert not (tmp_path / "a").exists()


def test_months_belong_to_a_year(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["simulate", "--months", "3", "--out", str(tmp_path / "a")])
    assert isinstance(done.exception, ArgumentError)


def test_no_label_is_learned_from_before_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the day a month is learned from all its labels are known; a month sooner (the control) hardly one of ``kept_90``."""

    def unknown() -> float:
        here = month()
        found = [each.outcomes for each in here.offered(here.perfect).values()]
        return float(np.mean(np.concatenate([each[:, 1] for each in found if each is not None]) < 0))

    assert unknown() == 0
    monkeypatch.setattr(months, "AGE", 91)
    assert unknown() > 0.9


def test_a_customer_in_a_second_window_stops_the_world() -> None:
    past = months.past("mixed", SMALL.lenders, 5)
    world = worlds.Together("stream", 1.0, 1)
    world.learn(past)
    with pytest.raises(ValueError, match="learned from before"):
        world.learn(past)


def test_newcomers_are_three_of_different_sizes_however_many_lenders() -> None:
    assert newcomers("newcomer", 6) == (0, 3, 5)
    assert len({*newcomers("newcomer", 8)}) == 3
    assert newcomers("mixed", 20) == ()


NOTHING_FITS = """
[affordability]
usual_surplus = -1.0
usual_spread = 0.001
[affordability.stated]
error = 1.0
level = 0.999999
[affordability.estimated]
error = 1.0
level = 0.999999
[affordability.verified]
error = 1.0
level = 0.999999
"""


def test_a_year_without_a_plan_still_has_its_page(tmp_path: Path) -> None:
    """Nobody can be counted on to afford anything: no share of nothing is made up, and no page is left half-written."""
    settings = tmp_path / "none.toml"
    settings.write_text(NOTHING_FITS)
    asked = ["simulate", "--year", "--members", "3", "--scale", "0.05", "--months", "1"]
    done = CliRunner().invoke(
        app, [*asked, "--settings", str(settings), "--out", str(tmp_path / "a"), "--json"]
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["year"]["worlds"]["monthly"]["earned"]
    assert told["affordable"] is None
    assert (tmp_path / "a/report.html").exists()
    assert (
        CliRunner().invoke(app, [*asked, "--settings", str(settings), "--out", str(tmp_path / "a")]).exit_code
        == 0
    )


def test_what_is_wrong_is_said_before_the_folder_is_taken_and_a_damaged_one_by_name(tmp_path: Path) -> None:
    asked = ["simulate", "--year", "--members", "3", "--scale", "0.05", "--months", "1", "--out"]
    done = CliRunner().invoke(app, [*asked, str(tmp_path / "a"), "--epsilon", "1e-9"])
    assert isinstance(done.exception, FedrepayError)
    assert not (tmp_path / "a").exists()
    assert CliRunner().invoke(app, [*asked, str(tmp_path / "b")]).exit_code == 0
    for damage in ("{", "[]"):
        (tmp_path / "b/metrics.json").write_text(damage)
        again = CliRunner().invoke(app, [*asked, str(tmp_path / "b")])
        assert isinstance(again.exception, StorageError)

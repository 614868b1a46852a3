"""Affordable shares by class and band of known surplus, and the levels fitted to them."""

from typing import Any

import numpy as np
import pytest

from fedrepay.client.plans.deciding.settings import CLASSES, Caution
from fedrepay.simulations.market import bands, caution_levels
from fedrepay.simulations.market.market import Market
from fedrepay.simulations.market.value import Worth


def came(offered: list[bool], affordable: list[bool], value: list[float]) -> Worth:
    n = len(offered)
    rest: Any = dict.fromkeys(("arm", "uplift", "first", "kept", "balance"), np.zeros(n))
    return Worth(**rest, offered=np.array(offered), affordable=np.array(affordable), value=np.array(value))


def test_every_account_with_a_form_stands_in_one_cell() -> None:
    accounts = Market(members=3, scale=0.1).accounts("m01", 400)
    known, band = accounts.columns["income_verified"], bands.band_of(accounts)
    found = bands.cells(known, band, came([True] * 400, [True] * 400, [0.1] * 400))
    assert sum(each["accounts"] for each in found) == int((known != "none").sum())
    ratio = accounts.columns["surplus"].astype(float) / accounts.columns["income"].astype(float)
    for each in found:
        low, high = each["from"] or -np.inf, each["to"] or np.inf
        here = (known == each["income"]) & (ratio >= low) & (ratio < high)
        assert each["accounts"] == int(here.sum())


def test_a_cell_counts_plans_and_the_mean_counts_everybody() -> None:
    known = np.array(["stated", "stated", "stated", "verified"], object)
    worth = came([True, True, False, True], [True, False, True, True], [0.1, 0.3, 0.5, 0.2])
    found = {
        (each["income"], each["from"]): each for each in bands.cells(known, np.array([0, 0, 0, 5]), worth)
    }
    poor = found["stated", None]
    assert (poor["accounts"], poor["plans"], poor["affordable"]) == (3, 2, 0.5)
    assert poor["value"] == pytest.approx(0.3)
    assert found["verified", 0.2]["affordable"] == 1.0
    empty = found["estimated", 0.02]
    assert (empty["plans"], empty["affordable"], empty["interval"], empty["value"]) == (0, None, None, None)


def test_wilson_s_interval() -> None:
    assert bands.interval(0.95, 100) == pytest.approx((0.8882, 0.9785), abs=1e-4)
    assert bands.interval(1.0, 50)[0] == pytest.approx(0.9287, abs=1e-4)


def tried(low: dict[float, float], plans: int = 2_000) -> dict[float, list[dict[str, Any]]]:
    def cell(name: str, low: float, plans: int) -> dict[str, Any]:
        return {"income": name, "plans": plans, "affordable": low, "value": 0.1}

    return {
        level: [each for name in CLASSES[1:] for each in (cell(name, end, plans), cell(name, 0.99, 5_000))]
        for level, end in low.items()
    }


def test_a_level_holds_in_every_cell_or_is_not_taken() -> None:
    found = caution_levels.fit(tried({0.96: 0.958, 0.95: 0.957, 0.97: 0.97}))
    assert found == dict.fromkeys(CLASSES[1:], 0.96)
    with pytest.raises(ValueError, match="stated: no level"):
        caution_levels.fit(tried({0.95: 0.90, 0.96: 0.94}))
    few = tried({0.95: 0.90}, plans=caution_levels.LEAST - 1)
    assert caution_levels.fit(few) == dict.fromkeys(CLASSES[1:], 0.95)


def test_levels_are_never_judged_on_the_seeds_they_were_fitted_on(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        caution_levels.main(["--fit", "1", "2", "--judge", "2"])
    assert "must not be judged" in capsys.readouterr().err
    assert not set(caution_levels.FIT) & set(caution_levels.JUDGE)


def test_larger_errors_than_believed_are_a_smaller_belief() -> None:
    levels = dict.fromkeys(CLASSES[1:], 0.96)
    found = caution_levels.with_levels(levels, 1.25)
    assert found.stated.error == pytest.approx(Caution().stated.error / 1.25)
    assert {getattr(found, name).level for name in CLASSES[1:]} == {0.96}

"""A member's limits: each bound just inside and just outside, without a consortium."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fedrepay.client.veto import limits
from fedrepay.client.veto.limits import Limits
from fedrepay.shared.errors import ArgumentError, BudgetError, Refusal
from fedrepay.shared.trust.roster import default_colluders
from fedrepay.shared.trust.wire import RoundConfig
from support.eight_members import CONFIG, NAMES, changed


def public(n_max: int = 1000, members_max: int = 20) -> Any:
    return SimpleNamespace(n_max=n_max, members_max=members_max)


def checked(config: RoundConfig, made: Limits, roster: int = 8, **of_schema: int) -> str:
    try:
        made.check(config, roster, public(**of_schema))
    except Refusal as refused:
        return f"{refused.code}: {refused.cause}"
    return ""


def test_limits_unless_a_member_sets_them() -> None:
    assert Limits().model_dump() == {
        "minimum_cohort": 5,
        "epsilon_per_release": 1.0,
        "epsilon_per_year": 4.0,
        "delta_per_year": None,
        "delta_per_release": 1e-5,
        "max_attempts": 3,
        "minimum_colluders": None,
        "allow_unprotected": False,
        "allow_simulated": False,
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("minimum_cohort", [3], [2]),
        ("epsilon_per_release", [1e-9, 1e9], [0.0, -1.0]),
        ("epsilon_per_year", [1e-9, 1e9], [0.0, -1.0]),
        ("delta_per_year", [1e-9, 0.9999, None], [0.0, -1.0, 1.0]),
        ("delta_per_release", [1e-9, 0.9999], [0.0, -1.0, 1.0]),
        ("max_attempts", [0], [-1]),
        ("minimum_colluders", [1, None], [0]),
    ],
)
def test_limits_have_bounds(name: str, good: list[Any], bad: list[Any]) -> None:
    for value in good:
        assert getattr(Limits.model_validate({name: value}), name) == value
    for value in bad:
        with pytest.raises(ValueError, match=name):
            Limits.model_validate({name: value})
    with pytest.raises(ValueError, match="extra"):
        Limits.model_validate({"another": 1})
    with pytest.raises(ValueError, match="frozen"):
        Limits().max_attempts = 9


@pytest.mark.parametrize(
    ("config", "made", "cause"),
    [
        ({}, {}, ""),
        ({"epsilon": 1.0}, {"epsilon_per_release": 0.999}, "epsilon = 1 passes"),
        ({"delta": 1e-6}, {"delta_per_release": 9e-7}, "delta = 1e-06 passes"),
        ({"delta": 1e-6}, {"delta_per_release": 1e-6}, ""),
        ({"max_attempts": 3}, {"max_attempts": 2}, "max_attempts = 3 passes"),
        ({"colluders": 2}, {"minimum_colluders": 3}, "colluders = 2 is below this member's 3"),
        ({"colluders": 2}, {"minimum_colluders": 2}, ""),
        ({"colluders": 1}, {}, ""),
        ({"cohort": NAMES[:4], "colluders": 1}, {}, "A cohort of 4 is below this member's 5"),
        ({"cohort": NAMES[:5], "colluders": 1}, {}, ""),
        ({"cohort": NAMES[:6]}, {"minimum_cohort": 7}, "below this member's 7"),
        (
            {"cohort": NAMES[:4], "colluders": 1},
            {"minimum_cohort": 3},
            "below this member's 5",
        ),  # ⌊(8 + 1)/2⌋ + 1
        (
            {"cohort": NAMES[:6], "colluders": 5},
            {"minimum_cohort": 3},
            "below this member's 7",
        ),  # ⌊(8 + 5)/2⌋ + 1
        ({"mode": "none", "epsilon": 99.0, "delta": 0.5}, {"allow_unprotected": True}, ""),
        ({"mode": "none"}, {}, "adds no noise"),
        ({"mode": "none", "max_attempts": 4}, {"allow_unprotected": True}, "max_attempts = 4"),
        (
            {"mode": "none", "cohort": NAMES[:4], "colluders": 1},
            {"allow_unprotected": True},
            "below this member's 5",
        ),
        ({"simulated": True}, {}, "marked as a simulation"),
        ({"simulated": True}, {"allow_simulated": True}, ""),
        ({"colluders": 1}, {"minimum_cohort": 9}, "A roster of 8 is below this member's minimum_cohort = 9"),
        ({"colluders": 1}, {"minimum_cohort": 8}, "A cohort of 7 is below this member's 8"),
    ],
)
def test_a_round_past_a_limit_is_refused(config: dict[str, Any], made: dict[str, Any], cause: str) -> None:
    found = checked(changed(**config), Limits(**made))
    assert cause in found
    assert found.startswith("limits: ") == bool(cause)


def test_a_large_roster_asks_for_more_colluders() -> None:
    many = tuple(f"m{i:03d}" for i in range(40))
    config = changed(cohort=many, colluders=3)
    assert default_colluders(40) == 4
    assert "colluders = 3 is below this member's 4" in checked(config, Limits(), 40, members_max=40)
    assert checked(changed(config, colluders=4), Limits(), 40, members_max=40) == ""
    assert checked(config, Limits(minimum_colluders=3), 40, members_max=40) == ""


def test_the_schema_bounds_members_and_delta() -> None:
    assert checked(CONFIG, Limits(), members_max=8) == ""
    assert "members = 8 passes" in checked(CONFIG, Limits(), members_max=7)
    assert checked(CONFIG, Limits(), n_max=5_000) == ""  # 1/(10·20·5,000) is δ itself
    for wider in ({"n_max": 5_001}, {"n_max": 5_000, "members_max": 21}):
        assert CONFIG.delta <= 1 / (10 * wider["n_max"]), (
            "control: the bound without the members would pass it"
        )
        assert "delta = 1e-06 passes" in checked(CONFIG, Limits(), **wider)


def test_the_years_delta_has_the_same_bound() -> None:
    assert checked(CONFIG, Limits(delta_per_year=5e-6), n_max=1_000) == ""
    for wider in ({"n_max": 1_001}, {"members_max": 21}):
        found = checked(CONFIG, Limits(delta_per_year=5e-6), **wider)
        assert "delta_per_year = 5e-06 passes 1/(10·members_max·n_max) = 4." in found
    assert Limits().year_delta(public(n_max=10)) == 1e-5
    assert Limits().year_delta(public(n_max=10_000)) == 1 / (10 * 20 * 10_000)
    assert Limits(delta_per_year=1e-9).year_delta(public()) == 1e-9


def test_the_years_limit_is_the_last_that_passes() -> None:
    Limits().check_year(4.0, 1e-5)
    with pytest.raises(BudgetError, match="the limit is 4 at δ = 1e-05"):
        Limits().check_year(math.nextafter(4.0, 5), 1e-5)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("minimum_cohort = 2", "minimum_cohort"),
        (
            "minimum_cohort = 2\nmax_attempts = -1",
            r"minimum_cohort: .* \(it is 2\); max_attempts: .* \(it is -1\)",
        ),
        ("other = 1", "other"),
        ('allow_unprotected = "yes"', r"allow_unprotected: .* \(it is 'yes'\)"),
        ("allow_simulated = 1", r"allow_simulated: .* \(it is 1\)"),
        ("epsilon_per_year = 1e400", "epsilon_per_year: a number must be finite"),
        ("epsilon_per_release = inf", "epsilon_per_release: a number must be finite"),
        ('epsilon_per_year = "5"', r"epsilon_per_year: .* \(it is '5'\)"),
        (
            "delta_per_year = 5.1e-6",
            r"delta_per_year = 5.1e-06 is outside 0 … 1/\(10·members_max·n_max\) = 5e-06",
        ),
        ("=", "is not TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_file_of_limits_that_cannot_be_used_says_why(text: str | None, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ArgumentError, match=cause) as caught:
        limits.load(path, public())
    assert str(path) in caught.value.cause
    assert text is not None or caught.value.remedy == "Check --limits."


def test_a_file_of_limits_is_read(tmp_path: Path) -> None:
    (tmp_path / "limits.toml").write_text("minimum_cohort = 7\nallow_unprotected = true\n# größer\n", "utf-8")
    assert limits.load(tmp_path / "limits.toml", public()) == Limits(minimum_cohort=7, allow_unprotected=True)
    (tmp_path / "limits.toml").write_text("delta_per_year = 5e-6\n")
    assert limits.load(tmp_path / "limits.toml", public()) == Limits(delta_per_year=5e-6), "the bound itself"

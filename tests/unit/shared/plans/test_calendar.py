"""Working days: golden dates of bank holidays, regions, month ends, and places that nobody knows."""

import numpy as np
import pytest

from fedrepay.client.plans.deciding.settings import parse_settings
from fedrepay.shared.errors import CatalogueError
from fedrepay.shared.plans.calendar import Calendar, knows
from fedrepay.shared.rules.facts import JURISDICTIONS


def moved(calendar: Calendar, text: str) -> str:
    day = np.array([np.datetime64(text, "D").astype(np.int64)])
    return str(calendar.moved(day).astype("datetime64[D]")[0])


@pytest.mark.parametrize(
    ("place", "region", "due", "falls"),
    [
        ("UK", "", "2027-03-28", "2027-03-30"),  # Easter Sunday; Monday is a holiday in three of the regions
        ("UK", "GB-SCT", "2027-03-28", "2027-03-29"),  # but not in Scotland
        ("UK", "GB-ENG", "2027-03-29", "2027-03-30"),  # Easter Monday
        ("UK", "GB-ENG", "2027-12-26", "2027-12-29"),  # a Sunday; the 27th and 28th stand in for both days
        ("UK", "GB-SCT", "2029-01-02", "2029-01-03"),
        ("UK", "GB-ENG", "2029-01-02", "2029-01-02"),
        ("UK", "", "2029-01-02", "2029-01-03"),
        ("UK", "", "2027-01-31", "2027-01-30"),  # a Sunday that ends its month
        ("UK", "", "2027-06-05", "2027-06-05"),  # a Saturday
        ("", "GB-SCT", "2029-01-02", "2029-01-03"),
        ("NL", "GB-SCT", "2029-01-02", "2029-01-02"),
        ("NL", "", "2027-04-27", "2027-04-28"),
        ("PT", "", "2027-04-25", "2027-04-26"),
        ("CN", "", "2027-10-01", "2027-10-06"),
        ("US", "", "2027-07-05", "2027-07-06"),
        ("", "", "2027-12-25", "2027-12-25"),
        ("", "", "2027-12-26", "2027-12-27"),
        ("Atlantis", "", "2027-12-25", "2027-12-25"),
    ],
)
def test_a_due_date_is_moved_to_a_working_day_of_its_month(
    place: str, region: str, due: str, falls: str
) -> None:
    assert moved(Calendar(place, region), due) == falls


@pytest.mark.parametrize("place", JURISDICTIONS)
def test_every_place_of_the_facts_has_holidays(place: str) -> None:
    year = np.arange(20_819, 20_819 + 365)  # 2027
    sundays = Calendar().closed(year)
    assert sundays.sum() == 52
    assert (Calendar(place).closed(year) & ~sundays).sum() >= 5
    ahead = Calendar(place).moved(year)
    assert not Calendar(place).closed(ahead).any()
    assert (
        ahead.astype("datetime64[D]").astype("datetime64[M]")
        == year.astype("datetime64[D]").astype("datetime64[M]")
    ).all()
    assert (np.diff(ahead) >= 0).all()


def test_a_region_is_one_that_has_holidays() -> None:
    assert [knows(each) for each in ("GB-SCT", "DE-BY", "GB-XXX", "XX-AA", "GB", "")] == [True, True] + [
        False
    ] * 4
    assert parse_settings(b'region = "GB-SCT"', "s.toml").region == "GB-SCT"
    with pytest.raises(CatalogueError, match="Scotland is no region"):
        parse_settings(b'region = "Scotland"', "s.toml")

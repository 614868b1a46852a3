"""Days on which nobody's bank is open: Sundays and bank holidays where a debtor lives, from the package ``holidays``.

A due date on one is moved to the next working day, unless that lies in another calendar month, then to the one before
(the "modified following" of payment terms): a month never gets an instalment of another.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from fedrepay.shared.arrays import I64, Bool
from fedrepay.shared.plans.due import month_and_day

NAMES = {"UK": "GB"}
"""Places that the package names otherwise (ISO 3166-1)."""
BANKS = ("public", "bank")
"""Its categories of holidays that close banks."""


@dataclass(frozen=True)
class Calendar:
    """Working days of one place.

    Attributes:
        place: a jurisdiction (``facts.JURISDICTIONS``); "" where it is not known, or "" with a region: the region's.
        region: of the place, ISO 3166-2 such as ``GB-SCT``. Without one, or with one of another place, a holiday of any
            region of the place is one.

    A place that the package does not know has Sundays only.
    """

    place: str = ""
    region: str = ""

    def closed(self, days: I64) -> Bool:
        """Which days, since 1970-01-01, of any shape, are Sundays or bank holidays."""
        if not days.size:
            return np.zeros(days.shape, np.bool_)
        first, last = (int(year) for year in _year(np.array([days.min(), days.max()])))
        of_region, _, part = self.region.partition("-")
        country = NAMES.get(self.place, self.place) or of_region
        part = part if country == of_region else ""
        free = np.concatenate([_holidays(country, part, year) for year in range(first, last + 1)])
        return np.asarray(((days + 3) % 7 == 6) | np.isin(days, free))

    def moved(self, days: I64) -> I64:
        """The working days that due dates are moved to, days since 1970-01-01, of the given shape."""
        ahead, back = self._searched(days, 1), self._searched(days, -1)
        return np.asarray(np.where(month_and_day(ahead)[0] == month_and_day(days)[0], ahead, back))

    def _searched(self, days: I64, step: int) -> I64:
        found = days.astype(np.int64)
        while (closed := self.closed(found)).any():
            found = found + step * closed
        return found


def knows(region: str) -> bool:
    """Whether the package knows a region, ISO 3166-2."""
    country, _, part = region.partition("-")
    return part in _parts(country)


def _year(days: I64) -> I64:
    return 1970 + days.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64)


def _parts(country: str) -> list[str]:
    import holidays  # noqa: PLC0415

    return list(holidays.list_supported_countries().get(country, ()))


@cache
def _holidays(country: str, part: str, year: int) -> I64:
    """Bank holidays of a year, days since 1970-01-01: of one part of the country, or of any."""
    import holidays  # noqa: PLC0415

    if country not in holidays.list_supported_countries():
        return np.zeros(0, np.int64)
    found = set()
    for each in [part] if part else [None, *_parts(country)]:
        of = holidays.country_holidays(country, subdiv=each)
        kinds = tuple(kind for kind in BANKS if kind in of.supported_categories)
        found |= set(holidays.country_holidays(country, subdiv=each, years=year, categories=kinds))
    return np.array(sorted(found), "datetime64[D]").astype(np.int64)

"""First dates of accounts: by the wish or payday that is known of each, on working days where its debtor lives."""

import numpy as np

from fedrepay.client.plans.deciding.chunk import Accounts
from fedrepay.shared.arrays import F64, I64
from fedrepay.shared.plans.calendar import Calendar
from fedrepay.shared.plans.catalogue import Arms
from fedrepay.shared.plans.first_dates import FirstDates, first_dates
from fedrepay.shared.rules.facts import FACTS, FactTable

WISHED, PAYDAY = "wished_day", "days_to_payday"
"""The columns: a day of the month, 1 … 31, beside the schema's; and the schema's days to the next payday, 0 … 31."""
PLACE = "jurisdiction"
_NAMES = (*FACTS[PLACE].categories, "")


def dates_of(arms: Arms, accounts: Accounts, facts: FactTable, region: str, today: int) -> FirstDates:
    """First dates of n accounts × P arms.

    Args:
        arms: of the catalogue.
        accounts: n of them.
        facts: theirs; the jurisdiction tells the place.
        region: of the member's settings.
        today: day since 1970-01-01.
    """
    codes, place = np.unique(_codes(facts), return_inverse=True)
    calendars = [Calendar(_NAMES[code], region) for code in codes.tolist()]
    payday = _within(accounts, PAYDAY, 0, 31)
    return first_dates(arms, today, payday, _within(accounts, WISHED, 1, 31), calendars, place.reshape(-1))


def calendar_of(facts: FactTable, region: str, row: int) -> Calendar:
    """The working days where one account's debtor lives."""
    return Calendar(_NAMES[int(_codes(facts)[row])], region)


def _codes(facts: FactTable) -> I64:
    """Jurisdictions, places in ``_NAMES``, the last where not known, (n,)."""
    code, known = facts.read(PLACE)
    return np.where(known, code, len(_NAMES) - 1).astype(np.int64)


def _within(accounts: Accounts, name: str, low: int, high: int) -> F64:
    """Whole days, NaN where none is known, (n,)."""
    given = accounts.beside.get(name, accounts.raw.get(name))
    if given is None:
        return np.full(len(accounts.names), np.nan)
    days = np.floor(np.asarray(given, np.float64))
    return np.where((days >= low) & (days <= high), days, np.nan)

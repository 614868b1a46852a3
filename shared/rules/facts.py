"""The closed list of facts that rules may read about an account or a planned contact.

A fact may be unknown: its column is absent, or holds NaN or None (an empty text in a category). Rules
never take an unknown fact for a permission. Restricted facts are never features of a model, and stand in
records that few may open (docs/domain.md section 2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fedrepay.shared.arrays import Bool
from fedrepay.shared.errors import DataError

EU = (
    *("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU"),
    *("IE", "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK"),
)
"""Member states; a pack of jurisdiction EU applies in each."""

JURISDICTIONS = ("US", "UK", "CN", *EU)
"""Where the debtor lives: the law that protects them. Alpha-2 codes, and UK as it calls itself."""

DEBT_TYPES = ("consumer", "card", "mortgage", "utility", "business", "high_cost_short_term")
"""``consumer``: consumer credit of no other type here; ``business``: the debtor is not a consumer;
``high_cost_short_term``: consumer credit at 100 % a year or more, due within twelve months."""

DRIVERS = ("none", "health", "life_event", "resilience", "capability")
"""Drivers of vulnerability (FCA FG21/1)."""

NONE = -1
"""In a count of days: it never happened."""

_LONG = 36_500
_MONEY = 10**13


@dataclass(frozen=True)
class Fact:
    """One fact: type, unit, public bounds, and what it means."""

    name: str
    type: Literal["bool", "int", "number", "category"]
    unit: str
    words: str
    low: float = 0
    high: float = 1
    restricted: bool = False
    categories: tuple[str, ...] = ()


def _bool(name: str, words: str, *, restricted: bool = False) -> Fact:
    return Fact(name, "bool", "yes or no", words, restricted=restricted)


def _days(name: str, words: str, *, restricted: bool = False) -> Fact:
    return Fact(name, "int", "days", words, NONE, _LONG, restricted)


def _money(name: str, words: str) -> Fact:
    return Fact(name, "int", "minor units", words, 0, _MONEY)


_ALL = (
    Fact("jurisdiction", "category", "code", "where the debtor lives", categories=JURISDICTIONS),
    Fact("debt_type", "category", "code", "what kind of debt it is", categories=DEBT_TYPES),
    # the planned contact
    Fact("calls_7d", "int", "calls", "calls placed about this debt in the last 7 days", 0, 10_000),
    _days("days_since_conversation", "days since the last telephone conversation: 0 today, −1 never"),
    Fact(
        "unanswered_attempts_today",
        "int",
        "attempts",
        "attempts today that nobody answered, on the most tried contact method",
        0,
        10_000,
    ),
    Fact(
        "contact_minute", "int", "minutes", "minute of the day of the contact in the debtor's zone", 0, 1439
    ),
    # consents
    _bool("consent_sms", "the debtor agrees to text messages", restricted=True),
    _bool("consent_email", "the debtor agrees to e-mail", restricted=True),
    _bool("consent_call", "the debtor agrees to calls", restricted=True),
    _bool("consent_portal", "the debtor agrees to messages in the portal", restricted=True),
    _bool("consent_letter", "the debtor agrees to letters", restricted=True),
    _bool("night_consent", "the debtor agrees to contact in quiet hours", restricted=True),
    _bool("contact_refused", "the debtor asked not to be contacted about the debt", restricted=True),
    _bool(
        "automated_decision_basis",
        "consent, contract or law allows a decision by machine alone",
        restricted=True,
    ),
    # the debt
    Fact("dpd", "int", "days", "days past due", 0, _LONG),
    _money("balance", "principal outstanding, without collection costs"),
    _money("collection_costs_charged", "collection costs charged so far"),
    _money("collection_cost_actual", "what collecting this debt has cost the creditor so far"),
    _bool("fees_authorised", "the agreement or the law expressly allows fees"),
    Fact("apr", "number", "a year", "the contract's interest rate, 0.2 for 20 %", 0, 20),
    Fact("agreement_months", "int", "months", "months already run of an agreement to be changed", 0, 1200),
    _bool("agreement_kept", "an agreed plan is running and kept"),
    _money("arrears", "overdue under a contract that still runs"),
    _money("contractual_instalment", "due each month under a contract that still runs"),
    Fact("term_left", "int", "months", "months left of a contract that still runs", 0, 1200),
    # procedures
    _days("notice_age_d", "days since the debtor received the 14-day letter: 0 that day, −1 no letter"),
    _days("persi_day", "days since the account entered PERSI: 0 that day, −1 never"),
    _bool("persi_proposal_made", "a proposal was made in PERSI"),
    _days("moratorium_day", "day of a breathing space: 1 its first day, −1 none", restricted=True),
    _days(
        "mental_health_crisis_day",
        "0 while mental-health crisis treatment lasts, then days since it ended, −1 none",
        restricted=True,
    ),
    # people
    _bool("health_data", "data about health is held or used in this case", restricted=True),
    Fact(
        "vulnerability_driver",
        "category",
        "code",
        "driver of vulnerability",
        restricted=True,
        categories=DRIVERS,
    ),
    _bool("adviser_engaged", "a debt adviser acts for the debtor", restricted=True),
    _bool("dispute", "the debtor disputes the debt", restricted=True),
    _bool("dormant", "a dormancy of 12–36 months is running", restricted=True),
    _bool("time_barred", "the debt is time-barred", restricted=True),
    _bool("deceased", "the debtor has died", restricted=True),
    _bool("insolvent", "insolvency proceedings are open", restricted=True),
)
FACTS: dict[str, Fact] = {fact.name: fact for fact in _ALL}
RESTRICTED = frozenset(fact.name for fact in _ALL if fact.restricted)
"""Never a feature of a model; kept apart in records."""
HIDDEN = "restricted"
"""Stands for a value of one of these."""

Column = npt.NDArray[Any]


def shown(name: str, value: object) -> object:
    """A cell as an error or a file of rejects may show it: of a restricted fact, nothing."""
    return HIDDEN if name in RESTRICTED else value


class FactTable:
    """Facts of n accounts, checked when first read; categories become codes.

    Args:
        facts: by name, (n,) each; absent columns are not known. As given they stand in ``columns``.
        accounts: n.

    Raises:
        DataError: a fact outside the closed list.
    """

    def __init__(self, facts: Mapping[str, Column], accounts: int) -> None:
        unknown = sorted(set(facts) - set(FACTS))
        if unknown:
            raise DataError(
                f"No such fact: {', '.join(unknown)}.",
                f"Facts are a closed list: {', '.join(sorted(FACTS))}.",
            )
        self.columns = facts
        self._checked: dict[str, tuple[Column, Bool]] = {}
        self.accounts = accounts

    def take(self, rows: npt.NDArray[np.integer]) -> "FactTable":
        """The chosen accounts' facts; what is checked is not checked again."""
        checked = {name: (values[rows], known[rows]) for name, (values, known) in self._checked.items()}
        found = FactTable({name: each[rows] for name, each in self.columns.items()}, len(rows))
        found._checked = checked
        return found

    def read(self, name: str) -> tuple[Column, Bool]:
        """(values, known), both (n,); values are 0 where not known.

        Raises:
            DataError: another length, type or value outside the bounds, naming fact, row, value and bound.
        """
        if name not in self._checked:
            column = self.columns.get(name)
            if column is None:
                self._checked[name] = (np.zeros(self.accounts), np.zeros(self.accounts, np.bool_))
            else:
                self._checked[name] = _check(FACTS[name], np.asarray(column), self.accounts)
        return self._checked[name]


def _check(fact: Fact, column: Column, accounts: int) -> tuple[Column, Bool]:
    if column.shape != (accounts,):
        raise DataError(
            f"Fact {fact.name} has shape {column.shape}, not ({accounts},).", "Give one value per account."
        )
    if fact.type == "category":
        return _codes(fact, column)
    if column.dtype.kind in "OUS":
        column = _numbers(fact, column)
    if column.dtype.kind not in "biuf" or (fact.type != "bool" and column.dtype.kind == "b"):
        raise DataError(f"Fact {fact.name} is {column.dtype}, not {fact.type}.", f"It is {fact.words}.")
    known = ~np.isnan(column) if column.dtype.kind == "f" else np.ones(accounts, np.bool_)
    if not known.all():
        column = np.where(known, column, 0)
    wrong = known & ((column < fact.low) | (column > fact.high))
    if fact.type != "number" and column.dtype.kind == "f":
        wrong |= column != np.trunc(column)
    if wrong.any():
        row = int(wrong.argmax())
        whole = "" if fact.type == "number" else "whole, "
        raise DataError(
            f"Fact {fact.name}, account {row}: {shown(fact.name, column[row])} is not {whole}from {fact.low:g} to {fact.high:g}.",
            f"It is {fact.words} ({fact.unit}).",
        )
    return column.astype(np.bool_) if fact.type == "bool" else column, known


def _codes(fact: Fact, column: Column) -> tuple[Column, Bool]:
    if column.dtype.kind not in "OU":
        raise DataError(
            f"Fact {fact.name} is {column.dtype}, not text.", f"Use {', '.join(fact.categories)}."
        )
    code = np.full(len(column), len(fact.categories), np.uint8)
    known = np.zeros(len(column), np.bool_)
    for place, category in enumerate(fact.categories):
        here = np.asarray(column == category, np.bool_)
        code[here] = place
        known |= here
    rest = np.flatnonzero(~known)
    for row in rest:
        value = column[row]
        if value is not None and value != "" and not (isinstance(value, float) and np.isnan(value)):
            raise DataError(
                f"Fact {fact.name}, account {row}: {shown(fact.name, repr(value))} is none of {', '.join(fact.categories)}.",
                "Leave it empty where it is not known.",
            )
    return code, known


def _numbers(fact: Fact, column: Column) -> Column:
    """An object column of numbers, booleans and None as floats."""
    try:
        return np.array([np.nan if each is None else float(each) for each in column], np.float64)
    except (TypeError, ValueError) as error:
        says = shown(fact.name, error)
        raise DataError(f"Fact {fact.name} holds {says}.", f"It is {fact.words} ({fact.unit}).") from error

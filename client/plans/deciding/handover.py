"""When a human takes over, why, and by when; a closed list of reasons, for n accounts at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.decide import HANDOFFS
from fedrepay.client.plans.deciding.settings import Handover
from fedrepay.shared.arrays import F64, I64, U8, Bool, Objects

Column = npt.NDArray[np.generic]

STRONGEST_FIRST = (
    *("REQUESTED", "VULNERABLE", "PROTECTED", "RULE", "UNKNOWN_FACT"),
    *("CONTRADICTION", "DATE_CHANGES", "LOW_CONFIDENCE"),
)
"""Where several reasons hold, the first of these is the code."""

REASONS = {
    "REQUESTED": "the customer asked for a person",
    "VULNERABLE": "the customer may need particular care",
    "PROTECTED": "collection rests until a person has looked at it",
    "RULE": "a rule asks for a person to decide",
    "UNKNOWN_FACT": "a rule needs a fact that is not known",
    "CONTRADICTION": "what is known of the customer contradicts itself",
    "DATE_CHANGES": "the date of payment was changed again and again",
    "LOW_CONFIDENCE": "the prediction is too unsure",
}

CONTRADICTIONS = {
    "SURPLUS_ABOVE_INCOME": "surplus above income",
    "SURPLUS_WITHOUT_INCOME": "a surplus, but no income",
    "FORM_WITHOUT_INCOME": "an income form, but no income",
    "FEES_ABOVE_BALANCE": "fees above the balance",
    "KEPT_WITHOUT_PROMISE": "a share of promises kept, but no promise",
    "NO_WORK_HIGH_INCOME": "out of work, with more than one and a half median incomes",
}
"""A closed list; the first that holds is named."""

HIGH = 1.5
"""Median incomes above which an income is at odds with having no work."""
MINUTES_A_DAY = 1440


@dataclass(frozen=True, eq=False)
class HandedOver:
    """Who goes to a human, (n,) each.

    ``code`` into ``HANDOFFS``, 0 for nobody; ``reason`` in words; ``due`` minutes since 1970-01-01, −1 for nobody:
    the soonest among all reasons that hold.
    """

    code: U8
    reason: Objects
    due: I64


def hand_over(settings: Handover, known: Mapping[str, Column], accounts: int, now: int) -> HandedOver:
    """Decide who needs a human.

    Args:
        settings: after how many date changes, below which confidence, and within how many hours.
        known: columns by name, (n,) each; one that is absent, or unknown in a row, hands nobody over.
            ``human_requested``, ``vulnerable``, ``protected``, ``rule``, ``unknown_fact`` yes or no; ``date_changes_90d``;
            ``confidence`` 0–1; and the account columns that ``contradictions`` reads.
        accounts: n.
        now: minutes since 1970-01-01.
    """
    against = contradictions(known, accounts)
    changes, confidence = (_numbers(known, name, accounts) for name in ("date_changes_90d", "confidence"))
    holds = {
        "REQUESTED": _yes(known, "human_requested", accounts),
        "VULNERABLE": _yes(known, "vulnerable", accounts),
        "PROTECTED": _yes(known, "protected", accounts),
        "RULE": _yes(known, "rule", accounts),
        "UNKNOWN_FACT": _yes(known, "unknown_fact", accounts),
        "CONTRADICTION": against != "",
        "DATE_CHANGES": changes >= settings.date_changes_90d,
        "LOW_CONFIDENCE": confidence < settings.least_confidence,
    }
    code = np.zeros(accounts, np.uint8)
    due = np.full(accounts, np.iinfo(np.int64).max)
    for name in reversed(STRONGEST_FIRST):
        code[holds[name]] = HANDOFFS.index(name)
        soonest = np.minimum(due, now + 60 * settings.hours[name])
        due = np.where(holds[name], soonest, due)
    reason = np.array([REASONS.get(name, "") for name in HANDOFFS], np.object_)[code]
    named = code == HANDOFFS.index("CONTRADICTION")
    reason[named] = [f"{REASONS['CONTRADICTION']}: {CONTRADICTIONS[each]}" for each in against[named]]
    named = code == HANDOFFS.index("DATE_CHANGES")
    reason[named] = [f"{REASONS['DATE_CHANGES']}: {each:.0f} times in 90 days" for each in changes[named]]
    return HandedOver(code, reason, np.where(code > 0, due, -1))


def contradictions(known: Mapping[str, Column], accounts: int) -> Objects:
    """The first of ``CONTRADICTIONS`` that holds for each account, or "", (n,).

    Reads ``income``, ``surplus``, ``balance``, ``fees``, ``kept_ratio_12m``, ``promises_12m``, ``median_income``
    (numbers, NaN unknown), ``income_verified`` and ``employment`` (text); what is absent contradicts nothing.
    """
    names = ("income", "surplus", "balance", "fees", "kept_ratio_12m", "promises_12m", "median_income")
    income, surplus, balance, fees, kept, promises, median = (
        _numbers(known, name, accounts) for name in names
    )
    no_income = np.isnan(income) | (income <= 0) if "income" in known else np.zeros(accounts, np.bool_)
    holds = {
        "SURPLUS_ABOVE_INCOME": surplus > income,
        "SURPLUS_WITHOUT_INCOME": no_income & ~np.isnan(surplus),
        "FORM_WITHOUT_INCOME": no_income
        & _is(known, "income_verified", ("stated", "estimated", "verified"), accounts),
        "FEES_ABOVE_BALANCE": fees > balance,
        "KEPT_WITHOUT_PROMISE": ~np.isnan(kept) & (promises == 0),
        "NO_WORK_HIGH_INCOME": (income > HIGH * median) & _is(known, "employment", ("unemployed",), accounts),
    }
    found = np.full(accounts, "", np.object_)
    for name in reversed(CONTRADICTIONS):
        found[np.asarray(holds[name], np.bool_)] = name
    return found


def minute_text(minute: int) -> str:
    """A minute since 1970-01-01 as YYYY-MM-DDTHH:MM, in UTC."""
    return str(np.datetime64(minute, "m"))


def _numbers(known: Mapping[str, Column], name: str, accounts: int) -> F64:
    """A column with NaN where unknown, (n,); all of it where absent."""
    if name not in known:
        return np.full(accounts, np.nan)
    column = known[name]
    if column.dtype.kind == "O":
        return np.array([np.nan if each is None else each for each in column.tolist()], np.float64)
    return np.asarray(column, np.float64)


def _yes(known: Mapping[str, Column], name: str, accounts: int) -> Bool:
    return np.asarray(_numbers(known, name, accounts) == 1)


def _is(known: Mapping[str, Column], name: str, values: tuple[str, ...], accounts: int) -> Bool:
    if name not in known:
        return np.zeros(accounts, np.bool_)
    return np.isin(known[name].astype(str), values)

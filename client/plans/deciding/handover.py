"""When a human takes over, why, and by when; a closed list of reasons, for n accounts at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedrepay.client.plans.deciding.chunk import Chunk
from fedrepay.client.plans.deciding.decide import HANDOFFS
from fedrepay.client.plans.deciding.judged import NONE, Judged, Why
from fedrepay.client.plans.deciding.need import needs
from fedrepay.client.plans.deciding.settings import Handover, Settings
from fedrepay.shared.arrays import F64, I64, U8, Bool, Objects

Column = npt.NDArray[np.generic]

STRONGEST_FIRST = (
    *("REQUESTED", "VULNERABLE", "PROTECTED", "RULE", "UNKNOWN_FACT", "UNCOVERED", "OUT_OF_BOUNDS"),
    *("CONTRADICTION", "DATE_CHANGES", "PAUSE", "WRITE_OFF", "NO_PLAN", "LOW_CONFIDENCE"),
)
"""Where several reasons hold, the first of these is the code."""

CONTRADICTIONS = (
    *("PERSON_UNREAD", "PERSON_DIFFERS"),
    *("SURPLUS_ABOVE_INCOME", "SURPLUS_WITHOUT_INCOME", "FORM_WITHOUT_INCOME"),
    *("FEES_ABOVE_BALANCE", "KEPT_WITHOUT_PROMISE", "NO_WORK_HIGH_INCOME"),
    *("LATE_WITHOUT_ARREARS", "LATE_STAGE_IN_TIME"),
)
"""A closed list; the first that holds is named."""

HIGH = 1.5
"""Median incomes above which an income is at odds with having no work."""
MINUTES_A_DAY = 1440


@dataclass(frozen=True, eq=False)
class HandedOver:
    """Who goes to a human, (n,) each.

    ``code`` into ``HANDOFFS``, 0 for nobody; ``due`` minutes since 1970-01-01, −1 for nobody: the soonest among all
    reasons that hold; ``contradiction`` one of ``CONTRADICTIONS`` or ""; ``changes`` of a date, NaN where not known;
    ``uncovered`` the matters that no pack covers, or ""; ``beyond`` amounts outside the schema's bounds, or "".
    """

    code: U8
    due: I64
    contradiction: Objects
    changes: F64
    uncovered: Objects
    beyond: Objects


def handed(settings: Settings, chunk: Chunk, today: int, final: Judged | None = None) -> HandedOver:
    """Which accounts go to a human, and by when.

    Args:
        settings: the member's.
        chunk: n accounts, judged without the caps of a batch.
        final: the same within the caps of a batch: what they leave nobody a plan for counts too.
        today: day since 1970-01-01; hours count from the time of contact that settings name.
    """
    accounts, judged, spared = chunk.accounts, chunk.judged, chunk.safeguards
    verdict, rows = judged.verdict, np.arange(len(judged.why))
    asked = verdict.human != NONE
    owes = judged.plans.debts.balance > 0
    final = judged if final is None else final
    paused, nothing = (  # without any law, and with all of it and the caps
        bare | (ruled & ~final.stop)
        for bare, ruled in zip(needs(judged, judged.bare), needs(final, final.why), strict=True)
    )
    quiet = judged.cases.column("protected") | judged.cases.column("idle")
    said: dict[str, Column] = {
        **accounts.values,
        **accounts.beside,
        **{name: _fact(chunk, name) for name in ("arrears", "contractual_instalment")},
        "rule": (asked & ~verdict.unknown).astype(np.float64),
        "unknown_fact": (asked & verdict.unknown).astype(np.float64),
        "uncovered": uncovered_matters(judged),
        "protected": spared.person.astype(np.float64),
        "vulnerable": spared.care.astype(np.float64),
        "pause": paused.astype(np.float64),
        "write_off": (judged.cases.column("trifle") & owes & ~quiet).astype(np.float64),
        "no_plan": nothing.astype(np.float64),
        "beyond": accounts.beyond,
        "confidence": np.fmin(*(_confidence(judged, why) for why in (judged.why, judged.bare))),
    }
    now = today * MINUTES_A_DAY + settings.contact_minute
    return hand_over(settings.handover, said, len(rows), now)


def _confidence(judged: Judged, why: U8) -> F64:
    """How sure the model is of the best plan, 0–1, NaN where there is none, (n,)."""
    offers, rows = (why == Why.OK) & judged.plans.arms.is_offer, np.arange(len(why))
    best = np.where(offers, judged.score, -np.inf).argmax(axis=1)
    return np.where(offers.any(axis=1), np.abs(2 * judged.kept[rows, best] - 1), np.nan)


def _fact(chunk: Chunk, name: str) -> F64:
    values, known = chunk.facts.read(name)
    return np.where(known, np.asarray(values, np.float64), np.nan)


def hand_over(settings: Handover, known: Mapping[str, Column], accounts: int, now: int) -> HandedOver:
    """Decide who needs a human.

    Args:
        settings: after how many date changes, below which confidence, and within how many hours.
        known: columns by name, (n,) each; one that is absent, or unknown in a row, hands nobody over.
            ``human_requested``, ``vulnerable``, ``protected``, ``rule``, ``unknown_fact``, ``pause``, ``write_off``,
            ``no_plan`` yes or no; ``uncovered`` and ``beyond`` text, "" for no; ``date_changes_90d``; ``confidence`` 0–1;
            and the account columns that ``contradictions`` reads.
        accounts: n.
        now: minutes since 1970-01-01.
    """
    against = contradictions(known, accounts)
    changes, confidence = (_numbers(known, name, accounts) for name in ("date_changes_90d", "confidence"))
    uncovered, beyond = (
        np.asarray(known.get(name, np.full(accounts, "")), np.object_) for name in ("uncovered", "beyond")
    )
    holds = {
        "OUT_OF_BOUNDS": np.asarray(beyond != "", np.bool_),
        "REQUESTED": _yes(known, "human_requested", accounts),
        "VULNERABLE": _yes(known, "vulnerable", accounts),
        "PROTECTED": _yes(known, "protected", accounts),
        "RULE": _yes(known, "rule", accounts),
        "UNKNOWN_FACT": _yes(known, "unknown_fact", accounts),
        "UNCOVERED": uncovered != "",
        "PAUSE": _yes(known, "pause", accounts),
        "WRITE_OFF": _yes(known, "write_off", accounts),
        "NO_PLAN": _yes(known, "no_plan", accounts),
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
    return HandedOver(code, np.where(code > 0, due, -1), against, changes, uncovered, beyond)


def uncovered_matters(judged: Judged) -> Objects:
    """The matters that no pack given covers for each account that could get something, or "", (n,) text."""
    found = np.full(len(judged.why), "", np.object_)
    for row in np.flatnonzero(judged.uncovered).tolist():
        found[row] = ", ".join(judged.verdict.missing(row))
    return found


def contradictions(known: Mapping[str, Column], accounts: int) -> Objects:
    """The first of ``CONTRADICTIONS`` that holds for each account, or "", (n,).

    Reads ``income``, ``surplus``, ``balance``, ``fees``, ``kept_ratio_12m``, ``promises_12m``, ``median_income``,
    ``dpd``, ``arrears``, ``contractual_instalment`` (numbers, NaN unknown), ``person_unread`` and ``person_differs``
    (``customers.py``), ``income_verified``, ``employment`` and ``stage`` (text); what is absent contradicts nothing.
    """
    names = ("income", "surplus", "balance", "fees", "kept_ratio_12m", "promises_12m", "median_income")
    days, arrears, due = (
        _numbers(known, name, accounts) for name in ("dpd", "arrears", "contractual_instalment")
    )
    income, surplus, balance, fees, kept, promises, median = (
        _numbers(known, name, accounts) for name in names
    )
    proven = (income == 0) & _is(known, "income_verified", ("verified",), accounts)
    no_income = np.isnan(income) | (income <= 0) if "income" in known else np.zeros(accounts, np.bool_)
    no_income &= ~proven  # a proven income of nothing is what it is
    holds = {
        "PERSON_UNREAD": _yes(known, "person_unread", accounts),
        "PERSON_DIFFERS": _yes(known, "person_differs", accounts),
        "SURPLUS_ABOVE_INCOME": surplus > income,
        "SURPLUS_WITHOUT_INCOME": no_income & ~np.isnan(surplus),
        "FORM_WITHOUT_INCOME": no_income
        & _is(known, "income_verified", ("stated", "estimated", "verified"), accounts),
        "FEES_ABOVE_BALANCE": fees > balance,
        "KEPT_WITHOUT_PROMISE": ~np.isnan(kept) & (promises == 0),
        "LATE_WITHOUT_ARREARS": (days > 0) & (arrears == 0) & (due > 0),
        "LATE_STAGE_IN_TIME": (days == 0) & _is(known, "stage", ("late",), accounts),
        "NO_WORK_HIGH_INCOME": (income > HIGH * median)
        & _is(known, "employment", ("not_working",), accounts),
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

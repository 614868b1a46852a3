"""Which year is played: a market that stands still, or one that changes while it is played."""

from dataclasses import replace
from typing import Literal, get_args

from fedrepay.simulations.market.lenders import PRESETS, Lender, Preset
from fedrepay.simulations.market.truth import Effects

YearPreset = Literal[
    "mixed",
    "complement",
    "alike",
    "unlike",
    "opposed",
    "confounded",
    "otherworld",
    "newcomer",
    "cold",
    "recession",
    "revive",
]
YEARS: tuple[YearPreset, ...] = get_args(YearPreset)
CHANGES: dict[YearPreset, int] = {"recession": 7, "revive": 4}
"""The month from which debtors answer differently."""
NEWCOMERS = 3
"""Lenders that have made no offer before the year, in ``newcomer``: of small, middling and large ones."""

SAID: dict[YearPreset, str] = {
    "mixed": "lenders of four sizes, each with a policy of its own; debtors answer alike all year",
    "complement": "each lender has only ever offered a part of the catalogue",
    "alike": "lenders have the same customers",
    "unlike": "debtors of each lender weigh everything differently",
    "opposed": "debtors of every other lender like what the others dislike",
    "confounded": "agents act on what they hear, and the records do not say it",
    "otherworld": "another law of answers and of shocks",
    "newcomer": "as mixed, but three lenders have made no offer before",
    "cold": "as mixed, but no lender has made an offer before",
    "recession": "as mixed; from month 7 debtors accept and pay less",
    "revive": "as mixed, but discounts move nobody until month 4, and very much from then on",
}


def market_of(preset: YearPreset) -> Preset:
    """The market that a year starts from."""
    return next((each for each in PRESETS if each == preset), "mixed")


def newcomers(preset: YearPreset, members: int) -> tuple[int, ...]:
    """Places, from 0, of the lenders that have made no offer before the year."""
    if preset == "cold":
        return tuple(range(members))
    return tuple(members * part // 20 for part in (3, 11, 17)) if preset == "newcomer" else ()


def in_month(preset: YearPreset, lender: Lender, month: int) -> Lender:
    """The lender with its debtors' effects in this month; month 0 is the past."""
    return replace(lender, effects=_effects(preset, lender.effects, month))


def _effects(preset: YearPreset, plain: Effects, month: int) -> Effects:
    changed = preset in CHANGES and month >= CHANGES[preset]
    if preset == "recession" and changed:
        return replace(plain, pay=plain.pay - 0.5, accept=plain.accept - 0.3)
    if preset == "revive":
        if changed:
            return replace(plain, accept_discount=5.0, pay_discount=2.0)
        return replace(plain, accept_discount=0.0, pay_discount=0.0)
    return plain

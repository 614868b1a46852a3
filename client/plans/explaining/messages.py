"""Words for people, from ``messages.toml``: one file, two languages, plain ``str.format``."""

import tomllib
from functools import cache
from pathlib import Path

import numpy as np

LANGUAGES = ("en", "zh")
WHOLE = (
    *("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW"),
    *("PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"),
)
"""Currencies without minor units (ISO 4217)."""
THOUSANDTHS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
"""Currencies whose minor unit is a thousandth."""


@cache
def messages() -> dict[str, dict[str, dict[str, str]]]:
    """All texts: table → key → language → text."""
    return tomllib.loads(Path(__file__).with_name("messages.toml").read_text("utf-8"))


def say(language: str, table: str, key: str, **values: object) -> str:
    """One text with its placeholders filled."""
    return messages()[table][key][language].format(**values)


def money(language: str, currency: str, minor: float) -> str:
    """An amount of minor units as people write it: £12.00, 12.00 英镑."""
    digits = 0 if currency in WHOLE else 3 if currency in THOUSANDTHS else 2
    amount = f"{abs(minor) / 10**digits:,.{digits}f}"
    sign = "−" if round(minor) < 0 else ""
    known = messages()["currency"].get(currency)
    if language == "zh":
        return f"{sign}{amount} {known['zh'] if known else currency}"
    return f"{sign}{known['en']}{amount}" if known else f"{sign}{currency} {amount}"


def date(language: str, day: int) -> str:
    """A day since 1970-01-01 as people write it."""
    year, month, day_ = (int(each) for each in str(np.datetime64(day, "D")).split("-"))
    names = say(language, "form", "months").split(" ")
    return say(language, "form", "date", year=year, month=names[month - 1], day=day_)

"""The figures of a year: ``year`` in metrics.json (docs/metrics.md)."""

from collections.abc import Sequence
from typing import Any

from fedrepay.simulations.market import intervals, models
from fedrepay.simulations.market.year.months import MATURING
from fedrepay.simulations.market.year.play import Figures, PlayedYear, mean, sizes
from fedrepay.simulations.market.year.presets import CHANGES, SAID

LABELS = {
    "own": "Each its own policy, affordable plans only",
    "alone": "Each learning alone, every month, no privacy",
    "once": "Learned together once",
    "monthly": "Learned together every month",
    "once_open": "Together once, without privacy",
    "monthly_open": "Together every month, without privacy",
    "perfect": "If the truth were known",
    "oracle": "The best affordable plan of each account",
}
_MEANS = ("value", "uplift", "first_paid", "kept_90", "plans")
Months = list[dict[str, Figures]]


def year(played: PlayedYear) -> dict[str, Any]:
    """All worlds of a year, month by month and over the year."""
    perfect, oracle = played.worths["perfect"], played.worths["oracle"]
    return {
        "preset": played.plan.preset,
        "said": SAID[played.plan.preset],
        "changes_in": CHANGES.get(played.plan.preset),
        "months": played.plan.months,
        "epsilon_per_customer": played.plan.epsilon,
        "delta_per_customer": models.delta(),
        "windows": int(any(played.past.values())) + max(played.plan.months - MATURING, 0),
        "lenders": {
            each.name: {"offers_a_year": each.offers, "past": played.past[each.name]}
            for each in played.lenders
        },
        "gain": {
            name: _gain(played.worths[name], played.worths["alone"])
            for name in ("once", "monthly")
            if name in played.worths and "alone" in played.worths
        },
        "worlds": {
            name: {
                "label": LABELS[name],
                "months": _by_month(months, perfect, oracle),
                "earned": _earned(months, perfect, oracle),
                "by_offers": [
                    {"offers": offers, "members": len(names)} | _earned(months, perfect, oracle, names)
                    for offers, names in sizes(played.lenders).items()
                ],
                "newcomers": _newcomers(played, months, perfect),
            }
            for name, months in played.worths.items()
        },
    }


def _gain(better: Months, base: Months) -> list[Figures]:
    """Value beside learning alone, month by month: the mean over lenders of the difference, with its 95 % interval."""
    found = []
    for number, (here, there) in enumerate(zip(better, base, strict=True)):
        apart = [each["value"] - there[name]["value"] for name, each in here.items()]
        value, *interval = intervals.mean(apart)
        found.append({"month": number + 1, "value": value, "interval": interval})
    return found


def _by_month(months: Months, perfect: Months, oracle: Months) -> list[Figures]:
    found, money = [], 0.0
    for number, here in enumerate(months):
        money += sum(each["money"] for each in here.values())
        row: Figures = {"month": number + 1, **{name: mean(here, name) for name in _MEANS}}
        row["of_perfect"] = _part(row["uplift"], mean(perfect[number], "uplift"))
        regret = _part(row["uplift"], mean(oracle[number], "uplift"))
        row["regret"] = None if regret is None else 1 - regret
        row["affordable"] = affordable([here])
        row["money"] = money
        found.append(row)
    return found


def _earned(months: Months, perfect: Months, oracle: Months, of: Sequence[str] | None = None) -> Figures:
    """Over all months played: means of months, and all the money."""

    def total(rows: Months, name: str) -> float:
        return sum(mean(row, name, of) for row in rows)

    chosen = [{name: row[name] for name in (of or row)} for row in months]
    accounts = sum(each["accounts"] for row in chosen for each in row.values())
    money = sum(each["money"] for row in chosen for each in row.values())
    kept = _part(total(months, "uplift"), total(oracle, "uplift"))
    return {
        **{name: total(months, name) / len(months) for name in _MEANS},
        "of_perfect": _part(total(months, "uplift"), total(perfect, "uplift")),
        "regret": None if kept is None else 1 - kept,
        "affordable": affordable(chosen),
        "accounts": accounts,
        "money": money,
    }


def _part(value: float, whole: float) -> float | None:
    """A part of what can be gained; None where nothing can."""
    return value / whole if whole > 0 else None


def _newcomers(played: PlayedYear, months: Months, perfect: Months) -> list[float | None] | None:
    """Uplift of perfect, month by month, of lenders that had made no offer before the year; None without any."""
    names = [name for name, rows in played.past.items() if not rows]
    if not names:
        return None
    return [
        _part(mean(here, "uplift", names), mean(best, "uplift", names))
        for here, best in zip(months, perfect, strict=True)
    ]


def affordable(months: Months) -> float | None:
    """Of all real plans offered, the share that is truly affordable; None without any."""
    cells = [each for row in months for each in row.values() if each["real"]]
    real = sum(each["real"] for each in cells)
    return sum(each["real"] * each["affordable"] for each in cells) / real if real else None

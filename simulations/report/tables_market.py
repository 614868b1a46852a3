"""The debt market's figures as the rows of the report's tables."""

from statistics import fmean
from typing import Any

from fedrepay.simulations.report.words_market import (
    CLASSES,
    COLUMNS,
    OWN_MODELS,
    TARGET,
    WAYS,
    band_words,
    per_1000,
)

Figures = dict[str, Any]


def members(market: Figures) -> list[Figures]:
    """Each member, smallest first: its figures, its gain in pounds, and what its own part brings."""
    found = []
    for name, each in market["members"].items():
        ways = each["ways"]
        alone, shared = ways["alone"]["value"], ways["shared"]["value"]
        found.append(
            {
                **each,
                "name": name,
                "alone": alone,
                "shared": shared,
                "pounds": per_1000(shared - alone, each["balance"]),
                "owes": each["balance"] / 100,
                "with_part": ways["shared_own"]["value"] / alone - 1 if alone else None,
                "no_model": not any(model in ways for model in OWN_MODELS),
            }
        )
    return sorted(found, key=lambda each: (each["offers"], each["name"]))


def sizes(rows: list[Figures]) -> list[Figures]:
    """Members of one size together: mean value alone and shared, and the gain of the means."""
    found = []
    for offers in sorted({each["offers"] for each in rows}):
        here = [each for each in rows if each["offers"] == offers]
        alone, shared = (fmean(each[way] for each in here) for way in ("alone", "shared"))
        gain = shared / alone - 1 if alone else None
        worst = min(here, key=lambda each: each["gain"])
        found.append(
            {
                "offers": offers,
                "members": len(here),
                "alone": alone,
                "shared": shared,
                "gain": gain,
                "worst": worst,
            }
        )
    return found


def ways(market: Figures) -> list[Figures]:
    """Each way of choosing plans: mean over members of every figure."""
    return [
        {
            "key": way,
            "label": label,
            "explained": explained,
            "affordable": _mean(market, way, "affordable"),
            **{name: market[name][way] for name in ("value", "uplift", "first_paid", "kept_90", "plans")},
        }
        for way, (label, explained) in WAYS.items()
        if way in market["value"]
    ]


def member_ways(market: Figures) -> dict[str, str]:
    """The ways in the table of all members' values, own models among them: those that any member has."""
    labels = {way: label for way, (label, _) in WAYS.items()} | OWN_MODELS
    order = ("own", "own_affordable", *OWN_MODELS, *list(WAYS)[2:])
    had = {way for each in market["members"].values() for way in each["ways"]}
    return {way: labels[way] for way in order if way in had}


def classes(market: Figures, levels: Figures) -> list[Figures]:
    """Each class of income: accounts, plans, what is truly affordable, the price of caution.

    Args:
        market: the figures.
        levels: ``settings.affordability``, whose ``level`` of each class is shown.
    """
    found = []
    for name, each in market["affordable_by_class"].items():
        plans, right = each["plans"], each["affordable"]
        chance = 1.96 * (TARGET * (1 - TARGET) / plans) ** 0.5 if plans else None
        short = right is not None and right < TARGET
        found.append(
            {
                **each,
                "label": CLASSES[name],
                "share": plans / each["accounts"] if each["accounts"] else None,
                "chance": chance,
                "short": short,
                "surely": short and right + chance < TARGET,
                "caution": market["caution"].get(name),
                "level": levels[name]["level"] if name in levels else None,
            }
        )
    return found


def cells(market: Figures) -> list[Figures]:
    """Each class of income and band of known surplus with any account: what is truly affordable, the price of caution."""
    return [
        {
            **each,
            "label": CLASSES[each["income"]],
            "band": band_words(each["from"], each["to"]),
            "short": each["plans"] > 0 and each["affordable"] < TARGET,
            "surely": each["plans"] > 0 and each["interval"][1] < TARGET,
            "caution": each["value"] / each["middle"] - 1 if each["middle"] else None,
        }
        for each in market["affordable_by_band"]
        if each["accounts"]
    ]


def verified(market: Figures) -> list[Figures]:
    """What a proven income would bring the accounts without an income form and those with a stated income."""
    told = {"stated": "verifying a stated income", "none": "bringing an income form, with documents"}
    return [
        {**each, "label": label, "change": each["after"] / each["before"] - 1 if each["before"] else None}
        for name, label in told.items()
        if (each := market["if_verified"].get(name)) is not None
    ]


def groups(market: Figures) -> list[Figures]:
    """Each group of debtors, with its column's and group's names in words."""
    columns, known = list(COLUMNS), list(CLASSES)

    def place(each: Figures) -> tuple[int, int]:
        in_order = each["column"] == "income_verified"
        return columns.index(each["column"]), known.index(each["group"]) if in_order else 0

    return [
        {
            **each,
            "label": COLUMNS[each["column"]],
            "name": CLASSES.get(each["group"], each["group"].replace("_", " ")),
            "difference": each["shared"] - each["alone"],
            "below": each["shared"] < 0,
        }
        for each in sorted(market["groups"], key=place)
    ]


def _mean(market: Figures, way: str, name: str) -> float | None:
    """Mean over the members that have the figure."""
    found = [each["ways"][way][name] for each in market["members"].values() if way in each["ways"]]
    known = [each for each in found if each is not None]
    return fmean(known) if known else None

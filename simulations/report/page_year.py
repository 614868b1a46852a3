"""What the report of a year shows: from ``year`` in metrics.json to pictures, sentences and rows."""

from typing import Any

from fedrepay.simulations.report import charts_year
from fedrepay.simulations.report.charts_year import Track
from fedrepay.simulations.report.words import NONE, percent
from fedrepay.simulations.report.words_market import TARGET, change

Figures = dict[str, Any]
LOOKS = {"own": "base", "alone": "rust", "once": "pale", "monthly": "accent"}
"""How the worlds of the pictures are drawn; what has no noise stands in the table."""
SHORT = {
    "own": "own policy",
    "alone": "alone, every month",
    "once": "together once",
    "monthly": "together every month",
}


def year_page(metrics: Figures) -> Figures:
    """What ``year.html`` shows.

    Args:
        metrics: the contents of metrics.json.
    """
    year = metrics["year"]
    worlds = year["worlds"]
    shares = [
        Track(SHORT[name], look, [row["of_perfect"] or 0.0 for row in worlds[name]["months"]])
        for name, look in LOOKS.items()
    ]
    gains = [
        Track(
            SHORT[name],
            LOOKS[name],
            [row["value"] for row in rows],
            [row["interval"] for row in rows],
        )
        for name, rows in year["gain"].items()
    ]
    return {
        "m": metrics,
        "year": year,
        "headline": _headline(year),
        "shares": charts_year.shares(shares, year["changes_in"]),
        "gains": charts_year.differences(gains, year["changes_in"]),
        "short": SHORT,
        "sizes": _sizes(year),
        "target": TARGET,
        "worst": min(
            (row["affordable"] for row in worlds["monthly"]["months"] if row["affordable"] is not None),
            default=None,
        ),
    }


def _headline(year: Figures) -> str:
    earned = {name: each["earned"] for name, each in year["worlds"].items()}
    monthly, alone = earned["monthly"], earned["alone"]
    gain = change(monthly["value"] / alone["value"] - 1) if alone["value"] > 0 else NONE
    return (
        f"Over {year['months']} months plans chosen with what all learned together brought {percent(monthly['of_perfect'])} of the "
        f"uplift that the true probabilities would, and with what each learned alone {percent(alone['of_perfect'])}; value, with what comes "
        f"in without a plan, differs by {gain}."
    )


def _sizes(year: Figures) -> list[Figures]:
    """Lenders by size: what each world earned, and money beside learning alone, per 1,000 accounts."""
    worlds = year["worlds"]
    found = []
    for place, alone in enumerate(worlds["alone"]["by_offers"]):
        here = {name: worlds[name]["by_offers"][place] for name in SHORT}
        found.append(
            {
                "offers": alone["offers"],
                "members": alone["members"],
                "of_perfect": {name: each["of_perfect"] for name, each in here.items()},
                # minor units an account × 1,000 accounts ÷ 100: whole units of money
                "more": 10 * (here["monthly"]["money"] - alone["money"]) / alone["accounts"],
            }
        )
    return found

"""What the template of the report on a table of rows is given."""

from typing import Any

from fedrepay.simulations.report import charts, words_rows
from fedrepay.simulations.report.learned import pictures

SHOWN = 40
"""Members in the picture of gains; with more, those that gain least and most stand in it."""


def rows_page(metrics: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """The names that ``rows.html`` uses.

    Args:
        metrics: the contents of ``metrics.json`` of a table of rows.
        details: ``title``, ``good_outcome``, ``curves``, ``attack`` (or None), ``fairness``.
    """
    by_gain = sorted(metrics["one_by_one"]["members"].items(), key=_gain)
    shown = by_gain if len(by_gain) <= SHOWN else [*by_gain[: SHOWN // 2], *by_gain[-SHOWN // 2 :]]
    bins = metrics["calibration"]["federated"]["bins"]
    curves, crosses = pictures(details["curves"])
    return {
        "auc": metrics["auc"],
        "one": metrics["one_by_one"],
        "outcome": words_rows.outcome(metrics),
        "bins": bins,
        "by_gain": by_gain,
        "shown": len(shown),
        "gains": charts.gains(shown[::-1]),
        "calibration": charts.calibration(bins),
        "curves": curves,
        "crosses": crosses,
    }


def _gain(member: tuple[str, dict[str, Any]]) -> tuple[float, str]:
    """Members without a gain come first."""
    name, each = member
    return (-2.0 if each["gain"] is None else each["gain"], name)

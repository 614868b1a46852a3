"""The pictures of what one head learned, drawn on one scale."""

from typing import Any

from markupsafe import Markup

from fedrepay.simulations.report import charts

Drawn = list[tuple[dict[str, Any], Markup]]


def pictures(curves: list[dict[str, Any]]) -> tuple[Drawn, Drawn]:
    """Features, strongest first, and crosses, each with its picture."""
    features = sorted((each for each in curves if each["kind"] == "feature"), key=_range, reverse=True)
    crosses = [each for each in curves if each["kind"] == "cross"]
    return (
        [(each, charts.curve(each, _reach(features))) for each in features],
        [(each, charts.heat_map(each, _cross_reach(crosses))) for each in crosses],
    )


def _range(curve: dict[str, Any]) -> float:
    return float(max(curve["effect"]) - min(curve["effect"]))


def _reach(features: list[dict[str, Any]]) -> float:
    """A scale that holds all curves and their bands, log-odds, in tenths."""
    most = 0.0
    for curve in features:
        deviations = curve["sd"] or [0.0] * len(curve["effect"])
        pairs = zip(curve["effect"], deviations, strict=True)
        most = max(most, *(abs(effect) + 2 * deviation for effect, deviation in pairs))
    return int(most * 10 + 1) / 10


def _cross_reach(crosses: list[dict[str, Any]]) -> float:
    return max((abs(value) for each in crosses for row in each["effect"] for value in row), default=0.0)

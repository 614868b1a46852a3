"""One self-contained HTML page from ``metrics.json`` and the report's details."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from fedrepay.simulations.report import charts, words

SHOWN = 40
"""Members in the picture of gains; with more, those that gain least and most stand in it."""


def environment() -> Environment:
    """Jinja2 that escapes all data and stops at a missing name."""
    made = Environment(
        loader=PackageLoader("fedrepay.simulations.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= words.FILTERS
    return made


def render(metrics: dict[str, Any], details: dict[str, Any]) -> str:
    """The report, readable offline: no script, no font, no picture from outside.

    Args:
        metrics: the contents of ``metrics.json`` (``docs/metrics.md``).
        details: ``title``, ``good_outcome``, ``curves``, ``attack`` (or None), ``fairness``.

    Returns:
        HTML text.
    """
    by_gain = sorted(metrics["auc"]["members"].items(), key=_gain)
    shown = by_gain if len(by_gain) <= SHOWN else [*by_gain[: SHOWN // 2], *by_gain[-SHOWN // 2 :]]
    features = sorted((c for c in details["curves"] if c["kind"] == "feature"), key=_range, reverse=True)
    crosses = [c for c in details["curves"] if c["kind"] == "cross"]
    page = environment().get_template("report.html")
    return page.render(
        m=metrics,
        d=details,
        p=metrics["privacy"],
        auc=metrics["auc"],
        banners=words.banners(metrics),
        outcome=words.outcome(metrics),
        seconds_per_member=metrics["seconds"].get("consortium", sum(metrics["seconds"].values()))
        / metrics["members"],
        bins=metrics["calibration"]["federated"]["bins"],
        by_gain=by_gain,
        shown=len(shown),
        gains=charts.gains(shown[::-1]),
        calibration=charts.calibration(metrics["calibration"]["federated"]["bins"]),
        stages=charts.bars(
            "Seconds by stage",
            [
                (stage, value, words.seconds(value))
                for stage, value in sorted(metrics["seconds"].items(), key=lambda item: -item[1])
            ],
        ),
        bytes=charts.bars(
            "Bytes of one member",
            [
                (label, metrics[key], words.size(metrics[key]))
                for label, key in (
                    ("sent: masked uploads", "bytes_up_per_member"),
                    ("sent: key ceremony", "bytes_ceremony_per_member"),
                    ("received", "bytes_down_per_member"),
                    ("the release", "bytes_release"),
                )
            ],
        ),
        curves=[(c, charts.curve(c, _reach(features))) for c in features],
        crosses=[(c, charts.heat_map(c, _cross_reach(crosses))) for c in crosses],
        sight=words.who_saw_what(metrics),
        retries=words.retries(metrics),
    )


def _gain(member: tuple[str, dict[str, Any]]) -> tuple[float, str]:
    """Members without a gain come first."""
    name, each = member
    return (-2.0 if each["gain"] is None else each["gain"], name)


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
    return max((abs(value) for c in crosses for row in c["effect"] for value in row), default=0.0)

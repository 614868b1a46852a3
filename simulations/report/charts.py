"""The report's pictures: plain functions from figures to inline SVG."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from fedrepay.simulations.report.svg import (
    circle,
    element,
    line,
    picture,
    points,
    rectangle,
    scale,
    short,
    text,
    ticks,
)
from fedrepay.simulations.report.words import signed


def gains(members: Sequence[tuple[str, dict[str, Any]]]) -> Markup:
    """One line a member: AUC alone (hollow) and federated (filled) with 95 % intervals, and the gain."""
    longest = max((len(name) for name, _ in members), default=0)
    width, left, right, pitch, top = 956, 40 + 7 * min(longest, 18), 200, 26, 34
    height = top + pitch * len(members) + 12
    known = [value for _, each in members for value in _spread(each)]
    low, high = (min(known), max(known)) if known else (0.5, 1.0)
    x = scale(low - 0.01, high + 0.01, left, width - right)
    bottom = height - 12
    parts = [text(width, 16, "gain [95 %, all at once]", "muted", "end"), text(0, 16, "AUC", "muted")]
    for tick in ticks(low - 0.01, high + 0.01, 8):
        parts += [
            line(x(tick), top - 10, x(tick), bottom, "grid"),
            text(x(tick), 16, f"{tick:.4g}", "muted", "middle"),
        ]
    for i, (name, each) in enumerate(members):
        y = top + pitch * (i + 0.5)
        parts.append(text(left - 14, y + 4, short(name, 18), "name", "end"))
        if each["federated"] is None:
            parts.append(text(left + 6, y + 4, f"no figure: {each['reason']}", "muted"))
            continue
        for key, dy, mark, radius in (("alone", 4.0, "plain", 3.6), ("federated", -4.0, "accent", 4.4)):
            if each[key] is None:
                continue
            a, b = each[f"{key}_interval"]
            parts.append(line(x(a), y + dy, x(b), y + dy, f"interval {mark}"))
            told = f"{name}, {key}: {each[key]:.4f} [{a:.4f}, {b:.4f}]"
            parts.append(circle(x(each[key]), y + dy, radius, f"dot {mark}", element("title", told)))
        if each["gain"] is not None:
            a, b = each["gain_interval"]
            sure = "gain sure" if a > 0 else "gain loss" if b < 0 else "gain"
            parts.append(
                text(width, y + 4, f"{signed(each['gain'], 3)} [{signed(a, 3)}, {signed(b, 3)}]", sure, "end")
            )
    return picture("AUC of each member alone and federated, sorted by gain", width, height, *parts)


def calibration(bins: Sequence[dict[str, Any]]) -> Markup:
    """Observed against predicted, one dot a bin; on the diagonal the probabilities are right."""
    size, left, bottom = 400, 52, 44
    most = max(0.05, *(max(each["predicted"], each["observed"]) for each in bins))
    x = scale(0, most, left, size - 14)
    y = scale(0, most, size - bottom, 14)
    parts = []
    for tick in ticks(0, most):
        parts += [
            line(x(0), y(tick), x(most), y(tick), "grid"),
            text(left - 8, y(tick) + 4, f"{tick:g}", "muted", "end"),
        ]
        parts += [
            line(x(tick), y(0), x(tick), y(most), "grid"),
            text(x(tick), size - bottom + 18, f"{tick:g}", "muted", "middle"),
        ]
    parts += [line(x(0), y(0), x(most), y(most), "diagonal")]
    track = [(x(each["predicted"]), y(each["observed"])) for each in bins]
    parts.append(element("polyline", points=points(track), class_="stroke accent"))
    for each, (px, py) in zip(bins, track, strict=True):
        told = f"{each['rows']:,} rows: predicted {each['predicted']:.3f}, observed {each['observed']:.3f}"
        parts.append(circle(px, py, 4.4, "dot accent", element("title", told)))
    parts += [text((left + size) / 2, size - 6, "predicted probability", "muted", "middle")]
    parts += [text(left, 10, "observed share", "muted")]
    return picture("Calibration: observed share against predicted probability", size, size, *parts)


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> Markup:
    """Horizontal bars: (label, value, value as text)."""
    width, left, right, pitch = 458, 170, 76, 28
    height = pitch * len(rows) + 8
    most = max((value for _, value, _ in rows), default=0) or 1
    parts = []
    for i, (label, value, shown) in enumerate(rows):
        y = 4 + pitch * i
        length = (width - left - right) * value / most
        parts += [
            text(left - 12, y + 18, short(label, 25), "name", "end"),
            rectangle(left, y + 6, max(length, 1), 16, "bar accent", element("title", f"{label}: {shown}")),
            text(left + max(length, 1) + 8, y + 18, shown, "number"),
        ]
    return picture(title, width, height, *parts)


def curve(each: dict[str, Any], reach: float) -> Markup:
    """One feature: effect per bin in log-odds on a scale of ±``reach``, with a band of two noise deviations."""
    width, height, left, right, top, bottom = 270, 170, 36, 10, 10, 34
    effect, labels, deviations = each["effect"], each["labels"], each["sd"]
    count = len(effect)
    x = scale(0, count, left, width - right)
    y = scale(-reach, reach, height - bottom, top)
    parts = [
        line(left, y(tick), width - right, y(tick), "zero" if tick == 0 else "grid")
        for tick in (-reach, 0, reach)
    ]
    parts += [
        text(left - 6, y(tick) + 4, signed(tick, 1) if tick else "0", "muted", "end")
        for tick in (-reach, 0, reach)
    ]
    if deviations is not None:
        upper = [
            (x(i + side), y(min(reach, e + 2 * s)))
            for i, (e, s) in enumerate(zip(effect, deviations, strict=True))
            for side in (0, 1)
        ]
        lower = [
            (x(i + side), y(max(-reach, e - 2 * s)))
            for i, (e, s) in enumerate(zip(effect, deviations, strict=True))
            for side in (0, 1)
        ]
        parts.append(element("polygon", points=points(upper + lower[::-1]), class_="band"))
    steps = [(x(i + side), y(e)) for i, e in enumerate(effect) for side in (0, 1)]
    parts.append(element("polyline", points=points(steps), class_="stroke accent"))
    for i, (label, e) in enumerate(zip(labels, effect, strict=True)):
        told = f"{label}: {signed(e, 3)}" + ("" if deviations is None else f" ± {2 * deviations[i]:.3f}")
        parts.append(
            rectangle(x(i), top, x(i + 1) - x(i), height - bottom - top, "touch", element("title", told))
        )
        parts.append(line(x(i), height - bottom, x(i), height - bottom + 4, "tick"))
    parts.append(line(x(count), height - bottom, x(count), height - bottom + 4, "tick"))
    parts.append(text(left, height - bottom + 20, short(str(labels[0]), 18), "muted"))
    if count > 1:
        parts.append(text(width - right, height - bottom + 20, short(str(labels[-1]), 18), "muted", "end"))
    return picture(f"{each['name']}: effect on the log-odds of the good outcome", width, height, *parts)


def heat_map(each: dict[str, Any], reach: float) -> Markup:
    """One cross: the effect in log-odds of each pair of bins, written and shaded up to ±``reach``."""
    rows, columns, effect = each["rows"], each["columns"], each["effect"]
    left, top, right = 104, 8, 4
    across = max(58.0, 340 / len(columns))
    width, height = left + across * len(columns) + right, top + 26 * len(rows) + 26
    parts = []
    for i, label in enumerate(rows):
        parts.append(text(left - 8, top + 26 * i + 17, short(str(label), 15), "muted", "end"))
        for j, other in enumerate(columns):
            value = effect[i][j]
            told = f"{label}, {other}: {signed(value, 3)}"
            shade = min(abs(value) / reach, 1) if reach else 0
            parts.append(
                element(
                    "rect",
                    element("title", told),
                    x=left + across * j,
                    y=top + 26 * i,
                    width=across - 2,
                    height=24,
                    rx=3,
                    class_="cell good" if value >= 0 else "cell bad",
                    fill_opacity=0.06 + 0.64 * shade,
                )
            )
            parts.append(
                text(left + across * (j + 0.5) - 1, top + 26 * i + 17, signed(value, 2), "number", "middle")
            )
    for j, label in enumerate(columns):
        parts.append(
            text(
                left + across * (j + 0.5) - 1,
                height - 8,
                short(str(label), int(across / 6.4)),
                "muted",
                "middle",
            )
        )
    return picture(f"{each['name']}: effect on the log-odds of the good outcome", width, height, *parts)


def _spread(each: dict[str, Any]) -> list[float]:
    """All AUC values of a member that a picture must hold."""
    return [
        v
        for key in ("federated", "alone")
        if each[key] is not None
        for v in (each[key], *each[f"{key}_interval"])
    ]

"""Pictures of a year: one line a world, month by month."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from fedrepay.simulations.report.svg import (
    Scale,
    circle,
    element,
    line,
    picture,
    points,
    scale,
    text,
    ticks,
)
from fedrepay.simulations.report.words import percent
from fedrepay.simulations.report.words_market import change

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 956, 300, 64, 210, 14, 34
_APART = 16.0  # between two labels
Written = Callable[[float], str]


@dataclass(frozen=True)
class Track:
    """One world's figure of every month, from month 1, with both ends of its interval where it has one; ``look`` is a class."""

    label: str
    look: str
    values: Sequence[float]
    intervals: Sequence[Sequence[float]] = ()


def shares(tracks: Sequence[Track], changes_in: int | None) -> Markup:
    """Uplift as a part of what perfect knowledge brings."""
    values = [value for each in tracks for value in each.values]
    return _months(
        "Uplift as a part of what the true probabilities bring, month by month",
        tracks,
        (min(values) - 0.01, max(1.0, *values) + 0.005),
        changes_in,
        lambda tick: percent(tick, 0 if round(1000 * tick) % 10 == 0 else 1),
    )


def differences(tracks: Sequence[Track], changes_in: int | None) -> Markup:
    """Value beside learning alone, with its interval."""
    ends = [end for each in tracks for pair in each.intervals for end in pair]
    return _months(
        "Value more than learning alone, parts of the balance, month by month",
        tracks,
        (min(0.0, *ends), max(0.0, *ends)),
        changes_in,
        lambda tick: change(tick, 2),
    )


def _months(
    title: str,
    tracks: Sequence[Track],
    reach: tuple[float, float],
    changes_in: int | None,
    written: Written,
) -> Markup:
    months = len(tracks[0].values)
    x = scale(1, max(months, 2), _LEFT, _WIDTH - _RIGHT)
    y = scale(*reach, _HEIGHT - _BOTTOM, _TOP)
    parts = []
    for tick in ticks(*reach, 6):
        kind = "zero" if abs(tick) < 1e-12 else "grid"
        parts += [
            line(_LEFT, y(tick), _WIDTH - _RIGHT, y(tick), kind),
            text(_LEFT - 8, y(tick) + 4, written(tick), "muted", "end"),
        ]
    parts += [
        text(x(month), _HEIGHT - _BOTTOM + 20, str(month), "muted", "middle")
        for month in range(1, months + 1)
    ]
    parts.append(text(_WIDTH - _RIGHT + 14, _HEIGHT - _BOTTOM + 20, "month", "muted"))
    if changes_in is not None and changes_in <= months:
        here = x(changes_in - 0.5)
        parts += [
            line(here, _TOP, here, _HEIGHT - _BOTTOM, "tick"),
            text(here + 6, _TOP + 10, "the world changes", "muted"),
        ]
    heights = _labels([y(each.values[-1]) for each in tracks])
    for each, height in zip(tracks, heights, strict=True):
        parts += _track(each, x, y, height, written)
    return picture(title, _WIDTH, _HEIGHT, *parts)


def _track(each: Track, x: Scale, y: Scale, height: float, written: Written) -> list[Markup]:
    parts = []
    if each.intervals:
        upper = [(x(i + 1), y(pair[1])) for i, pair in enumerate(each.intervals)]
        lower = [(x(i + 1), y(pair[0])) for i, pair in enumerate(each.intervals)]
        parts.append(element("polygon", points=points(upper + lower[::-1]), class_=f"band {each.look}"))
    track = [(x(i + 1), y(value)) for i, value in enumerate(each.values)]
    parts.append(element("polyline", points=points(track), class_=f"stroke {each.look}"))
    for i, (px, py) in enumerate(track):
        told = f"{each.label}, month {i + 1}: {written(each.values[i])}"
        parts.append(circle(px, py, 3.2, f"dot {each.look}", element("title", told)))
    parts.append(text(_WIDTH - _RIGHT + 14, height + 4, each.label, f"label {each.look}"))
    return parts


def _labels(wanted: Sequence[float]) -> list[float]:
    """Heights near those wanted, no two closer than a line of text."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    found = list(wanted)
    for before, after in pairwise(order):
        found[after] = max(found[after], found[before] + _APART)
    return found

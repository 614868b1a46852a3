"""A sweep's page: the main figure against the first numeric option of the grid, and the table."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fedrepay.simulations.report.render import environment
from fedrepay.simulations.report.svg import element, line, picture, points, scale, text, ticks
from fedrepay.simulations.sweep.table import MAIN, Ran, Spread, columns, summaries

COLOURS = ("#0b6b75", "#a65a2e", "#5b4b9a", "#b42318", "#3f7d3a", "#8b97a5", "#b8860b", "#18222d")
DASHES = ("none", "6 4", "2 3", "8 3 2 3")
MOST_LINES = 32
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 956, 420, 62, 270, 18, 50


def axis(runs: Sequence[Ran]) -> str | None:
    """The first option of the grid with several values, all numbers."""
    for key in runs[0].point.varied:
        values = {each.point.varied[key] for each in runs if not isinstance(each.point.varied[key], list)}
        if len(values) > 1 and all(type(value) in (int, float) for value in values):
            return key
    return None


def lines_of(runs: Sequence[Ran], along: str, metric: str) -> dict[str, list[tuple[float, Spread]]]:
    """Label of every combination of the other options → its (value of ``along``, spread), in order."""
    found: dict[str, list[tuple[float, Spread]]] = {}
    spreads = summaries(runs)
    for point in {each.point.name: each.point for each in runs}.values():
        others = {key: value for key, value in point.varied.items() if key != along}
        label = ", ".join(f"{key} {value}" for key, value in others.items()) or metric
        if metric in spreads[point.name]:
            found.setdefault(label, []).append((point.varied[along], spreads[point.name][metric]))
    return {label: sorted(line, key=lambda each: each[0]) for label, line in found.items()}


def chart(runs: Sequence[Ran], along: str, metric: str) -> Markup:
    """Lines of means with their 95 % intervals over seeds."""
    drawn = dict(list(lines_of(runs, along, metric).items())[:MOST_LINES])
    values = [x for line in drawn.values() for x, _ in line]
    ends = [
        end for line in drawn.values() for _, s in line for end in (s.mean, s.low, s.high) if end is not None
    ]
    if not ends:
        return picture(f"{metric} against {along}", WIDTH, 40, text(LEFT, 24, "No run has this figure.", ""))
    margin = (max(ends) - min(ends)) * 0.05 or 0.01
    x = scale(min(values), max(values), LEFT + 8, WIDTH - RIGHT)
    y = scale(min(ends) - margin, max(ends) + margin, HEIGHT - BOTTOM, TOP)
    parts: list[Markup] = []
    for tick in ticks(min(ends) - margin, max(ends) + margin):
        parts += [line(LEFT, y(tick), WIDTH - RIGHT + 8, y(tick), "grid")]
        parts += [text(LEFT - 8, y(tick) + 4, f"{tick:g}", "number", "end")]
    parts += [text(x(v), HEIGHT - BOTTOM + 20, f"{v:g}", "number", "middle") for v in sorted(set(values))]
    parts += [text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, along, "name", "middle")]
    parts += [text(8, 14, metric, "name")]
    for number, (label, known) in enumerate(drawn.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        style = f"stroke:{colour};fill:none;stroke-width:2;stroke-dasharray:{dash}"
        # pixels: bars at the same value must not hide each other
        aside = min(5, 40 / len(drawn)) * (number - (len(drawn) - 1) / 2)
        parts += [
            element("polyline", points=points([(x(v) + aside, y(s.mean)) for v, s in known]), style=style)
        ]
        for v, s in known:
            if s.low is not None and s.high is not None:
                bar = element(
                    "line", x1=x(v) + aside, x2=x(v) + aside, y1=y(s.low), y2=y(s.high), style=style
                )
                parts += [bar]
            named = element("title", f"{label}: {s.mean:.4g}")
            parts += [element("circle", named, cx=x(v) + aside, cy=y(s.mean), r=3.5, style=f"fill:{colour}")]
        at = TOP + 14 + 20 * number
        parts += [element("line", x1=WIDTH - RIGHT + 24, x2=WIDTH - RIGHT + 50, y1=at, y2=at, style=style)]
        parts += [text(WIDTH - RIGHT + 58, at + 4, label, "name")]
    height = max(HEIGHT, TOP + 24 + 20 * len(drawn))
    return picture(f"{metric} against {along}, mean and 95 % interval over seeds", WIDTH, height, *parts)


def page(runs: Sequence[Ran], facts: Mapping[str, Any], source: str) -> str:
    """The whole page, readable offline."""
    named, along = columns(runs), axis(runs)
    pictures = [chart(runs, along, metric) for metric in MAIN if metric in named] if along else []
    found = summaries(runs)
    of = {each.point.name: each.point for each in runs}
    return (
        environment()
        .get_template("sweep.html")
        .render(
            source=source,
            facts=facts,
            pictures=pictures,
            varied=list(runs[0].point.varied),
            named=named,
            rows=[(of[name], figures) for name, figures in found.items()],
            failed=[each for each in runs if each.error],
            runs=len(runs),
        )
    )

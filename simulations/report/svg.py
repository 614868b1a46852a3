"""Small pieces of inline SVG: escaped elements, ticks, linear scales."""

import math
from collections.abc import Callable

from markupsafe import Markup, escape

Scale = Callable[[float], float]


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """One element; text and attribute values are escaped, ``class_`` is ``class``, ``_`` becomes ``-``."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _number(value))
        for key, value in attributes.items()
    )
    inside = Markup("").join(escape(child) for child in children)
    return Markup("<{}{}>{}</{}>").format(Markup(tag), written, inside, Markup(tag))  # noqa: S704 - our own tag


def picture(title: str, width: float, height: float, *children: str) -> Markup:
    """An SVG picture that scales to its column and says what it shows."""
    return element(
        "svg",
        element("title", title),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
        style=f"max-width:{width:g}px",
    )


def text(x: float, y: float, words: str, class_: str = "", anchor: str = "start") -> Markup:
    """Text at a point; ``anchor`` is start, middle or end."""
    return element("text", words, x=x, y=y, class_=class_, text_anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rectangle(x: float, y: float, width: float, height: float, class_: str, *children: str) -> Markup:
    """A rectangle; children may be a ``title``."""
    return element("rect", *children, x=x, y=y, width=width, height=height, class_=class_)


def circle(x: float, y: float, radius: float, class_: str, *children: str) -> Markup:
    """A circle; children may be a ``title``."""
    return element("circle", *children, cx=x, cy=y, r=radius, class_=class_)


def points(pairs: list[tuple[float, float]]) -> str:
    """Points of a polyline or polygon."""
    return " ".join(f"{_number(x)},{_number(y)}" for x, y in pairs)


def scale(low: float, high: float, start: float, end: float) -> Scale:
    """The straight map that takes [low, high] to [start, end]; all to the middle if low equals high."""
    if high <= low:
        return lambda _value: (start + end) / 2
    return lambda value: start + (value - low) * (end - start) / (high - low)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers inside [low, high], at most ``most``."""
    if high <= low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 2.5, 5, 10, 20, 25):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [round(i * step, 12) for i in range(first, last + 1)]
    return [low, high]


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".")


def short(words: str, most: int) -> str:
    """Words cut to ``most`` characters."""
    return words if len(words) <= most else words[: most - 1] + "…"

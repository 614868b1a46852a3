"""The page of figures: one section a benchmark, each replaced by the run that measured it."""

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from fedrepay.simulations.arguments import write_atomically
from fedrepay.simulations.report.svg import circle, element, line, picture, points, scale, text, ticks

PAGE = Path("docs/benchmarks.md")
_HEAD = """# Benchmarks

Written by `make bench` (all) or `make bench NAME=…` (one section). Ratios are between two figures of the
same run on the same machine, so they travel; seconds and megabytes do not. What falls short stands here
with its reason.
"""
_PACKAGES = ("fedrepay", "numpy", "tenseal", "flwr", "dp-accounting", "scikit-learn", "lightgbm")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#18222d}.muted{fill:#5a6675}.grid{stroke:#dde3e9}"
    ".level{stroke:#8b97a5;stroke-dasharray:5 4}.stroke{fill:none;stroke:#0b6b75;stroke-width:2}.dot{fill:#0b6b75}"
)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; columns after the first are aligned right."""
    lines = [
        "| " + " | ".join(heads) + " |",
        "|---|" + "---:|" * (len(heads) - 1),
        *("| " + " | ".join(map(str, row)) + " |" for row in rows),
    ]
    return "\n".join(lines)


def write(name: str, title: str, body: str) -> None:
    """Put a section into the page, in place of the one of that name.

    Raises:
        StorageError: the page cannot be written.
    """
    cpu = next(
        (
            row.split(":", 1)[1].strip()
            for row in _lines(Path("/proc/cpuinfo"))
            if row.startswith("model name")
        ),
        platform.machine(),
    )
    facts = (
        f"`make bench NAME={name}` · {datetime.now(UTC):%Y-%m-%d} · {cpu}, {os.cpu_count()} cores · "
        f"Python {platform.python_version()}, " + ", ".join(f"{each} {version(each)}" for each in _PACKAGES)
    )
    section = f"## {title}\n<!-- {name} -->\n\n{body}\n\n<sub>{facts}</sub>\n"
    page = PAGE.read_text() if PAGE.exists() else _HEAD
    parts = re.split(r"\n(?=## )", page)
    places = [place for place, each in enumerate(parts) if f"<!-- {name} -->" in each]
    if places:
        parts[places[0]] = section
    else:
        parts.append(section)
    write_atomically(PAGE, ("\n".join(each.rstrip("\n") + "\n" for each in parts)).encode())


def curve(name: str, title: str, values: dict[float, float], levels: dict[str, float]) -> str:
    """Draw AUC against ε (spaced by its logarithm) with level lines into ``docs``; returns the file's name."""
    width, height, left, right, bottom = 640.0, 320.0, 56.0, 150.0, 44.0
    known = [*values.values(), *levels.values()]
    low, high = min(known) - 0.002, max(known) + 0.002
    x, y = scale(0, len(values) - 1, left, width - right), scale(low, high, height - bottom, 16)
    parts = []
    for tick in ticks(low, high):
        parts += [
            line(left, y(tick), width - right, y(tick), "grid"),
            text(left - 8, y(tick) + 4, f"{tick:.3f}", "muted", "end"),
        ]
    for label, level in levels.items():
        parts += [
            line(left, y(level), width - right, y(level), "level"),
            text(width - right + 8, y(level) + 4, label),
        ]
    track = [(x(place), y(value)) for place, value in enumerate(values.values())]
    parts.append(element("polyline", points=points(track), class_="stroke"))
    for (px, py), epsilon in zip(track, values, strict=True):
        parts += [
            circle(px, py, 4, "dot"),
            text(px, height - bottom + 18, f"{epsilon:g}", "muted", "middle"),
        ]
    parts.append(text((left + width - right) / 2, height - 8, "ε of one customer", "muted", "middle"))
    parts.append(text(left, 10, "AUC", "muted"))
    drawn = str(picture(title, width, height, element("style", _STYLE), *parts))
    made = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    write_atomically(PAGE.parent / f"{name}.svg", made.encode())
    return f"{name}.svg"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []

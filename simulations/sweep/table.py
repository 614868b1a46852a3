"""What a sweep found: each run's main figures, and their mean and interval over seeds."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedrepay.simulations.sweep.plan import Point

METRICS: Mapping[str, tuple[str, ...]] = {
    "auc": ("auc", "federated"),
    "auc_alone": ("auc", "alone_mean"),
    "auc_pooled": ("auc", "pooled_no_privacy"),
    "log_loss": ("log_loss", "federated"),
    "value": ("market", "value", "shared"),
    "value_alone": ("market", "value", "alone"),
    "gain_uplift": ("market", "gain", "uplift"),
    "affordable": ("market", "affordable_share"),
    "epsilon_claimed": ("privacy", "epsilon"),
    "epsilon_at_2_members": ("privacy", "epsilon_by_memberships", "2"),
    "epsilon_at_3_members": ("privacy", "epsilon_by_memberships", "3"),
    "seconds": ("seconds", "consortium"),
}
"""Name in the table → where it stands in metrics.json (docs/metrics.md)."""
MAIN = ("auc", "value")
"""What the picture shows, of a table of rows and of the market."""


@dataclass(frozen=True)
class Ran:
    """One run: its figures, or why it has none."""

    point: Point
    seed: int
    figures: dict[str, float | None]
    error: str = ""


@dataclass(frozen=True)
class Spread:
    """Mean over seeds and its 95 % t interval; the interval is None for one seed."""

    mean: float
    low: float | None
    high: float | None
    count: int


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The main figures of a metrics.json; those of another case are left out."""
    found: dict[str, float | None] = {}
    for name, (first, *rest) in METRICS.items():
        if first in metrics:
            value: Any = metrics[first]
            for key in rest:
                value = value.get(key)
            found[name] = value
    return found


def spread(values: Sequence[float]) -> Spread:
    """Mean and 95 % t interval over independent runs."""
    from scipy.stats import t  # noqa: PLC0415 - loads for a second

    count, mean = len(values), float(np.mean(values))
    if count < 2:
        return Spread(mean, None, None, count)
    half = float(t.ppf(0.975, count - 1)) * float(np.std(values, ddof=1)) / math.sqrt(count)
    return Spread(mean, mean - half, mean + half, count)


def summaries(runs: Sequence[Ran]) -> dict[str, dict[str, Spread]]:
    """Point's name → figure → its spread over the seeds that have it."""
    found: dict[str, dict[str, Spread]] = {}
    for name in dict.fromkeys(each.point.name for each in runs):
        here = [each.figures for each in runs if each.point.name == name and not each.error]
        found[name] = {}
        for metric in METRICS:
            known = [value for each in here if (value := each.get(metric)) is not None]
            if known:
                found[name][metric] = spread(known)
    return found


def columns(runs: Sequence[Ran]) -> list[str]:
    """The figures that any run has."""
    return [name for name in METRICS if any(each.figures.get(name) is not None for each in runs)]


def as_csv(runs: Sequence[Ran]) -> str:
    """One row a run, then mean, low and high of each point."""
    varied, named = list(runs[0].point.varied), columns(runs)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["point", *varied, "seed", *named, "error"])
    found = summaries(runs)
    for name in found:
        of = [each for each in runs if each.point.name == name]
        values = [of[0].point.varied[key] for key in varied]
        for each in of:
            writer.writerow([name, *values, each.seed, *(each.figures.get(key) for key in named), each.error])
        for side in ("mean", "low", "high"):
            cells = [getattr(found[name].get(key), side, None) for key in named]
            writer.writerow([name, *values, side, *cells, ""])
    return out.getvalue()


def as_json(runs: Sequence[Ran], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with the sweep's own settings."""
    found = summaries(runs)
    points = []
    for name, figures in found.items():
        of = [each for each in runs if each.point.name == name]
        points.append(
            {
                "point": name,
                "varied": of[0].point.varied,
                "runs": [{"seed": r.seed, "figures": r.figures, "error": r.error or None} for r in of],
                "summary": {metric: vars(each) for metric, each in figures.items()},
            }
        )
    return {"version": 1, "sweep": dict(facts), "points": points}

"""``fedrepay simulate --year``: the screen, the folder, the report."""

import json
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import typer
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

from fedrepay.client.plans.deciding.settings import Settings, load_settings
from fedrepay.shared.errors import ArgumentError, StorageError
from fedrepay.shared.files import write_atomically
from fedrepay.simulations.market.year.figures import year
from fedrepay.simulations.market.year.plan import YearPlan
from fedrepay.simulations.market.year.play import play
from fedrepay.simulations.report.render import render_year
from fedrepay.simulations.report.words import percent
from fedrepay.simulations.rows.run_figures import PACKAGES, VERSION
from fedrepay.simulations.run.folder import Folder
from fedrepay.simulations.run.screen import Screen

_OURS = (
    *("out", "year", "months", "market", "members", "scale", "epsilon", "colluders", "settings", "seed"),
    "as_json",
)
NOT_PRIVATE = "seeded: the noise of a simulated year follows from its seed, so that equal years are equal"


def refuse_others(context: typer.Context) -> None:
    """Options that a year does not have; raises ArgumentError."""
    for name in context.params:
        if name not in _OURS and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ArgumentError(
                f"--{name.replace('_', '-')} does not go with --year.", "Leave one of the two out."
            )


def run(out: Path, *, settings: Path | None, as_json: bool, **asked: Any) -> None:
    """Play a year, write its report and say where it is.

    Args:
        out: the folder.
        settings: a member's for decisions (TOML).
        as_json: print metrics.json in place of a summary.
        asked: fields of ``YearPlan``; None for its default.

    Raises:
        FedrepayError: what stopped it.
    """
    plan = YearPlan(**{name: value for name, value in asked.items() if value is not None})
    plan.check()
    chosen, digest = load_settings(settings)
    facts = {
        "year": asdict(plan) | {"only": list(plan.only)},
        "settings": digest.hex(),
        "fedrepay": version("fedrepay"),
    }
    folder, console = Folder(out), Console(stderr=True)
    if folder.holds(facts) and folder.metrics.exists() and folder.report.exists():
        console.print(f"{out} is finished already; choose another --out to play again.")
        metrics = _finished(folder)
    else:
        folder.mark(facts)
        try:
            with folder.held(), Screen(console) as screen:
                begun = perf_counter()
                found = year(play(plan, chosen, screen.stage))
                metrics = _metrics(plan, found, settings, chosen, perf_counter() - begun)
                write_atomically(folder.report, render_year(metrics).encode())
                write_atomically(folder.metrics, json.dumps(metrics, indent=1).encode())
        except KeyboardInterrupt:
            console.print(
                f"Stopped. The same command plays this year from its start again, and the same one, into {out}."
            )
            raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(metrics, indent=1))
    else:
        _summary(Console(), metrics["year"], folder)


def _finished(folder: Folder) -> dict[str, Any]:
    """The figures of a year that was played before; raises StorageError."""
    damaged = StorageError(f"{folder.metrics} is damaged.", "Choose another --out, or remove the folder.")
    try:
        found = json.loads(folder.metrics.read_text())
    except OSError as error:
        raise StorageError(
            f"{folder.metrics} cannot be read: {error.strerror}.", "Check its rights."
        ) from error
    except ValueError as error:
        raise damaged from error
    if not isinstance(found, dict) or "year" not in found:
        raise damaged
    return found


def _metrics(
    plan: YearPlan, found: dict[str, Any], settings: Path | None, chosen: Settings, seconds: float
) -> dict[str, Any]:
    return {
        "version": VERSION,
        "year": found,
        "privacy": {"epsilon": None, "not_private": NOT_PRIVATE},
        "seed": plan.seed,
        "arguments": {
            "market": plan.preset,
            "members": plan.members,
            "scale": plan.scale,
            "months": plan.months,
            "epsilon": plan.epsilon,
            "colluders": plan.borne,
            "settings": None if settings is None else str(settings),
        },
        "settings": chosen.model_dump(mode="json"),
        "seconds": {"year": round(seconds, 3)},
        "versions": {name: version(name) for name in PACKAGES},
        "outside_the_guarantee": ["year"],
    }


def _summary(console: Console, found: dict[str, Any], folder: Folder) -> None:
    table = Table("", "value", "of perfect", "plans truly affordable", box=None)
    for world in found["worlds"].values():
        earned = world["earned"]
        table.add_row(
            world["label"],
            percent(earned["value"], 2),
            percent(earned["of_perfect"]),
            percent(earned["affordable"]),
        )
    console.print(table)
    console.print(
        f"Everything is simulated. A customer's ε is {found['epsilon_per_customer']:g} (δ = {found['delta_per_customer']:.2g}) for all windows: "
        "each is in one."
    )
    console.print(f"Report: {folder.report}")

"""``--sweep`` on the screen: progress over runs, what failed, where the tables are."""

import json
from pathlib import Path

import typer
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fedrepay.shared.errors import ArgumentError, SweepError
from fedrepay.simulations.sweep import carry
from fedrepay.simulations.sweep.plan import load
from fedrepay.simulations.sweep.table import Ran

_OURS = ("out", "sweep", "jobs", "as_json")


def refuse_others(context: typer.Context) -> None:
    """A sweep's options stand in its FILE; raises ArgumentError for any other on the command line."""
    for name in context.params:
        if name not in _OURS and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ArgumentError(
                f"--{name.replace('_', '-')} does not go with --sweep.", "Write it into the FILE."
            )


def run(file: Path, out: Path, jobs: int, *, as_json: bool) -> None:
    """Run or resume a sweep.

    Raises:
        SweepError: runs failed; all others are in the tables.
        ArgumentError: something in FILE is wrong, or ``out`` holds another sweep.
    """
    sweep, console = load(file), Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )

    def done(ran: Ran, count: int, total: int) -> None:
        progress.update(task, description=f"{ran.point.name}, seed {ran.seed}", completed=count, total=total)
        if ran.error:
            progress.console.print(
                f"{ran.point.name}, seed {ran.seed}: {ran.error}", style="yellow", markup=False
            )

    try:
        with progress:
            task = progress.add_task("Starting", total=None)
            runs = carry.carry(sweep, out, file.name, jobs, done)
    except KeyboardInterrupt:
        console.print(f"Stopped. Nothing done so far is lost: the same command goes on with {out}.")
        raise typer.Exit(130) from None
    if as_json:
        typer.echo(json.dumps(json.loads((out / "sweep.json").read_text()), indent=1))
    else:
        screen = Console()
        screen.print(f"{len(sweep.points())} points × {len(sweep.seeds)} seeds")
        screen.print(f"Picture: {out / 'sweep.html'}")
        screen.print(f"Table:   {out / 'sweep.csv'}, {out / 'sweep.json'}")
    failed = [each for each in runs if each.error]
    if failed:
        raise SweepError(
            f"{len(failed)} of {len(runs)} runs failed; the first: {failed[0].point.name}, seed {failed[0].seed}: "
            f"{failed[0].error}",
            "The others are in the tables. The same command tries these again; a wrong setting needs another FILE.",
        )

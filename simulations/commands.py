"""``fedrepay simulate``: options and screen; the work is in ``simulate.py``."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[
    Path, typer.Option("--out", help="Folder for release, report, metrics and stores.", show_default=False)
]

_HELP = (
    "Run a whole consortium on this machine and write a report.\n\n"
    "The real Flower apps, key ceremony, masks, encryption and differential privacy run in one process. "
    "Ctrl-C or a crash leaves a folder that the same command resumes; no completed sum is repeated.\n\n"
    "\b\n"
    "fedrepay simulate --out runs/first\n"
    "fedrepay simulate --members 8 --split skewed:limit --drop m03@2 --out runs/skewed\n"
    "fedrepay simulate --data mine.csv --schema mine.toml --split column:branch --out runs/mine"
)
_NEEDED = ("duckdb", "flwr", "jinja2", "lightgbm", "sklearn", "tenseal")
app = typer.Typer()


@app.command(help=_HELP)
def simulate(
    out: Out,
    data: Annotated[
        Path | None, typer.Option(help="CSV or Parquet file; without it the shipped UCI credit card data.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Schema (TOML) with its built code book beside it; goes with --data.")
    ] = None,
    mapping: Annotated[
        Path | None, typer.Option(help="Mapping (TOML with one SELECT); without it columns match by name.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="File of test rows; without it 20 % of the customers are held out.")
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(help="Number of members (default 20); 3 or 4 is marked red, 3 … 1,500 are possible."),
    ] = None,
    split: Annotated[
        str, typer.Option(help="column:NAME (its values are the members), iid, skewed:COLUMN, sizes:zipf.")
    ] = "iid",
    epsilon: Annotated[float, typer.Option(help="ε of one customer for the whole release.")] = 1.0,
    delta: Annotated[
        float | None, typer.Option(help="δ; default min(1e-5, 1/(10·n_max)).", show_default=False)
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option(
            help="Members that may collude with the coordinator; default max(1, ⌈K/10⌉).", show_default=False
        ),
    ] = None,
    mode: Annotated[
        str, typer.Option(help="distributed (noise shared by the members) or none (a baseline, unprotected).")
    ] = "distributed",
    rounds: Annotated[
        int | None, typer.Option(help="Secure sums, the Gram matrix included; default 5.", show_default=False)
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="NAME@ROUND: this member fails in that round (repeatable).")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Drives splits, baselines and simulated failures; never noise, keys or masks.")
    ] = 1,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also fit LightGBM on the pooled rows.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of a summary.")] = False,
) -> None:
    """Run a consortium; the help text stands in ``_HELP``."""
    from rich.console import Console

    from fedrepay.shared.errors import ArgumentError
    from fedrepay.simulations import arguments as given
    from fedrepay.simulations.screen import Screen, summary
    from fedrepay.simulations.simulate import run

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ArgumentError(
            f"simulate needs {', '.join(missing)}, not installed here.", "pip install 'fedrepay[simulation]'"
        )
    if (data is None) != (schema is None):
        raise ArgumentError("--data and --schema go together.", "Give both, or neither for the shipped data.")
    if mapping is not None and data is None:
        raise ArgumentError("--mapping needs --data.", "Name the file it maps.")
    shipped = data is None
    by_column = split.startswith("column:")
    if by_column and members is not None:
        raise ArgumentError("--members does not go with --split column:NAME.", "Its values are the members.")
    chosen = given.Arguments(
        data=str(data or given.SHIPPED),
        schema=str(schema or given.SHIPPED_SCHEMA),
        mapping=str(given.SHIPPED_MAPPING) if shipped else (None if mapping is None else str(mapping)),
        test=None if test is None else str(test),
        members=None if by_column else (20 if members is None else members),
        split=split,
        epsilon=epsilon,
        delta=delta,
        colluders=colluders,
        mode=mode,
        rounds=rounds,
        drop=tuple(drop or ()),
        seed=seed,
        baselines=baselines,
    )
    console = Console(stderr=True)
    try:
        with Screen(console) as screen:
            metrics = run(chosen, given.Folder(out), screen)
    except KeyboardInterrupt:
        console.print(f"Stopped. Nothing done so far is lost: the same command resumes {out}.")
        raise typer.Exit(130) from None
    if as_json:
        import json

        typer.echo(json.dumps(metrics, indent=1))
    else:
        summary(Console(), metrics, given.Folder(out))

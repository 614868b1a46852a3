"""``fedrepay simulate``: options and screen; the work is in ``simulate.py``."""

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
    "Without --data the members are lenders of a simulated debt market whose truth is known: they learn from the plans "
    "they offered, and the report says in money what learning together brought each of them. With --data they hold "
    "rows of your table, or of the shipped credit card data (--data uci).\n\n"
    "\b\n"
    "fedrepay simulate --out runs/first\n"
    "fedrepay simulate --market complement --members 8 --scale 0.5 --out runs/complement\n"
    "fedrepay simulate --data uci --members 8 --split skewed:limit --drop m03@2 --out runs/skewed\n"
    "fedrepay simulate --data mine.csv --schema mine.toml --split column:branch --out runs/mine\n"
    "fedrepay simulate --data uci --members 5 --engine flower --out runs/network\n"
    "fedrepay simulate --data uci --mode local --model mlp --members 8 --out runs/local\n"
    "fedrepay simulate --year --market complement --out runs/year\n"
    "fedrepay simulate --sweep simulations/sweeps/modes.toml --out runs/modes"
)
app = typer.Typer()


@app.command(help=_HELP)
def simulate(
    context: typer.Context,
    out: Out,
    data: Annotated[
        str | None,
        typer.Option(
            help="CSV or Parquet file of rows with one outcome, or `uci`, the shipped table.",
            show_default=False,
        ),
    ] = None,
    market: Annotated[
        str | None,
        typer.Option(
            help="mixed (default), complement, alike, unlike, opposed, confounded or otherworld.",
            show_default=False,
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(help="Market: multiplies every lender's offers; default 1.", show_default=False),
    ] = None,
    accounts: Annotated[
        int | None,
        typer.Option(
            help="Market: new accounts of each lender to judge by; default 300.", show_default=False
        ),
    ] = None,
    redraws: Annotated[
        int | None,
        typer.Option(
            help="Market: sets of records each member's own model is fitted to again, so that each member's gain gets an interval; "
            "default 0: none do. 10 take some minutes.",
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="Market: a member's settings for decisions (TOML, docs/plans.md).")
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
        str | None,
        typer.Option(
            help="Of --data: column:NAME (its values are the members), iid (default), skewed:COLUMN, sizes:zipf.",
            show_default=False,
        ),
    ] = None,
    epsilon: Annotated[float, typer.Option(help="ε of one customer for the whole release.")] = 1.0,
    delta: Annotated[
        float | None,
        typer.Option(help="δ; default min(1e-5, 1/(10·members_max·n_max)).", show_default=False),
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option(
            help="Members that may collude with the coordinator; default max(1, ⌈K/10⌉).", show_default=False
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            help="distributed (noise shared by the members), local (a torch module, all noise at each member; with "
            "--data) or none (a baseline, unprotected)."
        ),
    ] = "distributed",
    model: Annotated[
        str | None,
        typer.Option(
            help="Of --mode local: logistic (default), mlp, or module:Class of your own, imported from here.",
            show_default=False,
        ),
    ] = None,
    sampling_rate: Annotated[
        float | None,
        typer.Option(help="Of --mode local: chance of a customer to be in a step.", show_default=False),
    ] = None,
    local_steps: Annotated[
        int | None,
        typer.Option(help="Of --mode local: a member's steps between two secure sums.", show_default=False),
    ] = None,
    clip: Annotated[
        float | None,
        typer.Option(help="Of --mode local: longest gradient of one customer.", show_default=False),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            help="Of --mode local: largest step, for a gradient divided by --clip.", show_default=False
        ),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Secure sums, the Gram matrix included; default 5.", show_default=False)
    ] = None,
    learner: Annotated[
        str | None,
        typer.Option(
            help="dp-newton (default), dp-surrogate (better where few bins decide much, docs/protocol.md) or dp-gd "
            "(default beyond 512 bins).",
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="NAME@ROUND: this member fails in that round (repeatable).")
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Drives splits, baselines and simulated failures; never noise, keys or masks.")
    ] = 1,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also fit LightGBM: on the pooled rows, or each lender's own.")
    ] = False,
    engine: Annotated[
        str,
        typer.Option(
            help="faithful (one process), or flower: the same apps on Flower's own SuperLink and SuperNodes over TLS, "
            "every party a process; at most 32 members, no transcript; or batched: the sums computed together, for "
            "research: no protocol runs, nothing is protected between members, no release is written."
        ),
    ] = "faithful",
    year: Annotated[
        bool,
        typer.Option(
            "--year",
            help="Play a year of the market instead: offers every month, outcomes after 90 days, a release of every window, "
            "in several worlds side by side. --market may also be newcomer, cold, recession or revive.",
        ),
    ] = False,
    months: Annotated[int, typer.Option(help="Of --year: how many.")] = 12,
    sweep: Annotated[
        Path | None,
        typer.Option(
            help="Run a grid of settings with seeds (TOML, docs/sweeps.md) into one table and picture."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Of --sweep: processes at work at once.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics.json instead of a summary.")] = False,
) -> None:
    """Run a consortium; the help text stands in ``_HELP``."""
    from rich.console import Console

    from fedrepay.shared.errors import ArgumentError
    from fedrepay.simulations.run.arguments import check_installed

    check_installed()
    if sweep is not None:
        from fedrepay.simulations.sweep import commands

        commands.refuse_others(context)
        commands.run(sweep, out, jobs, as_json=as_json)
        return
    if year:
        from fedrepay.simulations.market.year import commands as of_a_year

        of_a_year.refuse_others(context)
        of_a_year.run(
            out,
            preset=market,
            members=members,
            scale=scale,
            months=months,
            epsilon=epsilon,
            colluders=colluders,
            settings=settings,
            seed=seed,
            as_json=as_json,
        )
        return
    if months != 12:
        raise ArgumentError("--months goes with --year.", "Add it, or leave --months out.")
    if jobs != 1:
        raise ArgumentError("--jobs goes with --sweep FILE.", "Leave it out.")

    from fedrepay.simulations.run.screen import Screen, summary
    from fedrepay.simulations.simulate import simulate as consortium

    console = Console(stderr=True)
    try:
        with Screen(console) as screen:
            done = consortium(
                out,
                data=data,
                market=market,
                scale=scale,
                accounts=accounts,
                redraws=redraws,
                settings=settings,
                schema=schema,
                mapping=mapping,
                test=test,
                members=members,
                split=split,
                epsilon=epsilon,
                delta=delta,
                colluders=colluders,
                mode=mode,
                model=model,
                sampling_rate=sampling_rate,
                local_steps=local_steps,
                clip=clip,
                learning_rate=learning_rate,
                rounds=rounds,
                learner=learner,
                drop=drop or (),
                seed=seed,
                baselines=baselines,
                engine=engine,
                screen=screen,
            )
    except KeyboardInterrupt:
        console.print(f"Stopped. Nothing done so far is lost: the same command resumes {out}.")
        raise typer.Exit(130) from None
    if as_json:
        import json

        typer.echo(json.dumps(done.metrics, indent=1))
    else:
        summary(Console(), done.metrics, done.folder)

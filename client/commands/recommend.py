"""``fedrepay recommend``: options and screen; the work is in ``recommend.py``."""

from pathlib import Path
from typing import Annotated

import typer

_HELP = (
    "Score your own accounts on your own machine with a release.\n\n"
    "Writes one row per account: id, probability of the good outcome, rank (1 is the likeliest good outcome), "
    "four reasons, release number and hash. Rows that `member check-data` would refuse go to OUT.rejects. "
    "A release in local mode is a torch module, which gives no reasons: those columns stay empty. "
    "A release of several outcomes recommends plans instead: `fedrepay member recommend`.\n\n"
    "The signatures are checked against the roster inside the release; compare the twelve words printed "
    "with the ones your institution approved.\n\n"
    "fedrepay recommend --release runs/first/release --accounts accounts.csv --out scores.csv"
)
app = typer.Typer()


@app.command(help=_HELP)
def recommend(
    release: Annotated[
        Path, typer.Option(help="Folder (or .safetensors file) of an opened, signed release.")
    ],
    accounts: Annotated[Path, typer.Option(help="CSV or Parquet file of accounts.")],
    out: Annotated[Path, typer.Option(help="Where to write scores (.csv or .parquet).")],
    mapping: Annotated[
        Path | None, typer.Option(help="Mapping (TOML with one SELECT); without it columns match by name.")
    ] = None,
    unprotected: Annotated[
        bool, typer.Option("--unprotected", help="Use a release that is not private. For tests only.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            help="Of a release in local mode: your own torch module, as module:Class; shipped ones are known.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Score accounts; the help text stands in ``_HELP``."""
    from rich.console import Console

    from fedrepay.client.scoring.recommend import score_file

    console = Console(stderr=True)
    result = score_file(release, accounts, mapping, out, unprotected=unprotected, model=model)
    if result.not_private:
        console.print(f"[bold red]THIS RELEASE IS NOT PRIVATE: {result.not_private}[/]")
    console.print(f"Release {result.number} signed by {result.signatures} of {result.members} members.")
    console.print(f"Privacy: {result.privacy}.", markup=False)
    console.print(f"Roster code, to compare: [bold]{result.roster_code}[/]")
    console.print(f"{result.rows} rows written to {out}; {result.rejected} rejected.")
    if result.findings:
        console.print(f"[yellow]Why: {out}.rejects[/]")

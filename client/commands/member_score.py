"""``fedrepay member score``: options and screen; the work is in ``scoring/``."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.client.commands.options import Json, show

_HELP = (
    "Score your own accounts on your own machine with a release.\n\n"
    "Writes one row per account: id, probability of the good outcome, rank (1 is the likeliest good outcome), "
    "four reasons, release number and hash. Rows that `member check-data` would refuse go to OUT.rejects. "
    "A release in local mode is a torch module, which gives no reasons: those columns stay empty. "
    "A release of several outcomes recommends plans instead: `fedrepay member recommend`.\n\n"
    "Anybody can make a roster and sign with it, so a release needs --member, your own state folder, or --roster-code, "
    "the twelve words that your institution compared. One of `fedrepay simulate` needs neither; whatever is made with it "
    "says SIMULATED.\n\n"
    "\b\n"
    "fedrepay member score --member member --accounts accounts.csv --out scores.csv   # the release in use\n"
    "fedrepay member score --release release --member member --accounts accounts.csv --out scores.csv"
)
Member = Annotated[
    Path | None,
    typer.Option(
        help="This member's own state folder: the release must be of the roster it takes part in.",
        show_default=False,
    ),
]
RosterCode = Annotated[
    str | None,
    typer.Option(
        help="The twelve words of the roster, in quotes, as people compared them: the release must be of that roster.",
        show_default=False,
    ),
]
Mapping = Annotated[
    Path | None,
    typer.Option(
        help="Mapping (TOML with one SELECT); default: `mapping` of the member.toml at --member, else columns match by name.",
        show_default=False,
    ),
]
app = typer.Typer()


def mapped(member: Path | None, mapping: Path | None) -> Path | None:
    """The mapping that was named, or the one of the member's settings; None where columns match by name.

    Raises:
        ArgumentError: the settings cannot be read.
    """
    from fedrepay.client.store import settings

    if member is None or mapping is not None:
        return mapping
    return settings.file_of(member, None, settings.load(member).mapping)


@app.command("score", help=_HELP)
def score(
    accounts: Annotated[Path, typer.Option(help="CSV or Parquet file of accounts.")],
    out: Annotated[Path, typer.Option(help="Where to write scores (.csv or .parquet).")],
    release: Annotated[
        Path | None,
        typer.Option(
            help="Folder (or .safetensors file) of an opened, signed release; default: the one in use at --member.",
            show_default=False,
        ),
    ] = None,
    mapping: Mapping = None,
    member: Member = None,
    roster_code: RosterCode = None,
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
    as_json: Json = False,
) -> None:
    """Score accounts; the help text stands in ``_HELP``."""
    from rich.console import Console

    from fedrepay.client.scoring.release import load_release
    from fedrepay.client.scoring.score_file import score_file
    from fedrepay.client.scoring.trust import SIMULATED, WARNING

    used = load_release(release, member=member, roster_code=roster_code, unprotected=unprotected, model=model)
    scores = score_file(used, accounts, mapped(member, mapping), out)
    roster = used.checked.release.roster
    facts = {
        "out": str(out),
        "rows": len(scores),
        "rejected": scores.rejected,
        "release": used.number,
        "signatures": used.checked.signatures,
        "members": len(roster.names),
        "privacy": used.privacy,
        "not_private": used.not_private or None,
        "simulated": used.origin == SIMULATED,
        "roster_code": used.roster_code,
    }
    if as_json:
        show(as_json, facts)
        return
    console = Console(stderr=True)
    if used.origin == SIMULATED:
        console.print(f"[bold red]{WARNING}[/]")
    if used.not_private:
        console.print(f"THIS RELEASE IS NOT PRIVATE: {used.not_private}", style="bold red", markup=False)
    console.print(
        f"Release {used.number} signed by {used.checked.signatures} of {len(roster.names)} members."
    )
    console.print(f"Privacy: {used.privacy}.", markup=False)
    console.print(f"Roster code: [bold]{used.roster_code}[/]")
    console.print(f"{len(scores)} rows written to {out}; {scores.rejected} rejected.")
    if scores.findings:
        console.print(f"[yellow]What was found in the rows: {out}.rejects[/]")

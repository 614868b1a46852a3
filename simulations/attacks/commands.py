"""``fedrepay attack``: options and screen; each attack is a module of this folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from fedrepay.simulations.attacks.base import AttackFinding

_HELP = (
    "Attack this build, once with a defence on and once with it off.\n\n"
    "Without NAME: the list. An attack plays a small consortium in this process with the product's own code, takes only "
    "what its adversary has, and prints what that got. Off is the control: an attack that fails there proves nothing. "
    "docs/attacks.md says of each who attacks, what it holds and what the figures mean.\n\n"
    "--transcript takes the transcript/ of a run of yours (what the coordinator and the wire saw), --release its release/; "
    "the list says which attack reads which.\n\n"
    "Exit 0: the defence held and the control succeeded. Exit 11: it did not hold, or the control failed.\n\n"
    "\b\n"
    "fedrepay attack\n"
    "fedrepay attack ckks\n"
    "fedrepay attack differencing --transcript runs/first/transcript\n"
    "fedrepay attack subtract --release runs/first/release --json"
)
_NEEDED = ("duckdb", "flwr", "scipy")
app = typer.Typer()


@app.command(help=_HELP)
def attack(
    name: Annotated[
        str | None, typer.Argument(help="One of the list; without it the list is shown.", show_default=False)
    ] = None,
    transcript: Annotated[
        Path | None,
        typer.Option(
            help="transcript/ of a run to attack (shift, differencing, collude).", show_default=False
        ),
    ] = None,
    release: Annotated[
        Path | None,
        typer.Option(
            help="release/ of a simulated run to attack (subtract, membership).", show_default=False
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(help="Drives the attacked data and the guesses; never keys, masks or noise.")
    ] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print the finding as JSON.")] = False,
) -> None:
    """Attack this build; the help text stands in ``_HELP``."""
    from importlib.util import find_spec

    from rich.console import Console

    from fedrepay.shared.errors import ArgumentError
    from fedrepay.simulations.attacks.base import AttackOptions
    from fedrepay.simulations.attacks.catalogue import check, load

    if name is None:
        _refuse_options_of_the_list(transcript, release)
        _list(Console(), as_json=as_json)
        return
    _refuse_unread(name, transcript, release)
    if seed < 0:
        raise ArgumentError(f"--seed {seed} is below 0.", "1 is the default.")
    needed = (*_NEEDED, "tenseal") if name == "ckks" else _NEEDED
    missing = [each for each in needed if find_spec(each) is None]
    if missing:
        raise ArgumentError(
            f"attack needs {', '.join(missing)}, not installed here.", "pip install 'fedrepay[attacks]'"
        )
    run = load(name)
    console = Console(stderr=True)
    try:
        with console.status(f"Attack {name}: once with the defence on, once with it off …"):
            finding = run(AttackOptions(seed=seed, transcript=transcript, release=release))
    except KeyboardInterrupt:
        console.print("Stopped: no verdict, and nothing is kept.")
        raise typer.Exit(130) from None
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps(asdict(finding), indent=1))
    else:
        _show(Console(), finding)
    check(finding)


def _refuse_options_of_the_list(*given: Path | None) -> None:
    from fedrepay.shared.errors import ArgumentError

    if any(given):
        raise ArgumentError(
            "--transcript and --release go with an attack.", "Name one: `fedrepay attack` lists them."
        )


def _refuse_unread(name: str, transcript: Path | None, release: Path | None) -> None:
    """An option that the attack would ignore is an error, and so is a folder that is not there."""
    from fedrepay.shared.errors import ArgumentError
    from fedrepay.simulations.attacks.catalogue import ATTACKS, load

    if name not in ATTACKS:
        load(name)  # says which names there are
    for option, folder in (("transcript", transcript), ("release", release)):
        if folder is None:
            continue
        if option not in ATTACKS[name].reads:
            able = ", ".join(each for each, entry in ATTACKS.items() if option in entry.reads)
            raise ArgumentError(f"{name} does not read --{option}.", f"Leave it out; it goes with {able}.")
        if not folder.is_dir():
            raise ArgumentError(
                f"--{option} {folder} is not a folder.",
                f"Give DIR/{option} of `fedrepay simulate --out DIR`.",
            )


def _list(console: "Console", *, as_json: bool) -> None:
    from fedrepay.simulations.attacks.catalogue import ATTACKS

    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps({name: asdict(entry) for name, entry in ATTACKS.items()}, indent=1))
        return
    for name, entry in ATTACKS.items():
        reads = "".join(f" (--{each})" for each in entry.reads)
        console.print(f"{name:13} {entry.threat:4} {entry.line}{reads}", highlight=False, markup=False)
    console.print(
        "\nfedrepay attack NAME runs one; docs/attacks.md explains each.", style="dim", markup=False
    )


def _show(console: "Console", finding: "AttackFinding") -> None:
    from rich.table import Table
    from rich.text import Text

    console.print(Text(finding.adversary))
    console.print(Text(f"Switched off in the control: {finding.defence}", style="dim"))
    table = Table()
    table.add_column(f"{finding.attack} ({finding.threat})")
    table.add_column("defence on")
    table.add_column("defence off")
    for row in finding.rows:
        table.add_row(Text(row.what), Text(row.on), Text(row.off))
    console.print(table)
    held = Text("held", style="bold green") if finding.held else Text("DID NOT HOLD", style="bold red")
    bites = Text("succeeds", style="bold green") if finding.bites else Text("FAILS TOO", style="bold red")
    console.print(Text("The defence ") + held + Text("; without it the attack ") + bites + Text("."))
    if finding.note:
        console.print(Text(finding.note, style="dim"))

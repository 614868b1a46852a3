"""``fedrepay member budget`` and ``limits``: options and screen; the work is in ``care/``, the decisions in ``veto/``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.member_care import Json, day
from fedrepay.client.commands.member_node import Folder

if TYPE_CHECKING:
    from rich.console import Console

    from fedrepay.client.care.spending import Spending

Schema = Annotated[
    Path | None,
    typer.Option(
        help="The consortium's schema; default: `schema` in member.toml, else that of the newest release.",
        show_default=False,
    ),
]
LimitsFile = Annotated[
    Path | None,
    typer.Option(
        help="The limits that `member serve` is given; default: `limits` in member.toml, else the strict ones.",
        show_default=False,
    ),
]
_BUDGET = (
    "What this member's year has cost a customer, by the code that its own veto asks.\n\n"
    "Every attempt of the last 365 days that took budget: of finished and abandoned runs, lost ones too. ε is composed over all of "
    "them at the year's δ, for one customer of this member; beside it, for a person who is a customer of 2, 3 or 5 members.\n\n"
    "\b\nfedrepay member budget --folder member --limits limits.toml"
)
app = typer.Typer()


@app.command(help=_BUDGET)
def budget(folder: Folder, schema: Schema = None, limits: LimitsFile = None, as_json: Json = False) -> None:
    """Show the year; the help text stands in ``_BUDGET``."""
    from rich.console import Console

    from fedrepay.client.care import place
    from fedrepay.client.care.spending import spending

    found = spending(place.of(folder, schema, limits))
    if as_json:
        import json
        from dataclasses import asdict

        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        _show(Console(), found)


def _show(console: "Console", found: "Spending") -> None:
    from rich.table import Table

    table = Table("run", "sum", "attempt", "charged", "state", "ε alone", "counts until", expand=True)
    for run in found.runs:
        for each in run.attempts:
            state = "opened" if each.opened else "sent" if each.sent else each.status
            until = day(each.falls_out) if each.counts else "no more"
            cells = (str(run.run), str(each.round), str(each.attempt), day(each.at))
            table.add_row(*cells, state, epsilon(each.epsilon), until)
    if found.runs:
        console.print(table)
    for run in found.runs:
        told = "released" if run.released else "no release held"
        console.print(
            f"Run {run.run} ({told}): ε = {epsilon(run.epsilon)} of this year; rows: {'; '.join(run.windows)}.",
            markup=False,
            highlight=False,
        )
    for window, cost in found.by_window.items():
        console.print(f"{window}: ε = {epsilon(cost)}.", markup=False, highlight=False)
    others = ", ".join(f"{epsilon(cost)} at {number} members" for number, cost in found.at_members.items())
    console.print(
        f"The year: ε = {epsilon(found.epsilon)} at δ = {found.delta:g} of a customer here; of a person with {others}.",
        markup=False,
        highlight=False,
    )
    left = (
        "nothing is left" if found.left is None or found.left == 0 else f"{found.left:.4g} below it are left"
    )
    console.print(f"The limit is {found.limit:g}; {left}.", markup=False, highlight=False)
    if found.oldest_falls_out is not None:
        console.print(f"The oldest of these is a year old on {day(found.oldest_falls_out)}.", markup=False)


def epsilon(cost: float | None) -> str:
    """An ε rounded up to four digits after the point; "none holds" where there was no noise."""
    import math

    return "none holds" if cost is None else f"{math.ceil(cost * 1e4) / 1e4:g}"

"""``fedrepay member budget`` and ``limits``: options and screen; the work is in ``care/``, the decisions in ``veto/``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedrepay.client.commands.member_care import Json, day
from fedrepay.client.commands.options import Folder

if TYPE_CHECKING:
    from rich.console import Console

    from fedrepay.client.care.asking import Foreseen
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
_SHOW = (
    "Show this member's limits as `member serve` reads them, those that nobody wrote marked as default.\n\n"
    "\b\nfedrepay member limits show --folder member --limits limits.toml"
)
_TEST = (
    "Say what this member would answer to a run, by the code that answers the operator; nothing is sent or spent.\n\n"
    "An option that is left out is what `coordinator train` would take. A run in local mode comes as --terms, the file of "
    "`member local-terms`. Exit code 13: it would say no, and the limit that says so is named.\n\n"
    "\b\nfedrepay member limits test --folder member --members 5 --epsilon 0.5"
)
app = typer.Typer()
limits_app = typer.Typer(no_args_is_help=True, help="This member's veto: shown, and tried on a run.")
app.add_typer(limits_app, name="limits")


@app.command(help=_BUDGET)
def budget(folder: Folder, schema: Schema = None, limits: LimitsFile = None, as_json: Json = False) -> None:
    """Show the year; the help text stands in ``_BUDGET``."""
    from rich.console import Console

    from fedrepay.client.care import home
    from fedrepay.client.care.spending import spending

    found = spending(home.of(folder, schema, limits))
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
    if found.lost is not None:
        console.print(found.lost, markup=False, highlight=False)
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


@limits_app.command("show", help=_SHOW)
def show_limits(
    folder: Folder, schema: Schema = None, limits: LimitsFile = None, as_json: Json = False
) -> None:
    """Show the limits; the help text stands in ``_SHOW``."""
    import json

    from rich.console import Console
    from rich.table import Table

    from fedrepay.client.care import home

    here = home.of(folder, schema, limits)
    made, written = here.limits.model_dump(), here.limits.model_fields_set
    used = {**made, "delta_per_year": here.delta}
    if as_json:
        lines = {
            name: {"value": value, "used": used[name], "default": name not in written}
            for name, value in made.items()
        }
        file = None if here.limits_file is None else str(here.limits_file)
        typer.echo(json.dumps({"file": file, "limits": lines}, indent=1))
        return
    console = Console()
    table = Table("limit", "value", "", expand=True)
    for name, value in used.items():
        text = "max(1, ⌈K/10⌉) of a roster of K" if value is None else f"{value}"
        table.add_row(name, text, "" if name in written else "default")
    console.print(table)
    shown = "No file: these are the strict ones." if here.limits_file is None else f"From {here.limits_file}."
    console.print(shown, markup=False)


@limits_app.command("test", help=_TEST)
def try_limits(
    folder: Folder,
    members: Annotated[int, typer.Option(min=3, help="Of the roster.", show_default=False)],
    epsilon_: Annotated[
        float | None, typer.Option("--epsilon", help="ε; default 1.", show_default=False)
    ] = None,
    delta: Annotated[
        float | None,
        typer.Option(help="δ; default min(1e-5, 1/(10·members_max·n_max)).", show_default=False),
    ] = None,
    colluders: Annotated[
        int | None,
        typer.Option(min=1, help="Members that may collude; default max(1, ⌈K/10⌉).", show_default=False),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=2, help="Secure sums.", show_default=False)] = None,
    learner: Annotated[
        str | None,
        typer.Option(help="As of `coordinator train`; default dp-newton.", show_default=False),
    ] = None,
    mode: Annotated[str, typer.Option(help="distributed, local (with --terms) or none.")] = "distributed",
    terms: Annotated[
        Path | None,
        typer.Option(help="Of a run in local mode: the file of `member local-terms`.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="As of `member serve`; default: `model` in member.toml.", show_default=False),
    ] = None,
    schema: Schema = None,
    limits: LimitsFile = None,
    as_json: Json = False,
) -> None:
    """Try a run on the limits; the help text stands in ``_TEST``."""
    import json
    from dataclasses import asdict

    from fedrepay.client.care import asking, home
    from fedrepay.client.learning.torch_models import registry
    from fedrepay.shared.errors import TermsError
    from fedrepay.shared.trust import local_run

    here = home.of(folder, schema, limits)
    local = None if terms is None else local_run.read(terms)
    wish = asking.ThoughtOf(members, epsilon_, delta, colluders, rounds, mode, local, learner)
    run = asking.terms_of(wish, here.book)
    named = model or here.settings.model
    held = None if local is None or named is None else registry.load(named, here.book.dimension)
    answer = asking.asked(here, run, members, held)
    if as_json:
        typer.echo(json.dumps(asdict(answer), indent=1))
    else:
        _answered(answer)
    if not answer.accepted:
        raise typer.Exit(TermsError.exit_code)


def _answered(answer: "Foreseen") -> None:
    said = ", ".join(f"{name} {value}" for name, value in answer.terms.items())
    typer.echo(f"A run of {said}.")
    if answer.accepted:
        typer.echo("This member would say yes, today.")
    else:
        typer.echo(f"This member would say no ({answer.code}): {answer.cause}")
        typer.echo(answer.remedy)
    typer.echo(f"Its year so far: ε = {epsilon(answer.year)} at δ = {answer.delta_per_year:g}.")

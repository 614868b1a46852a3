"""The ``fedrepay`` command: composes the groups of each role and turns typed errors into exit codes."""

import sys
from typing import Annotated

import typer

from fedrepay.client.commands import member, rules, schema
from fedrepay.server.commands import coordinator
from fedrepay.shared.errors import FedrepayError
from fedrepay.simulations import commands
from fedrepay.simulations.attacks import commands as attacks

app = typer.Typer(
    name="fedrepay",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Creditors learn together which repayment plan works for whom; no debtor's record leaves "
    "its institution, and the coordinator reads no update.\n\n"
    "Start with: fedrepay simulate --out runs/first",
)


def _version(asked: bool) -> None:
    if asked:
        from fedrepay import __version__

        typer.echo(f"fedrepay {__version__}")
        raise typer.Exit


@app.callback()
def fedrepay(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and end.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Options of the command itself; its help text stands above."""


app.add_typer(commands.app)
app.add_typer(attacks.app)
app.add_typer(schema.app, name="schema")
app.add_typer(rules.app, name="rules")
app.add_typer(member.app, name="member")
app.add_typer(coordinator.app, name="coordinator")


def main() -> None:
    """Run the command; a typed error ends it with its own exit code, cause and remedy."""
    from rich.console import Console

    console = Console(stderr=True)
    try:
        app(standalone_mode=True)
    except FedrepayError as error:
        console.print(f"[bold red]{type(error).__name__}[/]: ", end="")
        console.print(error.cause, markup=False)
        console.print(error.remedy, markup=False, style="dim")
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        if (error.name or "fedrepay").partition(".")[0] == "fedrepay":
            raise
        console.print(f"[bold red]ArgumentError[/]: this command needs {error.name}, which is not installed.")
        console.print(
            "pip install 'fedrepay[simulation]', or [member] at a member.", markup=False, style="dim"
        )
        sys.exit(2)


if __name__ == "__main__":
    main()

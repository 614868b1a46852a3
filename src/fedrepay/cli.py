"""The ``fedrepay`` command: composes the groups of each role and turns typed errors into exit codes."""

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from fedrepay.shared.errors import FedrepayError
from fedrepay.shared.terminal import legible
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


_GROUPS: Mapping[str, tuple[str, str]] = {
    "schema": (
        "fedrepay.client.commands.schema",
        "Draft, check and build the schema that a consortium agrees on.",
    ),
    "rules": (
        "fedrepay.client.commands.rules",
        (
            "Read, test and change the rule packs that decide which plans the law of a place allows.\n\n"
            "A pack is a template, not legal advice.\n\n"
            "To change a rule: copy the built-in pack's file (`check` says where it lies), change it, raise `version` of the rule and of the pack, "
            "then `check`, `test`, and `diff` it against the old one on a file of decisions."
        ),
    ),
    "member": ("fedrepay.client.commands.member", "What a member institution does with its own data."),
    "coordinator": (
        "fedrepay.server.commands.coordinator",
        "What the consortium's operator does; the coordinator reads none of what passes.",
    ),
}


def _later(place: str) -> type[TyperGroup]:
    """A group whose commands are loaded from a module when one is asked for: all of them would double ``--help``."""

    class Later(TyperGroup):
        def list_commands(self, ctx: click.Context) -> list[str]:
            self._load()
            return super().list_commands(ctx)

        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            self._load()
            return super().get_command(ctx, cmd_name)

        def _load(self) -> None:
            if not self.commands:
                self.commands = typer.main.get_group(import_module(place).app).commands

    return Later


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
for _name, (_place, _help) in _GROUPS.items():
    app.add_typer(typer.Typer(no_args_is_help=True), name=_name, help=_help, cls=_later(_place))


EXTRAS = {
    "torch": "'fedrepay[simulation,torch]', or [member,torch] at a member.",
    "opacus": "'fedrepay[simulation,torch]', or [member,torch] at a member.",
    "tenseal": "'fedrepay[attacks]'",
}
"""What to install for a missing package, where it is not what everybody at work here has."""


def main() -> None:
    """Run the command; a typed error ends it with its own exit code, cause and remedy."""
    from rich.console import Console

    legible()
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
        needed = EXTRAS.get(
            (error.name or "").partition(".")[0], "'fedrepay[simulation]', or [member] at a member."
        )
        console.print(f"pip install {needed}", markup=False, style="dim")
        sys.exit(2)


if __name__ == "__main__":
    main()

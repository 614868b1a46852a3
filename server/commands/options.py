"""Options that many of the operator's commands share."""

import sys
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[
    Path, typer.Option(help="The coordinator's folder, made by `coordinator init`.", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
JsonLines = Annotated[
    bool,
    typer.Option(
        "--json", help="For machines: one JSON object a line of its own; children's lines as they are."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def at_keyboard() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty()

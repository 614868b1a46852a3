"""Options that many of a member's commands share, and how facts are shown."""

from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Option(help="The member's folder, made by `member join`.", show_default=False)]
Socket = Annotated[
    Path | None,
    typer.Option(help="Unix socket of `member serve`; default FOLDER/member.sock.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="For machines.")]
JsonLines = Annotated[bool, typer.Option("--json", help="For machines: one JSON object a line.")]
Yes = Annotated[bool, typer.Option("--yes", help="Say yes beforehand, where nobody sits at the screen.")]


def show(as_json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Facts for machines, or lines for people."""
    import json

    for line in (json.dumps(facts, indent=1),) if as_json else lines:
        typer.echo(line)

"""``fedrepay coordinator backup``, ``restore`` and ``doctor``: options and screen."""

import typer

app = typer.Typer()

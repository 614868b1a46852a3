"""``fedrepay coordinator``: what the consortium's operator does, one room a subject."""

import typer

from fedrepay.server.commands import care, members, runs, setup

app = typer.Typer()
for _room in (setup, members, runs, care):
    app.add_typer(_room.app)


@app.callback()
def coordinator() -> None:
    """What the consortium's operator does."""

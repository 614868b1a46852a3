"""``fedrepay member backup``, ``restore`` and ``doctor``: options and screen; the work is in ``care/``."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.client.commands.member_budget import LimitsFile, Schema
from fedrepay.client.commands.member_care import Json
from fedrepay.client.commands.member_node import Folder

_BACKUP = (
    "Write what of this member may be restored into one archive (tar, 0600): keys, entry, settings, limits, releases, bars.\n\n"
    "Whoever holds the archive can speak as this member: keep it where keys are kept. What must not be restored stays out, and the "
    "command says why for each: above all member.sqlite, whose older copy would spend twice and answer twice.\n\n"
    "To restore, after the folder is lost: `fedrepay member restore`, then lower epsilon_per_year in the limits as spent.txt says "
    "(a restored ledger is empty; see docs/refusals.md, A lost member store), then `member serve`. Never let two folders of one "
    "member serve at a time.\n\n"
    "\b\nfedrepay member backup member.tar --folder member --limits limits.toml"
)
_RESTORE = (
    "Make a member's folder again from an archive of `member backup`, after the folder was lost.\n\n"
    "Keys, releases and bars come back; the roster comes back from the coordinator. The ledger starts empty: lower epsilon_per_year "
    "by what the command says, and by the ε of every run since the backup, before `member serve` is started. No release is in use "
    "before `member use N`.\n\n"
    "\b\nfedrepay member restore member.tar --folder member"
)
_DOCTOR = (
    "One page about this member's folder, to send to whoever helps: versions, files and their rights, roster, last run, limits, "
    "budget, disk, clock.\n\n"
    "No key, no customer, no row, no path beyond the folder's own name is on it, and nothing is sent. Refusals stand in the log of "
    "`member serve`, which may name more: read it before you hand it on.\n\n"
    "\b\nfedrepay member doctor --folder member > page.txt"
)
app = typer.Typer()


@app.command(help=_BACKUP)
def backup(
    out: Annotated[Path, typer.Argument(help="A new file, outside the member's folder.", show_default=False)],
    folder: Folder,
    schema: Schema = None,
    limits: LimitsFile = None,
    as_json: Json = False,
) -> None:
    """Write a backup; the help text stands in ``_BACKUP``."""
    import json

    from fedrepay.client.care import backup as care
    from fedrepay.client.care import place

    made = care.backup(place.of(folder, schema, limits), out)
    if as_json:
        facts = {"out": str(out), "held": made.held, "left_out": made.left_out, "advice": made.advice}
        typer.echo(json.dumps(facts, indent=1))
        return
    typer.echo(f"Written to {out}: {', '.join(made.held)}.")
    for name, why in made.left_out.items():
        typer.echo(f"Left out: {name}: {why}.")
    typer.echo(made.advice.rstrip())


@app.command(help=_RESTORE)
def restore(
    archive: Annotated[Path, typer.Argument(help="Of `member backup`.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="A new folder.", show_default=False)],
    as_json: Json = False,
) -> None:
    """Restore a backup; the help text stands in ``_RESTORE``."""
    import json
    import time

    from fedrepay.client.care import backup as care

    advice = care.restore(archive, folder, time.time())
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "advice": advice}, indent=1))
        return
    typer.echo(f"Restored to {folder}. Before `member serve`:")
    typer.echo(advice.rstrip())


@app.command(help=_DOCTOR)
def doctor(folder: Folder, schema: Schema = None, limits: LimitsFile = None, as_json: Json = False) -> None:
    """Show the page; the help text stands in ``_DOCTOR``."""
    import json

    from fedrepay.client.care.doctor import page, worries

    found = page(folder, schema, limits)
    said = worries(found)
    if as_json:
        typer.echo(json.dumps({**found, "to do": said}, indent=1, ensure_ascii=False))
        return
    for name, section in found.items():
        typer.echo(name)
        for key, value in section.items():
            if isinstance(value, dict):
                for inner, text in value.items():
                    typer.echo(f"  {key}: {inner}: {text}")
            else:
                shown = ", ".join(map(str, value)) if isinstance(value, list) else value
                typer.echo(f"  {key}: {'none' if shown is None or shown == '' else shown}")
    typer.echo("to do")
    for line in said or ["nothing was found"]:
        typer.echo(f"  {line}")

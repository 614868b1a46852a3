"""``fedrepay member backup``, ``restore``, ``doctor``, ``forget`` and ``check-certificate``: options and screen; the work is in ``care/``."""

from pathlib import Path
from typing import Annotated

import typer

from fedrepay.client.commands.member_budget import LimitsFile, Schema
from fedrepay.client.commands.member_care import Json
from fedrepay.client.commands.options import Folder

_BACKUP = (
    "Write what of this member may be restored into one archive (tar, 0600): keys, entry, settings, limits, releases, bars.\n\n"
    "Whoever holds the archive can speak as this member: keep it where keys are kept. What must not be restored stays out, and the "
    "command says why for each: above all member.sqlite, whose older copy would spend twice and answer twice.\n\n"
    "To restore, after the folder is lost: `fedrepay member restore`, then `member serve`. The year counts as spent until the others have "
    "said what it has cost (docs/refusals.md, A lost member store). Never let two folders of one member serve at a time.\n\n"
    "\b\nfedrepay member backup member.tar --folder member --limits limits.toml"
)
_RESTORE = (
    "Make a member's folder again from an archive of `member backup`, after the folder was lost.\n\n"
    "Keys, releases and bars come back; the roster comes back from the coordinator. The ledger does not: the year counts as spent "
    "until the others have said, with the next roster, which attempts named this member. No release is in use before `member use N`.\n\n"
    "\b\nfedrepay member restore member.tar --folder member"
)
_DOCTOR = (
    "One page about this member's folder, to send to whoever helps: versions, files and their rights, roster, last run, limits, "
    "budget, disk, clock.\n\n"
    "No key, no customer, no row, no path beyond the folder's own name is on it, and nothing is sent. Refusals stand in the log of "
    "`member serve`, which may name more: read it before you hand it on.\n\n"
    "\b\nfedrepay member doctor --folder member > page.txt"
)
_FORGET = (
    "Forget a customer: bar them from every run to come, and write a signed certificate of what had learned from them.\n\n"
    "The bar is a keyed mark in the store, not the id; `member serve` leaves the rows out when it starts again, and contributes "
    "nothing before it has. The certificate lists the runs, whose rows each was made of, and the ε that bounds what they may tell. "
    "What was spent stays spent. fedrepay keeps no row of anybody: delete the customer in your own tables yourself; files in the "
    "folder that still name them are shown.\n\n"
    "A dash reads the id from standard input, so that it stands in no shell's history.\n\n"
    "\b\nfedrepay member forget - --folder member"
)
_CERTIFICATE = (
    "Check a certificate of `member forget`: that this member signed it, and with --customer that it is that customer's.\n\n"
    "\b\nfedrepay member check-certificate member/forgotten/…json --folder member --customer -"
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
    from fedrepay.client.care import home

    made = care.backup(home.of(folder, schema, limits), out)
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
    import time

    from fedrepay.client.care.doctor import page, worries
    from fedrepay.client.consortium import standing

    found = page(folder, time.time, schema, limits, standing.over(folder))
    said = worries(found)
    if as_json:
        typer.echo(json.dumps({**found, "to do": said}, indent=1))
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


@app.command(help=_FORGET)
def forget(
    customer: Annotated[
        str, typer.Argument(help="The id as your rows have it, or - for standard input.", show_default=False)
    ],
    folder: Folder,
    out: Annotated[
        Path | None,
        typer.Option(help="The certificate; default: a new file in FOLDER/forgotten.", show_default=False),
    ] = None,
    schema: Schema = None,
    limits: LimitsFile = None,
    as_json: Json = False,
) -> None:
    """Forget a customer; the help text stands in ``_FORGET``."""
    import json

    from fedrepay.client.care import forgetting, home
    from fedrepay.client.node import setup

    here = home.of(folder, schema, limits)
    done = forgetting.forget(here, setup.identity(folder), _told(customer), out)
    if as_json:
        facts = {
            "certificate": str(done.certificate),
            "barred_before": done.barred_before,
            "still_named_in": done.still_named_in,
            **done.facts,
        }
        typer.echo(json.dumps(facts, indent=1))
        return
    typer.echo(
        "Barred already." if done.barred_before else "Barred from every run to come. Restart `member serve`."
    )
    bound = done.facts["epsilon_of_all_runs"]
    held = (
        f"ε = {bound:.4g} at δ = {done.facts['delta']:g}"
        if bound is not None
        else "nothing: a run had no noise"
    )
    typer.echo(
        f"{len(done.facts['runs'])} runs may have learned from this customer; what bounds them all: {held}."
    )
    typer.echo(f"Certificate: {done.certificate}")
    for name in done.still_named_in:
        typer.echo(f"Still named in {name}: this file is yours to mend.")


@app.command("check-certificate", help=_CERTIFICATE)
def check_certificate(
    file: Annotated[Path, typer.Argument(help="Of `member forget`.", show_default=False)],
    folder: Folder,
    customer: Annotated[
        str | None,
        typer.Option(help="Whose it must be; - reads the id from standard input.", show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a certificate; the help text stands in ``_CERTIFICATE``."""
    import json

    from fedrepay.client.care import forgetting
    from fedrepay.client.node import setup

    facts = forgetting.check(file, setup.identity(folder), None if customer is None else _told(customer))
    if as_json:
        typer.echo(json.dumps(facts, indent=1))
    else:
        typer.echo(f"Signed by {facts['member']} on {facts['at']}; {len(facts['runs'])} runs.")


def _told(text: str) -> str:
    """An id as typed, or the first line of standard input."""
    import sys

    return sys.stdin.readline().rstrip("\n") if text == "-" else text
